"""The verb `bench`: rounds of races in fresh processes, each a piece; compared at the end."""

from results.kinds.bench.directory import PARQUET_HINT, can_write_parquet
from results.kinds.bench.gate import parse_gate
from results.kinds.bench.record import BENCH as FILE
from stress.bench.design import MIN_ROUNDS, Experiment
from stress.bench.pieces import BENCH, experiment_in, get_ready, job_of, subject_of
from stress.bench.resume import adopted, longer
from stress.errors import UsageFault
from stress.options import BenchRequest
from stress.pieces.record import FOLDER, JOB, Pieces, Plain
from stress.pieces.run import begun, run_job
from stress.processes.kicks import refuse_missing
from stress.processes.limits import make_room
from stress.processes.perturbation import declared_sites
from stress.processes.placement import chosen_cpus
from stress.session import Session, check_writable

LONGER = ("rounds", "budget")


def bench(request: BenchRequest, experiment: Experiment | None) -> int:
    """Race, store, compare, show; returns the exit code. A bench that goes on has its experiment in its directory.

    Raises the errors of `stress.errors`, GateError and StoreError.
    """
    for text in request.fail_if:
        parse_gate(text)
    for option, path in (("--csv", request.csv), ("--parquet", request.parquet)):
        if path is not None:
            check_writable(option, path)
    if request.parquet is not None and not can_write_parquet():
        raise UsageFault(f"--parquet: {PARQUET_HINT}")
    subject, there = _gone_on(request) if experiment is None else (subject_of(experiment, request.cpus), None)
    if subject["budget_s"] is not None and request.share is not None:
        raise UsageFault("--budget: how many rounds fit is known only as they run, to no share; give --rounds")
    if request.resume is None and request.out is not None and (request.out / FILE).exists():
        where = request.out
        raise UsageFault(f"{where}: holds a bench already; give another directory, or go on with it: --resume {where}")
    job, its = job_of(subject), experiment_in(subject)
    chosen_cpus(subject["cpus"])
    for point in its.points:
        declared_sites(point.scenario)
        refuse_missing(point.scenario.kick_by)
        make_room(point.scenario.vcpus + point.scenario.zappers, threads=point.scenario.workers == "thread")

    def ready(session: Session) -> None:
        get_ready(subject, session.progress, verbose=request.verbose)

    def told(found: Plain, pieces: Pieces) -> tuple[str, bool]:
        """Enough is what fits the budget, a round as long as they were on average."""
        count = len(pieces.done)
        spent_s = its.budget_s is not None and pieces.seconds * (count + 1) / count > its.budget_s
        return "", spent_s and count >= MIN_ROUNDS

    return run_job(request, job, its.scenario.name, ready, threads=0, told=told, adopted=there)


def _gone_on(request: BenchRequest) -> tuple[Plain, Pieces | None]:
    """The subject of the bench of `--resume`, with the rounds or the budget asked for now, and its rounds, where
    these stand in its record alone.
    """
    assert request.resume is not None
    if (request.resume / FOLDER / JOB).exists():
        subject = begun(request, BENCH, LONGER)
        return longer(subject, request), None
    return adopted(request, LONGER)
