"""Work in a process of its own while this one goes on with something else."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from stress.errors import STOPPING_SIGNALS
from stress.processes.worker import die_with_parent


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Do this in a forked process while the body runs here, and wait for it. Where there is no process to be had, or it
    came to nothing, it is done here behind the body, and raises what it raises.

    It may leave files and nothing else. A signal that asks for an end is this process's alone.
    """
    child = _forked(work)
    try:
        yield
    finally:
        done = child is not None and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    if not done:
        work()


def _forked(work: Callable[[], object]) -> int | None:
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING_SIGNALS)
    try:
        child = os.fork()
        if child == 0:
            _end_with(work, parent)
        return child
    except OSError:
        return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(work: Callable[[], object], parent: int) -> None:
    """The whole life of the child. Whoever does its work again says what was wrong."""
    code = 1
    try:
        die_with_parent(parent)
        work()
        code = 0
    finally:
        os._exit(code)
