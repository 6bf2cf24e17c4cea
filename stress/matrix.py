"""The verb `explore --matrix`: every ordering with every fault; matrix.json says it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernels.language.cache import sources_digest
from results.exchange.cases import junit_document
from results.kinds.faults import entries, matrix_document, matrix_tables, pair_cases, pair_lines
from results.kinds.maps import matrix_picture
from results.store import RunDirectory, StoreError, json_bytes, write_text
from results.verdict import Exit
from scenarios.faults import faults
from scenarios.loader import load_scenario
from stress.atlas_request import memory_of_each
from stress.atlas_search import Advance
from stress.canvas import Canvas
from stress.exploration_report import report_files
from stress.exploring import ExploreRequest
from stress.interrupts import Interrupts
from stress.leaving import hand_out_json, noted, origin, put_document, result_directory
from stress.matrix_machines import MACHINES
from stress.matrix_request import Matrix
from stress.matrix_search import MEMORY_BYTES, Crossed, cross
from stress.placement import inherited_cpus
from stress.request import STDOUT, check_files
from stress.screen import Screen, write
from stress.search import Whole
from stress.search_live import get_ready

MATRIX = "matrix"
Told = dict[tuple[str, str, str], list[dict[str, Any]]]  # the schedules, by flow, ordering and fault


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be crossed, checked before anything starts."""

    request: ExploreRequest
    matrix: Matrix
    threads: int
    memory_bytes: int  # of each search
    directory: RunDirectory
    progress: Screen | None


def run_matrix(request: ExploreRequest, matrix: Matrix, command: Sequence[str]) -> int:
    """Cross, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    check_files(request.json, request.junit)
    threads = request.threads or len(inherited_cpus())
    memory_bytes = memory_of_each(request, threads, MEMORY_BYTES)
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    with result_directory(request.out, MATRIX) as directory:
        return _carry_out(Plan(request, matrix, threads, memory_bytes, directory, progress), command)


def _carry_out(plan: Plan, command: Sequence[str]) -> int:
    matrix, request = plan.matrix, plan.request
    method = Whole(memory_bytes=1 << 30, threads=1)
    smallest = load_scenario(next(iter(MACHINES.values()))[0].scenario)
    get_ready(matrix.orderings[0], smallest, method, plan.progress, verbose=request.verbose)
    head = origin(command)
    refused: list[StoreError] = []
    with Interrupts() as interrupts:
        crossed, document = _cross(plan, head, interrupts, refused)
        with noted(refused):
            _store(plan, document, pictures=interrupts.received < 2)
        with noted(refused):
            hand_out_json(request.json, document)
        with noted(refused):
            if request.junit is not None:
                write_text(request.junit, junit_document(MATRIX, pair_cases(document)))
        _show(plan, document)
    if refused:
        raise refused[0]
    if interrupts:
        return Exit.INTERRUPTED.value
    return (Exit.MET if crossed.complete else Exit.INCONCLUSIVE).value


def _cross(
    plan: Plan, head: dict[str, Any], interrupts: Interrupts, refused: list[StoreError]
) -> tuple[Crossed, dict[str, Any]]:
    """Every pair, and what matrix.json says of them; it is stored after each flow."""
    told: Told = {}
    with Canvas(plan.progress) as canvas:

        def show(flow: str, advance: Advance) -> None:
            if canvas.is_due():
                left = "" if advance.left_s is None else f", about {advance.left_s:.0f} s left on it"
                where = f"flow {flow}, machine {advance.machine} of {len(MACHINES[flow])} ({advance.tier.words})"
                text = f"exploring {where}: {advance.done} of {advance.of} pairs{left}"
                canvas.draw(text, text)

        def keep(crossed: Crossed) -> None:
            _tell(crossed, told, canvas, interrupts)
            with noted(refused):
                _store(plan, _document(plan, head, crossed, told), pictures=False)

        crossed = cross(
            plan.matrix.orderings,
            plan.matrix.rows,
            interrupts,
            show,
            threads=plan.threads,
            memory_bytes=plan.memory_bytes,
            keep=keep,
        )
    return crossed, _document(plan, head, crossed, told)


def _tell(crossed: Crossed, told: Told, canvas: Canvas, interrupts: Interrupts) -> None:
    """The schedules of the pairs that are new, step by step; after an interrupt no more than who moves, at once."""
    new = [course for course in crossed.courses if course.seen and course.key not in told]
    for number, course in enumerate(new, start=1):
        if canvas.is_due():
            text = f"telling schedules step by step: {number} of {len(new)} pairs of flow {course.flow}"
            canvas.draw(text, text)
        told[course.key] = course.witness(steps=not interrupts)


def _document(plan: Plan, head: dict[str, Any], crossed: Crossed, told: Told) -> dict[str, Any]:
    known = faults()
    subject = {
        "kernels": sources_digest(),
        "orderings": [one.model_dump(mode="json") for one in plan.matrix.orderings],
        "faults": [
            {key: getattr(known[name], key) for key in ("name", "breaks", "flow", "title", "source")}
            for name in plan.matrix.faults
        ],
        "machines": {flow: [machine.json() for machine in MACHINES[flow]] for flow in plan.matrix.rows},
    }
    return matrix_document(head, subject, crossed.facts(), entries(crossed.pairs, told))


def _store(plan: Plan, document: dict[str, Any], *, pictures: bool) -> None:
    """matrix.json, and the picture as PNG and as SVG. Raises StoreError."""
    put_document(plan.directory, MATRIX, document, matrix_picture if pictures else None)


def _show(plan: Plan, document: dict[str, Any]) -> None:
    if plan.request.json == STDOUT:
        write(sys.stdout, json_bytes(document).decode())
    if plan.request.quiet:
        if plan.request.json != STDOUT:
            write(sys.stdout, "".join(f"{line}\n" for line in pair_lines(document)))
        return
    screen = Screen(sys.stderr if plan.request.json == STDOUT else sys.stdout, color=plan.request.color)
    screen.show(matrix_tables(document), "")
    report_files(screen, plan.directory.path)
