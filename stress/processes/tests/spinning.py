"""Others that have the CPUs."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def spinning(count: int, cpu: int | None = None) -> Iterator[list[int]]:
    """So many processes that keep one CPU busy, the first that there is."""
    cpu = min(os.sched_getaffinity(0)) if cpu is None else cpu
    pids = []
    try:
        for _ in range(count):
            if (pid := os.fork()) == 0:
                os.sched_setaffinity(0, {cpu})
                while True:
                    pass
            pids.append(pid)
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
