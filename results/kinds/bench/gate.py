"""A performance gate: `p99>+15%` fails where p99 grew by more than 15 % and a difference was shown.

[ORDERING:]FIGURE>+15%     the ratio may be at most 1.15
[ORDERING:]FIGURE<-5%      the ratio must be at least 0.95
[ORDERING:]FIGURE>1.2x     the same, as a ratio
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from results.figures import BY_ID, FIGURES
from results.kinds.bench.record import AGAIN, Comparison
from results.kinds.bench.wording import ratio_text
from results.verdict import Exit

State = Literal["held", "failed", "undecided"]
_GATE = re.compile(
    r"(?:(?P<ordering>[^:<>]+):)?\s*(?P<figure>[\w/.]+)\s*(?P<side>[<>])\s*"
    r"(?:(?P<percent>[+-]?\d+(?:\.\d+)?)\s*%|(?P<ratio>\d+(?:\.\d+)?)\s*x)",
    re.ASCII,
)
NAMES = {name: figure.id for figure in FIGURES for name in (figure.id, *figure.also)}


class GateError(ValueError):
    """A gate that cannot be read; `str()` is one line for the user."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit on the ratio of one figure, for one ordering or (None) for all. `above`: beyond is above the limit."""

    text: str
    figure: str
    above: bool
    limit: float
    ordering: str | None = None

    def beyond(self, ratio: float) -> bool:
        """Whether the ratio is on the wrong side."""
        return ratio > self.limit if self.above else ratio < self.limit

    def beyond_of(self, one: Comparison) -> bool:
        """The same of a comparison; where there is no ratio, because a value is 0, its values decide."""
        if one.ratio is not None:
            return self.beyond(one.ratio)
        reference, value = one.reference or 0.0, one.value or 0.0
        return value > self.limit * reference if self.above else value < self.limit * reference


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a gate says: failed, held, or undecided where the rounds cannot tell; and why, in one line."""

    gate: Gate
    state: State
    why: str


def parse_gate(text: str) -> Gate:
    """The gate of `--fail-if`. Raises GateError."""
    parts = _GATE.fullmatch(text.strip())
    if not parts:
        raise GateError(f'--fail-if: expected FIGURE>+15%, such as "p99>+15%" or "v18:reads/s<-5%", found "{text}"')
    name = parts["figure"]
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(BY_ID)}"
        raise GateError(f'--fail-if: unknown figure "{name}"; {hint}')
    above = parts["side"] == ">"
    limit = float(parts["ratio"]) if parts["ratio"] else 1 + float(parts["percent"]) / 100
    ordering = parts["ordering"].strip() if parts["ordering"] else None
    # Rounded, so that +15% is 1.15 and no neighbour of it.
    gate = Gate(text.strip(), NAMES[name], above, round(limit, 9), ordering)
    if gate.limit <= 0 or gate.beyond(1.0):
        wanted = "a limit of +0% or more" if above else "a limit from -99% to -0%"
        raise GateError(
            f'--fail-if: expected {wanted} after "{parts["side"]}", found "{text}": it fails where nothing differs'
        )
    return gate


def judged(gate: Gate, comparisons: Iterable[Comparison], points: Sequence[str] = ("",)) -> Outcome:
    """The gravest of what the gate says of each comparison it is about; never of the A/A arm."""
    its = [one for one in comparisons if one.arm != AGAIN and one.figure == gate.figure and one.point in points]
    about = [one for one in its if gate.ordering in (None, one.ordering)]
    if not about:
        return Outcome(gate, "undecided", f"{gate.ordering or 'no ordering'} was not compared")
    outcomes = [_judged(gate, one) for one in about]
    return next((o for state in ("failed", "undecided") for o in outcomes if o.state == state), outcomes[0])


def _judged(gate: Gate, one: Comparison) -> Outcome:
    where = f"{one.ordering}{f' at {one.point}' if one.point else ''}: {BY_ID[one.figure].words} {one.verdict_text}"
    if one.finding in ("too_few", "not_comparable") or one.ratio is one.value is None:
        return Outcome(gate, "undecided", where)
    if not gate.beyond_of(one):
        return Outcome(gate, "held", where)
    if one.finding == "differs":
        return Outcome(gate, "failed", f"{where}; the limit is {ratio_text(gate.limit)}")
    return Outcome(gate, "undecided", f"{where}: beyond the limit of {ratio_text(gate.limit)}, and may be noise")


def gate_lines(outcomes: Sequence[Outcome]) -> Iterable[Text]:
    words = {"held": ("held", "green"), "failed": ("FAILED", "bold red"), "undecided": ("undecided", "yellow")}
    for outcome in outcomes:
        yield Text.assemble(f"gate {outcome.gate.text} ", words[outcome.state], f": {outcome.why}")


def gates_code(outcomes: Iterable[Outcome]) -> int:
    """The exit code."""
    states = {outcome.state for outcome in outcomes}
    if "failed" in states:
        return Exit.GATE_FAILED.value
    return (Exit.INCONCLUSIVE if "undecided" in states else Exit.MET).value
