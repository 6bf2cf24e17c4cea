"""What a bench was asked for, and what it comes to: arms, points, and how many rounds of how long races.

A budget is first spent on `MIN_ROUNDS` rounds, with shorter races where it must be, then on more rounds: the round is
what the statistics count.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scenarios.costs import COSTS
from scenarios.loader import DEFAULT_SCENARIO, ScenarioError, apply_settings, load_scenario, with_options
from scenarios.models import Ordering, Scenario
from scenarios.reals import SET, is_real
from scenarios.settings import SCENARIO_KEYS
from scenarios.wording import shown, unknown
from stress.bench.beside import beside
from stress.errors import UsageFault
from stress.options import BenchRequest
from stress.resolve import budget_seconds, changes_of, check_read, resolve
from stress.sweeps import axes

MIN_ROUNDS, MAX_ROUNDS = 10, 9_999
MAX_POINTS = 64
RACE_S, WARMUP_S, MIN_RACE_S = 1.0, 0.25, 0.1
# Of a race whose length a budget decides, as much is warm-up.
WARMUP_SHARE = 0.2
# What a race takes besides: to fork, line up, stop and reap.
BESIDE_S, BESIDE_ACTOR_S = 0.06, 0.006
NOT_SWEPT = ("seed", "duration_s", "warmup_s", "watchdog_s", "yields", "delays", "costs")


@dataclass(frozen=True, slots=True)
class Point:
    """One value of the sweep and the scenario that it makes; the name is "" and the value None without a sweep."""

    name: str
    value: Any
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Experiment:
    """The bench as it shall be: the first ordering is the reference, and raced twice."""

    scenario: Scenario
    orderings: Sequence[Ordering]
    sweep_key: str | None
    points: Sequence[Point]
    rounds: int
    budget_s: float | None
    changed: Mapping[str, Any] = field(default_factory=dict)  # of the scenario and the orderings, by options
    real: bool = False  # arms are ways to kick, and the kernel's own shootdowns: `stress/bench/beside.py`

    @property
    def races(self) -> int:
        """Races in a round."""
        return len(self.points) * (len(self.orderings) + 1)


def design(request: BenchRequest) -> Experiment:
    """Everything resolved and checked. Raises ScenarioError and UsageFault."""
    budget_s = checked_budget(request)
    rounds = MIN_ROUNDS if request.rounds is None else checked_rounds(request.rounds)
    listed = [name.strip() for name in request.listed.split(",")] if request.listed else []
    named = (*listed, *request.orderings)
    request = request._replace(scenario=request.scenario or DEFAULT_SCENARIO, orderings=named)
    real = is_real(request.scenario)
    scenario, orderings = beside(request, named) if real else resolve(request)
    unsafe = [ordering for ordering in orderings if not ordering.safe]
    if unsafe and not request.include_unsafe:
        raise UsageFault(
            f"ordering {shown(unsafe[0].name)} is known to be wrong ({', '.join(unsafe[0].expect)}): "
            "a fast wrong order is no result; --include-unsafe races it and marks it"
        )
    chosen = _chosen_times(request)
    scenario = with_options(
        scenario,
        duration_s=None if "duration_s" in chosen else RACE_S,
        warmup_s=None if "warmup_s" in chosen else WARMUP_S,
    )
    key, values = _axis(request.sweep, SET if real else SCENARIO_KEYS)
    scenarios = _scenarios(scenario, orderings, key, values)
    if key is not None:
        for one in scenarios:
            check_read(one, orderings, {key: "--sweep"})
    changes = {} if real else changes_of(request, scenario, orderings)
    if budget_s is not None:
        free = [key for key in ("duration_s", "warmup_s") if key not in chosen]
        rounds, scenarios = fitted(budget_s, len(orderings) + 1, scenarios, free=free)
        scenario = with_options(scenario, duration_s=scenarios[0].duration_s, warmup_s=scenarios[0].warmup_s)
    return Experiment(scenario, orderings, key, points(key, scenarios), rounds, budget_s, changes, real)


def points(key: str | None, scenarios: Sequence[Scenario]) -> list[Point]:
    """The points of these scenarios along the axis `key`."""
    if key is None:
        return [Point("", None, scenarios[0])]
    head, dot, rest = key.partition(".")
    values = [getattr(scenario, head)[rest] if dot else getattr(scenario, head) for scenario in scenarios]
    return [Point(f"{key}={value}", value, one) for value, one in zip(values, scenarios, strict=True)]


def checked_rounds(rounds: int) -> int:
    """The number asked for. Raises UsageFault where it is too small for an interval."""
    if not MIN_ROUNDS <= rounds <= MAX_ROUNDS:
        raise UsageFault(f"--rounds: expected {MIN_ROUNDS} to {MAX_ROUNDS}, found {rounds}")
    return rounds


def checked_budget(request: BenchRequest) -> float | None:
    """The seconds asked for. Raises UsageFault where rounds are, too."""
    if request.budget is None:
        return None
    if request.rounds is not None:
        raise UsageFault("--budget: expected either --rounds or --budget, found both; a budget decides on the rounds")
    return budget_seconds(request.budget)


def _chosen_times(request: BenchRequest) -> set[str]:
    """Which of the times the user, or the scenario's file, has chosen: the others are the bench's own."""
    in_file = set() if is_real(request.scenario) else load_scenario(request.scenario).model_fields_set
    chosen = set(in_file) & {"duration_s", "warmup_s"}
    chosen |= {setting.partition("=")[0].strip() for setting in request.settings}
    options = {"duration_s": request.duration, "warmup_s": request.warmup}
    return chosen | {key for key, value in options.items() if value is not None}


def _axis(sweep: str | None, keys: Sequence[str]) -> tuple[str | None, list[str | None]]:
    """The key and its values, each as typed. Raises UsageFault."""
    if sweep is None:
        return None, [None]
    (key, values), *more = axes(sweep).items()
    if more:
        raise UsageFault(f"--sweep: a bench grows along one key, found {key} and {more[0][0]}; `explore` takes several")
    costs = (f"costs.{cost}" for cost in COSTS if "costs" in keys)
    swept = (*(name for name in keys if name not in NOT_SWEPT), *costs)
    if key not in swept:
        raise UsageFault(f"--sweep: {unknown('key', key, swept)}")
    if len(values) > MAX_POINTS:
        raise UsageFault(f"--sweep: expected at most {MAX_POINTS} values, found {len(values)}")
    return key, list(values)


def _scenarios(
    scenario: Scenario, orderings: Sequence[Ordering], key: str | None, values: Sequence[str | None]
) -> list[Scenario]:
    if key is None:
        return [scenario]
    try:
        return [apply_settings(scenario, orderings, [f"{key}={value}"])[0] for value in values]
    except ScenarioError as error:
        raise UsageFault(str(error).replace("--set: ", "--sweep: ", 1)) from None


def race_seconds(scenario: Scenario) -> float:
    """About how long one race takes, with all that is done for it."""
    return scenario.duration_s + scenario.warmup_s + beside_seconds(scenario)


def beside_seconds(scenario: Scenario) -> float:
    """About how long the workers of one race take to start and to stop."""
    return BESIDE_S + BESIDE_ACTOR_S * (scenario.vcpus + scenario.zappers)


def fitted(
    budget_s: float, arms: int, scenarios: Sequence[Scenario], *, free: Sequence[str]
) -> tuple[int, list[Scenario]]:
    """How many rounds fit into a budget, and the scenarios with the times that fit; `free` are those it may shorten.

    Raises UsageFault where not even `MIN_ROUNDS` rounds do.
    """
    rounds = int(budget_s / (arms * sum(map(race_seconds, scenarios))))
    if rounds >= MIN_ROUNDS:
        return min(rounds, MAX_ROUNDS), list(scenarios)
    races = MIN_ROUNDS * arms * len(scenarios)
    beside_s = MIN_ROUNDS * arms * sum(map(beside_seconds, scenarios))
    slot_s = (budget_s - beside_s) / races
    first = scenarios[0]
    warmup_s = min(first.warmup_s, WARMUP_SHARE * slot_s) if "warmup_s" in free else first.warmup_s
    duration_s = slot_s - warmup_s if "duration_s" in free else first.duration_s
    if duration_s < MIN_RACE_S or duration_s + warmup_s > slot_s + 1e-9:
        least_s = MIN_RACE_S / (1 - WARMUP_SHARE) if "duration_s" in free else first.duration_s + warmup_s
        raise UsageFault(
            f"--budget: {MIN_ROUNDS} rounds of {arms * len(scenarios)} races take {beside_s + races * least_s:.0f} s "
            f"or more, found {budget_s:g} s; give more time, or fewer orderings or points"
        )
    # Cut to whole milliseconds, which is how they are shown.
    times = {"duration_s": math.floor(duration_s * 1000) / 1000, "warmup_s": math.floor(warmup_s * 1000) / 1000}
    return MIN_ROUNDS, [with_options(one, **times) for one in scenarios]
