"""Peterson's lock for two threads, and its wrong twin, in which a thread gives the turn before it raises its flag.

A protocol that has nothing to do with TDX: what the engine is tested with.
"""

from enum import IntEnum
from typing import NamedTuple

from kernels.language.atomics import fetch_add_seq_cst, load_seq_cst, store_seq_cst
from kernels.language.steps import local, steps
from kernels.layout import OUTCOME_COUNTS, ActorKind, Words
from kernels.protocol import Protocol, States, declare
from kernels.race.tally import finish, relax, show
from kernels.search.fingerprint import place_in
from kernels.story.spans import host, wait


class Outcome(IntEnum):
    """What can happen."""

    passed = 0
    both_inside = 1


class Rules(NamedTuple):
    """How often each thread goes through, and whether it gives the turn first. Waits yield where CPUs are shared."""

    rounds: int = 1
    turn_first: int = 0
    shared_cpus: int = 0


class Size(NamedTuple):
    """A machine of two threads; there are no others."""

    threads: int = 2


PASSED, BOTH_INSIDE = int(Outcome.passed), int(Outcome.both_inside)
THREAD = ActorKind("thread")
WORDS = Words(sizes=("threads",), kinds={THREAD: lambda sizes: OUTCOME_COUNTS + len(Outcome)})
flag = declare(WORDS, "flag", THREAD, reads=lambda value: "wants in" if value else "stays out")
turn = declare(WORDS, "turn", names=THREAD, reads=lambda value: f"thread {value}'s")
inside = declare(WORDS, "inside")


@local
def other(me):
    return 1 - me.index


@steps(span=wait("lock", "takes the lock"))
def lock(td, lay, rules, me):
    """Raise the flag, give the other the turn, wait while it wants in and has the turn."""
    if rules.turn_first:
        yield store_seq_cst(td, turn(lay), other(me))
        yield store_seq_cst(td, flag(lay, me.index), 1)
    else:
        yield store_seq_cst(td, flag(lay, me.index), 1)
        yield store_seq_cst(td, turn(lay), other(me))
    while (yield load_seq_cst(td, flag(lay, other(me)))):
        if (yield load_seq_cst(td, turn(lay))) == me.index:
            break
        relax(td, rules, me)
    return 0


@steps(span=host("section", "is inside"))
def thread(td, lay, rules, me):
    """Go through the critical section so many times."""
    for _ in range(rules.rounds):
        yield from lock(td, lay, rules, me)
        already = yield fetch_add_seq_cst(td, inside(lay), 1)
        show(td, me, BOTH_INSIDE if already else PASSED)
        yield fetch_add_seq_cst(td, inside(lay), -1)
        yield store_seq_cst(td, flag(lay, me.index), 0)
    finish(td, me)
    return 0


def turn_with(plan, word, order):
    """The thread whose turn it is, renamed."""
    return place_in(plan, order, word)


PETERSON = Protocol(
    WORDS,
    {THREAD: thread},
    Outcome,
    rules=Rules,
    smallest=(Rules(), Size()),
    states=States(folds=True, renamed={turn: turn_with}),
)
