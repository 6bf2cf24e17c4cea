"""The verb `explore --orders`: each order of an ordering's steps is decided, the safe ones race, atlas.json says it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from results.caveats import caveats
from results.exchange.cases import junit_document
from results.kinds.maps import atlas_picture
from results.kinds.orders import OrderVerdict, atlas_document
from results.kinds.orders_views import atlas_tables, order_cases, order_lines
from results.store import RunDirectory, StoreError, json_bytes, write_text
from results.table import caveat_lines
from results.verdict import Exit, Verdict
from scenarios.models import Ordering, Scenario
from stress.atlas_race import BESIDE, Heat, Raced, race_orders, racing_scenario
from stress.atlas_request import memory_of_each
from stress.atlas_search import MEMORY_BYTES, TIERS, Advance, Explored, explore_orders, variant_bytes
from stress.canvas import Canvas
from stress.exploration_report import report_files
from stress.exploring import ExploreRequest
from stress.interrupts import Interrupts
from stress.leaving import hand_out_json, noted, origin, put_document, result_directory
from stress.limits import make_room
from stress.machine import machine
from stress.placement import chosen_cpus, inherited_cpus, shown
from stress.request import STDOUT, check_files
from stress.screen import Screen, write
from stress.search import Whole
from stress.search_live import get_ready

ATLAS = "atlas"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be looked at, checked before anything starts."""

    request: ExploreRequest
    ordering: Ordering
    scenario: Scenario
    threads: int
    memory_bytes: int  # of each search
    directory: RunDirectory
    progress: Screen | None


def run_atlas(request: ExploreRequest, scenario: Scenario, ordering: Ordering, command: Sequence[str]) -> int:
    """Decide, race, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    make_room(2, threads=False)
    check_files(request.json, request.junit)
    threads = request.threads or len(inherited_cpus())
    memory_bytes = memory_of_each(request, threads, MEMORY_BYTES)
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    with result_directory(request.out, f"atlas-{ordering.name}") as directory:
        return _carry_out(Plan(request, ordering, scenario, threads, memory_bytes, directory, progress), command)


def _carry_out(plan: Plan, command: Sequence[str]) -> int:
    head = origin(command)
    cpus = inherited_cpus()
    head["host"] |= {"cpus_allowed": len(cpus), "cpus_used": shown(cpus)}
    refused: list[StoreError] = []
    get_ready(plan.ordering, plan.scenario, Whole(memory_bytes=1 << 30, threads=1), plan.progress, verbose=False)

    def keep(explored: Explored, raced: Raced | None = None) -> None:
        with noted(refused):
            _store(plan, _document(plan, head, explored, raced), pictures=False)

    with Interrupts() as interrupts:
        explored = _explore(plan, interrupts, keep)
        keep(explored)
        raced = _race(plan, explored, interrupts, partial(keep, explored))
        document = _document(plan, head, explored, raced)
        with noted(refused):
            _store(plan, document, pictures=interrupts.received < 2)
        with noted(refused):
            hand_out_json(plan.request.json, document)
        with noted(refused):
            if plan.request.junit is not None:
                write_text(plan.request.junit, junit_document(f"atlas-{plan.ordering.name}", order_cases(document)))
        _show(plan, document)
    if refused:
        raise refused[0]
    return Exit.INTERRUPTED.value if interrupts else _exit_code(explored, raced)


def _explore(plan: Plan, interrupts: Interrupts, keep: Callable[[Explored], None]) -> Explored:
    with Canvas(plan.progress) as canvas:

        def show(advance: Advance) -> None:
            if canvas.is_due():
                text = _advance_line(advance)
                canvas.draw(text, text)

        explored = explore_orders(
            plan.ordering,
            plan.scenario,
            interrupts,
            show,
            threads=plan.threads,
            memory_bytes=plan.memory_bytes,
            keep=keep,
        )
    if plan.progress is not None:
        facts = explored.facts()
        safe = sum(order.verdict == OrderVerdict.safe for order in explored.orders)
        plan.progress.line(
            f"{facts['decided']} of {facts['orders']} orders decided in {facts['seconds']:.1f} s: {safe} safe"
        )
    return explored


def _advance_line(advance: Advance) -> str:
    left = "" if advance.left_s is None else f", about {advance.left_s:.0f} s left on it"
    where = f"machine {advance.machine} of {len(TIERS)} ({advance.tier.words})"
    return f"exploring {where}: {advance.done} of {advance.of} orders{left}"


def _race(plan: Plan, explored: Explored, interrupts: Interrupts, keep: Callable[[Raced], None]) -> Raced | None:
    """The safe orders' races; None where there is nothing to race, or no time."""
    safe = [
        ordering
        for ordering, order in zip(explored.orderings, explored.orders, strict=True)
        if order.verdict == OrderVerdict.safe
    ]
    if interrupts or not safe:
        return None
    ready = None
    with interrupts.at_once():
        ready = machine(chosen_cpus(None), {}, plan.progress, verbose=plan.request.verbose)
    if ready is None:
        return None
    with Canvas(plan.progress) as canvas:
        if plan.progress is not None:
            each = racing_scenario(len(safe) + len(BESIDE), 1).duration_s
            plan.progress.line(f"racing {len(safe)} safe orders and {', '.join(BESIDE)}, {each:.2g} s at a time")

        def show(heat: Heat) -> None:
            if canvas.is_due():
                text = f"round {heat.round}: race {heat.number} of {heat.of}, about {heat.left_s:.0f} s left"
                canvas.draw(text, text)

        seed = 1 if plan.request.seed is None else plan.request.seed
        return race_orders(ready, safe, seed, interrupts, show, keep)


def _document(plan: Plan, head: dict[str, Any], explored: Explored, raced: Raced | None) -> dict[str, Any]:
    subject = {
        "ordering": plan.ordering.name,
        "parameters": plan.ordering.model_dump(mode="json"),
        "steps": list(plan.ordering.shootdown),
        "machines": [tier._asdict() for tier in TIERS],
        "variant_bytes": variant_bytes(plan.memory_bytes),
    }
    said = caveats(head["host"], raced.scenario.model_dump(mode="json"), []) if raced is not None else []
    entries = [order.entry() for order in explored.orders]
    return atlas_document(
        head, subject, explored.facts(), entries, raced.document() if raced is not None else None, said
    )


def _store(plan: Plan, document: dict[str, Any], *, pictures: bool) -> None:
    """atlas.json, and the picture as PNG and as SVG. Raises StoreError."""
    put_document(plan.directory, ATLAS, document, atlas_picture if pictures else None)


def _show(plan: Plan, document: dict[str, Any]) -> None:
    if plan.request.json == STDOUT:
        write(sys.stdout, json_bytes(document).decode())
    if plan.request.quiet:
        if plan.request.json != STDOUT:
            write(sys.stdout, "".join(f"{line}\n" for line in order_lines(document)))
        return
    screen = Screen(sys.stderr if plan.request.json == STDOUT else sys.stdout, color=plan.request.color)
    screen.show(atlas_tables(document), "")
    if document["caveats"]:
        screen.show(caveat_lines(document["caveats"]))
    report_files(screen, plan.directory.path)


def _exit_code(explored: Explored, raced: Raced | None) -> int:
    """0 unless a race contradicts the search, or broke, or an order is open. A variant that is open is none of that."""
    verdicts = {run["verdict"] for run in raced.runs} if raced is not None else set()
    if verdicts & {Verdict.crashed, Verdict.hung}:
        return Exit.HARNESS.value
    if Verdict.failed in verdicts:
        return Exit.FAILED.value
    return (Exit.MET if explored.complete else Exit.INCONCLUSIVE).value
