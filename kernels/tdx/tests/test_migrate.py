"""Logical processors: association, the flush on a switch of vCPUs, TDH.VP.FLUSH, and what breaks without each."""

import numpy as np
import pytest

from kernels.language.syntax import sites
from kernels.layout import OUTCOME_COUNTS
from kernels.search.schedule import Schedule
from kernels.tdx.outcomes import Outcome
from kernels.tdx.parts.migrate import be_released, next_lp
from kernels.tdx.protocol import SHOOTDOWN, Size
from kernels.tdx.rules import Fault, Flow, Rules
from kernels.tdx.spans import GUEST_READ
from kernels.tdx.words import plan, vcpu_actor
from kernels.tests.driver import seen, stepped
from kernels.tests.orders import SPEC
from kernels.tests.three_translations import run_machine
from kernels.tests.written_schedules import told

MIGRATE = SPEC._replace(flow=int(Flow.MIGRATE), lps=2)
SWITCH, KEEPS_TLB = int(Fault.NO_FLUSH_ON_SWITCH), int(Fault.VP_FLUSH_WITHOUT_INVEPT)
KEEPS_LAST = int(Fault.VP_FLUSH_KEEPS_LAST)
GUEST = "guest.reads_before_tick"
READS = {site.name for site in sites() if site.says == GUEST_READ}


def start(faults: int = 0) -> Schedule:
    """Two vCPUs, two logical processors, one page that is shot down once; nothing compiled."""
    rules: Rules = MIGRATE._replace(faults=faults)
    return stepped(rules, Size(vcpus=2, zappers=1))


def enter_on(run: Schedule, vcpu: str, lp: int) -> None:
    """Into the guest on this processor."""
    run.until(vcpu, GUEST, {"be_scheduled.next_lp": lp})


def read(run: Schedule, vcpu: str) -> None:
    """One instruction of the guest, with the ACCEPT that it may take."""
    run.step(vcpu, 1)
    run.until(vcpu, GUEST, {GUEST: 1})


def leave(run: Schedule, vcpu: str) -> None:
    """The tick: out of the guest, up to the scheduler."""
    run.step(vcpu, 0)
    run.until(vcpu, "be_scheduled.next_lp")


@pytest.mark.parametrize(
    ("faults", "shown", "associated"), [(0, set(), 2), (int(Fault.MOVE_WITHOUT_VP_FLUSH), {"vcpu_associated"}, 1)]
)
def test_a_vcpu_enters_elsewhere_once_it_is_flushed_where_it_was(faults: int, shown: set[str], associated: int) -> None:
    run = start(faults)
    enter_on(run, "vcpu 0", 0)
    leave(run, "vcpu 0")

    run.step("vcpu 0", 1)
    run.until("vcpu 0", "vcpu.store_release_mode" if faults else GUEST)

    assert (run.words[run.lay.assoc_lpid], run.words[run.lay.num_assoc_vcpus]) == (associated, 1)
    assert seen(run) == shown


def test_a_vcpu_that_was_loaded_and_never_entered_is_not_associated() -> None:
    run = start()
    run.until("vcpu 0", "exit_requested.load_seq_cst_mode")
    run.until("zapper 0", "kick.exiting_guest_mode_mode", {"kick.next_vcpu": 0})
    run.step("zapper 0")
    run.until("vcpu 0", "be_scheduled.next_lp")

    run.step("vcpu 0", 1)
    run.until("vcpu 0", "vcpu.store_seq_cst_mode")

    assert seen(run) == {"vcpu_not_associated"}


@pytest.mark.parametrize(
    ("faults", "last"), [(0, "reads page 0: not in the TLB"), (SWITCH, "reads page 0 through hpa 1: not current")]
)
def test_only_the_flush_on_a_switch_guards_a_vcpu_that_is_new_on_a_processor(faults: int, last: str) -> None:
    run = start(faults)
    enter_on(run, "vcpu 0", 1)
    read(run, "vcpu 0")
    leave(run, "vcpu 0")
    run.until("zapper 0", "end")
    enter_on(run, "vcpu 1", 1)
    read(run, "vcpu 1")
    leave(run, "vcpu 1")

    assert ("use_after_remove" in seen(run)) == bool(faults)
    said = [(event.actor, event.says) for event in told(run).events if event.name in READS]
    assert said == [("vcpu 0", "reads page 0: not in the TLB"), ("vcpu 0", "reads page 0: fresh"), ("vcpu 1", last)]


@pytest.mark.parametrize(
    ("faults", "stale"), [(0, False), (KEEPS_TLB, False), (KEEPS_LAST, False), (KEEPS_TLB | KEEPS_LAST, True)]
)
def test_the_two_halves_of_vp_flush_stand_in_for_each_other(faults: int, stale: bool) -> None:
    run = start(faults)
    enter_on(run, "vcpu 0", 0)
    read(run, "vcpu 0")
    leave(run, "vcpu 0")
    enter_on(run, "vcpu 0", 1)
    leave(run, "vcpu 0")
    run.until("zapper 0", "end")

    enter_on(run, "vcpu 0", 0)
    read(run, "vcpu 0")

    assert ("use_after_remove" in seen(run)) == stale


@pytest.mark.parametrize(("entered", "chosen"), [(1, [0, 0, 0, 1]), (0, [0, 1, 0, 1])])
def test_a_race_moves_a_vcpu_less_often_from_where_its_guest_was_than_from_where_it_did_not_come_in(
    entered: int, chosen: list[int]
) -> None:
    lay = plan(1, 1, 1, 1, flow=Flow.MIGRATE, lps=2)
    words = np.zeros(lay.total_words, np.int64)
    # Bit 20 of what is drawn has it stay, the upper half says where it goes.
    draws = [stay | there for stay in (1 << 20, 0) for there in (0, 1 << 63)]

    assert [next_lp(words, lay, MIGRATE, vcpu_actor(lay, 0), drawn, 0, entered) for drawn in draws] == chosen


def test_the_key_is_given_up_only_after_the_last_vcpu_is_flushed() -> None:
    lay = plan(2, 1, 1, 1, flow=Flow.MIGRATE, lps=2, packed=True, vcpu_registers=8)
    words = np.zeros(lay.total_words, np.int64)
    SHOOTDOWN.prepare(words, lay, MIGRATE, 1)
    words[lay.num_assoc_vcpus] = 1

    run_machine(be_released, words, lay, MIGRATE, vcpu_actor(lay, 0))
    words[lay.num_assoc_vcpus] = 0
    run_machine(be_released, words, lay, MIGRATE, vcpu_actor(lay, 1))

    refused = [vcpu_actor(lay, index).tally + OUTCOME_COUNTS + Outcome.flushvp_not_done for index in range(2)]
    assert [int(words[at]) for at in refused] == [1, 0]
