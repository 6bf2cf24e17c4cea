"""The verb `selftest`: every known-wrong ordering and every fault must be caught, by exploring and by racing; no safe
ordering may show anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kernels.tdx.outcomes import Outcome
from results.kinds.selftest import (
    SCHEMA,
    claim,
    is_complete,
    raced,
    selftest_exit_code,
)
from results.store import RunDirectory
from results.verdict import Verdict
from scenarios.loader import load_orderings
from scenarios.models import Scenario
from stress.explore.ordering import Whole, get_ready, search
from stress.interrupts import Interrupts
from stress.options import SelftestRequest
from stress.processes.limits import make_room, threads_to_start
from stress.processes.memory import chosen_memory
from stress.processes.perturbation import declared_sites
from stress.processes.placement import chosen_cpus, inherited_cpus
from stress.processes.prepared import Prepared, prepare_races
from stress.processes.race import race
from stress.progress import race_display, search_display
from stress.screen import Screen
from stress.selftest.expectations import Expectation, expectations
from stress.session import Session, origin, put_document, session

SELFTEST = "selftest"
FAILURES = (Verdict.failed, Verdict.crashed, Verdict.hung)
MAX_TRIES = 10


@dataclass(slots=True)
class Record:
    """What a selftest leaves, as it grows."""

    header: dict[str, Any]
    planned: int
    directory: RunDirectory
    fail_fast: bool
    claims: list[dict[str, Any]] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """As it goes into a file."""
        done = {"complete": is_complete(self.claims, self.planned), "planned": self.planned}
        return {"schema": SCHEMA, **self.header, **done, "claims": self.claims}

    @property
    def is_enough(self) -> bool:
        """Whether `--fail-fast` ends it here."""
        return self.fail_fast and self.claims[-1]["verdict"] in FAILURES

    def store(self) -> None:
        """As it stands. Raises StoreError."""
        put_document(self.directory, SELFTEST, self.document)


def selftest(request: SelftestRequest) -> int:
    """Explore and race all that is expected, show, store; returns the exit code. Raises what `run` and `explore` do."""
    named = load_orderings(request.orderings) if request.orderings else []
    expected = expectations(named, request.faults, short=request.short, duration=request.duration, seed=request.seed)
    cpus = chosen_cpus(request.cpus)
    method = Whole(memory_bytes=chosen_memory(request.memory), threads=threads_to_start(len(inherited_cpus())))
    make_room(max(one.raced.vcpus + one.raced.zappers for one in expected), threads=False)
    with session(request, SELFTEST, SELFTEST) as (its, directory):
        first = expected[0]
        get_ready(first.explored, first.machines[0], method, its.progress, verbose=request.verbose)
        record = Record(origin() | {"seed": first.raced.seed}, len(expected), directory, request.fail_fast)
        prepare = partial(prepare_races, cpus, progress=its.progress, verbose=request.verbose)
        with its.interrupts:
            with its.noted():
                _hold_all(its, record, expected, method, prepare)
            if not record.claims:
                return its.nothing()
            with its.noted():
                record.store()
            its.leave(record.document)
            return its.end(selftest_exit_code(record.claims))


def _hold_all(
    its: Session, record: Record, expected: Sequence[Expectation], method: Whole, prepare: Callable[..., Prepared]
) -> None:
    """Everything that is expected in turn, first explored, then raced, until the user has enough, or `--fail-fast` says
    so; it stands in the record, and on the disk, after each. What races stand on is compiled when the first race of its
    kind is due, by flow and by whether actors are perturbed. Raises StoreError.
    """
    kinds: dict[tuple[str, bool], Prepared] = {}

    def of(scenario: Scenario) -> Prepared:
        sites = declared_sites(scenario)
        kind = scenario.flow, bool(sites)
        if kind not in kinds:
            kinds[kind] = prepare(sites, flow=scenario.flow)
        return replace(kinds[kind], perturbation=sites)

    for number, one in enumerate(expected, start=1):
        if its.interrupts:
            return
        place = f"selftest, {number} of {record.planned}"
        ordering = one.ordering
        tried = _explore(one, method, place, its)
        made = claim(ordering.name, ordering.expect, ordering.faults, tried, to_race=one.to_race)
        record.claims.append(made)
        record.store()
        prepared = None
        if one.to_race and not its.interrupts and not record.is_enough:
            with its.interrupts.at_once():
                prepared = of(one.raced)
        if prepared is not None:
            tries = race_expected(prepared, one, place, its.progress, its.interrupts)
            made = raced(made, tries, one.raced.model_dump(mode="json"))
            record.claims[-1] = made
            record.store()
        its.note(f"{ordering.name}: {made['verdict']}: {made['reason']}")
        if record.is_enough:
            return


def _explore(one: Expectation, method: Whole, place: str, its: Session) -> list[dict[str, Any]]:
    """An entry for each machine, until the outcome is caught; a safe ordering is explored to the end on all."""
    ordering = one.explored
    if not one.safe:
        method = replace(method, until=tuple(ordering.expect), liveness=one.stuck)
    entries: list[dict[str, Any]] = []
    for sized in one.machines:
        with search_display(its.progress, its.interrupts, ordering.name, safe=one.safe, place=place) as watch:
            entries.append(search(ordering, sized, method, watch).entry)
        if its.interrupts or (not one.safe and entries[-1]["verdict"] == Verdict.passed):
            break
    return entries


def race_expected(
    prepared: Prepared, one: Expectation, place: str, progress: Screen | None, interrupts: Interrupts
) -> list[dict[str, Any]]:
    """The race as its tries, each an entry of a run; the last one ends at the first catch or with the race's time.

    Another error may come first and stop the VM: the race is then begun anew, with the next seed and in the time that
    is left. A safe ordering is raced once, to the end of its time.
    """
    ordering, scenario = one.ordering, one.raced
    until = () if one.safe else tuple(Outcome[name] for name in ordering.expect)
    tries: list[dict[str, Any]] = []
    while True:
        with race_display(progress, ordering.name, safe=one.safe, place=place, after_s=scenario.duration_s) as show:
            tries.append(race(prepared, ordering, scenario, interrupts, show, until).json)
        left_s = scenario.duration_s - tries[-1]["seconds"]
        too_soon = tries[-1]["verdict"] == Verdict.inconclusive and left_s > 0
        if one.safe or not too_soon or interrupts or len(tries) == MAX_TRIES:
            return tries
        scenario = scenario.model_copy(update={"seed": scenario.seed + 1, "duration_s": left_s})
