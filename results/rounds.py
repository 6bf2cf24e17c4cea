"""The rounds of any result, as `compare` holds them against each other: those of a bench, or the one that a run is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.bench_findings import without_ground
from results.bench_record import AGAIN, BENCH, Bench
from results.bench_store import read_bench
from results.figures import FIGURES, figures_of
from results.met import whole
from results.ranking import PERCENTILES
from results.store import read_result

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rounds:
    """One result as rounds. `values` are by ordering, point and figure, one a round that measured it; `intervals` stand
    only for a run, by order statistics within it. `safe` says which orderings are; `swept` is the key of a sweep.
    `ungrounded` says why not all rounds rank by a figure."""

    path: Path
    is_bench: bool
    host: Mapping[str, Any]
    scenario: Mapping[str, Any]
    version: str
    commit: str | None
    values: dict[tuple[str, str, str], list[float]]
    safe: dict[str, bool]
    points: tuple[str, ...] = ("",)
    intervals: dict[tuple[str, str, str], Interval] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    swept: str = ""
    ungrounded: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def orderings(self) -> tuple[str, ...]:
        """The orderings, in their order."""
        return tuple(self.safe)


def read_rounds(directory: Path) -> Rounds:
    """The rounds of a directory of a bench or a run. Raises StoreError."""
    if (directory / BENCH).exists():
        return _of_bench(directory, read_bench(directory))
    return _of_run(directory, read_result(directory).result)


def _of_bench(path: Path, bench: Bench) -> Rounds:
    arms = {arm.ordering: arm for arm in bench.arms if arm.arm != AGAIN}
    values: dict[tuple[str, str, str], list[float]] = {}
    ungrounded: dict[tuple[str, str, str], str] = {}
    doubtful = f"{bench.arms[0].ordering} differs from itself" if bench.aa and bench.aa.differs else ""
    for point in bench.points:
        for name, arm in arms.items():
            races = bench.races(point, arm.arm)
            for figure in FIGURES:
                found = [v for race in races if (v := race.figures.get(figure.id)) is not None]
                values[name, point, figure.id] = found
                ungrounded[name, point, figure.id] = doubtful or without_ground(bench, figure, point, (arm.arm,))
    return Rounds(
        path,
        True,
        bench.host,
        bench.scenario,
        bench.version,
        bench.commit,
        values,
        {name: arm.safe for name, arm in arms.items()},
        bench.points,
        doubts=(f"{doubtful} there",) if doubtful else (),
        swept=bench.sweep.key if bench.sweep else "",
        ungrounded=ungrounded,
    )


def _of_run(path: Path, result: Mapping[str, Any]) -> Rounds:
    values: dict[tuple[str, str, str], list[float]] = {}
    intervals: dict[tuple[str, str, str], Interval] = {}
    for run in result["runs"]:
        for name, value in figures_of(run).items():
            values[run["ordering"], "", name] = [] if value is None else [float(value)]
        for figure, percentile in PERCENTILES.items():
            ends = whole(run)["ci95"][percentile]
            if ends:
                intervals[run["ordering"], "", figure] = (float(ends[0]), float(ends[1]))
    return Rounds(
        path,
        False,
        result["host"],
        result["scenario"],
        result.get("version", "unknown"),
        result.get("commit"),
        values,
        {run["ordering"]: run["expect"] == "safe" for run in result["runs"]},
        intervals=intervals,
        doubts=tuple(_doubts(result["runs"])),
    )


def _doubts(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What makes figures of a run none of an undisturbed race."""
    for key, words in (("perturbed", "perturbed on purpose"), ("trace", "traced")):
        if marked := [run["ordering"] for run in runs if run.get(key)]:
            yield f"{words}: {', '.join(marked)}"
