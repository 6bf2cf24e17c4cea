"""What an outcome of a stored result means for an ordering; results/README.md has them as tables."""

from typing import NamedTuple

from kernels.tdx.outcomes import Grade, Outcome
from kernels.tdx.rules import Flow


class Meaning(NamedTuple):
    """What stands for an outcome that is not declared: a grade, and one line of why."""

    grade: Grade
    why: str


UNDECLARED = Meaning(Grade.unknown, "undeclared: unknown fails")
FAILING = frozenset({Grade.forbidden, Grade.unknown})


def meaning(outcome_id: str) -> Outcome | Meaning:
    """What the outcome of this id means; UNDECLARED where no such outcome is declared."""
    return Outcome[outcome_id] if outcome_id in Outcome.__members__ else UNDECLARED


def grade_of(outcome_id: str) -> Grade:
    """The grade of an outcome by its id; `unknown` where no such outcome is declared."""
    return meaning(outcome_id).grade


def why(outcome_id: str) -> str:
    """One line that says what the outcome means."""
    return meaning(outcome_id).why


def declared(flow: int) -> tuple[Outcome, ...]:
    """The outcomes that some step of a flow can raise: of no other is a zero worth telling."""
    from kernels.tdx.raising import raisable

    return tuple(sorted(raisable(Flow(flow))))
