"""Pieces handed to workers of Dask distributed: those that are started here, or those of a scheduler that runs.

A piece that races has its machine alone: it takes a worker with the resource `machine`, and of several such workers on
one machine one at a time. A worker that dies has its pieces run again elsewhere, by the scheduler, three times; so does
one that hangs, after `HUNG_S` where it was started here, or when the scheduler's own patience ends.
"""

import contextlib
import fcntl
import logging
import os
import queue
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kernels.language.cache import cache_directory, sources_digest
from results.words import plural
from stress.errors import CannotRunHere, HarnessFault, UsageFault
from stress.interrupts import Interrupts
from stress.pieces.record import Job, Plain, facts, machine_id, ran
from stress.provenance import commit, version

INSTALL = "--cluster needs Dask distributed; install it with: pip install 'tdx-stress[cluster]'"
LOOK_S, ANSWER_S, HUNG_S, FETCH_S, MOST_WORKERS = 0.2, 15, 30, 10, 256
AGAIN = 3  # so often a piece is begun again whose worker died
MACHINE = "machine"


def over(
    address: str, job: Job, due: list[str], interrupts: Interrupts, tell: Callable[[str], None]
) -> Iterator[tuple[str, Plain, Plain]]:
    """Every piece that is due as it ends, with the facts of its machine, but for those whose workers died every time.
    Raises CannotRunHere, UsageFault and HarnessFault.
    """
    with _connected(address) as (client, cluster):
        _refuse_unlike(client, address, races=job.races)
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        wanted = {"resources": {MACHINE: 1}} if job.races else {}
        futures = {}
        for key in due:
            name = f"{job.header['job']}-{key}-{os.getpid()}"
            one = client.submit(on_worker, job.run, job.pieces[key], job.races, key=name, pure=False, **wanted)
            futures[one] = key
        for one in futures:
            one.add_done_callback(ended.put)
        looked = 0.0
        while futures and not interrupts:
            if time.monotonic() > looked + 1:
                looked = time.monotonic()
                tell(f" on {plural(_workers(client), 'worker')}")
                _end_hung(cluster)
            with contextlib.suppress(queue.Empty):
                one = ended.get(timeout=LOOK_S)
                if one.status == "finished":
                    try:
                        told = one.result(timeout=FETCH_S)
                    except TimeoutError:  # its worker is gone, or hangs: until another one has it
                        ended.put(one)
                        continue
                    host = told.pop("host")
                    yield futures.pop(one), told, host
                elif one.status == "error":
                    _refuse_errors(futures.pop(one), one.exception())
                elif not interrupts:
                    raise HarnessFault(f"--cluster: the scheduler at {address} is gone")
        client.cancel(list(futures))


def on_worker(run: Callable[..., Any], described: Mapping[str, Any], races: bool) -> Plain:
    """A piece, run by a worker, for as long as somebody wants it."""
    from distributed import get_worker
    from distributed.worker import thread_state

    tasks, key = get_worker().state.tasks, thread_state.key

    def go_on() -> bool:
        return key in tasks and tasks[key].state == "executing"

    with _machine_alone(go_on) if races else contextlib.nullcontext():
        return {**ran(run, dict(described), Interrupts(go_on), None), "host": facts()}


@contextlib.contextmanager
def _machine_alone(go_on: Callable[[], bool]) -> Iterator[None]:
    """No other worker of this user on this machine races meanwhile."""
    folder = cache_directory()
    with open(folder.parent / f"{machine_id()}.lock" if folder else os.devnull, "w") as lock:
        while go_on():
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(LOOK_S / 4)
        yield


def worker_facts() -> tuple[str, str | None, str]:
    """Version, commit and kernels of a worker."""
    return version(), commit(), sources_digest()


@contextlib.contextmanager
def _connected(address: str) -> Iterator[tuple[Any, Any]]:
    """A client, and the cluster that was started for it, if any; neither is left."""
    try:
        import dask

        # What they log has lines of ours; they fork races.
        os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"  # of workers
        silent = dict.fromkeys(("distributed", "distributed.client", "tornado.application"), "critical")
        patience = {"distributed.worker.daemon": False, "distributed.scheduler.allowed-failures": AGAIN}
        dask.config.set({"logging": silent, **patience})
        import distributed
    except ImportError:
        raise CannotRunHere(INSTALL) from None
    local = re.fullmatch(r"local:(\d{1,6})", address)
    if local and not 1 <= int(local[1]) <= MOST_WORKERS:
        raise UsageFault(f"--cluster: expected 1 to {MOST_WORKERS} workers, found {local[1]}")
    if not local and not re.fullmatch(r"(\w+://)?[\w.:\[\]-]+:\d{1,5}", address):
        raise UsageFault(f"--cluster: expected local:N or a scheduler such as tcp://10.0.0.1:8786, found {address}")
    with contextlib.ExitStack() as stack:
        cluster = None
        if local:
            folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            # A worker is a new Python that would run the command's own script again.
            sys.modules["__main__"].__spec__ = None
            sys.modules["__main__"].__dict__.pop("__file__", None)
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=int(local[1]),
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    resources={MACHINE: 1},
                    memory_limit=0,
                    local_directory=folder,
                    silence_logs=logging.CRITICAL,
                )
            )
            stack.callback(_kill_all, cluster)
        try:
            client = stack.enter_context(distributed.Client(cluster or address, timeout=ANSWER_S, set_as_default=False))
            client.wait_for_workers(1, timeout=ANSWER_S)
        except (OSError, TimeoutError, ValueError) as error:
            said = "no worker" if client_answers(error) else "nobody who answers"
            raise UsageFault(
                f"--cluster: expected a Dask scheduler with workers at {address}, found {said} in {ANSWER_S} s"
            ) from None
        yield client, cluster


def client_answers(error: Exception) -> bool:
    """Whether it was the workers that were waited for."""
    return "workers" in str(error)


def _refuse_unlike(client: Any, address: str, *, races: bool) -> None:
    """Raises UsageFault where a worker is of another version, or cannot do what is asked for."""
    ours = worker_facts()
    for worker, theirs in client.run(worker_facts, on_error="return").items():
        if isinstance(theirs, OSError):
            continue  # it is gone
        if isinstance(theirs, Exception):
            said = f"{type(theirs).__name__}: {theirs}".splitlines()[0]
            raise UsageFault(f"--cluster: the worker {worker} has no tdx-stress of this version: {said}")
        if tuple(theirs) != ours:
            one, other = next((a, b) for a, b in zip(ours, theirs, strict=True) if a != b)
            raise UsageFault(f"--cluster: the worker {worker} is of another version: expected {one}, found {other}")
    if races and not any(MACHINE in one["resources"] for one in _told(client).values()):
        raise UsageFault(
            f"--cluster: no worker of {address} has the resource {MACHINE}, by which races have a machine alone; "
            f"start them with: dask worker {address} --nthreads 1 --no-nanny --resources {MACHINE}=1"
        )


def _refuse_errors(key: str, error: BaseException | None) -> None:
    """Raises HarnessFault for what went wrong within a piece; where only its workers died it is left out."""
    if type(error).__name__ != "KilledWorker":
        raise HarnessFault(f"piece {key}: {type(error).__name__}: {error}")


def _told(client: Any) -> dict[str, Any]:
    return dict(client.scheduler_info(n_workers=-1)["workers"])


def _workers(client: Any) -> int:
    try:
        return len(_told(client))
    except Exception:  # the scheduler is gone, which the pieces will say
        return 0


def _end_hung(cluster: Any) -> None:
    """Kill workers of our own that have not been heard of, as the scheduler waits minutes for them."""
    if cluster is None:
        return
    seen = {address: one.last_seen for address, one in cluster.scheduler.workers.items()}
    for nanny in cluster.workers.values():
        if time.time() - seen.get(nanny.worker_address, time.time()) > HUNG_S and nanny.pid:
            os.kill(nanny.pid, signal.SIGKILL)


def _kill_all(cluster: Any) -> None:
    """At the end: what a worker still does nobody waits for, and one that was stopped would not end by itself."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(nanny.pid, signal.SIGKILL)
