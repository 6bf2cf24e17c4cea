"""The verb `selftest`: every known-wrong ordering and every fault must be caught, by exploring and by racing; no safe
ordering may show anything.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kernels.outcomes import Outcome
from results.selftest import SCHEMA, claim, raced, selftest_exit_code
from results.selftest_tables import selftest_lines, selftest_table
from results.store import RunDirectory, StoreError, json_bytes
from results.verdict import Exit, Verdict
from scenarios.faults import broken_orderings, shown_by
from scenarios.loader import load_orderings, load_scenario, shipped_orderings, with_options
from scenarios.models import Ordering, Scenario
from stress.canvas import Canvas
from stress.interrupts import Interrupts
from stress.leaving import hand_out_json, noted, origin, result_directory
from stress.limits import make_room
from stress.live import Show
from stress.machine import machine
from stress.perturbation import declared_sites
from stress.placement import Cpus, chosen_cpus, inherited_cpus
from stress.race import Machine, race
from stress.report import MODEL
from stress.request import STDOUT, check_files
from stress.screen import Screen, write
from stress.search import Whole, search
from stress.search_live import SearchShow, get_ready
from stress.sizes import chosen_memory

SELFTEST = "selftest.json"
# vCPUs, zappers, shootdowns of each: tried in turn until a wrong ordering is caught; a safe one must hold on each.
SMALL = ((1, 1, 1), (2, 1, 1), (1, 2, 1))
LARGE = (*SMALL, (2, 1, 2), (1, 2, 2))
WRONG_S, SAFE_S, SHORT_SAFE_S = "20s", "5s", "2s"


@dataclass(frozen=True, slots=True)
class SelftestRequest:
    """The options of `selftest` as they were typed; None where one was not."""

    orderings: tuple[str, ...] = ()
    short: bool = False
    duration: str | None = None
    seed: int | None = None
    cpus: str | None = None
    memory: str | None = None
    out: Path | None = None
    json: str | None = None
    quiet: bool = False
    verbose: bool = False
    color: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What is claimed, and the machines to hold it against. `wrong` and `safe` differ in how long and how they race."""

    request: SelftestRequest
    claims: Sequence[Ordering]
    small: Scenario
    wrong: Scenario
    safe: Scenario
    sizes: Sequence[tuple[int, int, int]]
    method: Whole
    cpus: Cpus
    directory: RunDirectory
    progress: Screen | None


@dataclass(slots=True)
class Record:
    """What a selftest leaves, as it grows."""

    header: dict[str, Any]
    claims: list[dict[str, Any]] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """As it goes into a file."""
        return {"schema": SCHEMA, **self.header, "claims": self.claims}


def selftest(request: SelftestRequest, command: Sequence[str]) -> int:
    """Explore and race every claim, show, store; returns the exit code. Raises what `run` and `explore` raise."""
    claims = claims_of(load_orderings(request.orderings) if request.orderings else everything_known())
    base = with_options(load_scenario("wrong"), duration_s=request.duration or WRONG_S, seed=request.seed)
    # Standing still for as long as a race lasts is a race that catches nothing, no broken harness.
    wrong = base.model_copy(update={"warmup_s": 0.0, "watchdog_s": max(base.watchdog_s, base.duration_s)})
    # No yields: who gives the CPU away before TRACK, as 3 zappers do here all the time, keeps v18's vCPUs at its gate.
    safe = wrong.model_copy(update={"yields": {}, "watchdog_s": base.watchdog_s})
    if request.duration is None:
        safe = with_options(safe, duration_s=SHORT_SAFE_S if request.short else SAFE_S)
    cpus = chosen_cpus(request.cpus)
    method = Whole(memory_bytes=chosen_memory(request.memory), threads=len(inherited_cpus()))
    make_room(wrong.vcpus + wrong.zappers, threads=False)
    check_files(request.json, None)
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    sizes = SMALL if request.short else LARGE
    with result_directory(request.out, "selftest") as directory:
        plan = Plan(request, claims, load_scenario("small"), wrong, safe, sizes, method, cpus, directory, progress)
        return _carry_out(plan, command)


def everything_known() -> list[Ordering]:
    """Every shipped ordering, and every fault under the ordering that shows it; those of one name once."""
    return list({one.name: one for one in (*broken_orderings(), *shipped_orderings())}.values())


def claims_of(orderings: Sequence[Ordering]) -> list[Ordering]:
    """Each safe ordering once, a wrong one once for each outcome that it is known for."""
    return [
        one
        for ordering in orderings
        for one in (
            [ordering]
            if isinstance(ordering.expect, str)
            else [ordering.model_copy(update={"expect": (outcome,)}) for outcome in ordering.expect]
        )
    ]


def _carry_out(plan: Plan, command: Sequence[str]) -> int:
    request = plan.request
    get_ready(plan.claims[0], plan.small, plan.method, plan.progress, verbose=request.verbose)
    machines = _machines(plan)
    record = Record(origin(command) | {"seed": plan.wrong.seed, "scenario": plan.wrong.model_dump(mode="json")})
    refused: list[StoreError] = []
    with Interrupts() as interrupts:
        with noted(refused):
            for number, ordering in enumerate(plan.claims, start=1):
                if not interrupts:
                    place = f"selftest, {number} of {len(plan.claims)}"
                    _hold(plan, machines[ordering.safe], ordering, place, record, interrupts)
        if not record.claims:
            return Exit.INTERRUPTED.value if interrupts else Exit.NOTHING_RAN.value
        content = json_bytes(record.document)
        with noted(refused):
            plan.directory.put({SELFTEST: lambda file: file.write(content)})
        with noted(refused):
            hand_out_json(request.json, record.document)
        _show(plan, record)
    if refused:
        raise refused[0]
    return Exit.INTERRUPTED.value if interrupts else selftest_exit_code(record.claims)


def _machines(plan: Plan) -> dict[bool, Machine]:
    """For wrong and for safe orderings: kernels that yield at labels, and kernels that never do. By being safe."""
    named = {ordering.safe: plan.safe if ordering.safe else plan.wrong for ordering in plan.claims}
    return {
        safe: machine(
            plan.cpus,
            declared_sites(scenario),
            plan.progress,
            verbose=plan.request.verbose,
        )
        for safe, scenario in named.items()
    }


def _hold(
    plan: Plan,
    prepared: Machine,
    ordering: Ordering,
    place: str,
    record: Record,
    interrupts: Interrupts,
) -> None:
    """One claim against both: first explored, then raced; it stands in the record after each."""
    tried = _explore(plan, ordering, place, interrupts)
    shown = shown_by(ordering)
    to_race = shown is None or shown.raced
    made = claim(ordering.name, ordering.expect, ordering.faults, tried, to_race=to_race)
    record.claims.append(made)
    if to_race and not interrupts:
        made = raced(made, _race(plan, prepared, ordering, place, interrupts))
        record.claims[-1] = made
    if plan.progress is not None:
        plan.progress.line(f"{ordering.name}: {made['verdict']}: {made['reason']}")


def _explore(plan: Plan, ordering: Ordering, place: str, interrupts: Interrupts) -> list[dict[str, Any]]:
    """An entry for each size of machine, until the outcome is caught; a safe ordering is explored to the end on all."""
    method = plan.method
    if not ordering.safe:
        method = replace(method, until=tuple(ordering.expect), liveness="no_progress" in ordering.expect)
    entries: list[dict[str, Any]] = []
    for vcpus, zappers, shootdowns in plan.sizes if ordering.safe else LARGE:
        sized = plan.small.model_copy(
            update={"vcpus": vcpus, "zappers": zappers, "pages": zappers, "shootdowns": shootdowns}
        )
        with Canvas(plan.progress) as canvas:
            show = SearchShow(canvas, interrupts, ordering.name, safe=ordering.safe, place=place, sampled=False)
            entries.append(search(ordering, sized, method, show).entry)
        if interrupts or (not ordering.safe and entries[-1]["verdict"] == Verdict.passed):
            break
    return entries


def _race(plan: Plan, prepared: Machine, ordering: Ordering, place: str, interrupts: Interrupts) -> dict[str, Any]:
    """The entry of one race, which ends at the first catch; a safe ordering races to the end of its time."""
    scenario = plan.safe if ordering.safe else plan.wrong
    shown = shown_by(ordering)
    if shown is not None and shown.yields:
        scenario = scenario.model_copy(update={"yields": dict(shown.yields)})
        prepared = replace(prepared, perturbation=declared_sites(scenario))
    if not ordering.safe and "no_progress" in ordering.expect:  # here standing still is the catch
        scenario = scenario.model_copy(update={"watchdog_s": plan.safe.watchdog_s})
    until = () if ordering.safe else tuple(Outcome[name] for name in ordering.expect)
    with Show(plan.progress, ordering.name, safe=ordering.safe, place=place, after_s=scenario.duration_s) as show:
        return race(prepared, ordering, scenario, interrupts, show, until).json


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
