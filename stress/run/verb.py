"""The verb `run`: every ordering of a scenario races in turn; results are stored after each and shown at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import NDArray

from results.caveats import caveats
from results.collect.last_steps import LastSteps, together, trace, what_led_to_it
from results.collect.race import Run
from results.kinds.files import write_report
from results.kinds.run.record import SCHEMA
from results.store import RunDirectory
from results.verdict import Verdict, exit_code
from scenarios.models import Ordering, Scenario
from stress.host.quick import host_record, round_trip_after
from stress.options import RunRequest
from stress.processes.kicks import refuse_missing
from stress.processes.limits import make_room
from stress.processes.meanwhile import meanwhile
from stress.processes.perturbation import declared_sites
from stress.processes.placement import chosen_cpus
from stress.processes.prepared import Prepared, prepare_races
from stress.processes.race import race
from stress.progress import race_display
from stress.session import Session, origin, session


@dataclass(slots=True)
class Record:
    """What a run leaves, as it grows: the result, and the arrays beside it."""

    result: dict[str, Any]
    directory: RunDirectory
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    last_steps: list[LastSteps] = field(default_factory=list)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The orderings that have raced."""
        runs: list[dict[str, Any]] = self.result["runs"]
        return runs

    def add(self, run: Run) -> None:
        """One more ordering."""
        self.runs.append(run.json)
        self.arrays |= run.arrays
        self.last_steps += filter(None, [run.last_steps])
        self.add_facts({})

    def add_facts(self, facts: Mapping[str, Any]) -> None:
        """What was found out about the machine meanwhile."""
        self.result["host"] |= facts
        self.result["caveats"] = caveats(self.result["host"], self.result["scenario"], self.runs)

    def store(self, *, plots: bool) -> None:
        """Write all of it, with one trace of all orderings that were traced. Raises StoreError."""
        traced = together([trace(steps.whole) for steps in self.last_steps]) if self.last_steps else None
        draw = partial(  # `report` draws for paper, too
            write_report, result=self.result, arrays=self.arrays, kinds=("png",), meanwhile=meanwhile
        )
        self.directory.write(self.result, self.arrays, trace=traced, draw=draw if plots else None)


def run(request: RunRequest, scenario: Scenario, orderings: Sequence[Ordering]) -> int:
    """Race, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    cpus, sites = chosen_cpus(request.cpus), declared_sites(scenario)
    refuse_missing(scenario.kick_by)
    make_room(scenario.vcpus + scenario.zappers, threads=scenario.workers == "thread")
    with session(request, scenario.name, "run") as (its, directory):
        prepared = prepare_races(
            cpus,
            sites,
            its.progress,
            flow=scenario.flow,
            costs=bool(scenario.costs),
            traced=request.trace,
            verbose=request.verbose,
        )
        record = Record(_begun(scenario, orderings, prepared), directory)
        runs = record.runs
        with its.interrupts:
            with its.noted():
                _race_all(its, request, scenario, orderings, prepared, record)
            if not runs:
                return its.nothing()
            if not its.interrupts:
                record.add_facts(round_trip_after(prepared))
            with its.noted():
                waits = its.interrupts.received < 2  # nobody who asks for the end twice waits for pictures
                record.store(plots=waits and not request.no_report)
            every = request.verbose  # step of what led to a failure, not folded into calls
            its.leave(
                record.result,
                told=(line for it in record.last_steps for line in (*what_led_to_it(it, every=every), "")),
            )
            return its.end(exit_code(runs))


def _begun(scenario: Scenario, orderings: Sequence[Ordering], prepared: Prepared) -> dict[str, Any]:
    """The result before the first race."""
    return {
        "schema": SCHEMA,
        **origin(host_record(prepared)),
        "seed": scenario.seed,
        "caveats": [],
        "scenario": {**scenario.model_dump(mode="json"), "orderings": [ordering.name for ordering in orderings]},
        "runs": [],
    }


def _race_all(
    its: Session,
    request: RunRequest,
    scenario: Scenario,
    orderings: Sequence[Ordering],
    prepared: Prepared,
    record: Record,
) -> None:
    """Every ordering in turn, until one breaks the harness, the user has enough, or `--fail-fast` says so."""
    count = len(orderings)
    for number, ordering in enumerate(orderings, start=1):
        if its.interrupts:
            return
        place = f"{scenario.name}, ordering {number} of {count}"
        with race_display(
            its.progress, ordering.name, safe=ordering.safe, place=place, after_s=scenario.duration_s
        ) as show:
            run = race(prepared, ordering, scenario, its.interrupts, show)
        record.add(run)
        verdict = run.json["verdict"]
        its.note(f"{ordering.name}: {verdict}: {run.json['reason']}")
        if request.verbose and run.json["ready_s"] is not None:
            workers = scenario.vcpus + scenario.zappers
            its.note(f"{ordering.name}: {workers} workers ready after {run.json['ready_s']:.3f} s")
        if number < count:
            record.store(plots=False)
        if verdict == Verdict.crashed or (request.fail_fast and verdict in (Verdict.failed, Verdict.hung)):
            return
