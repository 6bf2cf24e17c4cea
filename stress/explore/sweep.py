"""The verb `explore` in pieces: each ordering searched at each point, and so many schedules of those that are drawn;
exploration.json holds all of them.

A point is a value of each key that is swept: of the machine, the ordering, or the seed of schedules drawn at random.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial

from results.kinds.exploration import document, together
from results.verdict import Verdict
from results.words import count
from scenarios.models import MACHINE_KEYS, Ordering, Scenario
from stress.errors import UsageFault
from stress.explore.grid import memory_of_each
from stress.explore.ordering import FORBIDDEN, Sample, Whole, drawn_apart, get_ready, search
from stress.explore.resolve import resolve_exploration
from stress.interrupts import Interrupts
from stress.options import ExploreRequest
from stress.pieces.record import Job, Pieces, Plain, key_of
from stress.pieces.run import begun, run_job
from stress.processes.placement import inherited_cpus
from stress.resolve import changes_of, told_of
from stress.screen import Screen
from stress.session import Session
from stress.sweeps import MOST, axes

EXPLORE, MEMORY_BYTES = "explore", 1 << 30


def run_sweep(request: ExploreRequest) -> int:
    """Search, store, show; returns the exit code. Raises ScenarioError, StoreError and those of `stress.errors`."""
    threads = request.threads or len(inherited_cpus())
    subject = begun(request, EXPLORE) if request.resume is not None else _subject(request, threads)
    job = job_of(subject)
    first = next(iter(job.pieces.values()))

    def ready(its: Session) -> None:
        ordering, scenario = Ordering.model_validate(first["ordering"]), Scenario.model_validate(first["scenario"])
        get_ready(ordering, scenario, _method(first), its.progress, verbose=request.verbose)

    def told(found: Plain, pieces: Pieces) -> tuple[str, bool]:
        return "", request.fail_fast and found["verdict"] == Verdict.failed

    return run_job(request, job, f"explore-{first['scenario']['name']}", ready, threads=threads, told=told)


def _subject(request: ExploreRequest, threads: int) -> Plain:
    its = axes(request.sweep) if request.sweep is not None else {}
    if (points := math.prod(map(len, its.values()))) > MOST:
        raise UsageFault(f"--sweep: expected at most {MOST:,} points, found {count(points)}")
    method = {
        "schedules": request.random,
        "depth": request.pct,
        "until": FORBIDDEN if request.fail_fast else (),
        "memory_bytes": memory_of_each(request, threads, MEMORY_BYTES),
        **{key: not getattr(request, f"no_{key}") for key in ("symmetry", "reduction", "liveness")},
    }
    cells = []
    for values in itertools.product(*its.values()):
        settings = tuple(f"{key}={value}" for key, value in zip(its, values, strict=True))
        scenario, orderings = resolve_exploration(
            request._replace(sweep=None, share=None, cluster=None, settings=(*request.settings, *settings))
        )
        told = scenario.model_dump(mode="json")
        changed = changes_of(request, scenario, orderings, MACHINE_KEYS)
        cells += [
            {
                "point": ",".join(settings),
                "scenario": told,
                "ordering": one.model_dump(mode="json"),
                "told": told_of(one.name, changed, its),
            }
            for one in orderings
        ]
    return {"method": method, "points": cells}


def job_of(subject: Plain) -> Job:
    """Points in turn, and orderings in turn at each; of schedules drawn at random those of one seed after the other."""
    method = subject["method"]
    cells = [
        {**one, **method, "seed": sample.seed, **({"schedules": sample.schedules} if method["schedules"] else {})}
        for one in subject["points"]
        for sample in drawn_apart(Sample(method["schedules"] or 1, one["scenario"]["seed"], method["depth"]))
    ]
    pieces = {key_of(number, one["ordering"]["name"], one["point"]): one for number, one in enumerate(cells, start=1)}
    return Job(EXPLORE, "exploration", subject, pieces, run_point, partial(_document, subject["points"]))


def _method(described: Plain) -> Whole | Sample:
    if described["schedules"] is not None:
        return Sample(described["schedules"], described["seed"], described["depth"])
    asked = {key: described[key] for key in ("memory_bytes", "symmetry", "reduction", "liveness")}
    return Whole(threads=1, until=tuple(described["until"]), **asked)


def run_point(described: Plain, interrupts: Interrupts, progress: Screen | None) -> tuple[Plain, bool]:
    """One search, and whether nobody ended it."""
    ordering = Ordering.model_validate(described["ordering"])
    scenario = Scenario.model_validate(described["scenario"])
    entry = search(ordering, scenario, _method(described), lambda _: not interrupts).entry
    return {**entry, "point": described["point"], **described["told"]}, not interrupts


def _document(points: Sequence[Plain], head: Plain, how: Plain, found: Mapping[str, Plain]) -> Plain:
    by_search: dict[tuple[str, str], list[Plain]] = {}
    for one in found.values():
        by_search.setdefault((one["point"], one["ordering"]), []).append(one)
    entries = [its[0] if len(its) == 1 else together(its) for its in by_search.values()]
    if not any(one["point"] for one in points):
        head |= {"asked": [one["ordering"]["name"] for one in points]}
    return document(head, entries, single=len(points) == 1)
