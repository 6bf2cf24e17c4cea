"""The corners of the step language and of what is built from it: refused, or the same in every translation."""

import os
import signal
from enum import IntFlag
from typing import Any

import numpy as np
import pytest

from kernels.language import cache
from kernels.language.atomics import ATOMIC, PLAIN, PYTHON, fetch_add_seq_cst, load_acquire, own, set_own, store_release
from kernels.language.compile import Native, engine_of
from kernels.language.entered import entered, words_with_room
from kernels.language.llvm import I64, emit_timestamp
from kernels.language.steps import local, op, steps
from kernels.language.syntax import LanguageError
from kernels.language.tests.test_compiled import on_arm, primitive_on_arm
from kernels.protocol import record
from kernels.race import lines as race
from kernels.race.weave import straight
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import plan, zapper_actor
from kernels.tests.orders import SPEC
from kernels.tests.programs import ACTOR, TOTAL_WORDS, WATCHED, Flags, Words, compiled
from kernels.tests.three_translations import Case, check

HEAD = "@steps\ndef f(td, lay, rules, me):\n"


def three_ways(body: str, before: str = "", **known: Any) -> None:
    source = before + HEAD + "\n".join(f"    {line}" for line in body.splitlines()) + "\n"
    check(compiled(source, "f", **known), Case(np.zeros(TOTAL_WORDS, np.int64), WATCHED, Words(), Flags(), ACTOR))


@local
def bumped(td, at):
    set_own(td, at, own(td, at) + 1)
    return own(td, at)


@local
def either(left, right):
    return left or right


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


def test_the_counter_of_aarch64_is_cntvct():
    lines = on_arm(lambda builder, _: emit_timestamp(builder, "aarch64"), I64, [])

    assert [line.lower() for line in lines] == ["mrs x0, cntvct_el0", "ret"]


def test_a_seq_cst_load_stays_behind_a_seq_cst_store_on_aarch64_with_rcpc():
    """exit_requested(): store_seq_cst(mode), then load_seq_cst(requests). ldapr might pass the stlr; ldar does not."""
    assert primitive_on_arm("load_seq_cst", "+rcpc") == "ldar"


STORED = "\nyield store_release(td, lay.b, x)"
REFUSED = {
    "a loop variable that a yield assigns": ("for i in range(3):\n    i = yield load_acquire(td, lay.a)", 4),
    "a division that is no integer": ("x = 1 / 2\nyield load_acquire(td, lay.a)", 3),
    "membership": ("x = 1 in lay.a\nyield load_acquire(td, lay.a)", 3),
    "a function of steps without a yield": ("return 3", 2),
    "a function that holds only a docstring": ('"""Nothing."""', 2),
    "a local with a name of the translator": ("_t1 = 5\nx = yield load_acquire(td, lay.a)", 3),
    "what reads words beside a yield": (f"x = own(td, lay.a) + (yield fetch_add_seq_cst(td, lay.a, 1)){STORED}", 3),
    "an argument with an effect": (f"x = either(1, bumped(td, lay.mine)){STORED}", 3),
    "an effect whose value is taken": (f"x = bumped(td, lay.mine){STORED}", 3),
    "an effect in a test": ("if bumped(td, lay.mine):\n    pass\nyield store_release(td, lay.b, 1)", 3),
    "a member that an enumeration has not": (f"x = Colour.GREEN{STORED}", 3),
    "a field of an enumeration that is no member": (f"x = Colour.mro{STORED}", 3),
    "two steps on one line": ("x = yield load_acquire(td, lay.a); yield store_release(td, lay.b, x)", 3),
}


@pytest.mark.parametrize(("body", "line"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_where_it_stands(body: str, line: int) -> None:
    source = HEAD + "\n".join(f"    {text}" for text in body.splitlines()) + "\n"
    with pytest.raises(LanguageError, match=f">:{line}: "):
        compiled(source, "f", bumped=bumped, either=either, Colour=Colour)


def test_a_local_named_as_a_function_used_elsewhere_keeps_its_value():
    other = "@steps\ndef g(td, lay, rules, me):\n    x = yield load_acquire(td, lay.a)\n    return larger(x, 4)\n\n\n"
    three_ways("x = yield from g(td, lay, rules, me)\nlarger = x + 1\nyield store_release(td, lay.b, larger)", other)


def test_an_effect_that_stands_alone_is_the_same_three_ways():
    three_ways("bumped(td, lay.mine)\nyield store_release(td, lay.b, 1)", bumped=bumped)


def test_a_local_function_may_call_a_builtin():
    three_ways("yield store_release(td, lay.b, at_least_two(1))", at_least_two=at_least_two)


def test_a_member_of_an_enumeration_is_a_constant():
    body = "for i in range(Colour.RED):\n    yield store_release(td, lay.b + i, mixed(i + Colour.RED) | ~Colour.BLUE)"
    three_ways(body, Colour=Colour, mixed=mixed)


def test_the_value_of_a_function_that_may_return_none_is_refused():
    other = "@steps\ndef g(td, lay, rules, me):\n    yield load_acquire(td, lay.a)\n\n\n"
    with pytest.raises(LanguageError, match=">:8: g does not end with a return"):
        three_ways("x = yield from g(td, lay, rules, me)\nyield store_release(td, lay.b, x + 1)", other)


def test_an_op_that_accesses_in_a_loop_is_refused():
    def twice_added(td, word):
        for _ in range(2):
            fetch_add_seq_cst(td, word, 1)

    with pytest.raises(LanguageError):
        op(twice_added)


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
    step = entered(function, SHOOTDOWN.records)[1].step
    while step(td, race.record(lay), race.record(SPEC), zapper_actor(lay, 0), 0):
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
        straight(SHOOTDOWN, same(value))(td, record(lay), record(SPEC), zapper_actor(lay, 0))
        found.append(int(td[lay.gate]))

    assert found == [11111, 22222]


def test_a_step_machine_is_kept_for_what_its_functions_call_as_well(monkeypatch, tmp_path):
    monkeypatch.setenv("TDX_STRESS_CACHE", str(tmp_path))
    source = "@local\ndef called(value):\n    value += {}\n    return value\n\n\n" + HEAD
    body = "    x = yield load_acquire(td, 0)\n    x = called(x)\n    yield store_release(td, 1, x)\n"
    found = [stepped_through(compiled(source.format(value) + body, "f", local=local))[1] for value in (11111, 22222)]

    assert found == [11111, 22222]


@pytest.mark.parametrize("name", ["fetch_add_seq_cst"])
def test_an_add_wraps_in_every_world(name):
    td = np.array([(1 << 63) - 1], np.int64)
    PYTHON[name](td, 0, 1)

    assert td[0] == -(1 << 63)


def test_every_primitive_is_in_every_world():
    assert set(PLAIN) == set(PYTHON) == set(ATOMIC)


def test_ctrl_c_while_llvm_hands_over_what_it_made_is_not_lost(monkeypatch):
    """In a function that LLVM calls Python would only print the exception."""
    monkeypatch.setattr(cache, "keep", lambda name, code: os.kill(os.getpid(), signal.SIGINT))
    native = Native(SHOOTDOWN.records, "def access(td, lay, rules, me): return 1")
    native.entry("access")

    with pytest.raises(KeyboardInterrupt):
        engine_of(native.text, "interrupted")
