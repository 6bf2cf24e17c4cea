"""The language in which the protocol is written, once: generator functions whose yields mark atomic steps.

    @steps
    def mem_track(td, lay, rules, me):
        if not (yield try_lock_exclusive(td, lay.epoch_lock)):
            return OPERAND_BUSY | TD_EPOCH
        ...

Each `yield` is one access that others can see, or one locked read-modify-write, or one choice. The first four
parameters are the same everywhere: the words, the layout, the rules, the actor; the others and all locals are int64.
Integers of the file, and members of an enumeration, are constants.
There are assignments to names, `if`, `while`, `for` over `range`, `break`, `continue`, `return` and `yield from`; one
yield an expression. Anything else is a `LanguageError` with file and line: at import, but in the kernels' own sources
where a function is first wanted, as the tests have parsed all of them and a race takes what is compiled.

What a step may call is marked: `@op` one shared access (a primitive of `atomics` is one too), `@local` private work,
`@choice` the only nondeterminism inside an actor, `@harness` what only a race does (time, counters, CPU yields).
`kernels/race/straight.py` and `machine.py` translate; tests run the generator itself (`kernels/tests/reference.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any

from kernels.language.parse import Parser
from kernels.language.syntax import (
    CHOICE_COUNTS,
    CHOICE_SAYS,
    CHOICE_WAYS,
    DECLARED,
    HARNESS_VALUES,
    KINDS,
    TOLD,
    LanguageError,
    Steps,
    access_of,
    is_shipped,
    where,
)


def local(function: Callable[..., Any]) -> Callable[..., Any]:
    """Private work: arithmetic, and the actor's own words."""
    KINDS[function] = "local"
    return function


def op(function: Callable[..., Any]) -> Callable[..., Any]:
    """One shared access, made of exactly one primitive; `(td, word, ...)`."""
    if not is_shipped(function):
        access_of(function)
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
    says: Mapping[str, Any] | None = None,
) -> Any:
    """A function of steps, parsed and checked. `labelled=False` for the innermost guest loop: it stores no labels.

    `in_place`: a straight line does not call it, but has its steps in the place of the call. That is one function less
    to compile, whose callees are compiled once more for each that calls it, and no field of the layout is read twice.
    `goal`: an endless actor comes here again and again, where all is well. `oracle`: its steps are no part of the
    protocol, and a trace does not keep them. `span`: what a story calls the time spent here, a
    `kernels.story.spans.Deed`; `at`: the same of single steps, by what they do: "store_release_mode";
    `says`: what a protocol's own telling wants to know of one.
    """
    said: dict[str, Any] = {"labelled": labelled, "in_place": in_place, "goal": goal, "oracle": oracle}
    said |= {"span": span, "at": at or {}, "says": says or {}}
    if function is None:
        return lambda inner: steps(inner, **said)
    made = Steps(function.__name__, function, lambda its: Parser(its).parse(), **said)
    if not is_shipped(function):
        _ = made.parsed
    DECLARED.append(made)
    return made


def composed(root: Steps, layers: Sequence[Mapping[Steps, Steps]], name: str) -> Steps:
    """`root` and all that it calls, with what each layer has in the place of which function; called `name`.

        composed(vcpu, [{walk_to_leaf: walk_both_levels}, {before_requests: flush_vp}], "teardown_vcpu")

    A later layer is above an earlier one. What stands in a place may call that place itself: that is what is below it.
    It takes what the place takes. Sites and names of functions are those of the source, whatever is composed.
    """
    made: dict[tuple[Steps, int], Steps] = {}
    waiting: list[Steps] = []

    def top(place: Steps, below: int) -> tuple[Steps, int]:
        level = next((level for level in reversed(range(below)) if place in layers[level]), -1)
        found = layers[level][place] if level >= 0 else place
        if found.parameters != place.parameters:
            raise LanguageError(f"{where(found.source)}: {found.name} takes what {place.name} does: {place.parameters}")
        return found, level

    def anew(function: Steps, place: Steps, level: int) -> Steps:
        if (function, level) not in made:
            if function in waiting:
                raise LanguageError(f"{where(function.source)}: {function.name} stands in a place within itself")
            waiting.append(function)
            callees: dict[str, Any] = {}
            for called, known in function.calls.items():
                found, at = top(known, level if known is place else len(layers))
                if (callee := anew(found, known, at)) is not known:
                    callees[called] = callee
            waiting.pop()
            made[function, level] = anew_with(function, callees, function.name) if callees else function
        return made[function, level]

    found, level = top(root, len(layers))
    return anew_with(anew(found, root, level), {}, name)


def anew_with(function: Steps, callees: Mapping[str, Steps], name: str) -> Steps:
    """The same function of steps, in which these names mean these functions."""
    inner: Any = function.source
    made = FunctionType(inner.__code__, {**inner.__globals__, **callees}, inner.__name__, None, inner.__closure__)
    made.__module__, made.__doc__ = inner.__module__, inner.__doc__
    return replace(function, name=name, source=made)
