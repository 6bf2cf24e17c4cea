"""TDH.PHYMEM.PAGE.WBINVD in an ordering: what caches hold of a private page that goes, and was written to."""

import pytest

from kernels.search.schedule import Schedule
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Fault, Flow, OnError, SeptFree
from kernels.tests.driver import enter, finish, seen, start
from kernels.tests.orders import (
    BLOCK,
    GATED,
    KICK,
    LOWER,
    PAIR,
    PLAIN_EPT,
    RAISE,
    REMOVE,
    REQUESTS,
    SHARED,
    SPEC,
    TRACK,
    WBINVD,
    order,
    two_levels,
)
from kernels.tests.witnesses import HARMLESS, ONE, errors

REFUSED, LATE = "metadata_incorrect", "written_back_late"
WRITES, ASKS_NOT = {"flow": int(Flow.WRITES)}, {"faults": int(Fault.WBINVD_IGNORES_OWNER)}
FREES = {"on_error": int(OnError.FREE_PAGE)}
BEHIND_REMOVE = order(BLOCK, TRACK, KICK, REMOVE, WBINVD, serialized=1)
BEHIND_KICK = order(BLOCK, TRACK, KICK, WBINVD, REMOVE, serialized=1)
BEFORE_KICK = order(BLOCK, TRACK, WBINVD, KICK, REMOVE, serialized=1)
# Where a module that does not ask hides nothing: whoever is kicked out comes in again with its translations or not.
EARLY = {
    "before block": order(WBINVD, BLOCK, TRACK, KICK, REMOVE, serialized=1),
    "before kick": BEFORE_KICK,
    "before v18's kick": order(BLOCK, RAISE, WBINVD, KICK, TRACK, LOWER, REMOVE, **GATED),
    "behind a kick without a gate": order(BLOCK, KICK, WBINVD, TRACK, REMOVE, serialized=1, **REQUESTS),
    "behind a kick that nobody waits for": BEHIND_KICK._replace(wait=0),
}
IN_TIME = {
    "behind kick": BEHIND_KICK,
    "in v18's gate": order(BLOCK, RAISE, KICK, WBINVD, TRACK, LOWER, REMOVE, **GATED),
}


def test_lines_are_written_back_in_time_behind_remove():
    assert errors(BEHIND_REMOVE, **WRITES, liveness=True) == (set(), 3_381)


@pytest.mark.parametrize(("size", "turns"), [(ONE, 2), (Size(2, 1), 1), (Size(1, 2), 1)], ids=str)
def test_neither_another_vcpu_nor_another_zapper_nor_another_turn_makes_them_late(size, turns):
    assert errors(BEHIND_REMOVE, size, **WRITES, shootdowns=turns)[0] == set()


@pytest.mark.parametrize("rules", [BEFORE_KICK, BEHIND_KICK], ids=["before kick", "behind kick"])
def test_the_module_refuses_to_write_a_page_back_that_a_td_has(rules):
    assert errors(rules)[0] == {REFUSED}
    assert errors(rules, **WRITES)[0] == {REFUSED}


def test_a_host_that_goes_on_gives_a_page_away_whose_lines_are_dirty_and_needs_no_other_shootdown():
    assert errors(BEHIND_KICK, **WRITES, **FREES)[0] == {REFUSED, LATE}
    assert errors(BEHIND_KICK, **FREES)[0] == {REFUSED}


def test_behind_a_remove_that_was_refused_the_page_is_not_written_back_either():
    untracked = order(BLOCK, KICK, TRACK, REMOVE, WBINVD, serialized=1, **REQUESTS, **FREES)

    assert {"tracking_not_done", REFUSED, "use_after_remove"} <= errors(untracked)[0]


@pytest.mark.parametrize("name", EARLY)
def test_where_the_module_does_not_ask_a_guest_writes_again_behind_what_came_too_early(name):
    assert LATE in errors(EARLY[name], **WRITES, **ASKS_NOT)[0]


@pytest.mark.parametrize("name", IN_TIME)
def test_there_nobody_writes_again_once_every_vcpu_is_out_and_comes_in_without_translations(name):
    assert errors(IN_TIME[name], **WRITES, **ASKS_NOT)[0] == set()
    assert errors(IN_TIME[name], Size(2, 1), **WRITES, **ASKS_NOT)[0] == set()


def turn(run: Schedule, *, writes: int) -> None:
    """One access of a guest, which stands before its look at the clock and comes back there."""
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "guest.reads_before_tick", {"read_or_write.reads_or_writes": writes})


@pytest.mark.parametrize(
    ("before", "behind", "shown"),
    [(0, 0, set()), (1, 0, set()), (0, 1, {LATE}), (1, 1, {LATE})],
    ids=["read alone", "written before", "written behind", "written before and behind"],
)
def test_what_counts_is_a_write_behind_the_write_back(before, behind, shown):
    run = start(BEFORE_KICK._replace(**WRITES, **ASKS_NOT))
    enter(run)
    turn(run, writes=before)
    run.until("zapper 0", "kick.next_vcpu")
    turn(run, writes=behind)
    finish(run, "zapper 0", "vcpu 0")

    assert seen(run) - HARMLESS == shown


@pytest.mark.parametrize(
    "fields",
    [{**WRITES, **PLAIN_EPT}, {**SHARED, "flow": int(Flow.WRITES | Flow.SHARED_EPT)}],
    ids=["plain EPT", "shared page"],
)
def test_pages_without_a_key_of_their_own_have_no_such_lines(fields):
    assert errors(BEFORE_KICK, **fields, **REQUESTS)[0] == set()


def test_an_order_that_says_nothing_of_caches_is_not_judged_and_its_machine_has_no_word_for_them():
    assert errors(SPEC, **WRITES)[0] == set()
    strides = [
        Schedule(*of_flow(rules._replace(**WRITES)), ONE).lay.page_stride
        for rules in (SPEC, BEHIND_REMOVE._replace(**PLAIN_EPT), BEHIND_REMOVE)
    ]
    assert strides[0] == strides[1] == strides[2] - 1


def test_each_page_of_a_batch_is_written_back_and_none_at_a_yield():
    for resched in (0, 1):
        assert errors(BEHIND_REMOVE, Size(1, 1, 2, 2), **PAIR, resched=resched)[0] == set()


def test_a_page_table_page_is_written_back_behind_its_remove_and_not_before():
    free = {"sept_free": int(SeptFree.LIVE)}

    assert errors(two_levels(BEHIND_REMOVE, Flow.SEPT_PAGES), **free)[0] == set()
    assert REFUSED in errors(two_levels(BEHIND_KICK, Flow.SEPT_PAGES), **free)[0]
