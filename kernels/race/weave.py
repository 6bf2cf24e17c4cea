"""What a race has built in around the steps of a straight line, and functions of steps compiled for it.

A labelled function stores, before each step, the step's site and word into its actor's LABEL word: a watchdog and a
trace know who stands where. A perturbed line looks before each step whether the actor is held up, a traced one keeps
the step in its ring behind it. What else stands there is the protocol's.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernels.language import atomics
from kernels.language.straight import Line, Names, answers, subs
from kernels.language.straight import straight_source as source_with
from kernels.language.syntax import ENVIRONMENT, Step, Steps
from kernels.layout import LABEL, RNG
from kernels.protocol import BuiltIn, Protocol
from kernels.race import tally
from kernels.race.ring import KEPT, SITE_BITS
from kernels.race.trace import KEEPERS, keep


@dataclass(frozen=True, slots=True)
class Variant:
    """How a straight line is compiled; what is off is not there at all.

    `perturbed`: before each labelled step the actor looks whether it loses its CPU, with the odds that the tally
    holds for the step's site, and whether the step is declared to take a time. `traced`: behind each labelled step it
    keeps the step in its ring (`kernels/race/trace.py`).
    """

    perturbed: bool = False
    traced: bool = False

    @property
    def suffix(self) -> str:
        """Names the variant's files in the cache: nothing where it is bare."""
        return "_perturbed" * self.perturbed + "_traced" * self.traced


BARE = Variant()


def straight_source(protocol: Protocol, function: Steps, names: Names, variant: Variant = BARE) -> str:
    """Source of one function of steps as a race runs it; see `kernels/language/straight.py`."""
    return source_with(function, names, Woven(protocol.built_in, variant))


def straight(protocol: Protocol, function: Steps, variant: Variant = BARE) -> Any:
    """The function of steps as a jitted `run(words, lay, rules, me)` of arrays, without the GIL; cached on disk.

    Everything is inlined: calls with their spills cost a shootdown a fifth of its time.
    """
    from kernels.language.jit import runnable  # who races nothing need not wait for numba

    names = Names()
    called = [one for one in subs(function) if one is function or not one.in_place]
    source = "\n\n\n".join(straight_source(protocol, one, names, variant) for one in called)
    extra = {"own": atomics.own, "set_own": atomics.set_own, "xorshift": tally.xorshift, "perturb": tally.perturb}
    values = {**names.values, **extra, "RNG": RNG, "LABEL": LABEL}
    return runnable(f"straight{variant.suffix}_{function.name}", source, function.name, values, protocol.records)


@dataclass(frozen=True, slots=True)
class Woven:
    """Labels, what the protocol has built in, and by the variant delays and a trace."""

    built_in: BuiltIn | None
    variant: Variant

    def step(self, line: Line, step: Step, arguments: Sequence[str], into: str | None) -> list[str]:
        """A labelled step, and what stands around it."""
        name = ast.unparse(step.call.func)
        target, rest = f"{into} = " if into else "", ", ".join(("td", "_word", *arguments[2:]))
        at = f"set_own(td, me.tally + LABEL, _word << {SITE_BITS} | {step.site.number})"
        perturb = [f"perturb(td, lay.perturb, {step.site.number}, me.tally)"] if self.variant.perturbed else []
        before = [f"_word = {arguments[1]}", at, *perturb]
        behind = self.built_in.behind_step(line, step, str(into)) if self.built_in else []
        if not self.variant.traced or line.function.oracle:
            return [*before, f"{target}{name}({rest})", *behind]
        label = f"_word << {SITE_BITS} | {step.site.number}"
        # Before the step, which may change what it is computed from.
        before.insert(0, f"_operand = {arguments[-1] if arguments[2:] else 0}")
        if not answers(line.names.values[name]):
            return [*before, f"{name}({rest})", line.call_of(keep, label, "_operand", "_operand"), *behind]
        seen = into or "_seen"
        return [*before, f"{seen} = {name}({rest})", line.call_of(keep, label, f"int({seen})", "_operand"), *behind]

    def behind(self, line: Line, function: Steps, target: str | None, arguments: tuple[ast.expr, ...]) -> list[str]:
        """What the protocol has built in behind the steps of a callee."""
        return self.built_in.behind_call(line, function, target, arguments) if self.built_in else []

    def beside(self, line: Line, call: ast.expr) -> list[str]:
        """What a traced line keeps of a call that is no step."""
        if not (self.variant.traced and isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            return []
        known: Any = line.function.source.__globals__  # type: ignore[attr-defined]
        mark = KEPT.get(known.get(call.func.id))
        if mark is None:
            return []
        arguments = [line.text(argument) for argument in call.args if ast.unparse(argument) not in ENVIRONMENT]
        return [line.call_of(KEEPERS[mark], *arguments)]
