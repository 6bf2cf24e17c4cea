"""The corners of the step language and of what is built from it: the same in every translation."""

import os
import signal
from enum import IntFlag
from typing import Any

import numpy as np
import pytest

from kernels.language import cache
from kernels.language.atomics import load_acquire, store_release
from kernels.language.compile import compiled as made
from kernels.language.compile import passed
from kernels.language.entered import entered, words_with_room
from kernels.language.steps import local, steps
from kernels.race.straight import straight
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import plan, zapper_actor
from kernels.tests.orders import SPEC
from kernels.tests.programs import ACTOR, TOTAL_WORDS, WATCHED, Flags, Words, compiled
from kernels.tests.three_translations import Case, check

HEAD = "@steps\ndef f(td, lay, rules, me):\n"


@local
def at_least_two(value):
    return max(2, value)


class Colour(IntFlag):
    RED = 2
    BLUE = 8


@local
def mixed(value):
    if value & Colour.RED:
        value |= Colour.BLUE
    return value


OTHER = "@steps\ndef g(td, lay, rules, me):\n    x = yield load_acquire(td, lay.a)\n    return larger(x, 4)\n\n\n"
SAME = {
    "a local named as a function used elsewhere": (
        "x = yield from g(td, lay, rules, me)\n    larger = x + 1\n    yield store_release(td, lay.b, larger)"
    ),
    "a local function that calls a builtin": "yield store_release(td, lay.b, at_least_two(1))",
    "a member of an enumeration": (
        "for i in range(Colour.RED):\n        yield store_release(td, lay.b + i, mixed(i + Colour.RED) | ~Colour.BLUE)"
    ),
}


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_it_is_the_same_in_all_three_translations(body):
    function = compiled(f"{OTHER}{HEAD}    {body}\n", "f", at_least_two=at_least_two, mixed=mixed, Colour=Colour)

    check(function, Case(np.zeros(TOTAL_WORDS, np.int64), WATCHED, Words(), Flags(), ACTOR))


@steps
def truth(td, lay, rules, me):
    empty = (yield load_acquire(td, 0)) == 0
    yield store_release(td, 1, 3)
    if empty:
        yield store_release(td, 2, 4)


def test_a_truth_value_that_lives_across_a_step_compiles():
    td = stepped_through(truth)

    assert td[:3].tolist() == [0, 3, 4]


def stepped_through(function: Any) -> Any:
    """The words of a small machine behind every step of the compiled machine, of zapper 0."""
    lay = plan(1, 1, 1, 1, zapper_registers=4)
    td = words_with_room(lay.total_words)
    step = entered(function, SHOOTDOWN.records).step
    while step(td, lay, SPEC, zapper_actor(lay, 0), 0):
        pass
    return td


def same(value: int) -> Any:
    source = f"@steps\ndef same(td, lay, rules, me):\n    yield store_release(td, lay.gate, {value})\n"
    return compiled(source, "same")


def test_two_functions_of_one_name_and_length_are_two_functions(monkeypatch, tmp_path):
    monkeypatch.setenv("TDX_STRESS_CACHE", str(tmp_path))
    lay = plan(1, 1, 1, 1)
    found = []
    for value in (11111, 22222):
        td = np.zeros(lay.total_words, np.int64)
        straight(SHOOTDOWN, same(value))(*passed(td, lay, SPEC, zapper_actor(lay, 0)))
        found.append(int(td[lay.gate]))

    assert found == [11111, 22222]


def test_a_step_machine_is_kept_for_what_its_functions_call_as_well(monkeypatch, tmp_path):
    monkeypatch.setenv("TDX_STRESS_CACHE", str(tmp_path))
    source = "@local\ndef called(value):\n    value += {}\n    return value\n\n\n" + HEAD
    body = "    x = yield load_acquire(td, 0)\n    x = called(x)\n    yield store_release(td, 1, x)\n"
    found = [stepped_through(compiled(source.format(value) + body, "f", local=local))[1] for value in (11111, 22222)]

    assert found == [11111, 22222]


def test_ctrl_c_while_llvm_hands_over_what_it_made_is_not_lost(monkeypatch):
    """In a function that LLVM calls Python would only print the exception."""
    monkeypatch.setattr(cache, "keep", lambda name, code: os.kill(os.getpid(), signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        made("interrupted", ("one",), {}, "def one(): return 1")
