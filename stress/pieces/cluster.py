"""Pieces handed to workers of Dask distributed: those that are started here, or those of a scheduler that runs.

A piece that races has its machine alone: it takes a worker with the resource `machine`, and of several such workers on
one machine one at a time. A worker that dies has its piece run again, three times; so has one that hangs, after
`HUNG_S` where it was started here, or when the scheduler's own patience ends.
"""

import contextlib
import fcntl
import logging
import os
import queue
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from kernels.language.cache import cache_directory, sources_digest
from results.words import installed_by, plural
from stress.errors import CannotRunHere, HarnessFault, UsageFault
from stress.host.quick import fork_facts
from stress.interrupts import Interrupts
from stress.pieces.record import Job, Plain, facts, ran
from stress.provenance import commit, machine_id, utc, version

INSTALL = f"--cluster needs Dask distributed: {installed_by('cluster')}"
LOOK_S, CALL_S, ANSWER_S, START_S, HUNG_S, FETCH_S, MOST_WORKERS = 0.2, 5, 15, 120, 30, 10, 256
# So often a piece is begun again whose worker died; elsewhere the scheduler counts, and it is tried alone then.
AGAIN = 3
MACHINE = "machine"
Facts = tuple[str, str | None, str]


def over(
    address: str, job: Job, due: list[str], interrupts: Interrupts, tell: Callable[[str], None]
) -> Iterator[tuple[str, Plain, Plain]]:
    """Every piece that is due as it ends, with the facts of its machine, but for those whose workers died every time.
    Raises CannotRunHere, UsageFault and HarnessFault.
    """
    with _connected(address, interrupts) as (client, here):
        if interrupts:
            return
        ours = worker_facts(races=False)
        _refuse_unlike(client, address, ours, races=job.races)
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        wanted = {"resources": {MACHINE: 1}} if job.races else {}
        prefix, futures, todo, looked, heard, room = secrets.token_hex(8), dict[Any, str](), due[::-1], 0.0, 0.0, 0
        killed, told = Counter[str](), dict[str, Any]()
        again: list[str] = []  # one after the other, with nobody beside them who might be to blame

        while (futures or todo or again) and not interrupts:
            if (now := time.monotonic()) > looked + 1:
                looked, told = now, _told(client)
                tell(f" on {plural(len(told), 'worker')}")
                room, heard = 2 * sum(one["nthreads"] for one in told.values()), now if told else heard or now
                if now > heard + START_S:
                    raise HarnessFault(f"--cluster: there is no worker of {address} any more")
            if here is not None:
                here.tend(told)
            if client.status != "running":
                raise gone(address)
            while (todo and len(futures) < room) or (again and not futures):  # one runs, one waits, so that none idles
                key = (todo or again).pop()
                name = f"{prefix}-{key}-{killed[key]}"
                one = client.submit(on_worker, ours, job.run, job.pieces[key], job.races, key=name, **wanted)
                futures[one] = key
                one.add_done_callback(ended.put)
            with contextlib.suppress(queue.Empty):
                one = ended.get(timeout=LOOK_S)
                status, its = one.status, None
                if status == "finished":
                    with contextlib.suppress(Exception):  # its worker is gone, or hangs: until another one has it
                        its = one.result(timeout=FETCH_S)
                if its is not None:
                    its["started"] = utc(its["seconds"])  # by one clock, whatever its worker's says
                    host = its.pop("host")
                    yield futures.pop(one), its, host
                elif status == "error":
                    key = futures.pop(one)
                    _refuse_errors(key, one.exception())
                    killed[key] += 1
                    again += [key] * (killed[key] <= (1 if here is None else AGAIN))
                elif status != "cancelled":
                    one.add_done_callback(ended.put)
                elif not interrupts:
                    raise gone(address)
        client.cancel(list(futures))


def on_worker(ours: Facts, run: Callable[..., Any], described: Mapping[str, Any], races: bool) -> Plain:
    """A piece, run by a worker, for as long as somebody wants it; one that came later is asked what it is, too."""
    from distributed import get_worker
    from distributed.worker import thread_state

    refuse_other(get_worker().address, ours, worker_facts(races=races))
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


@cache
def worker_facts(*, races: bool) -> Any:
    """Version, commit and kernels of a worker; why not, where it is to race and may not fork."""
    if races and fork_facts()["fork_ns"] is None:
        return CannotRunHere("it may start no process, and every actor of a race is one")
    return version(), commit(), sources_digest()


# What is started here ends with us, however we end, also before it could ask for that; and finds what we find.
STARTED = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); os.getppid() == {parent} or sys.exit(); "
    "sys.path[:] = {path}; from {module} import main; main()"
)
PATIENCE = {"DASK_LOGGING__DISTRIBUTED": "critical", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}


class Here:
    """A scheduler and its workers, started here: a worker that ends is begun again, one that hangs is ended."""

    def __init__(self, count: int, folder: str) -> None:
        self.file = f"{folder}/scheduler.json"
        self._folder = folder
        self._scheduler = self._start("dask_scheduler", "--port", "0", "--scheduler-file", self.file)
        self._workers = {str(number): self._worker(str(number)) for number in range(count)}
        self._heard: dict[str, tuple[float, float]] = {}

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        code = STARTED.format(parent=os.getpid(), path=list(sys.path), module=f"distributed.cli.{module}")
        return subprocess.Popen(
            [sys.executable, "-c", code, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", *arguments],
            env={**os.environ, **PATIENCE, "DASK_TEMPORARY_DIRECTORY": self._folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )

    def _worker(self, name: str) -> subprocess.Popen[bytes]:
        its = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--resources", f"{MACHINE}=1", "--name", name)
        return self._start("dask_worker", *its, "--scheduler-file", self.file)

    def tend(self, told: Mapping[str, Any]) -> None:
        """See to all of them, of which the scheduler has told this."""
        for one in told.values():
            name, at = str(one["name"]), time.monotonic()  # whatever becomes of the clock by which it was seen
            if self._heard.get(name, (0.0, at))[0] != one["last_seen"]:
                self._heard[name] = one["last_seen"], at
            if at - self._heard[name][1] > HUNG_S and name in self._workers:
                self._workers[name].kill()
                del self._heard[name]
        for name, process in self._workers.items():
            if process.poll() is not None:
                self._workers[name] = self._worker(name)

    @property
    def gone(self) -> bool:
        """Whether the scheduler has ended."""
        return self._scheduler.poll() is not None

    def end(self) -> None:
        """None is left."""
        for process in (*self._workers.values(), self._scheduler):
            process.kill()
            process.wait()


@contextlib.contextmanager
def _connected(address: str, interrupts: Interrupts) -> Iterator[tuple[Any, Here | None]]:
    """A client, and what was started for it, if anything was; neither is left. None after an interrupt."""
    try:
        import dask

        # What they log has lines of ours.
        silent = dict.fromkeys(("distributed", "distributed.client", "tornado.application"), "critical")
        dask.config.set({"logging": silent})
        import distributed

        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    except ImportError:
        raise CannotRunHere(INSTALL) from None
    local = re.fullmatch(r"local:(\d{1,6})", address)
    if local and not 1 <= int(local[1]) <= MOST_WORKERS:
        raise UsageFault(f"--cluster: expected 1 to {MOST_WORKERS} workers, found {local[1]}")
    if not local and not re.fullmatch(r"(\w+://)?[\w.:\[\]-]+:\d{1,5}", address):
        raise UsageFault(f"--cluster: expected local:N or a scheduler such as tcp://10.0.0.1:8786, found {address}")
    with contextlib.ExitStack() as stack:
        here, where, wait_s, client = None, {"address": address}, ANSWER_S, None
        if local:
            here, wait_s = Here(int(local[1]), stack.enter_context(scratch())), START_S
            stack.callback(here.end)
            where = {"scheduler_file": here.file}
        until = time.monotonic() + wait_s
        while not interrupts and (client is None or not _told(client)):
            if here is not None:
                if here.gone:
                    raise gone(address)
                here.tend({})
            if time.monotonic() > until:
                said = "nobody who answers" if client is None else "no worker"
                raise UsageFault(
                    f"--cluster: expected a Dask scheduler with workers at {address}, found {said} in {wait_s} s"
                )
            time.sleep(LOOK_S / 4)
            if client is None and (here is None or os.path.exists(here.file)):  # a client waits for the file for ever
                with contextlib.suppress(OSError, ValueError):
                    client = distributed.Client(**where, timeout=CALL_S, set_as_default=False)
                    stack.callback(_close, client)
        yield client, here


def _close(client: Any) -> None:
    """Whatever has become of its scheduler."""
    with contextlib.suppress(Exception):
        client.close(timeout=CALL_S)


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """A folder for what is started here, which goes however we end: a shell waits for that, and removes it."""
    folder = tempfile.mkdtemp(prefix="tdx-stress-")
    gone = 'read -r _ || sleep 1; rm -rf -- "$0"'
    with subprocess.Popen(["sh", "-c", gone, folder], stdin=subprocess.PIPE, start_new_session=True) as shell:
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):  # somebody has ended the shell
                shell.communicate(b"\n")
            shutil.rmtree(folder, ignore_errors=True)


def gone(address: str) -> HarnessFault:
    """What is said then."""
    return HarnessFault(f"--cluster: the scheduler at {address} is gone")


def refuse_other(worker: str, ours: Facts, theirs: Any) -> None:
    """Raises UsageFault where a worker is of another version, and CannotRunHere where it cannot race."""
    if isinstance(theirs, CannotRunHere):
        raise CannotRunHere(f"--cluster: the worker {worker}: {theirs}")
    if isinstance(theirs, Exception):
        said = f"{type(theirs).__name__}: {theirs}".splitlines()[0]
        raise UsageFault(f"--cluster: the worker {worker} has no tdx-stress of this version: {said}")
    if tuple(theirs) != ours:
        one, other = next((a, b) for a, b in zip(ours, theirs, strict=True) if a != b)
        raise UsageFault(f"--cluster: the worker {worker} is of another version: expected {one}, found {other}")


def _refuse_unlike(client: Any, address: str, ours: Facts, *, races: bool) -> None:
    """Raises UsageFault and CannotRunHere for a worker that cannot do what is asked for, before anything runs."""
    answers: dict[str, Any] = {}
    with contextlib.suppress(OSError):  # the scheduler is gone, or a worker hangs: each piece asks again
        answers = client.run(worker_facts, races=races, on_error="return", callback_timeout=ANSWER_S)
    for worker, theirs in answers.items():
        if not isinstance(theirs, OSError):  # it is gone
            refuse_other(worker, ours, theirs)
    if races and not any(MACHINE in one["resources"] for one in _told(client).values()):
        raise UsageFault(
            f"--cluster: no worker of {address} has the resource {MACHINE}, by which races have a machine alone; "
            f"start them with: dask worker {address} --nthreads 1 --no-nanny --resources {MACHINE}=1"
        )


def _refuse_errors(key: str, error: BaseException | None) -> None:
    """Raises what went wrong within a piece, as HarnessFault but for a refusal; where only its workers died it is left
    out.
    """
    if isinstance(error, UsageFault | CannotRunHere):
        raise error from None
    if type(error).__name__ != "KilledWorker":
        raise HarnessFault(f"piece {key}: {type(error).__name__}: {error}")


def _told(client: Any) -> dict[str, Any]:
    """What the scheduler knows of its workers; nothing where it is gone, or hangs."""
    try:
        return dict(client.sync(client.scheduler.identity, callback_timeout=CALL_S)["workers"])
    except Exception:
        return {}
