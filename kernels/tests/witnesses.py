"""What tests of the explorer share: a whole search, a witness taken again, and how many of its moves are accesses."""

from collections.abc import Callable, Mapping

import pytest

from kernels.layout import OUTCOME_COUNTS
from kernels.search.explore import Exploration, explore
from kernels.search.schedule import Move, Schedule
from kernels.tdx.outcomes import Grade, Outcome
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Rules

ONE = Size(1, 1)
HARMLESS = {one.name for one in Outcome if one.grade in (Grade.acceptable, Grade.interesting)}
ALWAYS_LEGAL = {"stale_in_window", "stale_after_kick", "operand_busy", "fault", "page_already_accepted"}


def whole(rules: Rules, size: Size = ONE, /, **fields: int) -> Exploration:
    """A search to its end in which no invariant breaks."""
    found = explore(*of_flow(rules._replace(**fields)), size)
    assert found.complete and not found.broken
    return found


def errors(rules: Rules, size: Size = ONE, /, *, liveness: int = 0, **fields: int) -> tuple[set[str], int]:
    """What does harm of all that a search to its end shows, the invariants that break, and how many states it has."""
    found = explore(*of_flow(rules._replace(**fields)), size, threads=1, liveness=bool(liveness))
    assert found.complete
    return {*found.outcomes, *found.broken} - HARMLESS, found.states


def shows(rows: Mapping[str, tuple[Rules, Size, str, int]], *, liveness: int = 0) -> Callable[..., None]:
    """A test of each row: this machine shows this harm and no other, in so many states. With `liveness` its whole graph
    is looked at, too: whether somebody may wait for ever, which is "no_progress".
    """

    @pytest.mark.parametrize(("rules", "size", "harm", "states"), rows.values(), ids=rows)
    def test(rules: Rules, size: Size, harm: str, states: int) -> None:
        assert errors(rules, size, liveness=liveness) == ({*harm.split()}, states)

    return test


def machine(rules: Rules, size: Size) -> Schedule:
    """Everybody before their first step."""
    return Schedule(*of_flow(rules), size)


def counted(run: Schedule, outcome: str) -> int:
    """How often an outcome has been noted so far."""
    at = OUTCOME_COUNTS + Outcome[outcome]
    return sum(int(run.words[run.actor(name).tally + at]) for name in run.actors)


def taken_again(rules: Rules, size: Size, witness: tuple[Move, ...], outcome: str) -> list[int]:
    """After each move of a schedule, how often the outcome was seen. Raises ValueError for a move that cannot be."""
    run = machine(rules, size)
    seen = []
    for move in witness:
        run.step(move.actor, move.chosen)
        seen.append(counted(run, outcome))
    return seen


def shows_at_its_end(rules: Rules, size: Size, witness: tuple[Move, ...], outcome: str) -> bool:
    """Whether the last move of the schedule shows the outcome, once, and no move before it does."""
    return taken_again(rules, size, witness, outcome) == [0] * (len(witness) - 1) + [1]


def accesses(rules: Rules, size: Size, witness: tuple[Move, ...]) -> int:
    """The moves that are no choice: what a reduced search counts, as it takes a choice with the step before it."""
    run = machine(rules, size)
    return sum(" " in run.step(move.actor, move.chosen).text for move in witness)
