"""What a selftest expects: that an ordering shows a forbidden outcome, or none; and the machines to hold it against."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scenarios.faults import LARGE, SMALL, Shown, faults, to_explore, to_race
from scenarios.fields import elsewhere
from scenarios.loader import ScenarioError, load_scenario, shipped_orderings, with_options
from scenarios.models import Ordering, Scenario
from scenarios.wording import unknown
from stress.resolve import check_read

WRONG_S, STUCK_S, SAFE_S, SHORT_SAFE_S = "60s", "60s", "5s", "2s"
LONGEST_SAFE_S = 120.0  # beside others that keep the CPUs busy, where hardly a shootdown meets a vCPU


@dataclass(frozen=True, slots=True)
class Expectation:
    """One ordering, known for one outcome or safe, as it races on `raced`, and as it is explored on each of `machines`
    in turn, until it is caught; a safe one on all of them. `to_race`: whether a race belongs to it. A safe one is
    raced on, within `longest_s`, where the time of `raced` met too few vCPUs.
    """

    ordering: Ordering
    raced: Scenario
    explored: Ordering
    machines: tuple[Scenario, ...]
    to_race: bool = True
    longest_s: float = 0.0

    @property
    def safe(self) -> bool:
        """Whether it must show nothing."""
        return self.ordering.safe

    @property
    def stuck(self) -> bool:
        """Whether what it must show is that nobody moves."""
        return "no_progress" in self.ordering.expect


def expectations(
    orderings: Sequence[Ordering], named: Sequence[str], *, short: bool, duration: str | None, seed: int | None
) -> list[Expectation]:
    """Of these orderings and of the faults named, or of all that is shipped where there are neither; those of one name
    once.

    In a short selftest faults of other flows are not raced: each flow is compiled for it, which takes its time.
    Raises ScenarioError and UsageFault.
    """
    known = faults()
    for name in named:
        if name not in known:
            raise ScenarioError(f"--fault: {elsewhere(name) or unknown('fault', name, tuple(known))}")
    of_faults = {name: _of_fault(shown, short=short and not named) for name, shown in known.items()}
    if orderings or named:
        made = [*(_of_ordering(one, short=short) for one in orderings), *(of_faults[name] for name in named)]
    else:
        of_shipped = {one.name: _of_ordering(one, short=short) for one in shipped_orderings(None)}
        made = list({**of_shipped, **of_faults}.values())
    return [one for each in made for one in _timed(each, short=short, duration=duration, seed=seed)]


def _of_ordering(ordering: Ordering, *, short: bool) -> Expectation:
    scenario = load_scenario(ordering.part or "wrong")
    check_read(scenario, [ordering], {})
    if ordering.safe:
        # Nobody is held up: 3 zappers that sleep before TRACK, as they do here, keep v18's vCPUs at its gate.
        scenario = scenario.model_copy(update={"delays": {}})
    small = load_scenario(ordering.part or "small")
    sizes = SMALL if short and ordering.safe else LARGE
    machines = tuple(
        with_options(small, vcpus=vcpus, zappers=zappers, pages=zappers, shootdowns=each)
        for vcpus, zappers, each in sizes
    )
    return Expectation(ordering, scenario, ordering, machines, to_race=not (short and ordering.part))


def _of_fault(shown: Shown, *, short: bool) -> Expectation:
    scenario, ordering = to_race(shown)
    machines, explored = to_explore(shown)
    return Expectation(ordering, scenario, explored, tuple(machines), to_race=not short or scenario.flow == "shootdown")


def _timed(one: Expectation, *, short: bool, duration: str | None, seed: int | None) -> list[Expectation]:
    """It with the time that a race may take; once for each outcome that the ordering is known for."""
    # A watchdog counts the time that actors have CPUs for: beside other programs that takes several times as long.
    of_wrong = STUCK_S if one.stuck else WRONG_S
    usual = of_wrong if not one.safe else SHORT_SAFE_S if short else SAFE_S
    scenario = with_options(one.raced, duration_s=duration or usual, seed=seed)
    if not one.safe:
        # Standing still for as long as a race lasts is a race that catches nothing, no broken harness; unless that is
        # the catch.
        watchdog_s = scenario.watchdog_s if one.stuck else max(scenario.watchdog_s, scenario.duration_s)
        scenario = scenario.model_copy(update={"watchdog_s": watchdog_s, "warmup_s": 0.0})
    one = replace(one, raced=scenario, longest_s=LONGEST_SAFE_S if one.safe and duration is None else 0.0)
    if isinstance(one.ordering.expect, str):
        return [one]
    return [
        replace(
            one,
            ordering=one.ordering.model_copy(update={"expect": (outcome,)}),
            explored=one.explored.model_copy(update={"expect": (outcome,)}),
        )
        for outcome in one.ordering.expect
    ]
