"""The known orders, explored: orders known right show nothing forbidden, wrong ones what they are known for."""

import pytest

from kernels.language.atomics import store_release, store_seq_cst
from kernels.language.steps import steps
from kernels.search.explore import explore
from kernels.search.schedule import Schedule
from kernels.tdx.bits import STATE_MASK, Mirror, Mode, Sept
from kernels.tdx.guest import guest
from kernels.tdx.kvm.kick import acknowledge
from kernels.tdx.module.mem import td_exit, vp_enter
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Rules
from kernels.tdx.statuses import SUCCESS
from kernels.tdx.tally import vcpu_stopping
from kernels.tdx.words import mode
from kernels.tests.known_orders import ENTRY_BLIND, LET_IN_EARLY, RIGHT, TINY, WRONG
from kernels.tests.naive import State, StepMachine, as_python, search
from kernels.tests.orders import SPEC, TRACK_THEN_BLOCK, V6_16
from kernels.tests.witnesses import ALWAYS_LEGAL, accesses, shows_at_its_end


@pytest.mark.parametrize("size", [Size(2, 1), Size(1, 2, 2, 2), Size(2, 2)], ids=str)
@pytest.mark.parametrize("row", RIGHT)
def test_a_right_order_shows_nothing_forbidden(row, size):
    """With two of each and two pages they have millions of states: those are for random schedules, and for a user."""
    found = explore(*of_flow(RIGHT[row]), size, threads=1, liveness=False)

    assert found.complete
    assert found.outcomes.keys() <= ALWAYS_LEGAL
    assert found.deadlocks == 0
    assert found.broken == {}


def size_of(trace: Schedule) -> Size:
    return Size(trace.lay.vcpus, trace.lay.zappers, trace.lay.pages, trace.lay.tlb_entries)


@pytest.mark.parametrize("row", WRONG)
def test_a_wrong_order_shows_what_it_is_known_for_and_nothing_else_by_no_longer_a_way_than_is_written_out(row):
    """In moves where every move counts; in accesses where a choice goes with the step before it."""
    rules, size, known = WRONG[row].rules, WRONG[row].size, WRONG[row].shows
    found = explore(*of_flow(rules), size, threads=1, liveness=size == TINY)
    whole = explore(*of_flow(rules), size, reduction=False, threads=1, liveness=False)

    assert found.complete
    assert found.outcomes.keys() - ALWAYS_LEGAL == known.keys()
    assert found.deadlocks == 0
    assert found.broken == {}
    for outcome, written in known.items():
        trace, short, shortest = written(), whole.outcomes[outcome], found.outcomes[outcome]
        assert shows_at_its_end(trace.rules, size_of(trace), tuple(trace.taken), outcome)
        assert shows_at_its_end(rules, size, short, outcome)
        assert shows_at_its_end(rules, size, shortest, outcome)
        assert len(short) <= len(trace.taken)
        assert accesses(rules, size, shortest) <= accesses(trace.rules, size_of(trace), tuple(trace.taken))


def ends(rules: Rules) -> tuple[StepMachine, list[State]]:
    """The machine, and every state in which its zapper has returned."""
    machine = StepMachine(rules, TINY)
    return machine, [state for state in search(machine).depth if machine.returned(state)]


def test_a_block_behind_the_kick_is_refused_in_every_run():
    """W4: the page was blocked in the epoch that runs, whatever the vCPU does."""
    machine, ended = ends(TRACK_THEN_BLOCK)

    assert {state[machine.lay.sept] & STATE_MASK for state in ended} == {Sept.BLOCKED}
    assert len(ended) > 30


def test_one_retry_without_vcpus_gives_every_page_back_where_they_stay_out_until_it_is_done():
    """R1b, and R1c and R1d beside it: a BUSY that is given up leaves the page frozen."""
    machine, ended = ends(V6_16)

    assert {state[machine.lay.mirror] for state in ended} == {Mirror.PRESENT}
    for rules in (ENTRY_BLIND, LET_IN_EARLY):
        machine, ended = ends(rules)
        assert {state[machine.lay.mirror] for state in ended} == {Mirror.PRESENT, Mirror.FROZEN}


@steps
def vcpu_seen_late(td, lay, rules, me):
    """A vCPU whose store of IN_GUEST_MODE the kicker sees once it has entered: no x86 does that to it."""
    while not vcpu_stopping(td, lay):
        status = yield from vp_enter(td, lay, rules, me)
        yield store_seq_cst(td, mode(lay, me.index), Mode.IN_GUEST_MODE)
        if status == SUCCESS:
            yield from guest(td, lay, rules, me, 0)
            yield from td_exit(td, lay, rules, me)
        yield store_release(td, mode(lay, me.index), Mode.OUTSIDE_GUEST_MODE)
        yield from acknowledge(td, lay, rules, me)
    return 0


def test_a_vcpu_that_enters_before_it_is_seen_to_is_not_kicked():
    """W7 as no store buffer has it: R1 is right as TDH.VP.ENTER's locked accesses drain it, and here they do not. The
    kicker reads OUTSIDE, sends no IPI, and REMOVE finds the vCPU inside.
    """
    late = search(StepMachine(SPEC, TINY, for_vcpu=as_python(vcpu_seen_late)))

    assert late.outcomes.keys() - ALWAYS_LEGAL == {"tracking_not_done", "stale_after_done"}
