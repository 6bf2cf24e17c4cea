"""The verb `run`: every ordering of a scenario races in turn; results are stored after each and shown at the end."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import NDArray

from results.caveats import caveats
from results.collect.last_steps import LastSteps, together, trace
from results.collect.race import Run
from results.exchange.cases import junit_document, ktap_document
from results.kinds.files import write_report
from results.kinds.run.record import SCHEMA
from results.kinds.run.tables import run_cases, suite_name
from results.store import RunDirectory, StoreError, json_bytes, write_text
from results.verdict import Exit, Verdict, exit_code
from scenarios.models import Ordering, Scenario
from stress.interrupts import Interrupts
from stress.leaving import hand_out_json, noted, origin, result_directory
from stress.limits import make_room
from stress.live import Show
from stress.machine import machine
from stress.perturbation import Sites, declared_sites
from stress.placement import Cpus, chosen_cpus
from stress.probing import host_record, round_trip_after
from stress.race import Machine, race
from stress.report import observations, report
from stress.request import STDOUT, Request, check_files, named_file
from stress.screen import Screen, write


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run, checked before anything starts."""

    request: Request
    scenario: Scenario
    orderings: Sequence[Ordering]
    cpus: Cpus
    sites: Sites
    directory: RunDirectory
    progress: Screen | None


@dataclass(slots=True)
class Record:
    """What a run leaves, as it grows: the result, and the arrays beside it."""

    result: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    last_steps: list[LastSteps] = field(default_factory=list)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The orderings that have raced."""
        runs: list[dict[str, Any]] = self.result["runs"]
        return runs

    @property
    def trace(self) -> dict[str, Any] | None:
        """The trace of all orderings that were traced."""
        return together([trace(steps.whole) for steps in self.last_steps]) if self.last_steps else None

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


def run(request: Request, scenario: Scenario, orderings: Sequence[Ordering], command: Sequence[str]) -> int:
    """Race, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    cpus = chosen_cpus(request.cpus)
    sites = declared_sites(scenario)
    make_room(scenario.vcpus + scenario.zappers, threads=scenario.workers == "thread")
    check_files(request.json, request.junit, request.ktap)
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    with result_directory(request.out, scenario.name) as directory:
        return _carry_out(Plan(request, scenario, orderings, cpus, sites, directory, progress), command)


def _carry_out(plan: Plan, command: Sequence[str]) -> int:
    traced = plan.request.trace
    prepared = machine(
        plan.cpus,
        plan.sites,
        plan.progress,
        flow=plan.scenario.flow,
        traced=traced,
        verbose=plan.request.verbose,
    )
    record = Record(_begun(plan, command, prepared))
    refused: list[StoreError] = []
    with Interrupts() as interrupts:
        with noted(refused):
            _race_all(plan, prepared, record, interrupts)
        if record.runs and not interrupts:
            record.add_facts(round_trip_after(prepared))
        if not record.runs:
            return Exit.INTERRUPTED.value if interrupts else Exit.NOTHING_RAN.value
        with noted(refused):
            # Nobody waits for the pictures of a crash, nor whoever asks for the end twice.
            waits = record.runs[-1]["verdict"] != Verdict.crashed and interrupts.received < 2
            plan.directory.write(
                record.result,
                record.arrays,
                trace=record.trace,
                draw=partial(write_report, result=record.result, arrays=record.arrays)
                if plan.request.report and waits
                else None,
            )
        with noted(refused):
            _hand_out(plan.request, record.result)
        _show(plan, record)
    if refused:
        raise refused[0]
    return Exit.INTERRUPTED.value if interrupts else exit_code(record.runs)


def _begun(plan: Plan, command: Sequence[str], prepared: Machine) -> dict[str, Any]:
    """The result before the first race."""
    names = [ordering.name for ordering in plan.orderings]
    head = origin(command, host_record(prepared))
    return {
        "schema": SCHEMA,
        **head,
        "seed": plan.scenario.seed,
        "caveats": [],
        "scenario": {**plan.scenario.model_dump(mode="json"), "orderings": names},
        "runs": [],
    }


def _race_all(plan: Plan, prepared: Machine, record: Record, interrupts: Interrupts) -> None:
    """Every ordering in turn, until one breaks the harness, the user has enough, or `--fail-fast` says so."""
    scenario, count = plan.scenario, len(plan.orderings)
    for number, ordering in enumerate(plan.orderings, start=1):
        if interrupts:
            return
        place = f"{scenario.name}, ordering {number} of {count}"
        with Show(plan.progress, ordering.name, safe=ordering.safe, place=place, after_s=scenario.duration_s) as show:
            run = race(prepared, ordering, scenario, interrupts, show)
        record.add(run)
        verdict = run.json["verdict"]
        if plan.progress is not None:
            plan.progress.line(f"{ordering.name}: {verdict}: {run.json['reason']}")
            if plan.request.verbose and run.json["ready_s"] is not None:
                workers = scenario.vcpus + scenario.zappers
                plan.progress.line(f"{ordering.name}: {workers} workers ready after {run.json['ready_s']:.3f} s")
        if number < count:
            plan.directory.write(record.result, record.arrays, trace=record.trace)
        if verdict == Verdict.crashed or (plan.request.fail_fast and verdict in (Verdict.failed, Verdict.hung)):
            return


def _hand_out(request: Request, result: Mapping[str, Any]) -> None:
    """The result in the files that were named. Raises StoreError."""
    hand_out_json(request.json, result)
    if request.junit is not None:
        write_text(request.junit, junit_document(suite_name(result), run_cases(result)))
    if (path := named_file(request.ktap)) is not None:
        write_text(path, ktap_document(suite_name(result), run_cases(result)))


def _show(plan: Plan, record: Record) -> None:
    request = plan.request
    if request.json == STDOUT:
        write(sys.stdout, json_bytes(record.result).decode())
    if request.ktap == STDOUT:
        write(sys.stdout, ktap_document(suite_name(record.result), run_cases(record.result)))
    data_on_stdout = STDOUT in (request.json, request.ktap)
    screen = Screen(sys.stderr if data_on_stdout else sys.stdout, color=request.color)
    if not request.quiet:
        report(screen, record.result, plan.directory.path, record.last_steps, every_step=request.verbose)
    elif not data_on_stdout:
        observations(screen, record.result)
