"""A worker, seen from inside: what happens between the fork and the kernel.

A worker process carries one actor, or all of them as threads. It dies with its parent and ends without running what the
parent has registered for its own end. Signals that ask for an end stay blocked in it, as they were at the fork: a
terminal or a service manager sends them to everybody, and it is the parent that ends a race in good order.
Little happens here on purpose: every page that a worker touches is copied for it.
"""

import ctypes
import gc
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

PR_SET_PDEATHSIG = 1
FAILED, ORPHANED = 70, 71

_prctl = ctypes.CDLL(None, use_errno=True).prctl


@dataclass(frozen=True, slots=True)
class Job:
    """One actor's work: `run` is the kernel, and `cpus` where it may run, a part of what was inherited; `first_cpus`
    where it may until `Workers.settle`, if elsewhere. Before the start line `opens` is called in the process, then
    `begins` in the actor's own thread.
    """

    name: str
    run: Callable[[], int]
    cpus: tuple[int, ...]
    first_cpus: tuple[int, ...] = ()
    opens: Callable[[], None] = lambda: None
    begins: Callable[[], None] = lambda: None


class StartLine:
    """Where workers wait until all are there, asleep: 256 that spin need minutes on two cores to let the last start.

    Two pipes, shared by forking; not inherited by programs that are executed. Each worker writes a byte into `ready`
    and blocks on `start`, whose write end only the parent holds; when the parent closes it, every worker wakes at once.
    A parent that dies closes it too: a worker that wakes asks for the word.
    """

    def __init__(self) -> None:
        self._start_read, self._start_write = os.pipe()
        self.ready, self._ready_write = os.pipe()
        self._open = {self._start_read, self._start_write, self.ready, self._ready_write}

    def step_up(self) -> None:
        """In a worker process, first of all: with a copy of the write end in some worker nobody would ever start."""
        self._close(self._start_write)
        self._close(self.ready)

    def wait(self) -> None:
        """In a worker: say that it is ready, and sleep until the parent lets go."""
        os.write(self._ready_write, b".")
        while os.read(self._start_read, 1):
            pass

    def arrived(self) -> int:
        """In the parent, when `ready` is readable: how many workers got ready since the last call."""
        return len(os.read(self.ready, 4096))

    def release(self) -> None:
        """In the parent: wake every worker."""
        self._close(self._start_write)

    def close(self) -> None:
        """In the parent: give back what is still open; workers that still wait wake up."""
        for end in tuple(self._open):
            self._close(end)

    def _close(self, end: int) -> None:
        if end in self._open:
            self._open.remove(end)
            os.close(end)


def serve(jobs: Sequence[Job], line: StartLine, parent: int, go: Callable[[], bool]) -> NoReturn:
    """The whole life of a worker process; it ends here, with the exit code 0 where every kernel returned 0."""
    gc.disable()
    code = FAILED
    try:
        die_with_parent(parent)
        line.step_up()
        for job in jobs:
            job.opens()
        code = _carry_out(jobs[0], line, go) if len(jobs) == 1 else _side_by_side(jobs, line, go)
    except BaseException as error:
        _say(f"{jobs[0].name}: {type(error).__name__}: {error}")
    finally:
        os._exit(code)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the process `parent`, its parent, ends; end at once if it already has."""
    if _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(ORPHANED)


def _carry_out(job: Job, line: StartLine, go: Callable[[], bool]) -> int:
    job.begins()
    line.wait()
    return job.run() if go() else ORPHANED


def _side_by_side(jobs: Sequence[Job], line: StartLine, go: Callable[[], bool]) -> int:
    """Every job in a thread of its own; the first that fails ends the process."""

    def run(job: Job) -> None:
        try:
            os.sched_setaffinity(0, job.cpus)  # this thread alone
            code = _carry_out(job, line, go)
        except BaseException as error:
            _say(f"{job.name}: {type(error).__name__}: {error}")
            code = FAILED
        if code:
            os._exit(code)

    threads = [threading.Thread(target=run, args=(job,), name=job.name) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())
