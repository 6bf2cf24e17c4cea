"""A compiled step machine, to be entered from Python or, by its address, from compiled code."""

import ctypes
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from kernels.language.atomics import SEEN_ROOM, own, set_own
from kernels.language.cache import covers
from kernels.language.compile import ENTRY_WORDS, Native, digest_of, engine_of, place_of
from kernels.language.machine import Machine, step_machine
from kernels.language.straight import Names
from kernels.language.syntax import Steps
from kernels.layout import Actor


@dataclass(frozen=True, slots=True)
class Entered:
    """A compiled step machine. `step_at` and `choices_at` are addresses for `kernels.language.atomics.enter`.

    Its words are `words_with_room`: which ones a step looks at is noted before them.
    """

    step_at: int
    choices_at: int
    _step: Callable[..., int]
    _choices: Callable[..., int]
    _engine: Any  # holds the code
    name: str  # of its object code in the cache

    def step(self, words: np.ndarray, lay: Any, rules: Any, me: Actor, chosen: int) -> int:
        """Take one step on an array of words; see `kernels.language.machine`. `lay` and `rules` are records."""
        return self._step(_noted(words), place_of(lay), place_of(rules), *me, chosen)

    def choices(self, words: np.ndarray, lay: Any, rules: Any, me: Actor) -> int:
        """How many ways that step can go."""
        return self._choices(_noted(words), place_of(lay), place_of(rules), *me, 0)


def words_with_room(count: int) -> np.ndarray:
    """So many zeroed words, with the room before them in which compiled step machines note their accesses."""
    return np.zeros(SEEN_ROOM + count, np.int64)[SEEN_ROOM:]


def entered(function: Steps, records: Mapping[str, tuple[str, ...]]) -> tuple[Machine, Entered]:
    """The step machine and its compiled code, cached on disk; `records` are the fields of `lay` and `rules`."""
    names = Names()
    made = step_machine(function, names)
    values = {**names.values, "own": own, "set_own": set_own}

    @functools.cache
    def text() -> str:
        native = Native(records, made.source, values)
        for which in ("step", "choices"):
            native.entry(f"{made.name}_{which}")
        return native.text()

    called = [it for it in values.values() if isinstance(it, FunctionType)]
    said = [(name, f"{it.__module__}.{it.__qualname__}" if it in called else it) for name, it in values.items()]
    # The cache's own name covers what kernels call; the text of a step machine takes more time than all else here.
    name = f"native_{digest_of(repr((made.source, records, said)) if all(map(covers, called)) else text())}"
    engine = engine_of(text, name)
    step, choices = (int(engine.get_function_address(f"{made.name}_{which}_")) for which in ("step", "choices"))
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *([ctypes.c_int64] * len(ENTRY_WORDS)))
    return made, Entered(step, choices, kind(step), kind(choices), engine, name)


def _noted(words: np.ndarray) -> int:
    before = words.base
    if not isinstance(before, np.ndarray) or words.ctypes.data - before.ctypes.data < 8 * SEEN_ROOM:
        raise ValueError("words: expected an array of words_with_room(), found one without room before it")
    return int(words.ctypes.data)
