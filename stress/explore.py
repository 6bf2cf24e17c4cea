"""The verb `explore`: each ordering is searched in turn; the record is stored after each and shown at the end."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from results.exchange.cases import junit_document
from results.kinds.exploration import document, exploration_exit_code
from results.kinds.exploration_views import exploration_cases
from results.store import RunDirectory, StoreError, Writer, json_bytes, write_text
from results.verdict import Exit, Verdict
from scenarios.models import Ordering, Scenario
from scenarios.witness import witness_text
from stress.canvas import Canvas
from stress.exploration_report import exploration_observations, report_exploration, report_files
from stress.exploring import ExploreRequest
from stress.interrupts import Interrupts
from stress.leaving import hand_out_json, noted, origin, result_directory
from stress.limits import threads_to_start
from stress.placement import inherited_cpus
from stress.request import STDOUT, check_files
from stress.screen import Screen, write
from stress.search import FORBIDDEN, Sample, Searched, Whole, search
from stress.search_live import SearchShow, get_ready
from stress.sizes import chosen_memory
from stress.witness import Recorded, write_pictures

EXPLORATION = "exploration.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be explored, checked before anything starts."""

    request: ExploreRequest
    scenario: Scenario
    orderings: Sequence[Ordering]
    method: Whole | Sample
    directory: RunDirectory
    progress: Screen | None


@dataclass(slots=True)
class Record:
    """What an exploration leaves, as it grows."""

    header: dict[str, Any]
    single: bool
    searched: list[Searched] = field(default_factory=list)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The orderings that were explored."""
        return [one.entry for one in self.searched]

    def witnesses(self, one: Searched, directory: Path) -> dict[Path, Recorded]:
        """The schedules to what fails, by the file that each is kept in."""
        stem = "witness" if self.single else f"witness-{one.entry['ordering']}"
        return {directory / f"{stem}-{name}.json": found for name, found in one.witnesses.items()}

    @property
    def document(self) -> dict[str, Any]:
        """As it goes into a file."""
        return document(self.header, self.entries, single=self.single)


def run_explore(
    request: ExploreRequest, scenario: Scenario, orderings: Sequence[Ordering], command: Sequence[str]
) -> int:
    """Search, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    method = _method(request, scenario)
    check_files(request.json, request.junit)
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    with result_directory(request.out, f"explore-{scenario.name}") as directory:
        return _carry_out(Plan(request, scenario, orderings, method, directory, progress), command)


def _method(request: ExploreRequest, scenario: Scenario) -> Whole | Sample:
    if request.random is not None:
        return Sample(schedules=request.random, seed=scenario.seed, depth=request.pct)
    return Whole(
        memory_bytes=chosen_memory(request.memory),
        threads=threads_to_start(request.threads or len(inherited_cpus())),
        symmetry=request.symmetry,
        reduction=request.reduction,
        liveness=request.liveness,
        until=FORBIDDEN if request.fail_fast else (),
    )


def _carry_out(plan: Plan, command: Sequence[str]) -> int:
    record = Record(origin(command), single=len(plan.orderings) == 1)
    refused: list[StoreError] = []
    # Before interrupts are only counted: so that who waits for the compiler can end it at once.
    get_ready(plan.orderings[0], plan.scenario, plan.method, plan.progress, verbose=plan.request.verbose)
    with Interrupts() as interrupts:
        with noted(refused):
            _search_all(plan, record, interrupts)
        if not record.searched:
            return Exit.INTERRUPTED.value if interrupts else Exit.NOTHING_RAN.value
        with noted(refused):
            _store(plan, record)
        with noted(refused):
            _hand_out(plan, record)
        _show(plan, record)
        with noted(refused):
            if interrupts.received < 2:  # nobody who asks for the end twice waits for pictures
                _store_pictures(plan, record)
        if not plan.request.quiet:
            report_files(_screen(plan.request), plan.directory.path)
    if refused:
        raise refused[0]
    return Exit.INTERRUPTED.value if interrupts else exploration_exit_code(record.entries)


def _search_all(plan: Plan, record: Record, interrupts: Interrupts) -> None:
    """Every ordering in turn, until the user has enough, or `--fail-fast` says so."""
    count = len(plan.orderings)
    for number, ordering in enumerate(plan.orderings, start=1):
        if interrupts:
            return
        place = f"{plan.scenario.name}, ordering {number} of {count}"
        sampled = isinstance(plan.method, Sample)
        with Canvas(plan.progress) as canvas:
            show = SearchShow(canvas, interrupts, ordering.name, safe=ordering.safe, place=place, sampled=sampled)
            found = search(ordering, plan.scenario, plan.method, show)
        record.searched.append(found)
        if plan.progress is not None:
            plan.progress.line(f"{ordering.name}: {found.entry['verdict']}: {found.entry['reason']}")
        if number < count:
            _store(plan, record)
        if plan.request.fail_fast and found.entry["verdict"] == Verdict.failed:
            return


def _store(plan: Plan, record: Record) -> None:
    """The record, and a witness for each thing that fails. Raises StoreError."""
    content = json_bytes(record.document)
    files: dict[str, Writer] = {EXPLORATION: lambda file: file.write(content)}
    for one in record.searched:
        for path, found in record.witnesses(one, plan.directory.path).items():
            files[path.name] = partial(_write_text, witness_text(found.witness))
    plan.directory.put(files)


def _write_text(text: str, file: IO[bytes]) -> None:
    file.write(text.encode())


def _store_pictures(plan: Plan, record: Record) -> None:
    """Beside each witness its trace and its timeline. Raises StoreError."""
    for one in record.searched:
        for path, found in record.witnesses(one, plan.directory.path).items():
            write_pictures(path.parent, found.witness, found.story, f"{path.stem}.")


def _hand_out(plan: Plan, record: Record) -> None:
    """The record in the files that were named. Raises StoreError."""
    hand_out_json(plan.request.json, record.document)
    if plan.request.junit is not None:
        write_text(plan.request.junit, junit_document(plan.scenario.name, exploration_cases(record.entries)))


def _show(plan: Plan, record: Record) -> None:
    request, screen = plan.request, _screen(plan.request)
    if request.json == STDOUT:
        write(sys.stdout, json_bytes(record.document).decode())
    if not request.quiet:
        found = [(one.entry, record.witnesses(one, plan.directory.path)) for one in record.searched]
        report_exploration(screen, found, record.document["caveats"], stepwise=request.verbose)
    elif request.json != STDOUT:
        exploration_observations(screen, record.entries)


def _screen(request: ExploreRequest) -> Screen:
    """Where people read: stdout, unless the record is alone on it."""
    return Screen(sys.stderr if request.json == STDOUT else sys.stdout, color=request.color)
