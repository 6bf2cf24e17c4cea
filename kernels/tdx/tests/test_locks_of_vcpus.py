"""Locks of an ordering's own that vCPUs take, interrupts on or off, around their look at requests and around faults."""

import pytest

from kernels.search.explore import explore
from kernels.search.schedule import Schedule
from kernels.story.narrate import Narrator
from kernels.story.waits import waits
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.reads import reads
from kernels.tdx.rules import Fault, Flow, Lock, Rules
from kernels.tests.orders import (
    BLOCK,
    GATED,
    KICK,
    LOCKS,
    LOWER,
    PLAIN_EPT,
    RAISE,
    REMOVE,
    REQUESTS,
    TRACK,
    order,
    two_levels,
)
from kernels.tests.witnesses import ONE, errors

PLACE = int(Lock.PAGE_TABLE_LOCK)
TAKE, _, GIVE = LOCKS[3 * PLACE : 3 * PLACE + 3]
AT_ENTRY, AT_FAULTS = {"entry_lock": PLACE + 1}, {"fault_lock": PLACE + 1}
SPIN, OFF = {"spin_locks": 1 << PLACE}, {"irq_locks": 1 << PLACE}
AT_PLAIN_ENTRY = {**PLAIN_EPT, **REQUESTS, **AT_ENTRY}
HELD = order(TAKE, BLOCK, KICK, REMOVE, GIVE, **AT_PLAIN_ENTRY)
LET_GO = order(TAKE, BLOCK, GIVE, KICK, REMOVE, **AT_PLAIN_ENTRY)


def faulting(**irqs: int) -> Rules:
    """Faults that spin for the lock of a zapper that holds it around its kick."""
    return two_levels(order(TAKE, BLOCK, TRACK, KICK, REMOVE, GIVE, **AT_FAULTS, **SPIN, **irqs), Flow.POPULATE)


INSIDE = order(RAISE, KICK, TAKE, TRACK, GIVE, LOWER, BLOCK, REMOVE, **GATED, **AT_ENTRY, **SPIN)
AROUND = order(TAKE, RAISE, KICK, TRACK, LOWER, GIVE, BLOCK, REMOVE, **GATED, **AT_ENTRY, **SPIN)
# By who waits: the rules, a machine, and whether for ever.
WAITING = {
    **{
        f"{size}, {kind or 'rw'}, {said}": (rules._replace(**kind), size, stuck)
        for size in (ONE, Size(2, 1), Size(1, 2, 2))
        for kind in (SPIN, {})
        for said, rules, stuck in (
            ("for a vCPU that spins for the kicker's lock with interrupts off", HELD._replace(**OFF), True),
            ("for one that answers meanwhile, with interrupts on", HELD, False),
            ("for nobody who has let its lock go before the kick", LET_GO._replace(**OFF), False),
        )
    },
    "for a fault that spins with interrupts off": (faulting(**OFF), Size(1, 1, 2), True),
    "for a fault that spins with interrupts on": (faulting(), Size(1, 1, 2), False),
    "at a gate, shut by who wants the lock of who waits there": (INSIDE, ONE, True),
    "at a gate, shut by who has the lock": (AROUND, ONE, False),
}


@pytest.mark.parametrize(("rules", "size", "stuck"), WAITING.values(), ids=WAITING)
def test_somebody_waits(rules, size, stuck):
    assert ("no_progress" in errors(rules, size, liveness=True)[0]) == stuck


@pytest.mark.parametrize("kind", [SPIN, {}], ids=["spin", "rw"])
def test_a_witness_says_who_waits_for_whom(kind):
    rules = HELD._replace(**OFF, **kind)
    found = explore(*of_flow(rules), Size(1, 1))
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
