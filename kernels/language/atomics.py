"""Real atomics on int64 words, memory order in the name, and what else only a machine can do.

Every access to a word that another actor writes goes through these. Each exists three times under one name: as an LLVM
atomic (what processes race), as a plain access that notes which word it was of (the step machine: one step at a time
needs no lock prefix, and a search asks what a step depends on), and as Python (the reference). The Python body in this
file is the meaning; the tables hold the others; what is emitted stands in `kernels/language/llvm.py`.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types

from kernels.language import llvm
from kernels.language.llvm import I64, WORDS, Emit

ATOMIC: dict[str, Any] = {}
PLAIN: dict[str, Emit] = {}  # what emits it
RACED: dict[str, Emit] = {}
PYTHON: dict[str, Callable[..., Any]] = {}

# What is noted of plain accesses stands before the words: how many there were, and before that the index of each.
SEEN_ROOM, SEEN_COUNT = 8192, -1


def _define(operands: int, result: types.Type, atomic: Emit, plain: Emit) -> Callable[[Callable[..., Any]], Any]:
    """Mark an access `(words, index, *operands)`: into the tables; what is left is the atomic one."""

    def mark(body: Callable[..., Any]) -> Any:
        name = body.__name__
        PYTHON[name], PLAIN[name], RACED[name] = body, plain, atomic
        ATOMIC[name] = llvm.access(operands, result, atomic)(body)
        return ATOMIC[name]

    return mark


def _load(order: str) -> Callable[[Callable[..., Any]], Any]:
    return _define(0, types.int64, llvm.atomic_load(order), llvm.plain_load)


def _store(order: str) -> Callable[[Callable[..., Any]], Any]:
    return _define(1, types.void, llvm.atomic_store(order), llvm.plain_store)


def _modify(operation: str) -> Callable[[Callable[..., Any]], Any]:
    return _define(1, types.int64, llvm.atomic_modify(operation), llvm.plain_modify(operation))


@_load("monotonic")
def load_relaxed(words: Any, index: int) -> int:
    """The word, with no order: only its value is asked for."""
    return int(words[index])


@_load("acquire")
def load_acquire(words: Any, index: int) -> int:
    """The word; what its writer did before its release is seen after this."""
    return int(words[index])


@_load("seq_cst")
def load_seq_cst(words: Any, index: int) -> int:
    """The word, in the one order of all seq_cst accesses."""
    return int(words[index])


@_store("monotonic")
def store_relaxed(words: Any, index: int, value: int) -> None:
    """Write the word, with no order."""
    words[index] = value


@_store("release")
def store_release(words: Any, index: int, value: int) -> None:
    """Write the word after everything this actor did before."""
    words[index] = value


@_store("seq_cst")
def store_seq_cst(words: Any, index: int, value: int) -> None:
    """Write the word and wait until it is visible (x86: xchg; Linux: smp_store_mb)."""
    words[index] = value


@_modify("xchg")
def exchange_seq_cst(words: Any, index: int, value: int) -> int:
    """Write the word; returns what it held."""
    old = int(words[index])
    words[index] = value
    return old


@_modify("add")
def fetch_add_seq_cst(words: Any, index: int, value: int) -> int:
    """Add to the word, wrapping (x86: lock xadd); returns what it held."""
    old = int(words[index])
    words[index] = ((old + value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)
    return old


@_modify("or")
def fetch_or_seq_cst(words: Any, index: int, value: int) -> int:
    """Set bits of the word (x86: lock or, lock bts); returns what it held."""
    old = int(words[index])
    words[index] = old | value
    return old


@_modify("and")
def fetch_and_seq_cst(words: Any, index: int, value: int) -> int:
    """Keep only these bits of the word (x86: lock and, lock btr); returns what it held."""
    old = int(words[index])
    words[index] = old & value
    return old


@_define(2, types.int64, llvm.atomic_compare, llvm.plain_compare)
def compare_exchange_seq_cst(words: Any, index: int, expected: int, value: int) -> int:
    """Write `value` if the word holds `expected` (x86: lock cmpxchg); returns what it held."""
    old = int(words[index])
    if old == expected:
        words[index] = value
    return old


SHARED_ACCESSES = frozenset(PYTHON)


@_define(0, types.int64, llvm.plain_load, llvm.plain_load)
def own(words: Any, index: int) -> int:
    """A word that no other actor writes: its TLB, its epoch, its tally."""
    return int(words[index])


@_define(1, types.void, llvm.plain_store, llvm.plain_store)
def set_own(words: Any, index: int, value: int) -> None:
    """Write a word that no other actor reads for a decision."""
    words[index] = value


@llvm.start
def address(words: Any) -> Any:
    """The words' address, which every access takes as well; the caller keeps the array alive."""


@llvm.access(0, WORDS, llvm.its_place)
def at_word(words: Any, index: int) -> Any:
    """The address of a word, given the address of the first."""


def words_at(place: int) -> Any:
    """Words at an address that stands in an int64; for `kernels/language/compile.py` alone."""


def enter(place: int, words: Any, lay: Any, rules: Any, index: int, tally: int, pc: int, register: int, chosen: int):  # type: ignore[no-untyped-def]
    """Call the C function at an address: words and records go as addresses, all else as it is; returns an int64.

    For `kernels/language/compile.py` alone: a search is compiled before the step machines that it searches, and once
    for all of them.
    """


@llvm.instruction(types.void, llvm.fence)
def fence_seq_cst() -> None:
    """A full fence (x86: mfence or a locked instruction; Linux: smp_mb)."""


@llvm.instruction(types.void, llvm.here(llvm.emit_pause))
def pause() -> None:
    """Tell the CPU that this is a spin-wait loop."""


@llvm.instruction(types.void, llvm.here(llvm.emit_settle))
def settle() -> None:
    """Wait until the accesses before are over, so that a timestamp behind it comes after them."""


@llvm.instruction(types.int64, llvm.here(llvm.emit_timestamp))
def timestamp() -> Any:
    """The timestamp counter, in ticks; not ordered with the accesses around it."""


@llvm.instruction(types.int64, llvm.clock_gettime)
def monotonic_ns() -> Any:
    """CLOCK_MONOTONIC_RAW in nanoseconds, for machines without a constant timestamp counter."""


@llvm.instruction(types.void, llvm.sched_yield)
def yield_cpu() -> None:
    """sched_yield(2): let another actor have this CPU."""


@llvm.instruction(types.void, llvm.nanosleep)
def sleep_ns(length: int) -> None:
    """nanosleep(2): sleep for so many nanoseconds, less than a second, or until a signal."""


@llvm.instruction(types.int64, llvm.sched_setaffinity)
def pin_to(cpu: int) -> Any:
    """sched_setaffinity(2): this thread runs on this CPU alone, one of the first 1,024; returns 0, or -1 if refused."""


@llvm.instruction(types.int64, llvm.membarrier)
def membarrier() -> Any:
    """membarrier(2), global and expedited: the kernel interrupts every other CPU that runs a registered process, and
    waits until all have answered; returns 0, or -1 if refused.
    """


@llvm.instruction(types.int64, llvm.tgkill)
def signal_thread(thread: int) -> Any:
    """tgkill(2) with KICK_SIGNAL to a thread, above it its process; returns 0, or -1 if refused."""


@llvm.instruction(types.void, llvm.exit_now)
def end_process(code: int) -> None:
    """_exit(2): this process ends here."""


@llvm.access(0, types.void, llvm.prefetch(1))
def prefetch_write(words: Any, index: int) -> None:
    """Ask for the word's line, to write it soon; waits for nothing."""


@llvm.access(0, types.void, llvm.prefetch(0))
def prefetch_read(words: Any, index: int) -> None:
    """Ask for the word's line, to read it soon; waits for nothing."""


@llvm.instruction(types.int64, llvm.length_in_bits)
def bit_length(value: int) -> Any:
    """The number of bits of a non-negative int64."""


def _write_down(builder: Any, start: Any, index: Any) -> None:
    """Call the one function that notes an index before the words, up to the room there is."""
    name = "tdx_stress_seen"
    known = builder.module.globals.get(name)
    if known is None:
        known = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64]), name)
        known.linkage = "internal"
        known.attributes.add("noinline")
        inside = ir.IRBuilder(known.append_basic_block())
        words, noted = known.args
        at = inside.gep(words, [ir.Constant(I64, SEEN_COUNT)])
        count = inside.load(at)
        inside.store(noted, inside.gep(words, [inside.sub(ir.Constant(I64, SEEN_COUNT - 1), count)]))
        room = inside.icmp_signed("<", count, ir.Constant(I64, SEEN_ROOM - 2))
        inside.store(inside.add(count, inside.zext(room, I64)), at)
        inside.ret_void()
    builder.call(known, [start, index])


def emit_seen(name: str, builder: Any, words: Any, index: Any, values: list[Any]) -> Any:
    """Emit the plain access of this name, and a note of its index before the words."""
    _write_down(builder, words, index)
    return emit_plain(name, builder, words, index, values)


def emit_plain(name: str, builder: Any, words: Any, index: Any, values: list[Any]) -> Any:
    """Emit the plain access of this name; None where it has no value."""
    return PLAIN[name](builder, builder.gep(words, [index], inbounds=True), values)
