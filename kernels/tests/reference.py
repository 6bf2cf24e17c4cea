"""The generator itself, run by Python one step at a time: the obvious meaning that the translations are tested
against.
"""

import functools
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any, ClassVar

from kernels.language.syntax import CHOICE_COUNTS, CHOICE_WAYS, HARNESS_VALUES, Site, Steps, kind_of, short_path, sites


@dataclass(frozen=True, slots=True)
class Choice:
    """A step that waits for one of `count` choices; `value` is what the step gives for the number of one."""

    count: int
    value: Callable[[int], int]


class Reference:
    """The generator itself, one step at a time: slow and obvious. Driven like the step machine."""

    _generators: ClassVar[dict[Steps, Callable[..., Any]]] = {}

    def __init__(self, function: Steps, td: Any, lay: Any, rules: Any, me: Any, *args: int) -> None:
        self.value: int | None = None
        self.site: Site | None = None
        self._run = self._generator(function)(td, lay, rules, me, *args)
        self._sites = {(site.function, site.file, site.line): site for site in sites()}
        self._pending: Any = None
        self._advance(None)

    @classmethod
    def _generator(cls, function: Steps) -> Callable[..., Any]:
        if function not in cls._generators:
            source: Any = function.source
            space: dict[str, Any] = {**source.__globals__, **inspect.getclosurevars(source).nonlocals}
            for name in (*source.__code__.co_names, *source.__code__.co_freevars):
                if name in space:
                    space[name] = cls._deferred(space[name])
            closure = tuple(CellType(space[name]) for name in source.__code__.co_freevars)
            made = FunctionType(source.__code__, space, source.__name__, None, closure)
            cls._generators[function] = made if inspect.isgeneratorfunction(made) else _without_steps(made)
        return cls._generators[function]

    @classmethod
    def _deferred(cls, value: Any) -> Any:
        """What a name means inside the generator: an access is put off until its step is taken."""
        kind = kind_of(value)
        if kind == "steps":
            return cls._generator(value)
        if kind == "op":
            return lambda *args: lambda: value(*args)
        if kind == "choice":
            count = CHOICE_COUNTS[value]
            return functools.partial(cls._choice, count, CHOICE_WAYS.get(value), count.__code__.co_argcount)  # type: ignore[attr-defined]
        if kind == "harness":
            return lambda *args, value=value: HARNESS_VALUES[value]
        return value

    @staticmethod
    def _choice(count: Callable[..., int], way: Callable[..., int] | None, arity: int, *args: Any) -> Choice:
        known = args[:arity]
        if way is None:
            return Choice(count(*known), int)
        return Choice(count(*known), lambda chosen: way(*known[:4], chosen, *known[4:]))

    def _advance(self, result: Any) -> None:
        try:
            self._pending = self._run.send(result)
        except StopIteration as stop:
            self._pending, self.site, self.value = None, None, stop.value
            return
        inner: Any = self._run
        while inner.gi_yieldfrom is not None:
            inner = inner.gi_yieldfrom
        file, line = short_path(inner.gi_code.co_filename), inner.gi_frame.f_lineno
        self.site = self._sites.get((inner.__name__, file, line))

    @property
    def done(self) -> bool:
        """Whether the function has returned; its value is in `value`."""
        return self._pending is None

    @property
    def choices(self) -> int:
        """How many ways the next step can go."""
        return self._pending.count if isinstance(self._pending, Choice) else 1

    def step(self, chosen: int = 0) -> None:
        """Take the next step, then the private work up to the one after it."""
        self._advance(self._pending.value(chosen) if isinstance(self._pending, Choice) else self._pending())


def _without_steps(function: Callable[..., Any]) -> Any:
    """The generator of a function that takes no step; see `in_place`."""

    def run(*args: Any) -> Generator[Any, Any, Any]:
        return function(*args)
        yield

    return run
