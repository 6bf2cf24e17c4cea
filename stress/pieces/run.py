"""A verb whose work is a list of pieces: what is missing runs here, many at once, or elsewhere; each is stored as it
ends, and the result is made of what is there.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from results.store import RunDirectory, StoreError, json_bytes
from results.verdict import Exit
from results.words import plural
from stress.commands import typed
from stress.errors import CannotRunHere, HarnessFault, UsageFault
from stress.interrupts import Interrupts
from stress.pieces.record import (
    FOLDER,
    GROWS,
    JOB,
    Job,
    JobShape,
    Pieces,
    Plain,
    facts,
    ran,
    read_part,
    read_pieces,
    unlike,
)
from stress.progress import display
from stress.session import Session, opened, session

LOOK_S, NAMED = 0.2, 3
FREE = {
    *("resume", "share", "cluster", "threads", "json", "junit", "ktap", "quiet", "verbose", "no_color"),
    *("orders", "matrix", "amplify", "csv", "parquet", "fail_if", "no_report"),
}
Key = TypeVar("Key")
Result = TypeVar("Result")
Then = Callable[[Session, RunDirectory, Plain], Plain]


def begun(request: Any, verb: str, more: Sequence[str] = ()) -> Plain:
    """The subject of the job in the directory of `--resume`. Raises UsageFault where something else is asked for."""
    path = request.resume
    if not (path / FOLDER / JOB).exists():
        whole = "nothing to go on with in it: what is whole, or was one piece of work, leaves no pieces; run it again"
        raise UsageFault(f"--resume: {path}: " + (whole if path.is_dir() else "no such directory"))
    header = opened(lambda: read_part(path / FOLDER / JOB, JobShape, "pieces"))
    refuse_changes(request, more)
    if header["verb"] != verb:
        raise UsageFault(f"--resume: {path} holds pieces of {header['verb']}: tdx-stress {header['verb']}")
    subject: Plain = header["subject"]
    return subject


def refuse_changes(request: Any, more: Sequence[str] = ()) -> None:
    """Raises UsageFault where something else is asked for than to go on, but for these."""
    fields = [name for name in type(request)._fields if name not in FREE and name not in more]
    if given := typed(request, fields):
        said = f'the scenario "{request.scenario}"' if given[0] == "SCENARIO" else given[0]
        but = f"only {' or '.join(f'--{name}' for name in more)} change" if more else "leave it out"
        raise UsageFault(f"--resume: goes on with what it began with, found {said}; {but}")


def share_of(text: str | None) -> tuple[int, int]:
    """`3/16` as numbers, all of it where nothing is said. Raises UsageFault."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text or "1/1")
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageFault(f"--share: expected K/N, from 1/N to N/N, such as 3/16, found {text}")
    return int(found[1]), int(found[2])


def pieces_for(directory: Path, job: Job, *, resumes: bool) -> Pieces:
    """Where the job's pieces go: new, or with those that are there. Raises StoreError and UsageFault."""
    header = job.header
    if not (directory / FOLDER / JOB).exists():
        return Pieces(directory, header)
    found = read_pieces(directory)
    if not resumes:
        raise StoreError(f"{directory}: holds pieces already; give another directory, or go on: --resume {directory}")
    if told := unlike(header, found.header, GROWS):
        raise UsageFault(f"--resume: {told}")
    found.header = {**header, "command": found.header.get("command")}
    return found


def missing_line(pieces: Pieces, job: Job) -> str:
    """Which pieces are not there, and how to have them; "" where all are, or the only one stands in the result as far
    as it came.
    """
    left = [key for key in job.pieces if key not in pieces.done]
    if not left or (len(job.pieces) == 1 and pieces.partial):
        return ""
    named = [f"{key} (here as far as it came)" if key in pieces.partial else key for key in left[:NAMED]]
    more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
    how = "not ended" if pieces.partial else "missing"
    told = f"{len(left)} of {plural(len(job.pieces), 'piece')} {how}: {', '.join(named)}{more}"
    kept = (pieces.path / FOLDER / JOB).exists() and (job.keep is None or pieces.to_go_on_with)  # not of a job of one
    return told + f"; to run them: tdx-stress {job.verb} --resume {pieces.path}" * kept


def run_job(
    request: Any,
    job: Job,
    name: str,
    get_ready: Callable[[Session], None],
    *,
    threads: int,
    told: Callable[[Plain, Pieces], tuple[str, bool]] = lambda found, pieces: ("", False),
    then: Then | None = None,
    adopted: Pieces | None = None,
) -> int:
    """Run what is missing, or its share; store, show; returns the exit code. `threads`: how many pieces at once here, 0
    for one after the other in this thread, with views of their own. `told`: a line about a piece, and whether it is
    enough; `then`: see `end_of_job`; `adopted`: pieces that are there as a result.
    """
    part, of = share_of(request.share)
    refuse_beside_share(request)
    asked = request._replace(out=request.resume or request.out)
    with session(asked, name, job.kind) as (its, directory):
        pieces = adopted or opened(partial(pieces_for, directory.path, job, resumes=request.resume is not None))
        pieces.threads = 1 if request.cluster else max(threads, 1)
        mine = [key for place, key in enumerate(job.pieces) if place % of == part - 1]
        due = [key for key in mine if key not in pieces.done]
        if due and request.cluster is None:
            get_ready(its)
        with its.interrupts:
            kept_at, took, ended = -1e9, 0.0, False

            def keep() -> None:
                """The result so far, but not so often that it takes much of the time."""
                nonlocal kept_at, took
                there = pieces.done or pieces.partial
                if there and request.share is None and time.monotonic() > kept_at + 20 * took:
                    kept_at = time.monotonic()
                    if job.keep is not None:
                        job.keep(directory, job, pieces)
                    else:
                        directory.put({its.kind.file: json_bytes(pieces.document(job))})
                    took = time.monotonic() - kept_at

            with its.noted():
                try:
                    if due and (len(job.pieces) > 1 or request.share is not None):
                        pieces.begin()
                    for key, one, host in _ran(request, job, due, its, threads):
                        pieces.add(key, one, host)
                        line, enough = told(one["found"], pieces)
                        try:
                            keep()
                        finally:
                            if line:
                                its.note(line)
                        if enough:
                            break
                    ended = True
                except (UsageFault, CannotRunHere):
                    if not pieces.done:
                        pieces.drop()
                    raise
                except HarnessFault as error:
                    raise HarnessFault(f"{error}; {missing_line(pieces, job)}") from None
                finally:
                    if not ended:  # else it is stored below
                        kept_at = -1e9
                        keep()
                    if pieces.to_go_on_with or job.keep is None:
                        pieces.end()
                    else:
                        pieces.drop()
            if request.share is not None:
                return _end_of_share(its, pieces, mine, job, request.share)
            return end_of_job(its, directory, job, pieces, then)


def end_of_job(its: Session, directory: RunDirectory, job: Job, pieces: Pieces, then: Then | None = None) -> int:
    """Store, draw and show a result of what there is, and say which pieces are missing; the exit code. `then` adds to
    one that is complete. Raises UsageFault for pieces of another making.
    """
    if not (pieces.done or pieces.partial):
        return its.nothing()
    if job.leave is not None:
        return job.leave(its, directory, job, pieces)
    document = opened(lambda: pieces.document(job))
    if then is not None and not its.interrupts and len(pieces.done) == len(job.pieces):
        document = then(its, directory, document)
    with its.noted():
        directory.put({its.kind.file: json_bytes(document)})
        if its.interrupts.received < 2:
            with its.drawing():
                its.kind.draw(directory.path, document)
    its.leave(document)
    return its.end(told_of_missing(its, pieces, job, its.kind.exit_code(document)))


def told_of_missing(its: Session, pieces: Pieces, job: Job, code: int) -> int:
    """Say which pieces are missing; the exit code: inconclusive where some are and all else is well. Those that are in
    a whole result go.
    """
    told = missing_line(pieces, job)
    if told:
        its.reason(told)
    elif job.keep is not None:
        pieces.drop()
    return Exit.INCONCLUSIVE.value if told and not code else code


def refuse_beside_share(request: Any) -> None:
    """Raises UsageFault for files of a result, which a share has not."""
    if request.share is not None and (
        given := typed(
            request, (n for n in ("json", "junit", "ktap", "csv", "parquet", "fail_if") if n in request._fields)
        )
    ):
        raise UsageFault(f"{given[0]}: a share has no result of its own: tdx-stress merge takes {given[0]}")


def _end_of_share(its: Session, pieces: Pieces, mine: Sequence[str], job: Job, share: str) -> int:
    there = sum(key in pieces.done for key in mine)
    its.screen.line(
        f"share {share} of {job.verb}: {there} of {plural(len(mine), 'piece')} stored; "
        f"to put shares together: tdx-stress merge {pieces.path} DIR..."
    )
    return its.end((Exit.MET if there == len(mine) else Exit.INCONCLUSIVE).value)


def _ran(request: Any, job: Job, due: Sequence[str], its: Session, threads: int) -> Iterator[tuple[str, Plain, Plain]]:
    """Every piece that is due as it ends, with the facts of its machine."""
    if threads == 0 and request.cluster is None:
        for key in due:
            if its.interrupts:
                return
            yield key, ran(job.run, job.pieces[key], its.interrupts, its.progress), facts()
        return
    begun_at, count = time.monotonic(), 0
    with display(its.progress) as drawn:

        def tell(more: str = "") -> None:
            seconds = time.monotonic() - begun_at
            left = f", about {seconds / count * (len(due) - count):.0f} s left" if count else ""
            drawn.tell(f"{job.verb}: {count} of {plural(len(due), 'piece')}{more}, {count / seconds:.3g}/s{left}")

        if request.cluster:
            from stress.pieces.cluster import over

            ended = over(request.cluster, job, list(due), its.interrupts, tell)
        else:
            calls = {key: partial(ran, job.run, job.pieces[key], its.interrupts, None) for key in due}
            ended = ((key, one, facts()) for key, one in at_once(calls, threads, its.interrupts, tell))
        for each in ended:
            count += 1
            yield each


def at_once(
    calls: Mapping[Key, Callable[[], Result]], threads: int, interrupts: Interrupts, tell: Callable[[], None]
) -> Iterator[tuple[Key, Result]]:
    """What comes of each as it ends, so many at a time; those that an interrupt left out are not among them. `tell` is
    called some times a second.
    """
    with ThreadPoolExecutor(threads) as pool:
        pending: dict[Future[Result], Key] = {pool.submit(call): key for key, call in calls.items()}
        try:
            left = set(pending)
            while left and not interrupts:
                done, left = wait(left, LOOK_S, FIRST_COMPLETED)
                for one in sorted(done, key=lambda one: one.exception() is not None):  # what ended well is not lost
                    yield pending[one], one.result()
                tell()
        finally:
            pool.shutdown(cancel_futures=True)
    yield from ((pending[one], one.result()) for one in left if not one.cancelled())
