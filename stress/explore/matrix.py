"""The verb `explore --matrix`: every ordering with every fault; matrix.json says it."""

from typing import Any

from kernels.language.cache import sources_digest
from results.kinds.faults import entries, matrix_document, matrix_exit_code
from results.kinds.maps import matrix_picture
from scenarios.faults import faults
from scenarios.loader import load_scenario
from stress.explore.grid import Advance, memory_of_each
from stress.explore.machines import MACHINES
from stress.explore.ordering import Whole, get_ready
from stress.explore.pairs import MEMORY_BYTES, Crossed, cross
from stress.explore.resolve import Matrix
from stress.interrupts import Interrupts
from stress.options import ExploreRequest
from stress.processes.placement import inherited_cpus
from stress.progress import Display, display
from stress.session import origin, put_document, session

MATRIX = "matrix"
Schedules = dict[tuple[str, str, str], list[dict[str, Any]]]  # by flow, ordering and fault


def run_matrix(request: ExploreRequest, matrix: Matrix) -> int:
    """Cross, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    threads, schedules = request.threads or len(inherited_cpus()), Schedules()
    memory_bytes = memory_of_each(request, threads, MEMORY_BYTES)
    with session(request, MATRIX, "faults") as (its, directory):
        smallest = load_scenario(next(iter(MACHINES.values()))[0].scenario)
        method = Whole(memory_bytes=1 << 30, threads=1)
        get_ready(matrix.orderings[0], smallest, method, its.progress, verbose=request.verbose)
        head = origin()
        with its.interrupts:
            with display(its.progress) as drawn:

                def show(flow: str, advance: Advance) -> None:
                    drawn.tell(f"exploring flow {flow}, {advance.on(len(MACHINES[flow]), 'pairs')}")

                def keep(crossed: Crossed) -> None:
                    """After each flow."""
                    _narrate(crossed, schedules, drawn, its.interrupts)
                    with its.noted():
                        put_document(directory, MATRIX, _document(matrix, head, crossed, schedules))

                crossed = cross(
                    matrix.orderings,
                    matrix.rows,
                    its.interrupts,
                    show,
                    threads=threads,
                    memory_bytes=memory_bytes,
                    keep=keep,
                )
            document = _document(matrix, head, crossed, schedules)
            with its.noted():
                put_document(directory, MATRIX, document, matrix_picture if its.interrupts.received < 2 else None)
            its.leave(document)
            return its.end(matrix_exit_code(document))


def _narrate(crossed: Crossed, schedules: Schedules, drawn: Display, interrupts: Interrupts) -> None:
    """The schedules of the pairs that are new, step by step; after an interrupt no more than who moves, at once."""
    new = [cell for cell in crossed.cells if cell.seen and cell.key not in schedules]
    for number, cell in enumerate(new, start=1):
        drawn.tell(f"telling schedules step by step: {number} of {len(new)} pairs of flow {cell.flow}")
        schedules[cell.key] = cell.witness(steps=not interrupts)


def _document(matrix: Matrix, head: dict[str, Any], crossed: Crossed, schedules: Schedules) -> dict[str, Any]:
    known = faults()
    subject = {
        "kernels": sources_digest(),
        "orderings": [one.model_dump(mode="json") for one in matrix.orderings],
        "faults": [
            {key: getattr(known[name], key) for key in ("name", "breaks", "flow", "title", "source")}
            for name in matrix.faults
        ],
        "machines": {flow: [machine.json() for machine in MACHINES[flow]] for flow in matrix.rows},
    }
    return matrix_document(head, subject, crossed.facts(), entries(crossed.pairs, schedules))
