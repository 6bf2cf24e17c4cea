"""The verb `run`: every ordering of a scenario races in turn; what came out is stored after each and shown at the end."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kernels.clock import calibrate
from kernels.race import cache_directory, load
from results.caveats import caveats
from results.collector import Run
from results.host import host_facts
from results.junit import write_junit
from results.store import SCHEMA, RunDirectory, StoreError, open_run_directory, write_file
from results.verdict import Exit, Verdict, exit_code
from scenarios.models import Ordering, Scenario
from stress.errors import UsageFault
from stress.interrupts import Interrupts
from stress.limits import make_room
from stress.live import Show
from stress.placement import chosen_cpus, shown
from stress.provenance import commit, version
from stress.race import Machine, race
from stress.report import observations, report
from stress.request import STDOUT, Request, check_files, resolve
from stress.screen import Screen, write


@dataclass(slots=True)
class Record:
    """What a run leaves, as it grows: the result, and the arrays beside it."""

    result: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The orderings that have raced."""
        return self.result["runs"]

    def add(self, run: Run) -> None:
        """One more ordering."""
        self.runs.append(run.json)
        self.result["caveats"] = caveats(self.result["host"], self.result["scenario"], self.runs)
        self.arrays |= run.arrays


def run(request: Request, command: Sequence[str]) -> int:
    """Race, store, show; returns the exit code. Raises the errors of `stress.errors`, ScenarioError and StoreError."""
    scenario, orderings = resolve(request)
    cpus = chosen_cpus(request.cpus)
    make_room(scenario.vcpus + scenario.zappers, threads=scenario.workers == "thread")
    check_files(request)
    directory = _open(request.out, scenario.name)
    screen = Screen(sys.stderr if request.json == STDOUT else sys.stdout, color=request.color)
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    machine = _machine(cpus, progress, verbose=request.verbose)
    record = Record(_begun(command, scenario, orderings, cpus))
    with Interrupts() as interrupts:
        refused = None
        try:
            _race_all(request, machine, scenario, orderings, record, directory, progress, interrupts)
            if record.runs:
                # Whoever asks twice for the end does not wait for pictures.
                directory.write(record.result, record.arrays, plots=interrupts.received < 2)
        except StoreError as error:
            refused = error
        _show(request, screen, record, directory.path)
        if refused is not None:
            raise refused
        return Exit.INTERRUPTED.value if interrupts else exit_code(record.runs)


def _open(out: Path | None, scenario_name: str) -> RunDirectory:
    try:
        return open_run_directory(out, scenario_name)
    except StoreError as error:
        raise UsageFault(str(error)) from None


def _machine(cpus: tuple[int, ...], progress: Screen | None, *, verbose: bool) -> Machine:
    """Compiled kernels and a calibrated clock. Before the first fork, so that no worker compiles anything."""
    cache = cache_directory()
    if progress is not None and not any(cache.rglob("*.nbi")):
        progress.line("compiling the kernels, once: about 15 s")
    begun = time.monotonic()
    kernels = load()
    clock = calibrate()
    if progress is not None and verbose:
        progress.line(f"kernels ready after {time.monotonic() - begun:.2f} s, cached in {cache}")
        progress.line(
            f"clock: {clock.clock.name}, {clock.ticks_per_s / 1e6:,.3f} ticks/us, error {clock.error_ppm:.1f} ppm"
        )
        progress.line(f"racing on CPUs {shown(cpus)}")
    return Machine(kernels, clock, cpus)


def _begun(
    command: Sequence[str], scenario: Scenario, orderings: Sequence[Ordering], cpus: tuple[int, ...]
) -> dict[str, Any]:
    """The result before the first race."""
    return {
        "schema": SCHEMA,
        "command": list(command),
        "version": version(),
        "commit": commit(),
        "seed": scenario.seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": {**host_facts(), "cpus_allowed": len(cpus), "cpus_used": shown(cpus)},
        "caveats": [],
        "scenario": {**scenario.model_dump(mode="json"), "orderings": [ordering.name for ordering in orderings]},
        "runs": [],
    }


def _race_all(
    request: Request,
    machine: Machine,
    scenario: Scenario,
    orderings: Sequence[Ordering],
    record: Record,
    directory: RunDirectory,
    progress: Screen | None,
    interrupts: Interrupts,
) -> None:
    """Every ordering in turn, until one breaks the harness, the user has enough, or `--fail-fast` says so."""
    for number, ordering in enumerate(orderings, start=1):
        if interrupts:
            return
        place = f"{scenario.name}, ordering {number} of {len(orderings)}"
        with Show(progress, ordering.name, safe=ordering.safe, place=place, after_s=scenario.duration_s) as show:
            done = race(machine, ordering, scenario, interrupts, show)
        record.add(done)
        if progress is not None:
            progress.line(f"{ordering.name}: {done.json['verdict']}: {done.json['reason']}")
        if number < len(orderings):
            directory.write(record.result, record.arrays, plots=False)
        if done.json["verdict"] == Verdict.crashed:
            return
        if request.fail_fast and done.json["verdict"] in (Verdict.failed, Verdict.hung):
            return


def _show(request: Request, screen: Screen, record: Record, directory: Path) -> None:
    """The result where it was asked for. Raises StoreError."""
    if not record.runs:
        return
    text = json.dumps(record.result, indent=1, allow_nan=False) + "\n"
    if request.json == STDOUT:
        write(sys.stdout, text)
    elif request.json is not None:
        write_file(Path(request.json), lambda file: file.write(text.encode()))
    if request.junit is not None:
        write_junit(record.result, request.junit)
    if not request.quiet:
        report(screen, record.result, directory)
    elif request.json != STDOUT:
        observations(screen, record.result)
