"""A step machine that is taken a step at a time: compiled, or run by Python."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.language.atomics import own, set_own
from kernels.language.compile import compiled
from kernels.language.llvm import SEEN_ROOM
from kernels.language.machine import Machine, step_machine
from kernels.language.resolve import Names
from kernels.language.syntax import Steps


@dataclass(frozen=True, slots=True)
class Entered:
    """A step machine with its two functions, see `kernels.language.machine`: `step(words, lay, rules, me, chosen)` and
    how many ways that step can go, `choices(words, lay, rules, me)`.

    Compiled ones note before their words, which are `words_with_room`, which ones a step looks at; from compiled code
    they are entered by their `address`.
    """

    machine: Machine
    step: Any
    choices: Any


def words_with_room(count: int) -> np.ndarray:
    """So many zeroed words, with the room before them in which compiled step machines note their accesses."""
    return np.zeros(SEEN_ROOM + count, np.int64)[SEEN_ROOM:]


def entered(function: Steps, records: Mapping[str, tuple[str, ...]]) -> Entered:
    """Compiled, or from the cache; `records` are the fields of `lay` and `rules`."""
    made, step, choices, values = _made(function, ())
    code = compiled("native", (step, choices), records, made.source, values, raced=False)
    return Entered(made, getattr(code, step), getattr(code, choices))


def interpreted(function: Steps, kept: Container[Any] = ()) -> Entered:
    """Run by Python: nothing is compiled, so a single schedule is at its end in a fraction of a second. `kept` is that
    of `step_machine`.
    """
    made, step, choices, values = _made(function, kept)
    exec(compile(made.source, f"<step machine of {made.name}>", "exec"), values)
    return Entered(made, values[step], values[choices])


def _made(function: Steps, kept: Container[Any]) -> tuple[Machine, str, str, dict[str, Any]]:
    """The machine, what its functions are called, and what the names in its source mean."""
    names = Names()
    made = step_machine(function, names, kept)
    return made, f"{made.name}_step", f"{made.name}_choices", {**names.values, "own": own, "set_own": set_own}
