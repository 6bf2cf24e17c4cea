"""One round of a bench: every point's arms in fresh processes, in an order shuffled by the seed, and what comes out."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from results.collect.race import Run
from results.figures import figures_of
from results.kinds.bench.record import AGAIN, REFERENCE, Arm, Race, array_name
from results.kinds.run.tables import forbidden_shootdowns
from results.numbers.rounds import met_of
from results.verdict import Ending, Verdict
from scenarios.models import Ordering
from scenarios.reals import ARMS
from stress.bench.design import Point
from stress.errors import HarnessFault
from stress.interrupts import Interrupts
from stress.processes.prepared import Prepared
from stress.processes.race import Tally, race
from stress.processes.supervisor import Watch

# Of a run as it is.
KEPT = ("verdict", "reason", "ending", "seconds", "all_shootdowns", "steal_share")
# Rounds have seeds of their own, all arms of a round the same one.
SEED_STEP, SEEDS = 1_000_003, 1 << 63


@dataclass(frozen=True, slots=True)
class Turn:
    """One race that is due. `place` is its turn within the round, from 0."""

    round: int
    place: int
    arm: str
    ordering: Ordering
    point: Point
    seed: int


def arms(
    orderings: Sequence[Ordering],
    *,
    perturbed: bool,
    real: bool = False,
    changed: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> tuple[Arm, ...]:
    """The first ordering as A and again as A2, then B, C, ... AA, AB where there are more than 26."""
    named = [(REFERENCE, orderings[0]), (AGAIN, orderings[0])]
    named += [(_letters(place), ordering) for place, ordering in enumerate(orderings[1:], start=1)]
    return tuple(
        Arm(
            arm=arm,
            ordering=ordering.name,
            title=ordering.title,
            source=ordering.source,
            expect=ordering.expect,
            shootdown=() if real and ordering.name in ARMS else ordering.shootdown,
            perturbed=perturbed,
            parameters={} if real else ordering.model_dump(mode="json"),
            changed=changed.get(ordering.name, {}).get("changed", {}),
        )
        for arm, ordering in named
    )


def _letters(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else _letters(place // 26 - 1) + chr(ord("A") + place % 26)


def turns(number: int, seed: int, points: Sequence[Point], orderings: Mapping[str, Ordering]) -> list[Turn]:
    """The races of this round (from 1): the points shuffled, and within each the arms, by the recorded seed.

    The arms of a point run one right after the other, as it is them that are compared.
    """
    shuffled = random.Random(f"{seed}/{number}")
    order = [
        (point, arm)
        for point in shuffled.sample(points, len(points))
        for arm in shuffled.sample(list(orderings), len(orderings))
    ]
    race_seed = (seed + number * SEED_STEP) % SEEDS
    return [Turn(number, place, arm, orderings[arm], point, race_seed) for place, (point, arm) in enumerate(order)]


def run_round(
    prepared: Prepared,
    due: Sequence[Turn],
    interrupts: Interrupts,
    show: Callable[[Turn], Callable[[Tally], Watch]],
    racer: Callable[..., Run] = race,
) -> tuple[list[Race], dict[str, NDArray[Any]]] | None:
    """The races in the order in which they ran, and their arrays; None where the user had enough before the end. Raises
    HarnessFault, also where one did not come to its end for any other reason.
    """
    races: list[Race] = []
    arrays: dict[str, NDArray[Any]] = {}
    for turn in due:
        if interrupts:
            return None
        scenario = turn.point.scenario.model_copy(update={"seed": turn.seed})
        run = racer(prepared, turn.ordering, scenario, interrupts, show(turn))
        if run.json["ending"] == Ending.interrupted:
            return None
        if run.json["verdict"] in (Verdict.crashed, Verdict.hung):
            where = f" at {turn.point.name}" if turn.point.name else ""
            notes = "; ".join([run.json["reason"], *run.json["notes"]])
            raise HarnessFault(f"round {turn.round}: {turn.ordering.name}{where} {run.json['verdict']}: {notes}")
        races.append(_raced(turn, run))
        arrays |= _kept(turn, run)
    return races, arrays


def _raced(turn: Turn, run: Run) -> Race:
    json = run.json
    return Race(
        round=turn.round,
        point=turn.point.name,
        place=turn.place,
        arm=turn.arm,
        ordering=turn.ordering.name,
        seed=turn.seed,
        met_shootdowns=json["met"]["shootdowns"],
        forbidden_shootdowns=forbidden_shootdowns(json),
        outcomes={outcome["id"]: outcome["count"] for outcome in json["outcomes"] if outcome["count"]},
        figures=figures_of(json),
        **{key: json[key] for key in KEPT},
        own_share=json.get("own_share"),
        **met_of(json)._asdict(),
    )


def _kept(turn: Turn, run: Run) -> dict[str, NDArray[Any]]:
    """The race's histograms and ages; its time series is too much to keep of so many races."""
    prefix = f"{turn.ordering.name}/"
    kept = {name.removeprefix(prefix): array for name, array in run.arrays.items()}
    return {
        array_name(turn.point.name, turn.arm, name): array
        for name, array in kept.items()
        if name == "ages" or name.startswith("hist/")
    }
