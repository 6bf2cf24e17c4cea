"""What a reader must know before believing a bench, as data: of the machine at every point, and of the rounds."""

from collections.abc import Iterator
from typing import Any

from results.bench_record import Bench
from results.caveats import HIGH_STEAL, Caveat, caveats
from results.comparison import LEAST_ROUNDS
from results.wording import plural


def bench_caveats(bench: Bench) -> tuple[dict[str, str], ...]:
    """All caveats of a bench; of those that every point has, the last point's wording stands."""
    machine = {caveat["id"]: caveat for point in bench.points for caveat in caveats(bench.host, at(bench, point), [])}
    return (*machine.values(), *(caveat.as_dict() for caveat in _of_the_rounds(bench)))


def at(bench: Bench, point: str) -> dict[str, Any]:
    """The scenario of a point."""
    if bench.sweep is None:
        return bench.scenario
    value = dict(zip(bench.sweep.points, bench.sweep.values, strict=True))[point]
    return {**bench.scenario, bench.sweep.key: value}


def _of_the_rounds(bench: Bench) -> Iterator[Caveat]:
    if bench.finished_rounds < LEAST_ROUNDS:
        yield Caveat(
            "too_few_rounds",
            f"{bench.finished_rounds} of at least {LEAST_ROUNDS} rounds",
            "identical runs differ too much for an interval from so few: no ratio is given",
            "going on with --resume",
        )
    if bench.aa is not None and bench.aa.differs:
        yield Caveat(
            "a_differs_from_a",
            f"{bench.arms[0].ordering} differs from itself",
            "something besides the ordering changed between races: no difference of this bench can be believed",
            "an idle machine, longer races, or more --rounds; chance alone does this in 1 of 20 benches",
        )
    stolen = [race for race in bench.rounds if (race.steal_share or 0.0) > HIGH_STEAL]
    if stolen:
        worst = max(race.steal_share or 0.0 for race in stolen)
        yield Caveat(
            "high_steal",
            f"the hypervisor took more than {HIGH_STEAL:.0%} of the CPUs' time in {len(stolen)} of "
            f"{plural(len(bench.rounds), 'race')}, {worst:.1%} at worst",
            "actors stood still without knowing: tails are the machine's, and intervals wider",
            "another hour or another machine",
        )
    if any(arm.perturbed for arm in bench.arms):
        yield Caveat(
            "perturbed",
            "declared yields, delays or start offsets",
            "races are provoked on purpose: latency says nothing of an undisturbed run",
            "a scenario without `yields`",
        )
    if unsafe := [arm.ordering for arm in bench.arms if not arm.safe]:
        yield Caveat(
            "unsafe_raced",
            f"known to be wrong and raced all the same: {', '.join(dict.fromkeys(unsafe))}",
            "a fast wrong order is no result",
            "leaving out --include-unsafe",
        )
