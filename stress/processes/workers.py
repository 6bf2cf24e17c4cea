"""Workers, seen from the parent: they are started, let go at once, watched for their end, and reaped by pid."""

import contextlib
import gc
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import multiprocess
import psutil

from kernels.tdx.kvm.interrupt import REFUSED
from stress.errors import STOPPING_SIGNALS, HarnessFault
from stress.processes.worker import Job, StartLine, serve

READY = "ready"


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """A worker process that is no more; `code` is its exit code, or minus the signal that ended it."""

    name: str
    pid: int
    code: int

    def __str__(self) -> str:
        if self.code >= 0:
            why = ": the kernel has refused the system call of its kick" if self.code == REFUSED else ""
            return f"{self.name} (pid {self.pid}) ended with exit code {self.code}{why}"
        return f"{self.name} (pid {self.pid}) was ended by {signal.Signals(-self.code).name}"


class Workers:
    """The workers of one race. `teams`: the jobs of one process each. `go`: what a worker asks when the line opens."""

    def __init__(self, teams: Sequence[Sequence[Job]], go: Callable[[], bool]) -> None:
        self._teams = [tuple(team) for team in teams]
        self._go = go
        self._line = StartLine()
        self._alive: dict[int, Any] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._line.ready, selectors.EVENT_READ, READY)
        self._ready = 0

    @property
    def size(self) -> int:
        """How many actors there are."""
        return sum(len(team) for team in self._teams)

    @property
    def ready(self) -> int:
        """How many actors stand at the start line."""
        return self._ready

    @property
    def alive(self) -> dict[str, int]:
        """The pids of the worker processes that have not ended, by name."""
        return {process.name: process.pid for process in self._alive.values()}

    def start(self) -> None:
        """Fork every worker. Raises HarnessFault where the system gives no more processes; those forked are reaped."""
        fork = multiprocess.get_context("fork")
        parent, inherited = os.getpid(), tuple(sorted(os.sched_getaffinity(0)))
        # A page that the collector touches in one worker is copied for it: what stands now is never looked at again,
        # neither by a worker nor before the next race, for which all of it would take half a second.
        gc.collect()
        gc.freeze()
        # Blocked in every worker for good: see there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING_SIGNALS)
        try:
            for team in self._teams:
                name = team[0].name if len(team) == 1 else f"threads of {len(team)} actors"
                worker = fork.Process(target=serve, args=(team, self._line, parent, self._go), name=name, daemon=True)
                worker.start()
                if len(team) == 1 and (team[0].first_cpus or team[0].cpus) != inherited:
                    psutil.Process(worker.pid).cpu_affinity(list(team[0].first_cpus or team[0].cpus))
                self._alive[worker.sentinel] = worker
                self._selector.register(worker.sentinel, selectors.EVENT_READ)
        except OSError as error:
            started = len(self._alive)
            self.kill()
            raise HarnessFault(
                f"no process for {name}, after {started} workers: {error.strerror}; take fewer --vcpus"
            ) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def release(self) -> None:
        """Let everybody start."""
        self._line.release()

    def settle(self) -> None:
        """Move every worker that began on other CPUs to its own."""
        pids = self.alive
        for team in self._teams:
            if team[0].first_cpus and (pid := pids.get(team[0].name)) is not None:
                with contextlib.suppress(psutil.Error):  # one that has just ended is missed elsewhere
                    psutil.Process(pid).cpu_affinity(list(team[0].cpus))

    def wait(self, timeout_s: float) -> list[ExitStatus]:
        """Sleep until a worker has ended or gets ready, at most this long; the workers that have ended."""
        ended = []
        for key, _ in self._selector.select(max(timeout_s, 0)):
            if key.data == READY:
                self._ready += self._line.arrived()
            else:
                ended.append(self._bury(key.fd))
        return ended

    def wait_for_end(self, timeout_s: float) -> list[ExitStatus]:
        """Sleep until every worker has ended, at most this long; the workers that have."""
        until = time.monotonic() + timeout_s
        ended = []
        while self._alive and (left := until - time.monotonic()) > 0:
            ended += self.wait(left)
        return ended

    def kill(self) -> None:
        """End whoever is left with SIGKILL, reap, and give everything back. May be called again."""
        for worker in self._alive.values():
            worker.kill()
        for sentinel in tuple(self._alive):
            self._bury(sentinel)
        self._line.close()
        self._selector.close()

    def _bury(self, sentinel: int) -> ExitStatus:
        worker = self._alive.pop(sentinel)
        self._selector.unregister(sentinel)
        worker.join()
        ended = ExitStatus(worker.name, worker.pid, worker.exitcode)
        worker.close()
        return ended
