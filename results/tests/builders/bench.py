"""What the tests of benches start from: a record whose rounds hold what a test says."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from results.figures import FIGURES
from results.kinds.bench.record import Arm, Bench, Design, Race, Sweep
from results.tests.builders.run import HOST, SCENARIO
from results.verdict import Ending, Verdict, too_few

Value = Callable[[str, str, int], float | None]


def an_arm(arm: str, ordering: str, expect: str | tuple[str, ...] = "safe") -> Arm:
    """An ordering's place, without its parameters."""
    return Arm(arm=arm, ordering=ordering, title="A title", expect=expect, shootdown=("block", "remove"))


ARMS = (an_arm("A", "spec"), an_arm("A2", "spec"), an_arm("B", "v18"))


def a_race(number: int, point: str, place: int, arm: Arm, value: float | None, **changes: Any) -> Race:
    """A race all of whose figures have one value."""
    race = Race(
        round=number, point=point, place=place, arm=arm.arm, ordering=arm.ordering, seed=number, verdict=Verdict.passed,
        reason="nothing forbidden in 900 shootdowns that met a vCPU", ending=Ending.finished, seconds=0.5,
        all_shootdowns=1000, met_shootdowns=900, forbidden_shootdowns=0, outcomes={"fresh": 100_000}, steal_share=0.0,
        figures={figure.id: value for figure in FIGURES}, met=990, measured=1000,
    )  # fmt: skip
    return race.model_copy(update=changes)


def a_bench(
    rounds: int,
    value: Value,
    arms: Sequence[Arm] = ARMS,
    values: Sequence[int | float | str] = (),
    key: str = "vcpus",
    **changes: Any,
) -> Bench:
    """A bench whose figures are what `value(arm, point, round)` says; `values` are those of a sweep of `key`."""
    points = [f"{key}={one}" for one in values] or [""]
    races = [
        a_race(number, point, place, arm, value(arm.arm, point, number))
        for number in range(1, rounds + 1)
        for point in points
        for place, arm in enumerate(arms)
    ]
    bench = Bench(
        command=("tdx-stress", "bench"), version="0.1.0", commit=None, seed=1, started="2024-02-26T19:21:37Z",
        host={**HOST, "cpus_used": "0-3"}, scenario={**SCENARIO, "orderings": [arm.ordering for arm in arms]},
        design=Design(rounds=rounds, budget_s=None, duration_s=0.5, warmup_s=0.1, seed=1),
        sweep=Sweep(key=key, values=tuple(values), points=tuple(points)) if values else None, arms=tuple(arms),
        rounds=tuple(races),
    )  # fmt: skip
    return bench.model_copy(update=changes)


def with_races(bench: Bench, which: Callable[[Race], bool] = lambda race: True, **changes: Any) -> Bench:
    """The bench in which these races, or all, are changed; a change may be what it is by the race."""

    def changed(race: Race) -> Race:
        made = {key: change(race) if callable(change) else change for key, change in changes.items()}
        return race.model_copy(update=made)

    return bench.model_copy(update={"rounds": tuple(changed(race) if which(race) else race for race in bench.rounds)})


def thin(bench: Bench, met: int) -> Bench:
    """The bench in which of each race's 100 shootdowns so few met a vCPU that it says nothing."""
    few: dict[str, Any] = {"all_shootdowns": 100, "met_shootdowns": met, "reason": too_few(met, 100)}
    return with_races(bench, verdict=Verdict.inconclusive, **few)


def noisy(ratios: dict[str, float], noise: float = 0.05, seed: int = 1) -> Value:
    """Values around 1000, for each arm times its ratio; `noise` is the standard deviation of their logarithms."""
    rng = np.random.default_rng(seed)
    return lambda arm, point, number: float(1000 * ratios.get(arm, 1.0) * np.exp(noise * rng.standard_normal()))
