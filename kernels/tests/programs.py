"""Small programs in the step language, drawn by hypothesis as source text, for a machine of three shared words.

Drawn source goes into linecache, where `inspect` finds it as it finds a file. Values stay small: every store, every
added number and every assigned sum is masked. Loops are bounded, but for those whose test is a step: who runs a program
stops it.
"""

import itertools
import linecache
from random import Random
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from kernels.language.atomics import (
    compare_exchange_seq_cst,
    exchange_seq_cst,
    fetch_add_seq_cst,
    fetch_or_seq_cst,
    load_acquire,
    own,
    set_own,
    store_release,
)
from kernels.language.steps import choice, harness, local, op, steps
from kernels.language.syntax import Steps
from kernels.layout import Actor


class Words(NamedTuple):
    """Three shared words and one of the actor's own."""

    a: int = 0
    b: int = 1
    c: int = 2
    mine: int = 3


class Flags(NamedTuple):
    """What a program reads as rules."""

    flag: int = 1


WATCHED = np.arange(4)
ACTOR = Actor(index=1, tally=8, pc=40, register=41)
TOTAL_WORDS = 80


@op
def taken(td, word):
    return compare_exchange_seq_cst(td, word, 0, 1) == 0


@local
def twice(value):
    return value + value


@local
def larger(left, right):
    best = left
    if right > left:
        best = right
    return best


@local
def word_of(lay, which):
    return lay.a + (which & 1)


@local
def bump(td, lay):
    """Private work with an effect, on a word that no step touches."""
    set_own(td, lay.mine, (own(td, lay.mine) + 1) & 15)


@harness()
def measure(td, me):
    set_own(td, me.tally + 20, own(td, me.tally + 20) + 1)


@local
def two(td, lay, rules, me):
    return 2


@local
def so_many(td, lay, rules, me, more):
    return 1 + (more & 3)


@choice(two)
def coin(td, lay, rules, me, random):
    return random & 1


@choice(so_many)
def die(td, lay, rules, me, random, more):
    return random % (1 + (more & 3))


_KNOWN: dict[str, Any] = {"THREE": 3} | {
    made.__name__: made
    for made in (
        *(taken, twice, larger, word_of, bump, measure, coin, die, steps, own, set_own, load_acquire, store_release),
        *(fetch_add_seq_cst, fetch_or_seq_cst, exchange_seq_cst, compare_exchange_seq_cst),
    )
}
_numbers = itertools.count(1)


def compiled(source: str, name: str, **known: Any) -> Steps:
    """The function of steps of that name in this source. Raises LanguageError as at an import."""
    file = f"<drawn {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space = {"__name__": "drawn", **_KNOWN, **known}
    exec(compile(source, file, "exec"), space)
    made: Steps = space[name]
    return made


class _Writer:
    """Draws the lines of one function. `callees` are the functions of steps above it, each with two parameters."""

    def __init__(self, random: Random, callees: tuple[str, ...], statements: int, deepest: int) -> None:
        self.random = random
        self.statements, self.deepest = statements, deepest
        self.callees = callees
        self.loops = 0

    def one(self, *ways: Any) -> Any:
        return self.random.choice(ways)

    def number(self, names: tuple[str, ...]) -> str:
        """An expression of locals."""
        left, right = (
            self.one(*names, "2", "THREE"),
            self.one(*names, "0", "1", "rules.flag", "(1 if me.index == 1 else 0)"),
        )
        forms = (left, f"{left} + {right}", f"{left} - {right}", f"({left} ^ {right})", f"twice({left})", f"-{left}")
        number: str = self.one(
            *forms, f"larger({left}, {right})", f"({left} if {right} > 1 else {right})", f"(not {left})"
        )
        return number

    def access(self, names: tuple[str, ...]) -> str:
        """A call for a yield whose value is a number."""
        word = self.one("lay.a", "lay.b", "lay.c", f"word_of(lay, {self.one(*names)})")
        number = self.number(names)
        access: str = self.one(
            f"load_acquire(td, {word})",
            f"fetch_add_seq_cst(td, {word}, ({number}) & 3)",
            f"fetch_or_seq_cst(td, {word}, ({number}) & 7)",
            f"exchange_seq_cst(td, {word}, ({number}) & 7)",
            f"compare_exchange_seq_cst(td, {word}, ({number}) & 1, ({number}) & 3)",
            f"taken(td, {word})",
            "coin(td, lay, rules, me)",
            f"die(td, lay, rules, me, {number})",
        )
        return access

    def sub(self, names: tuple[str, ...]) -> str:
        return f"{self.one(*self.callees)}(td, lay, rules, me, {self.number(names)}, {self.number(names)})"

    def block(self, depth: int, counted: tuple[str, ...], in_loop: bool) -> list[str]:
        many = self.statements if depth == 0 else self.one(1, 2, 3)
        return [f"    {line}" for _ in range(many) for line in self.statement(depth, counted, in_loop)]

    def statement(self, depth: int, counted: tuple[str, ...], in_loop: bool) -> list[str]:
        names, to = ("x", "y", "z", *counted), self.one("x", "y", "z")
        kinds = ["let", "step", "step", "store", "sum", "add", "effect", "return"]
        kinds += ["sub", "sub"] if self.callees else []
        kinds += ["break", "continue", "continue"] if in_loop else []
        kinds += ["if", "if step", "for", "while", "while step"] if depth <= self.deepest else []
        match self.one(*kinds):
            case "let":
                return [f"{to} = ({self.number(names)}) & 15"]
            case "step":
                return [f"{to} = yield {self.access(names)}"]
            case "store":
                return [f"yield store_release(td, lay.{self.one('a', 'b', 'c')}, ({self.number(names)}) & 7)"]
            case "sum":
                return [f"{to} = {self.one(*names)} - (yield {self.access(names)})"]
            case "add":
                return [f"{to} += yield {self.access(names)}"]
            case "effect":
                return [
                    self.one("bump(td, lay)", "measure(td, me)", f"set_own(td, lay.mine, ({self.number(names)}) & 7)")
                ]
            case "return":
                return [f"if {self.number(names)} == 2:", f"    return ({self.number(names)}) & 15"]
            case "sub":
                return [self.one(f"{to} = ", "") + f"yield from {self.sub(names)}"]
            case "break" | "continue" as leave:
                return [f"if {self.number(names)} & 1:", f"    {leave}"]
            case "if":
                test = self.number(names)
            case "if step":
                test = self.one("(yield {}) == 1", "not (yield {})", "1 < (yield {})").format(self.access(names))
            case "for":
                self.loops += 1
                counter, start = f"i{self.loops}", self.one("", "", "1, ")
                head = f"for {counter} in range({start}({self.number(names)}) & 3):"
                return [head, *self.block(depth + 1, (*counted, counter), True)]
            case "while":
                self.loops += 1
                counter = f"n{self.loops}"
                body = self.block(depth + 1, counted, True)
                return [
                    f"{counter} = 0",
                    f"while {counter} < ({self.number(names)}) & 3:",
                    f"    {counter} += 1",
                    *body,
                ]
            case "while step":
                return [f"while (yield {self.access(names)}) & 1:", *self.block(depth + 1, counted, True)]
        then, orelse = self.block(depth + 1, counted, in_loop), self.block(depth + 1, counted, in_loop)
        return [f"if {test}:", *then, *self.one([], ["else:", *orelse])]

    def function(self, name: str, parameters: tuple[str, ...]) -> str:
        """Source of a function whose locals x, y, z are its parameters, where it has them."""
        start = [f"    {one} = 1" for one in ("x", "y", "z") if one not in parameters]
        head = f"@steps\ndef {name}({', '.join(('td', 'lay', 'rules', 'me', *parameters))}):"
        first = ["    yield load_acquire(td, lay.a)"]
        return "\n".join([head, *start, *first, *self.block(0, (), False), "    return (x + twice(y) - z) & 15", ""])


def programs() -> st.SearchStrategy[str]:
    """Source of `program`, and of up to two functions of steps that it and one another call.

    Drawn from a seed: every program is another one. A failing one comes back with few statements, not deep.
    """

    def program(statements: int, deepest: int, seed: int) -> str:
        random = Random(seed)
        callees: tuple[str, ...] = ()
        sources = []
        for name in ("inner", "middle")[: random.randrange(3)]:
            sources.append(_Writer(random, callees, statements, deepest).function(name, ("x", "y")))
            callees = (*callees, name)
        return "\n\n".join([*sources, _Writer(random, callees, statements, deepest).function("program", ())])

    return st.builds(program, st.integers(1, 7), st.integers(0, 2), st.integers(0, 1 << 32))
