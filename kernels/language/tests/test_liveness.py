"""What a step machine keeps between steps: the locals that are still needed, and nothing else."""

import numpy as np
import pytest

from kernels.language.atomics import load_acquire, own, set_own, store_release
from kernels.language.entered import interpreted
from kernels.language.machine import DONE
from kernels.language.steps import steps
from kernels.language.syntax import Steps
from kernels.layout import Actor
from kernels.tests.programs import ACTOR, TOTAL_WORDS, Flags, Words


@steps
def needed_once(td, lay, rules, me):
    first = yield load_acquire(td, lay.a)
    yield store_release(td, lay.b, first + 1)
    yield store_release(td, lay.c, 9)


@steps
def one_after_the_other(td, lay, rules, me):
    first = yield load_acquire(td, lay.a)
    yield store_release(td, lay.b, first)
    second = yield load_acquire(td, lay.a)
    yield store_release(td, lay.c, second)


@steps
def both_at_once(td, lay, rules, me):
    first = yield load_acquire(td, lay.a)
    second = yield load_acquire(td, lay.b)
    yield store_release(td, lay.c, first - second)


@steps
def only_counted(td, lay, rules, me):
    tries = 0
    while (yield load_acquire(td, lay.a)) != 0:
        tries += 1
    yield store_release(td, lay.c, 9)


@steps
def needed_on_one_path(td, lay, rules, me):
    first = yield load_acquire(td, lay.a)
    if (yield load_acquire(td, lay.b)) != 0:
        yield store_release(td, lay.c, first)
    yield load_acquire(td, lay.c)


@steps
def kept_through_a_wait(td, lay, rules, me):
    first = yield load_acquire(td, lay.a)
    if (yield load_acquire(td, lay.b)) != 0:
        first = 7
    while (yield load_acquire(td, lay.a)) == 3:
        pass
    yield store_release(td, lay.c, first)


def walk(function: Steps, a: int, b: int, c: int, me: Actor = ACTOR) -> list[list[int]]:
    """The registers before each step and at the end, from these three shared words on."""
    one = interpreted(function)
    made, step = one.machine, one.step
    td = np.zeros(TOTAL_WORDS, np.int64)
    td[:3] = a, b, c
    step(td, Words(), Flags(), me, 0)
    found = []
    for _ in range(20):
        found.append(td[me.register : me.register + made.registers].tolist())
        if td[me.pc] == DONE:
            break
        step(td, Words(), Flags(), me, 0)
    return found


def test_a_local_is_zeroed_once_it_has_been_read_for_the_last_time():
    assert walk(needed_once, 5, 0, 0) == [[0], [5], [0], [0]]


def test_locals_that_are_never_needed_together_share_a_register():
    assert walk(one_after_the_other, 5, 0, 0) == [[0], [5], [0], [5], [0]]


def test_locals_that_are_needed_together_have_a_register_each():
    assert sorted(walk(both_at_once, 5, 7, 0)[2]) == [5, 7]


def test_a_local_that_nothing_reads_has_no_register():
    assert walk(only_counted, 5, 0, 0)[:3] == [[], [], []]


def test_a_local_is_zeroed_on_the_path_that_does_not_need_it():
    assert walk(needed_on_one_path, 5, 0, 7) == [[0], [5], [0], [0]]
    assert walk(needed_on_one_path, 5, 1, 7) == [[0], [5], [5], [0], [0]]


@pytest.mark.parametrize(("b", "written"), [(0, [(0, 3), (0, 0)]), (1, [(0, 3), (0, 7), (0, 0)])])
def test_a_step_writes_the_registers_that_it_changes_and_no_others(b, written):
    """Also behind a place where two ways meet, of which one has assigned the local."""
    one = interpreted(kept_through_a_wait)
    td = np.zeros(TOTAL_WORDS, np.int64)
    td[:2] = 3, b
    found = []

    def noted(td, index, value):
        if index != ACTOR.pc:
            found.append((index - ACTOR.register, value))
        set_own(td, index, value)

    one.step.__globals__["set_own"] = noted
    for taken in range(9):
        td[0] = 3 if taken < 7 else 0
        one.step(td, Words(), Flags(), ACTOR, 0)

    assert own(td, ACTOR.pc) == DONE
    assert found == written
