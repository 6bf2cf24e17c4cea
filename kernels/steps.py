"""The language in which the protocol is written, once: generator functions whose yields mark atomic steps.

    @steps
    def mem_track(td, lay, rules, me):
        if not (yield try_lock_exclusive(td, lay.epoch_lock)):
            return OPERAND_BUSY | TD_EPOCH
        ...

Each `yield` is one access that others can see, or one locked read-modify-write, or one choice. The first four
parameters are the same everywhere: the words, the layout, the rules, the actor; the others and all locals are int64.
There are assignments to names, `if`, `while`, `for` over `range`, `break`, `continue`, `return` and `yield from`; one
yield an expression. Anything else is a `LanguageError` at import, with file and line.

What a step may call is marked: `@op` one shared access (a primitive of `atomics` is one too), `@local` private work,
`@choice` the only nondeterminism inside an actor, `@harness` what only a race does (time, counters, CPU yields).
`straight.py` and `machine.py` translate; `reference.py` runs the generator itself.
"""

import ast
from collections.abc import Callable
from typing import Any

from kernels import atomics
from kernels.language import CHOICE_COUNTS, CHOICE_WAYS, HARNESS_VALUES, KINDS, LanguageError, tree_of, where
from kernels.parse import Parser


def local(function: Callable[..., Any]) -> Callable[..., Any]:
    """Private work: arithmetic, and the actor's own words."""
    KINDS[function] = "local"
    return function


def op(function: Callable[..., Any]) -> Callable[..., Any]:
    """One shared access, made of exactly one primitive; `(td, word, ...)`."""
    names = [
        node.func.id
        for node in ast.walk(tree_of(function))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in atomics.SHARED_ACCESSES
    ]
    if any(isinstance(node, ast.For | ast.While) for node in ast.walk(tree_of(function))):
        raise LanguageError(f"{where(function)}: an op is one shared access, {function.__name__} has a loop")
    if len(names) != 1:
        raise LanguageError(
            f"{where(function)}: an op is one shared access, {function.__name__} has {len(names)}: {names}"
        )
    KINDS[function] = "op"
    return function


def choice(
    count: Callable[..., int], way: Callable[..., int] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A choice of `count(td, lay, rules, me, *args)` ways. The function `(td, lay, rules, me, random, *args)` draws in
    a race; without `random` among its parameters it says itself which way a race goes.

    Elsewhere the value is the number of the way, from 0, or `way(td, lay, rules, me, number, *args)`. What the function
    takes behind the parameters of `count` is known to a race alone.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        KINDS[function] = "choice"
        CHOICE_COUNTS[function] = count
        if way is not None:
            CHOICE_WAYS[function] = way
        return function

    return mark


def harness(value: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Only a race does this; everywhere else it is `value` and has no effect."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        KINDS[function] = "harness"
        HARNESS_VALUES[function] = value
        return function

    return mark


def steps(function: Callable[..., Any] | None = None, *, labelled: bool = True) -> Any:
    """Parse and check a function of steps. `labelled=False` for the innermost guest loop: it stores no labels."""
    if function is None:
        return lambda inner: steps(inner, labelled=labelled)
    return Parser(function, labelled).parse()
