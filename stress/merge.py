"""The verb `merge`: the shares of one long job, whatever machines ran them, as one result."""

from functools import partial
from itertools import combinations

from results.machine.comparable import Kind, differing
from stress.bench import pieces as bench
from stress.errors import UsageFault
from stress.explore import atlas, matrix, sweep
from stress.options import MergeRequest
from stress.pieces.record import FOLDER, JOB, Job, Pieces, read_pieces, unlike
from stress.pieces.run import end_of_job
from stress.provenance import utc
from stress.run import amplify
from stress.run import verb as run
from stress.selftest import verb as selftest
from stress.session import opened, session

JOBS = {
    sweep.EXPLORE: sweep.job_of,
    bench.BENCH: bench.job_of,
    matrix.FAULTS: matrix.job_of,
    atlas.ORDERS: atlas.job_of,
    selftest.SELFTEST: selftest.job_of,
    run.RUN: run.job_of,
    amplify.AMPLIFY: amplify.job_of,
}
AHEAD_S = 60


def merge(request: MergeRequest) -> int:
    """Put together, store, show; returns the exit code. Raises UsageFault and StoreError."""
    shares = [opened(partial(read_pieces, directory)) for directory in request.directories]
    first = shares[0]
    for other in shares[1:]:
        if told := unlike(first.header, other.header):
            raise UsageFault(f"{other.path}: {told}, in {first.path}")
    if request.out is not None and (request.out / FOLDER / JOB).exists():
        raise UsageFault(f"--out: {request.out} holds pieces already; give another directory")
    job = _job(first)
    if told := unlike(job.header, first.header):
        raise UsageFault(f"{first.path}: {told}")
    with session(request, f"merged-{job.verb}", job.kind) as (its, directory):
        whole, twice = Pieces(directory.path, {**job.header, "command": first.header.get("command")}), 0
        with its.interrupts:
            whole.begin()
            for share in shares:
                twice += len(share.done.keys() & whole.done.keys())
                for key, one in share.done.items():
                    if key in job.pieces and key not in whole.done:
                        whole.add(key, {**one, "whole": True}, share.machines.get(one["machine"], {}))
            if twice:
                its.note(f"pieces that stand in several directories: {twice}; the first of each counts")
            for line in _apart(whole):
                its.note(line)
            try:
                return end_of_job(its, directory, job, whole)
            finally:
                whole.end()


def _job(share: Pieces) -> Job:
    verb = share.header["verb"]
    if verb not in JOBS:
        raise UsageFault(f"{share.path}: expected pieces of {', '.join(JOBS)}, found {verb}")
    try:
        return JOBS[verb](share.header["subject"])
    except (KeyError, TypeError, ValueError) as error:
        where = share.path / FOLDER / JOB
        raise UsageFault(f"{where}: expected a job of this version, found another: {error}") from None


def _apart(whole: Pieces) -> list[str]:
    """How the machines differ, and whose clock is another's."""
    lines = [
        f"machines {one} and {other}: {difference.text}"
        for one, other in combinations(sorted(whole.machines), 2)
        for difference in differing(whole.machines[one], whole.machines[other])
        if difference.kind == Kind.machine
    ]
    ahead = sorted({one["machine"] for one in whole.done.values() if one["started"] > utc(-AHEAD_S)})
    return lines + [
        f"machine {name}: its clock is ahead of this one's; no times are held against each other" for name in ahead
    ]
