"""What a kick needs that interrupts a vCPU's CPU for real: of this kernel, and of the worker to be interrupted."""

import ctypes
import os
import signal
import threading

from kernels.language.llvm import (
    KICK_SIGNAL,
    MEMBARRIER_GLOBAL,
    MEMBARRIER_QUERY,
    MEMBARRIER_REGISTER_GLOBAL,
    THREAD_BITS,
    system_call_number,
)
from kernels.layout import Layout
from stress.errors import CannotRunHere
from stress.processes.shared_words import Words

NEEDED = MEMBARRIER_GLOBAL | MEMBARRIER_REGISTER_GLOBAL
_syscall = ctypes.CDLL(None, use_errno=True).syscall


def why_none(kick_by: str) -> str:
    """Why this kernel does not kick so, "" where it does: signals there always are."""
    if kick_by != "membarrier":
        return ""
    offered = _membarrier(MEMBARRIER_QUERY)
    if offered < 0:
        return f"membarrier(2) is refused: {os.strerror(ctypes.get_errno())}"
    return "" if offered & NEEDED == NEEDED else "membarrier(2) has no MEMBARRIER_CMD_GLOBAL_EXPEDITED"


def refuse_missing(kick_by: str) -> None:
    """Raises CannotRunHere where this kernel does not kick so."""
    if reason := why_none(kick_by):
        raise CannotRunHere(f'kick_by: this kernel has no "{kick_by}": {reason}; "word" and "signal" are to be had')


def interruptible(kick_by: str) -> None:
    """In a worker's main thread: from here on a kick may interrupt the process. Raises OSError where it may not."""
    if kick_by == "signal":
        signal.signal(KICK_SIGNAL, lambda *_: None)  # a signal that is ignored interrupts nobody
    if kick_by == "membarrier" and _membarrier(MEMBARRIER_REGISTER_GLOBAL) != 0:
        raise OSError(ctypes.get_errno(), "membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)")


def told_to(words: Words, lay: Layout, vcpu: int) -> None:
    """In a vCPU's own thread: to whom a signal for it is to be sent."""
    words[lay.threads + vcpu] = this_thread()


def this_thread() -> int:
    """The thread that calls, as `kernels.language.atomics.signal_thread` takes it."""
    return os.getpid() << THREAD_BITS | threading.get_native_id()


def _membarrier(command: int) -> int:
    return int(_syscall(ctypes.c_long(system_call_number("membarrier")), command, 0, 0))
