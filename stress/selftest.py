"""The verb `selftest`: every known-wrong ordering and every fault must be caught, by exploring and by racing; no safe
ordering may show anything.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from results.exchange.cases import junit_document
from results.kinds.selftest import (
    SCHEMA,
    claim,
    is_complete,
    raced,
    selftest_cases,
    selftest_exit_code,
    selftest_lines,
    selftest_table,
)
from results.store import RunDirectory, StoreError, json_bytes, write_text
from results.verdict import Exit, Verdict
from scenarios.loader import load_orderings
from stress.canvas import Canvas
from stress.claims import Claim, claims
from stress.interrupts import Interrupts
from stress.leaving import hand_out_json, noted, origin, result_directory
from stress.limits import make_room, threads_to_start
from stress.placement import Cpus, chosen_cpus, inherited_cpus
from stress.report import MODEL
from stress.request import STDOUT, check_files
from stress.screen import Screen, write
from stress.search import Whole, search
from stress.search_live import SearchShow, get_ready
from stress.selftest_race import Machines, race_claim
from stress.sizes import chosen_memory

SELFTEST = "selftest.json"
FAILURES = (Verdict.failed, Verdict.crashed, Verdict.hung)


@dataclass(frozen=True, slots=True)
class SelftestRequest:
    """The options of `selftest` as they were typed; None where one was not."""

    orderings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    short: bool = False
    duration: str | None = None
    seed: int | None = None
    cpus: str | None = None
    memory: str | None = None
    out: Path | None = None
    json: str | None = None
    junit: Path | None = None
    fail_fast: bool = False
    quiet: bool = False
    verbose: bool = False
    color: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What is claimed, and with what it is held against the machines."""

    request: SelftestRequest
    claims: Sequence[Claim]
    method: Whole
    cpus: Cpus
    directory: RunDirectory
    progress: Screen | None


@dataclass(slots=True)
class Record:
    """What a selftest leaves, as it grows."""

    header: dict[str, Any]
    planned: int
    claims: list[dict[str, Any]] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """As it goes into a file."""
        done = {"complete": is_complete(self.claims, self.planned), "planned": self.planned}
        return {"schema": SCHEMA, **self.header, **done, "claims": self.claims}


def selftest(request: SelftestRequest, command: Sequence[str]) -> int:
    """Explore and race every claim, show, store; returns the exit code. Raises what `run` and `explore` raise."""
    named = load_orderings(request.orderings) if request.orderings else []
    claimed = claims(named, request.faults, short=request.short, duration=request.duration, seed=request.seed)
    cpus = chosen_cpus(request.cpus)
    method = Whole(memory_bytes=chosen_memory(request.memory), threads=threads_to_start(len(inherited_cpus())))
    make_room(max(one.raced.vcpus + one.raced.zappers for one in claimed), threads=False)
    check_files(request.json, request.junit)
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    with result_directory(request.out, "selftest") as directory:
        return _carry_out(Plan(request, claimed, method, cpus, directory, progress), command)


def _carry_out(plan: Plan, command: Sequence[str]) -> int:
    request = plan.request
    first = plan.claims[0]
    get_ready(first.explored, first.machines[0], plan.method, plan.progress, verbose=request.verbose)
    record = Record(origin(command) | {"seed": first.raced.seed}, planned=len(plan.claims))
    refused: list[StoreError] = []
    with Interrupts() as interrupts:
        with noted(refused):
            _hold_all(plan, record, interrupts)
        if not record.claims:
            return Exit.INTERRUPTED.value if interrupts else Exit.NOTHING_RAN.value
        with noted(refused):
            _store(plan, record)
        with noted(refused):
            hand_out_json(request.json, record.document)
            if request.junit is not None:
                write_text(request.junit, junit_document("selftest", selftest_cases(record.claims)))
        _show(plan, record)
    if refused:
        raise refused[0]
    return Exit.INTERRUPTED.value if interrupts else selftest_exit_code(record.claims)


def _hold_all(plan: Plan, record: Record, interrupts: Interrupts) -> None:
    """Every claim in turn, until the user has enough, or `--fail-fast` says so. Raises StoreError."""
    machines = Machines(plan.cpus, plan.progress, verbose=plan.request.verbose)
    for number, claimed in enumerate(plan.claims, start=1):
        if interrupts:
            return
        _hold(plan, machines, claimed, f"selftest, {number} of {record.planned}", record, interrupts)
        if _is_enough(plan, record):
            return


def _hold(plan: Plan, machines: Machines, claimed: Claim, place: str, record: Record, interrupts: Interrupts) -> None:
    """One claim against both: first explored, then raced; it stands in the record, and on the disk, after each."""
    ordering = claimed.ordering
    tried = _explore(plan, claimed, place, interrupts)
    made = claim(ordering.name, ordering.expect, ordering.faults, tried, to_race=claimed.to_race)
    record.claims.append(made)
    _store(plan, record)
    prepared = None
    if claimed.to_race and not interrupts and not _is_enough(plan, record):
        with interrupts.at_once():
            prepared = machines.of(claimed.raced)
    if prepared is not None:
        tries = race_claim(prepared, claimed, place, plan.progress, interrupts)
        made = raced(made, tries, claimed.raced.model_dump(mode="json"))
        record.claims[-1] = made
        _store(plan, record)
    if plan.progress is not None:
        plan.progress.line(f"{ordering.name}: {made['verdict']}: {made['reason']}")


def _is_enough(plan: Plan, record: Record) -> bool:
    """Whether `--fail-fast` ends it here."""
    return plan.request.fail_fast and record.claims[-1]["verdict"] in FAILURES


def _explore(plan: Plan, claimed: Claim, place: str, interrupts: Interrupts) -> list[dict[str, Any]]:
    """An entry for each machine, until the outcome is caught; a safe ordering is explored to the end on all."""
    method, ordering = plan.method, claimed.explored
    if not claimed.safe:
        method = replace(method, until=tuple(ordering.expect), liveness=claimed.stuck)
    entries: list[dict[str, Any]] = []
    for sized in claimed.machines:
        with Canvas(plan.progress) as canvas:
            show = SearchShow(canvas, interrupts, ordering.name, safe=claimed.safe, place=place, sampled=False)
            entries.append(search(ordering, sized, method, show).entry)
        if interrupts or (not claimed.safe and entries[-1]["verdict"] == Verdict.passed):
            break
    return entries


def _store(plan: Plan, record: Record) -> None:
    content = json_bytes(record.document)
    plan.directory.put({SELFTEST: lambda file: file.write(content)})


def _show(plan: Plan, record: Record) -> None:
    request = plan.request
    if request.json == STDOUT:
        write(sys.stdout, json_bytes(record.document).decode())
    screen = Screen(sys.stderr if request.json == STDOUT else sys.stdout, color=request.color)
    if not request.quiet:
        screen.show(selftest_table(record.claims), "")
    if not request.quiet or request.json != STDOUT:
        for line in selftest_lines(record.claims):
            screen.line(line)
    if not request.quiet:
        screen.line(f"\n{MODEL}\nFiles: {plan.directory.path}/")
