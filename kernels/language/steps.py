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
`straight.py` and `machine.py` translate; `generator.py` runs the generator itself.
"""

import ast
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from kernels.language import atomics
from kernels.language.parse import Parser
from kernels.language.syntax import (
    CHOICE_COUNTS,
    CHOICE_SAYS,
    CHOICE_WAYS,
    ENVIRONMENT,
    HARNESS_VALUES,
    KINDS,
    TOLD,
    LanguageError,
    Steps,
    copied,
    tree_of,
    where,
)


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
    count: Callable[..., int], way: Callable[..., int] | None = None, says: Any = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A choice of `count(td, lay, rules, me, *args)` ways. The function `(td, lay, rules, me, random, *args)` draws in
    a race; without `random` among its parameters it says itself which way a race goes.

    Elsewhere the value is the number of the way, from 0, or `way(td, lay, rules, me, number, *args)`. What the function
    takes behind the parameters of `count` is known to a race alone. `says`: what each way means in a story, with its
    number in the place of {}, the last one for all behind it; or a `kernels.story.events.Turn`.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        KINDS[function] = "choice"
        CHOICE_COUNTS[function] = count
        CHOICE_SAYS[function] = says
        if way is not None:
            CHOICE_WAYS[function] = way
        return function

    return mark


def harness(value: int = 0, *, told: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Only a race does this; everywhere else it is `value` and has no effect. One that is `told` a schedule that is
    told does, too, where it stands alone.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        KINDS[function] = "harness"
        HARNESS_VALUES[function] = value
        if told:
            TOLD.add(function)
        return function

    return mark


def steps(
    function: Callable[..., Any] | None = None,
    *,
    labelled: bool = True,
    in_place: bool = False,
    goal: bool = False,
    oracle: bool = False,
    span: Any = None,
    at: Mapping[str, Any] | None = None,
) -> Any:
    """Parse and check a function of steps. `labelled=False` for the innermost guest loop: it stores no labels.

    `in_place`: a straight line does not call it, but has its steps in the place of the call. That is one function less
    to compile, whose callees are compiled once more for each that calls it, and no field of the layout is read twice.
    `goal`: an endless actor comes here again and again, where all is well. `oracle`: its steps are no part of the
    protocol, and a trace does not keep them. `span`: what a story calls the time spent here, a
    `kernels.story.spans.Deed`; `at`: the same of single steps, by what they do: "store_release_mode".
    """
    said = {"labelled": labelled, "in_place": in_place, "goal": goal, "oracle": oracle, "span": span, "at": at or {}}
    if function is None:
        return lambda inner: steps(inner, **said)
    return Parser(function, **said).parse()


def like(base: Steps, span: Any = ..., **callees: Steps) -> Callable[[Callable[..., Any]], Steps]:
    """Mark a function of a docstring alone: it takes the steps of `base`, each name of `callees` in which means another
    function of steps. Its sites bear its own name and stand where those of `base` do; its `span` may be another, or
    none.

        @like(zapper, claim_page=claim_range, ...)
        def batch_zapper(td, lay, rules, me):
            \"""Shoot ranges down until told to stop.\"""
    """

    def mark(function: Callable[..., Any]) -> Steps:
        tree, inner = copied(tree_of(function)), base.source
        if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
            raise LanguageError(f"{where(function)}: {tree.name} is like {base.name}: it has a docstring and no steps")
        given, wanted = [argument.arg for argument in tree.args.args], [*ENVIRONMENT, *base.parameters]
        if given != wanted:
            raise LanguageError(f"{where(function)}: {tree.name} is like {base.name}: it takes {', '.join(wanted)}")
        for name in callees:
            if not isinstance(inner.__globals__.get(name), Steps) or name not in inner.__code__.co_names:
                raise LanguageError(f"{where(function)}: {base.name} has no steps of {name}")
        names = {**inner.__globals__, **callees}
        made = FunctionType(inner.__code__, names, function.__name__, None, inner.__closure__)
        made.__module__, made.__doc__ = function.__module__, function.__doc__
        said = {name: getattr(base, name) for name in ("labelled", "in_place", "goal", "oracle", "at")}
        return Parser(made, **said, span=base.span if span is ... else span).parse()

    return mark
