"""What rings hold, told as a schedule is: against the teller of schedules, and against entries written out here."""

import functools
from collections.abc import Sequence
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


class Story:
    """Entries written out, one tick after the other, and told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def step(self, actor: str, name: str, word: int, value: int, operand: int = 0, repeats: int = 0) -> None:
        self.entries.append(Entry(actor, len(self.entries), site(name), word, value, operand, repeats))

    def mark(self, actor: str, mark: Mark, word: int = 0, value: int = 0, repeats: int = 0) -> None:
        self.entries.append(Entry(actor, len(self.entries), mark, word, value, 0, repeats))

    def told(self) -> Recollection:
        return recollect(SHOOTDOWN, self.entries, LAY, FAILING)


def fill(gpa: int, generation: int = 1) -> tuple[int, int]:
    """The TLB word of vCPU 0 and its content."""
    return LAY.tlb + gpa, translation(gpa, generation << 8)


@pytest.fixture
def made() -> Story:
    return Story()


def test_a_status_ends_the_step_before_it(made):
    made.step("zapper 0", "mem_page_remove.unlock_shared_tree_lock", LAY.tree_lock, 0)
    made.mark("zapper 0", Mark.STATUS, Leaf.TDH_MEM_PAGE_REMOVE, TLB_TRACKING_NOT_DONE | RCX)
    made.mark("zapper 0", Mark.OUTCOME, Outcome.tracking_not_done, 3)

    found = made.told()

    assert [(e.leaf, e.status, e.outcomes) for e in found.events] == [
        ("TDH.MEM.PAGE.REMOVE", "TLB_TRACKING_NOT_DONE|RCX", ("tracking_not_done",))
    ]
    assert (found.failed, found.page) == (0, 3)


def test_an_outcome_for_which_rings_do_not_freeze_is_no_failure(made):
    made.step("vcpu 0", "vp_enter.try_lock_shared_epoch_lock", LAY.epoch_lock, 0)
    made.mark("vcpu 0", Mark.OUTCOME, Outcome.operand_busy, -1)

    assert (made.told().failed, made.told().page) == (None, None)


def test_a_stale_read_is_an_event_of_its_own(made):
    made.step("vcpu 0", "vp_enter.unlock_shared_epoch_lock", LAY.epoch_lock, 0)
    made.mark("vcpu 0", Mark.OUTCOME, Outcome.use_after_remove, 2, repeats=4)

    event = made.told().events[1]
    assert (event.function, event.calls, event.says) == ("access", ("vcpu", "guest", "access"), "reads page 2, 5 times")
    assert event.outcomes == ("use_after_remove",)


def test_a_stale_read_right_behind_an_entry_is_not_the_entry_s(made):
    made.step("vcpu 0", "vp_enter.unlock_shared_epoch_lock", LAY.epoch_lock, 0)
    made.mark("vcpu 0", Mark.STATUS, Leaf.TDH_VP_ENTER, SUCCESS)
    made.mark("vcpu 0", Mark.OUTCOME, Outcome.use_after_remove, 2)

    assert [(e.status, e.outcomes) for e in made.told().events] == [("SUCCESS", ()), ("", ("use_after_remove",))]


def test_what_a_word_held_is_not_told_from_a_time_that_some_ring_has_lost(made):
    """Between the zapper's two stores the vCPU may have written the word: its ring begins later."""
    made.step("zapper 0", "seamcall_step.store_release_owner", LAY.owner, 256, 256)
    made.step("vcpu 0", "acknowledge.load_acquire_ipi", LAY.ipi, 0)
    made.step("zapper 0", "seamcall_step.store_release_owner", LAY.owner, 769, 769)
    made.step("zapper 0", "seamcall_step.store_release_owner_2", LAY.owner, 1026, 1026)

    accesses = [event.access for event in made.told().events if event.actor == "zapper 0"]
    assert [(access.old, access.new) for access in accesses if access] == [(256, 256), (769, 769), (769, 1026)]


def test_an_outcome_whose_step_the_ring_has_lost_is_still_told(made):
    made.mark("zapper 0", Mark.STATUS, Leaf.TDH_MEM_PAGE_REMOVE, TLB_TRACKING_NOT_DONE | RCX)
    made.mark("zapper 0", Mark.OUTCOME, Outcome.tracking_not_done, 1)

    assert made.told().events == ()


def test_fills_of_pages_that_did_not_fail_are_counted_in_one_event(made):
    made.step("vcpu 0", "vp_enter.unlock_shared_epoch_lock", LAY.epoch_lock, 0)
    for gpa in (0, 1, 3):
        made.mark("vcpu 0", Mark.OWN, *fill(gpa))

    assert [event.says for event in made.told().events] == ["", "fills its TLB with 3 pages"]


def test_a_fill_of_the_page_that_failed_stands_out(made):
    for gpa in (0, 2, 1):
        made.mark("vcpu 0", Mark.OWN, *fill(gpa))
    made.mark("vcpu 0", Mark.OUTCOME, Outcome.use_after_remove, 2)

    says = [event.says for event in made.told().events]
    assert says == ["fills its TLB with a page", "fills page 2 at hpa 1", "fills its TLB with a page", "reads page 2"]


def test_the_reason_for_an_exit_is_told_at_the_exit(made):
    made.step("vcpu 0", "td_exit.fetch_add_seq_cst_epoch_tracking", LAY.epoch_tracking, ONE_EPOCH + 1, -1)
    made.step("vcpu 0", "vcpu.store_release_mode", LAY.mode, Mode.OUTSIDE_GUEST_MODE, Mode.OUTSIDE_GUEST_MODE)
    made.mark("vcpu 0", Mark.LEFT, 0, EPT_VIOLATION)

    assert [event.says for event in made.told().events] == ["left for an EPT violation", ""]


def test_the_epoch_that_a_vcpu_adopts_is_its_own_word_of_the_step_before(made):
    made.step("vcpu 0", "vp_enter.unlock_shared_epoch_lock", LAY.epoch_lock, 0)
    made.mark("vcpu 0", Mark.FLUSHED)
    made.mark("vcpu 0", Mark.OWN, LAY.vcpu_epoch, 7)

    (event,) = made.told().events
    assert (event.says, [one.word for one in event.own]) == (
        "drops every translation of its TLB",
        ["vcpu_epoch[vcpu 0]"],
    )


def test_a_waiting_loop_says_how_often_it_turned(made):
    made.step("zapper 0", "kick.load_acquire_ipi", LAY.ipi, 1, repeats=1233)

    assert made.told().events[0].says == "1,234 times"


def test_a_step_is_told_with_what_another_actor_left_in_its_word(made):
    made.step("vcpu 0", "vcpu.store_seq_cst_mode", LAY.mode, Mode.IN_GUEST_MODE, Mode.IN_GUEST_MODE)
    made.step("zapper 0", "kick.exiting_guest_mode_mode", LAY.mode, Mode.IN_GUEST_MODE)

    access = made.told().events[1].access
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
