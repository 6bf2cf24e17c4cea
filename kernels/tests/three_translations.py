"""One function of steps taken three ways as plain Python: the generator, the step machine, the straight line.

Nothing is compiled: generated source runs over the Python meaning of the primitives, so a drawn program costs nothing.
Choices come from one list, the same in all three.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import numpy as np

from kernels.language import resolve
from kernels.language.atomics import own
from kernels.language.entered import interpreted
from kernels.language.machine import DONE
from kernels.language.parse import subs
from kernels.language.resolve import Names
from kernels.language.syntax import CHOICE_COUNTS, CHOICE_WAYS, KINDS, If, Loop, Statement, Steps, Sub, is_drawn, sites
from kernels.layout import LABEL, RNG, Actor
from kernels.race.ring import SITE_BITS
from kernels.race.straight import BARE, straight_source
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tests.reference import Reference

Taken = tuple[str, tuple[int, ...]]  # a step, and the words that it found


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What one way did. `whole` is False where it was stopped after the most steps allowed; `value` is None then."""

    taken: list[Taken]
    words: list[int]
    value: int | None
    whole: bool


class _TooLong(Exception):
    """A straight line has no other way to be stopped."""


def _drawer(choices: Iterable[int]) -> Callable[[int], int]:
    """Answers `count` ways with one of them; where there is one way only, nothing is drawn."""
    drawn: Iterator[int] = itertools.chain(choices, itertools.repeat(0))
    return lambda count: 0 if count == 1 else next(drawn) % count


machine_of = functools.lru_cache(maxsize=128)(interpreted)


def _labelled(function: Steps) -> Steps:
    """The same with labels, as whatever stands in the place of its calls."""

    def again(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        return tuple(map(one, body))

    def one(statement: Statement) -> Statement:
        match statement:
            case Sub(function=inner) if inner.in_place:
                return dataclasses.replace(statement, function=_labelled(inner))
            case If(body=body, orelse=orelse):
                return dataclasses.replace(statement, body=again(body), orelse=again(orelse))
            case Loop(body=body, step=step):
                return dataclasses.replace(statement, body=again(body), step=again(step))
        return statement

    parsed = dataclasses.replace(function.parsed, body=again(function.body))
    return dataclasses.replace(function, labelled=True, parse=lambda _: parsed)


@functools.lru_cache(maxsize=128)
def _straight(function: Steps) -> tuple[str, Names]:
    """Source in which every function stores labels and calls its choices by name, and the names in it."""
    names, in_place = Names(), resolve._one_line
    labelled = map(_labelled, subs(function))
    with mock.patch.object(resolve, "_one_line", lambda one: None if KINDS[one] == "choice" else in_place(one)):
        return "\n\n".join(straight_source(SHOOTDOWN, one, names, BARE) for one in labelled), names


def run_machine(function: Steps, td: np.ndarray, lay: Any, rules: Any, me: Actor, until: str = "end") -> None:
    """The step machine on these words, from where it stands, until it is about to take the step of this site name.

    Choices go way 0. Raises RuntimeError after 10,000 steps.
    """
    made = machine_of(function)
    for _ in range(10_000):
        site = made.machine.sites[int(td[me.pc])] if td[me.pc] != DONE else None
        if (site is not None and site.name == until) or not made.step(td, lay, rules, me, 0):
            return
    raise RuntimeError(f"{function.name} did not come to {until} in 10,000 steps")


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """Where and with what a function runs. `watched`: the words that are compared, none of them a register."""

    words: np.ndarray
    watched: np.ndarray
    lay: Any
    rules: Any
    me: Actor
    arguments: tuple[int, ...] = ()
    choices: tuple[int, ...] = ()
    most: int = 150

    def seen(self, td: np.ndarray) -> tuple[int, ...]:
        return tuple(td[self.watched].tolist())


def _name(site: Any) -> str:
    """A choice is named by its function, for a straight line stores no label there."""
    return site.name if " " in site.text else site.text


def by_reference(function: Steps, case: Case) -> Run:
    """The generator itself."""
    td, draw = case.words.copy(), _drawer(case.choices)
    taken: list[Taken] = []
    run = Reference(function, td, case.lay, case.rules, case.me, *case.arguments)
    while not run.done and len(taken) < case.most:
        taken.append((_name(run.site), case.seen(td)))
        run.step(draw(run.choices))
    return Run(taken, list(case.seen(td)), (run.value or 0) if run.done else None, run.done)


def by_machine(function: Steps, case: Case) -> Run:
    """The step machine; `value` is always None. Fails where a register holds something that no local needs."""
    td, draw = case.words.copy(), _drawer(case.choices)
    taken: list[Taken] = []
    one = machine_of(function)
    made, step, ways = one.machine, one.step, one.choices
    for place, local in enumerate(made.held[0]):
        if local is not None:
            td[case.me.register + place] = case.arguments[function.parameters.index(local.rpartition("_")[0])]
    step(td, case.lay, case.rules, case.me, 0)
    while (label := int(td[case.me.pc])) != DONE and len(taken) < case.most:
        for place, local in enumerate(made.held[label]):
            assert local is not None or td[case.me.register + place] == 0
        taken.append((_name(made.sites[label]), case.seen(td)))
        step(td, case.lay, case.rules, case.me, draw(ways(td, case.lay, case.rules, case.me)))
    return Run(taken, list(case.seen(td)), None, label == DONE)


def by_straight_line(function: Steps, case: Case) -> Run:
    """The straight line, stopped where it is about to take one step more than allowed.

    Here the next random number is the last one and 1; fails where one is drawn twice, or the last one is not kept.
    """
    first = int(case.words[case.me.tally + RNG]) + 1
    td, draw = case.words.copy(), _drawer(case.choices)
    taken: list[Taken] = []
    drawn: list[int] = []

    def note(name: str) -> None:
        if len(taken) == case.most:
            raise _TooLong
        taken.append((name, case.seen(td)))

    def set_own(words: np.ndarray, index: int, value: int) -> None:
        if index == case.me.tally + LABEL:
            note(sites()[(value & (1 << SITE_BITS) - 1) - 1].name)
        else:
            words[index] = value

    def choosing(name: str, value: Any) -> Callable[..., int]:
        count: Any = CHOICE_COUNTS[value]
        way: Any = CHOICE_WAYS.get(value)

        def choose(*given: Any) -> int:
            note(name)
            arguments = given[4:]
            if is_drawn(value):
                drawn.append(given[4])
                arguments = given[5:]
            known = arguments[: count.__code__.co_argcount - 4]
            chosen = draw(count(*given[:4], *known))
            return chosen if way is None else int(way(*given[:4], chosen, *known))

        return choose

    source, names = _straight(function)
    space = {**names.values, "own": own, "set_own": set_own, "xorshift": lambda random: random + 1}
    space |= {"LABEL": LABEL, "RNG": RNG}
    for name, value in names.values.items():
        if KINDS.get(value) == "choice":
            space[name] = choosing(name, value)
    space["keep_met"] = lambda *given: None  # the harness's own mark of a page, which only a race makes
    exec(compile(source, f"<straight line of {function.name}>", "exec"), space)
    try:
        value = space[function.name](td, case.lay, case.rules, case.me, *case.arguments)
    except _TooLong:
        return Run(taken, [], None, False)
    assert drawn == list(range(first, first + len(drawn)))
    assert td[case.me.tally + RNG] == first + len(drawn) - 1
    return Run(taken, list(case.seen(td)), int(value), True)


def check(function: Steps, case: Case) -> Run:
    """Take all three ways and compare them step by step; returns what the generator did."""
    reference = by_reference(function, case)
    machine = by_machine(function, case)
    line = by_straight_line(function, case)

    assert machine.taken == reference.taken
    assert (machine.words, machine.whole) == (reference.words, reference.whole)
    assert line.taken == reference.taken
    assert line.whole == reference.whole
    if reference.whole:
        assert (line.words, line.value) == (reference.words, reference.value)
    return reference
