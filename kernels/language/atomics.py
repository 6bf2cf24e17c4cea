"""Real atomics on int64 words, memory order in the name, and what else only a machine can do.

Every access to a word that another actor writes goes through these. A function here is its meaning, as Python runs it:
where one step is taken at a time that is enough. Beside it stands what is emitted in its place, an LLVM atomic
(`kernels/language/llvm.py`). A step machine notes besides of which word it was, as a search asks what a step depends
on.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

from kernels.language import llvm
from kernels.language.llvm import (
    KICK_SIGNAL,
    MEMBARRIER_GLOBAL,
    THREAD_BITS,
    Emit,
    Instruct,
    system_call_number,
)

MEMBARRIER, TGKILL = map(system_call_number, ("membarrier", "tgkill"))


ACCESSES: dict[Any, Emit] = {}  # of `(words, index, *operands)`
INSTRUCTIONS: dict[Any, Instruct] = {}  # of what touches no word


def _emitted(table: dict[Any, Any], emit: Any) -> Callable[[Callable[..., Any]], Any]:
    def mark(body: Callable[..., Any]) -> Any:
        table[body] = emit
        return body

    return mark


_access, _instruction = functools.partial(_emitted, ACCESSES), functools.partial(_emitted, INSTRUCTIONS)


@_access(llvm.atomic_load("monotonic"))
def load_relaxed(words: Any, index: int) -> int:
    """The word, with no order: only its value is asked for."""
    return int(words[index])


@_access(llvm.atomic_load("acquire"))
def load_acquire(words: Any, index: int) -> int:
    """The word; what its writer did before its release is seen after this."""
    return int(words[index])


@_access(llvm.atomic_load("seq_cst"))
def load_seq_cst(words: Any, index: int) -> int:
    """The word, in the one order of all seq_cst accesses."""
    return int(words[index])


@_access(llvm.atomic_store("monotonic"))
def store_relaxed(words: Any, index: int, value: int) -> None:
    """Write the word, with no order."""
    words[index] = value


@_access(llvm.atomic_store("release"))
def store_release(words: Any, index: int, value: int) -> None:
    """Write the word after everything this actor did before."""
    words[index] = value


@_access(llvm.atomic_store("seq_cst"))
def store_seq_cst(words: Any, index: int, value: int) -> None:
    """Write the word and wait until it is visible (x86: xchg; Linux: smp_store_mb)."""
    words[index] = value


@_access(llvm.atomic_modify("xchg"))
def exchange_seq_cst(words: Any, index: int, value: int) -> int:
    """Write the word; returns what it held."""
    old = int(words[index])
    words[index] = value
    return old


@_access(llvm.atomic_modify("add"))
def fetch_add_seq_cst(words: Any, index: int, value: int) -> int:
    """Add to the word, wrapping (x86: lock xadd); returns what it held."""
    old = int(words[index])
    words[index] = ((old + value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)
    return old


@_access(llvm.atomic_modify("or"))
def fetch_or_seq_cst(words: Any, index: int, value: int) -> int:
    """Set bits of the word (x86: lock or, lock bts); returns what it held."""
    old = int(words[index])
    words[index] = old | value
    return old


@_access(llvm.atomic_modify("and"))
def fetch_and_seq_cst(words: Any, index: int, value: int) -> int:
    """Keep only these bits of the word (x86: lock and, lock btr); returns what it held."""
    old = int(words[index])
    words[index] = old & value
    return old


@_access(llvm.atomic_compare)
def compare_exchange_seq_cst(words: Any, index: int, expected: int, value: int) -> int:
    """Write `value` if the word holds `expected` (x86: lock cmpxchg); returns what it held."""
    old = int(words[index])
    if old == expected:
        words[index] = value
    return old


SHARED_ACCESSES = frozenset(ACCESSES)


@_access(llvm.plain_load)
def own(words: Any, index: int) -> int:
    """A word that no other actor writes: its TLB, its epoch, its tally."""
    return int(words[index])


@_access(llvm.plain_store)
def set_own(words: Any, index: int, value: int) -> None:
    """Write a word that no other actor reads for a decision."""
    words[index] = value


def at_word(words: Any, index: int) -> Any:
    """The address of a word, given the address of the first; for `kernels/language/compile.py` alone."""


def enter(place: int, *given: Any) -> Any:
    """Call the C function at an address: words and records go as addresses, all else as it is; returns an int64.

    For `kernels/language/compile.py` alone: a search is compiled before the step machines that it searches, and once
    for all of them.
    """


@_instruction(llvm.fence)
def fence_seq_cst() -> None:
    """A full fence (x86: mfence or a locked instruction; Linux: smp_mb)."""


@_instruction(llvm.here(llvm.emit_pause))
def pause() -> None:
    """Tell the CPU that this is a spin-wait loop."""


@_instruction(llvm.here(llvm.emit_settle))
def settle() -> None:
    """Wait until the accesses before are over, so that a timestamp behind it comes after them."""


@_instruction(llvm.here(llvm.emit_timestamp))
def timestamp() -> Any:
    """The timestamp counter, in ticks; not ordered with the accesses around it."""
    return time.perf_counter_ns()


@_instruction(llvm.clock_gettime)
def monotonic_ns() -> Any:
    """CLOCK_MONOTONIC_RAW in nanoseconds, for machines without a constant timestamp counter."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


@_instruction(llvm.sched_yield)
def yield_cpu() -> None:
    """sched_yield(2): let another actor have this CPU."""


@_instruction(llvm.nanosleep)
def sleep_ns(length: int) -> None:
    """nanosleep(2): sleep for so many nanoseconds, less than a second, or until a signal."""


@_instruction(llvm.sched_setaffinity)
def pin_to(cpu: int) -> Any:
    """sched_setaffinity(2): this thread runs on this CPU alone, one of the first 1,024; returns 0, or -1 if refused."""


@_instruction(llvm.syscall)
def system_call(number: int, a: int, b: int, c: int, d: int, e: int, f: int) -> Any:
    """syscall(2) with six arguments, of which the kernel takes as many as it needs; -1 where it refuses."""


def membarrier() -> Any:
    """membarrier(2), global and expedited: the kernel interrupts every other CPU that runs a registered process, and
    waits until all have answered; returns 0, or -1 if refused.
    """
    return system_call(MEMBARRIER, MEMBARRIER_GLOBAL, 0, 0, 0, 0, 0)


def signal_thread(thread: int) -> Any:
    """tgkill(2) with KICK_SIGNAL to a thread, above it its process; returns 0, or -1 if refused."""
    return system_call(TGKILL, thread >> THREAD_BITS, thread & ((1 << THREAD_BITS) - 1), KICK_SIGNAL, 0, 0, 0)


@_instruction(llvm.exit_now)
def end_process(code: int) -> None:
    """_exit(2): this process ends here."""


@_access(llvm.prefetch(1))
def prefetch_write(words: Any, index: int) -> None:
    """Ask for the word's line, to write it soon; waits for nothing."""


@_access(llvm.prefetch(0))
def prefetch_read(words: Any, index: int) -> None:
    """Ask for the word's line, to read it soon; waits for nothing."""


@_instruction(llvm.length_in_bits)
def bit_length(value: int) -> Any:
    """The number of bits of a non-negative int64."""
    return int(value).bit_length()
