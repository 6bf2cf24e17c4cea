"""The verb `explore --matrix`: every ordering with every fault, a pair a piece; matrix.json says it."""

from collections.abc import Mapping
from functools import partial

from kernels.language.cache import sources_digest
from kernels.tdx.rules import flow_name
from results.kinds.faults import NO_FAULT, Pair, entries, matrix_document
from scenarios.faults import faults
from scenarios.loader import load_scenario
from scenarios.models import Ordering
from stress.explore.grid import memory_of_each
from stress.explore.machines import machines
from stress.explore.ordering import Whole, get_ready
from stress.explore.pairs import MEMORY_BYTES, run_pair
from stress.explore.resolve import Matrix
from stress.options import ExploreRequest
from stress.pieces.record import Job, Plain, key_of
from stress.pieces.run import begun, run_job
from stress.processes.placement import inherited_cpus
from stress.session import Session

FAULTS, MATRIX = "faults", "matrix"


def run_matrix(request: ExploreRequest, matrix: Matrix | None) -> int:
    """Cross, store, show; returns the exit code. One that goes on has its matrix in its directory. Raises the errors of
    `stress.errors` and StoreError.
    """
    threads = request.threads or len(inherited_cpus())
    if matrix is None:
        job = job_of(begun(request, FAULTS))
    else:
        job = job_of(_subject(matrix, memory_of_each(request, threads, MEMORY_BYTES)))

    def ready(its: Session) -> None:
        smallest = load_scenario(machines(flow_name(0))[0].scenario)
        ordering = Ordering.model_validate(job.subject["orderings"][0])
        get_ready(ordering, smallest, Whole(1 << 30, 1), its.progress, verbose=request.verbose)

    return run_job(request, job, MATRIX, ready, threads=threads)


def _subject(matrix: Matrix, memory_bytes: int) -> Plain:
    orderings = [one.model_dump(mode="json") for one in matrix.orderings]
    rows = {flow: [list(row) for row in its] for flow, its in matrix.rows.items()}
    return {"orderings": orderings, "rows": rows, "memory_bytes": memory_bytes}


def job_of(subject: Plain) -> Job:
    """Flows in turn and orderings in turn within each, without a fault and with every row."""
    cells = [
        {"flow": flow, "ordering": ordering, "faults": row, "memory_bytes": subject["memory_bytes"]}
        for flow, rows in subject["rows"].items()
        for ordering in subject["orderings"]
        for row in ([], *rows)
    ]
    pieces = {key_of(number, *_name(one)): one for number, one in enumerate(cells, start=1)}
    return Job(FAULTS, FAULTS, subject, pieces, run_pair, partial(_document, subject, pieces))


def _name(cell: Plain) -> tuple[str, str, str]:
    return cell["flow"], cell["ordering"]["name"], "+".join(cell["faults"]) or NO_FAULT


def _document(
    subject: Plain, pieces: Mapping[str, Plain], head: Plain, how: Plain, found: Mapping[str, Plain]
) -> Plain:
    pairs = [
        Pair(**found[key]["pair"]) if key in found else Pair(*_name(cell), {}, complete=False, states=0, machine=None)
        for key, cell in pieces.items()
    ]
    schedules = {_name(pieces[key]): one["witness"] for key, one in found.items()}
    explored = {
        "pairs": len(pairs),
        "complete": all(pair.complete for pair in pairs),
        "states": sum(pair.states for pair in pairs),
        "transitions": sum(one["transitions"] for one in found.values()),
        **how,
    }
    known = faults()
    names = dict.fromkeys(fault for rows in subject["rows"].values() for row in rows for fault in row)
    about = {
        "kernels": sources_digest(),
        "orderings": subject["orderings"],
        "faults": [
            {key: getattr(known[name], key) for key in ("name", "breaks", "flow", "title", "source")} for name in names
        ],
        "machines": {flow: [machine.json() for machine in machines(flow)] for flow in subject["rows"]},
    }
    return matrix_document(head, about, explored, entries(pairs, schedules))
