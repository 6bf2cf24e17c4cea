"""Locks of an ordering's own that vCPUs take, interrupts on or off, around their look at requests and around faults."""

import pytest

from kernels.search.explore import Exploration, explore
from kernels.search.schedule import Schedule
from kernels.story.narrate import Narrator
from kernels.story.waits import waits
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.reads import reads
from kernels.tdx.rules import Fault, Flow, Lock, Module, Rules
from kernels.tests.orders import BLOCK, GATED, KICK, LOCKS, LOWER, RAISE, REMOVE, REQUESTS, TRACK, order, two_levels

PLACE = int(Lock.PAGE_TABLE_LOCK)
TAKE, _, GIVE = LOCKS[3 * PLACE : 3 * PLACE + 3]
AT_ENTRY, AT_FAULTS = {"entry_lock": PLACE + 1}, {"fault_lock": PLACE + 1}
SPIN, OFF = {"spin_locks": 1 << PLACE}, {"irq_locks": 1 << PLACE}
PLAIN_EPT = {"module": int(Module.NONE), **REQUESTS, **AT_ENTRY}
HELD = order(TAKE, BLOCK, KICK, REMOVE, GIVE, **PLAIN_EPT)
LET_GO = order(TAKE, BLOCK, GIVE, KICK, REMOVE, **PLAIN_EPT)
SIZES = [Size(1, 1), Size(2, 1), Size(1, 2, 2)]


def explored(rules: Rules, size: Size) -> Exploration:
    found = explore(*of_flow(rules), size)
    assert found.complete
    return found


@pytest.mark.parametrize("kind", [SPIN, {}], ids=["spin", "rw"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_who_waits_for_an_answer_of_a_vcpu_that_spins_for_its_lock_with_interrupts_off_waits_for_ever(size, kind):
    found = explored(HELD._replace(**OFF, **kind), size)

    assert "no_progress" in found.outcomes


@pytest.mark.parametrize("kind", [SPIN, {}], ids=["spin", "rw"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_with_interrupts_on_it_answers_and_is_awaited_by_nobody(size, kind):
    assert "no_progress" not in explored(HELD._replace(**kind), size).outcomes


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_who_lets_its_lock_go_before_the_kick_waits_for_nobody(size):
    assert "no_progress" not in explored(LET_GO._replace(**SPIN, **OFF), size).outcomes


def test_a_fault_that_spins_with_interrupts_off_answers_nobody_either():
    tracked = order(TAKE, BLOCK, TRACK, KICK, REMOVE, GIVE, serialized=0, **AT_FAULTS)
    on, off = (two_levels(tracked._replace(**SPIN, **irqs), Flow.POPULATE) for irqs in ({}, OFF))

    assert "no_progress" in explored(off, Size(1, 1, 2)).outcomes
    assert "no_progress" not in explored(on, Size(1, 1, 2)).outcomes


def test_a_gate_that_is_shut_by_a_zapper_that_wants_the_lock_of_who_waits_there_stays_shut():
    inside = order(RAISE, KICK, TAKE, TRACK, GIVE, LOWER, BLOCK, REMOVE, **GATED, **AT_ENTRY, **SPIN)
    around = order(TAKE, RAISE, KICK, TRACK, LOWER, GIVE, BLOCK, REMOVE, **GATED, **AT_ENTRY, **SPIN)

    assert "no_progress" in explored(inside, Size(1, 1)).outcomes
    assert "no_progress" not in explored(around, Size(1, 1)).outcomes


@pytest.mark.parametrize("kind", [SPIN, {}], ids=["spin", "rw"])
def test_a_witness_says_who_waits_for_whom(kind):
    rules = HELD._replace(**OFF, **kind)
    found = explored(rules, Size(1, 1))
    narrator = Narrator(*of_flow(rules), Size(1, 1))
    for move in found.outcomes["no_progress"]:
        narrator.step(move.actor, move.chosen)

    said = waits(narrator)
    assert any(line.startswith("vcpu 0 waits for zapper 0 at own_lock[page_table_lock] = exclusive") for line in said)
    assert "zapper 0 waits for vcpu 0 at ipi[vcpu 0] = zapper 0" in said


def test_a_lock_with_interrupts_off_is_a_barrier_as_that_which_is_lost():
    lost = {"faults": int(Fault.LOST_KICK)}

    assert reads(HELD._replace(**lost)).faults & Fault.LOST_KICK
    assert not reads(HELD._replace(**OFF, **lost)).faults & Fault.LOST_KICK


def test_locks_that_are_not_taken_cost_no_word():
    def words(rules: Rules) -> int:
        return Schedule(*of_flow(rules), Size(1, 1)).lay.locks

    assert [words(order(BLOCK, REMOVE)), words(order(LOCKS[0], BLOCK, LOCKS[2], REMOVE)), words(HELD)] == [0, 1, 3]
