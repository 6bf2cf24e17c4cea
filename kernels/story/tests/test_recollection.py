"""What rings hold, told as a schedule is: against the teller of schedules, and against entries written out here."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.language.compile import passed
from kernels.language.syntax import sites
from kernels.layout import name_of
from kernels.race.ring import Entry, Mark, entries
from kernels.race.straight import Variant, straight
from kernels.story.events import Event
from kernels.story.recollect import Recollection, called, recollect, retaken, story
from kernels.tdx.bits import ONE_EPOCH, Mode, translation
from kernels.tdx.guest import EPT_VIOLATION
from kernels.tdx.kvm.zapper import zapper
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import FLOWS, Rules, flow_name
from kernels.tdx.statuses import RCX, SUCCESS, TLB_TRACKING_NOT_DONE, Leaf
from kernels.tdx.words import VCPU, plan, zapper_actor
from kernels.tests.orders import SPEC, V6_16, V18
from kernels.tests.written_schedules import quick, told

LAY = plan(2, 1, 4, 4, trace=64)
FAILING = frozenset({Outcome.tracking_not_done, Outcome.use_after_remove})


@functools.cache
def traced_zapper() -> Any:
    return straight(SHOOTDOWN, zapper, Variant(traced=True))


def two_shootdowns(rules: Rules) -> Recollection:
    """What a zapper's ring tells that shoots one page down twice, with a vCPU outside the guest."""
    lay = plan(1, 1, 1, 1, trace=256)
    words = np.zeros(lay.total_words, np.int64)
    SHOOTDOWN.prepare(words, lay, rules, 1)
    traced_zapper()(*passed(words, lay, rules, zapper_actor(lay, 0)))
    return recollect(SHOOTDOWN, entries(words, lay), lay, FAILING)


def second(events: Sequence[Event]) -> list[tuple[object, ...]]:
    """The steps of the second shootdown: every word of it has been seen in the first."""
    start = max(place for place, event in enumerate(events) if event.name == "claim_page.claim_mirror")
    return [(one.name, one.calls, one.access, one.leaf, one.status) for one in events[start:] if one.access]


@pytest.mark.parametrize("rules", [SPEC, V18, V6_16], ids=["spec", "v18", "v6_16"])
def test_a_shootdown_raced_alone_is_told_as_the_step_machine_tells_it(rules):
    """Every step, by the words before and after it, by the calls that lead to it and the statuses that end it."""
    rules = rules._replace(shootdowns=2)
    machine = quick(rules)
    machine.until("zapper 0", "end")

    assert second(two_shootdowns(rules).events) == second(told(machine).events)


def test_a_raced_shootdown_has_the_spans_of_a_scheduled_one():
    told_of_it = two_shootdowns(SPEC)

    spans = [(span.name, span.status) for span in story(SHOOTDOWN, told_of_it.actors, told_of_it.events).spans]
    assert [span for span in spans if span[1]] == [
        ("TDH.MEM.RANGE.BLOCK", "SUCCESS"),
        ("TDH.MEM.TRACK", "SUCCESS"),
        ("TDH.MEM.PAGE.REMOVE", "SUCCESS"),
        ("TDH.MEM.PAGE.AUG", "SUCCESS"),
    ]
    assert ("kick", "") in spans


def site(name: str) -> int:
    return next(one.number for one in sites() if one.name == name)


def step(actor: str, name: str, word: int, value: int, operand: int = 0, repeats: int = 0) -> Entry:
    return Entry(actor, 0, site(name), word, value, operand, repeats)


def mark(actor: str, mark: Mark, word: int = 0, value: int = 0, repeats: int = 0) -> Entry:
    return Entry(actor, 0, mark, word, value, 0, repeats)


def fill(gpa: int) -> Entry:
    """vCPU 0 fills its TLB with a page of generation 1."""
    return mark("vcpu 0", Mark.OWN, LAY.tlb + gpa, translation(gpa, 1 << 8))


def told_of(*made: Entry) -> Recollection:
    """What these entries tell, one tick after the other."""
    timed = [replace(entry, ticks=ticks) for ticks, entry in enumerate(made)]
    return recollect(SHOOTDOWN, timed, LAY, FAILING)


ENTERED = step("vcpu 0", "vp_enter.unlock_shared_epoch_lock", LAY.epoch_lock, 0)
REFUSED = mark("zapper 0", Mark.STATUS, Leaf.TDH_MEM_PAGE_REMOVE, TLB_TRACKING_NOT_DONE | RCX)


def test_a_status_ends_the_step_before_it():
    found = told_of(
        step("zapper 0", "mem_page_remove.unlock_shared_tree_lock", LAY.tree_lock, 0),
        REFUSED,
        mark("zapper 0", Mark.OUTCOME, Outcome.tracking_not_done, 3),
    )

    assert [(e.leaf, e.status, e.outcomes) for e in found.events] == [
        ("TDH.MEM.PAGE.REMOVE", "TLB_TRACKING_NOT_DONE|RCX", ("tracking_not_done",))
    ]
    assert (found.failed, found.page) == (0, 3)


def test_an_outcome_for_which_rings_do_not_freeze_is_no_failure():
    found = told_of(ENTERED, mark("vcpu 0", Mark.OUTCOME, Outcome.operand_busy, -1))

    assert (found.failed, found.page) == (None, None)


def test_a_stale_read_is_an_event_of_its_own():
    event = told_of(ENTERED, mark("vcpu 0", Mark.OUTCOME, Outcome.use_after_remove, 2, repeats=4)).events[1]

    assert (event.function, event.calls, event.says) == ("access", ("vcpu", "guest", "access"), "reads page 2, 5 times")
    assert event.outcomes == ("use_after_remove",)


def test_a_stale_read_right_behind_an_entry_is_not_the_entry_s():
    status = mark("vcpu 0", Mark.STATUS, Leaf.TDH_VP_ENTER, SUCCESS)
    found = told_of(ENTERED, status, mark("vcpu 0", Mark.OUTCOME, Outcome.use_after_remove, 2))

    assert [(e.status, e.outcomes) for e in found.events] == [("SUCCESS", ()), ("", ("use_after_remove",))]


def test_what_a_word_held_is_not_told_from_a_time_that_some_ring_has_lost():
    """Between the zapper's two stores the vCPU may have written the word: its ring begins later."""
    found = told_of(
        step("zapper 0", "seamcall_step.store_release_owner", LAY.owner, 256, 256),
        step("vcpu 0", "acknowledge.load_acquire_ipi", LAY.ipi, 0),
        step("zapper 0", "seamcall_step.store_release_owner", LAY.owner, 769, 769),
        step("zapper 0", "seamcall_step.store_release_owner_2", LAY.owner, 1026, 1026),
    )

    accesses = [event.access for event in found.events if event.actor == "zapper 0"]
    assert [(access.old, access.new) for access in accesses if access] == [(256, 256), (769, 769), (769, 1026)]


def test_an_outcome_whose_step_the_ring_has_lost_is_still_told():
    assert told_of(REFUSED, mark("zapper 0", Mark.OUTCOME, Outcome.tracking_not_done, 1)).events == ()


# By what is told: the entries, and what each of its events says.
SAYS = {
    "fills of pages that did not fail, in one event": (
        [ENTERED, fill(0), fill(1), fill(3)], ["", "fills its TLB with 3 pages"],
    ),
    "a fill of the page that failed, by itself": (
        [fill(0), fill(2), fill(1), mark("vcpu 0", Mark.OUTCOME, Outcome.use_after_remove, 2)],
        ["fills its TLB with a page", "fills page 2 at hpa 1", "fills its TLB with a page", "reads page 2"],
    ),
    "the reason for an exit, at the exit": (
        [
            step("vcpu 0", "td_exit.fetch_add_seq_cst_epoch_tracking", LAY.epoch_tracking, ONE_EPOCH + 1, -1),
            step("vcpu 0", "vcpu.store_release_mode", LAY.mode, Mode.OUTSIDE_GUEST_MODE, Mode.OUTSIDE_GUEST_MODE),
            mark("vcpu 0", Mark.LEFT, 0, EPT_VIOLATION),
        ],
        ["left for an EPT violation", ""],
    ),
    "how often a waiting loop turned": (
        [step("zapper 0", "kick.load_acquire_ipi", LAY.ipi, 1, repeats=1233)], ["1,234 times"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "says"), SAYS.values(), ids=SAYS)
def test_is_told(made, says):
    assert [event.says for event in told_of(*made).events] == says


def test_the_epoch_that_a_vcpu_adopts_is_its_own_word_of_the_step_before():
    (event,) = told_of(ENTERED, mark("vcpu 0", Mark.FLUSHED), mark("vcpu 0", Mark.OWN, LAY.vcpu_epoch, 7)).events

    assert event.says == "drops every translation of its TLB"
    assert [one.word for one in event.own] == ["vcpu_epoch[vcpu 0]"]


def test_a_step_is_told_with_what_another_actor_left_in_its_word():
    access = told_of(
        step("vcpu 0", "vcpu.store_seq_cst_mode", LAY.mode, Mode.IN_GUEST_MODE, Mode.IN_GUEST_MODE),
        step("zapper 0", "kick.exiting_guest_mode_mode", LAY.mode, Mode.IN_GUEST_MODE),
    ).events[1].access  # fmt: skip

    assert access is not None
    assert (access.before, access.after) == ("IN_GUEST_MODE", "EXITING_GUEST_MODE")
    assert access.word == name_of(LAY, LAY.mode)


@pytest.mark.parametrize(
    ("name", "known", "value", "operand", "expected"),
    [
        ("mem_track.load_acquire_epoch_tracking", None, 7, 0, (7, 7)),
        ("mem_track.load_acquire_epoch_tracking", 6, 7, 0, (7, 7)),  # another actor's entry is late
        ("mem_track.fetch_add_seq_cst_epoch_tracking", 6, 7, 5, (7, 12)),
        ("vcpu.store_release_mode", 1, 0, 0, (1, 0)),
        ("vcpu.store_release_mode", None, 2, 2, (2, 2)),
        ("mem_track.try_lock_exclusive_epoch_lock", None, 1, 0, (0, 1)),
        ("mem_track.try_lock_exclusive_epoch_lock", 2, 0, 0, (2, 2)),
        ("mem_page_remove.try_lock_shared_tree_lock", 1, 1, 0, (0, 2)),
        ("mem_track.unlock_exclusive_epoch_lock", 1, 0, 0, (1, 0)),
        ("claim_page.claim_mirror", None, 1, 0, (1, 2)),
    ],
)
def test_a_step_taken_again_agrees_with_what_it_answered(name, known, value, operand, expected):
    assert retaken(SHOOTDOWN, site(name), known, value, operand) == expected


DEEPER = ("zapper", "shoot_down", "shootdown")
UNTIL = (*DEEPER, "seamcall_step", "seamcall_until")


@pytest.mark.parametrize(
    ("actor", "function", "before", "expected"),
    [
        ("zapper 0", "shootdown", (), DEEPER),
        ("zapper 0", "kick", (*UNTIL, "seamcall", "mem_track"), (*DEEPER, "kick")),
        ("zapper 0", "kick", UNTIL, (*UNTIL, "kick_out", "kick")),
        ("zapper 0", "kick", (*UNTIL, "kick_out", "kick"), (*UNTIL, "kick_out", "kick")),
        ("vcpu 0", "acknowledge", ("vcpu",), ("vcpu", "acknowledge")),
        (
            "vcpu 0",
            "acknowledge",
            ("vcpu", "process_requests", "flush_tlb"),
            ("vcpu", "process_requests", "flush_tlb", "acknowledge"),
        ),
    ],
)
def test_a_step_is_called_from_where_the_step_before_it_was(actor, function, before, expected):
    assert called(SHOOTDOWN, actor, function, before) == expected


@pytest.mark.parametrize("flow", FLOWS, ids=flow_name)
def test_every_flow_has_a_guest_in_which_a_fault_and_a_stale_read_are_told(flow):
    told = recollect(
        protocol_of(flow),
        [
            Entry("vcpu 0", 1, Mark.OUTCOME, Outcome.fault, 0, 0, 0),
            Entry("vcpu 0", 2, Mark.OUTCOME, Outcome.use_after_remove, 0, 0, 0),
        ],
        plan(1, 1, 1, 1, flow=flow, trace=2),
        FAILING,
    )

    assert [(event.outcomes, event.says) for event in told.events] == [
        (("fault",), "reads page 0"),
        (("use_after_remove",), "reads page 0"),
    ]
    assert all(protocol_of(flow).actors[VCPU].name == event.calls[0] for event in told.events)
