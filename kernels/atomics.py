"""Real atomics on int64 words, memory order in the name. Here and in `kernels/native.py` is what knows LLVM.

Every access to a word that another actor writes goes through these. Each exists three times under one name: as an LLVM
atomic (what processes race), as a plain access that notes which word it was of (the step machine: one step at a time
needs no lock prefix, and a search asks what a step depends on), and as Python (the reference). The Python body in this
file is the meaning; the tables hold the others.
x86-64 and aarch64. Inline assembly is not used: llvmlite's default set-up cannot parse it.
"""

import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numba.np.numpy_support import from_dtype

I64 = ir.IntType(64)
_PAUSES = {"x86_64": ("llvm.x86.sse2.pause", ()), "aarch64": ("llvm.aarch64.hint", (1,))}

# The words without numba's array around them: nothing to count references of between two atomic steps.
WORDS: Any = types.CPointer(types.int64)  # type: ignore[attr-defined]

ATOMIC: dict[str, Any] = {}
PLAIN: dict[str, Callable[[Any, Any, list[Any]], Any]] = {}  # what emits it, given the place of the word
PYTHON: dict[str, Callable[..., Any]] = {}

# What is noted of plain accesses stands before the words: how many there were, and before that the index of each.
SEEN_ROOM, SEEN_COUNT = 8192, -1


def _check(name: str, words: Any, *numbers: Any) -> None:
    """The typing rule: one C-contiguous writable array of int64 (or its address), everything else a signed integer."""
    fits = isinstance(words, types.Array) and words.dtype == types.int64 and words.ndim == 1
    if words != WORDS and not (fits and words.layout == "C" and words.mutable):
        raise TypingError(f"{name}: words must be a writable C-contiguous one-dimensional int64 array, found {words}")
    for number in numbers:
        plain: Any = number.literal_type if isinstance(number, types.Literal) else number
        whole = isinstance(plain, types.Integer)
        if not (whole and plain.signed and plain.bitwidth <= 64):
            raise TypingError(f"{name}: index and values must be signed integers of at most 64 bits, found {number}")


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    start = args[0] if signature.args[0] == WORDS else make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(start, [args[1]], inbounds=True)


Emit = Callable[[Any, Any, list[Any]], Any]


def _define(body: Callable[..., Any], operands: int, result: types.Type, atomic: Emit, plain: Emit) -> Any:
    """Make the intrinsics of `body`, an access `(words, index, *operands)`; returns the atomic one."""
    name = body.__name__

    def typed(emit: Emit) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(builder, _pointer(context, builder, signature, args), list(args[2:]))

        def typing(typingctx: Any, words: Any, index: Any, *values: Any) -> Any:
            _check(name, words, index, *values)
            return result(words, types.int64, *([types.int64] * operands)), codegen

        signatures = {
            0: lambda typingctx, words, index: typing(typingctx, words, index),
            1: lambda typingctx, words, index, value: typing(typingctx, words, index, value),
            2: lambda typingctx, words, index, expected, value: typing(typingctx, words, index, expected, value),
        }
        made = signatures[operands]
        made.__name__ = name
        made.__doc__ = body.__doc__
        return intrinsic(made)

    PYTHON[name], ATOMIC[name], PLAIN[name] = body, typed(atomic), plain
    return ATOMIC[name]


def _plain_load(builder: Any, at: Any, values: list[Any]) -> Any:
    return builder.load(at)


def _plain_store(builder: Any, at: Any, values: list[Any]) -> Any:
    builder.store(values[0], at)
    return None


def _load(order: str) -> Callable[[Callable[..., Any]], Any]:
    def emit(builder: Any, at: Any, values: list[Any]) -> Any:
        return builder.load_atomic(at, order, 8)

    return lambda body: _define(body, 0, types.int64, emit, _plain_load)


def _store(order: str) -> Callable[[Callable[..., Any]], Any]:
    def emit(builder: Any, at: Any, values: list[Any]) -> Any:
        builder.store_atomic(values[0], at, order, 8)

    return lambda body: _define(body, 1, types.void, emit, _plain_store)


def _modify(operation: str) -> Callable[[Callable[..., Any]], Any]:
    def emit(builder: Any, at: Any, values: list[Any]) -> Any:
        return builder.atomic_rmw(operation, at, values[0], "seq_cst")

    def plain(builder: Any, at: Any, values: list[Any]) -> Any:
        old = builder.load(at)
        combine = {"add": builder.add, "or": builder.or_, "and": builder.and_, "xchg": lambda _, new: new}[operation]
        builder.store(combine(old, values[0]), at)
        return old

    return lambda body: _define(body, 1, types.int64, emit, plain)


def _compare(body: Callable[..., Any]) -> Any:
    def emit(builder: Any, at: Any, values: list[Any]) -> Any:
        pair = builder.cmpxchg(at, values[0], values[1], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 0)

    def plain(builder: Any, at: Any, values: list[Any]) -> Any:
        old = builder.load(at)
        builder.store(builder.select(builder.icmp_signed("==", old, values[0]), values[1], old), at)
        return old

    return _define(body, 2, types.int64, emit, plain)


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


@_compare
def compare_exchange_seq_cst(words: Any, index: int, expected: int, value: int) -> int:
    """Write `value` if the word holds `expected` (x86: lock cmpxchg); returns what it held."""
    old = int(words[index])
    if old == expected:
        words[index] = value
    return old


SHARED_ACCESSES = frozenset(PYTHON)


def _own_load(body: Callable[..., Any]) -> Any:
    return _define(body, 0, types.int64, _plain_load, _plain_load)


def _own_store(body: Callable[..., Any]) -> Any:
    return _define(body, 1, types.void, _plain_store, _plain_store)


@_own_load
def own(words: Any, index: int) -> int:
    """A word that no other actor writes: its TLB, its epoch, its tally."""
    return int(words[index])


@_own_store
def set_own(words: Any, index: int, value: int) -> None:
    """Write a word that no other actor reads for a decision."""
    words[index] = value


def emit_pause(builder: Any, machine: str) -> None:
    """Emit the spin-wait hint of an instruction set: x86 `pause`, aarch64 `yield`."""
    name, arguments = _PAUSES[machine]
    hint = builder.module.declare_intrinsic(name, (), ir.FunctionType(ir.VoidType(), [ir.IntType(32)] * len(arguments)))
    builder.call(hint, [ir.Constant(ir.IntType(32), value) for value in arguments])


def emit_settle(builder: Any, machine: str) -> None:
    """Emit a wait until every access before is over, for a clock read behind it: x86 `lfence`, aarch64 `isb`."""
    name, arguments = {"x86_64": ("llvm.x86.sse2.lfence", ()), "aarch64": ("llvm.aarch64.isb", (15,))}[machine]
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)] * len(arguments))
    wait = builder.module.declare_intrinsic(name, (), kind)
    builder.call(wait, [ir.Constant(ir.IntType(32), value) for value in arguments])


def emit_timestamp(builder: Any, machine: str) -> Any:
    """Emit a read of the counter that user space may read: x86 `rdtsc`, aarch64 `cntvct_el0`."""
    if machine == "x86_64":
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), ir.FunctionType(I64, [])), [])
    # LLVM's own counters become PMCCNTR_EL0, which user space may not read, or nothing at all, by its version.
    named = builder.module.add_metadata(["cntvct_el0"])
    kind = ir.FunctionType(I64, [ir.MetaDataType()])
    return builder.call(builder.module.declare_intrinsic("llvm.read_volatile_register", [I64], kind), [named])


def _call_libc(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    known = builder.module.globals.get(name)
    return builder.call(known or ir.Function(builder.module, kind, name), arguments)


@intrinsic
def address(typingctx, words):  # type: ignore[no-untyped-def]
    """The words' address, which every access takes as well; the caller keeps the array alive."""
    _check("address", words)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return make_array(signature.args[0])(context, builder, args[0]).data

    return WORDS(words), codegen


@intrinsic
def at_word(typingctx, words, index):  # type: ignore[no-untyped-def]
    """The address of a word, given the address of the first."""
    _check("at_word", words, index)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return _pointer(context, builder, signature, args)

    return WORDS(words, types.int64), codegen


@intrinsic
def words_at(typingctx, place):  # type: ignore[no-untyped-def]
    """Words at an address that stands in an int64."""
    if not isinstance(place, types.Integer):
        raise TypingError(f"words_at: expected an address as an integer, found {place}")

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], context.get_value_type(WORDS))

    return WORDS(types.int64), codegen


def fields_at(fields: tuple[str, ...]) -> Any:
    """An intrinsic that takes an address in an int64 for a record of these int64 fields, as `kernels.race.record`
    makes them.
    """
    record = from_dtype(np.dtype([(name, np.int64) for name in fields]))

    @intrinsic
    def at(typingctx, place):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return builder.inttoptr(args[0], context.get_value_type(record))

        return record(types.int64), codegen

    return at


@intrinsic
def enter(typingctx, place, words, lay, rules, index, tally, pc, register, chosen):  # type: ignore[no-untyped-def]
    """Call the C function at an address: words and records go as addresses, all else as it is; returns an int64.

    So that a search is compiled before the step machines that it searches, and once for all of them.
    """
    _check("enter", words, place, index, tally, pc, register, chosen)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        place, words, lay, rules, *numbers = args
        given = [*(builder.ptrtoint(it, I64) for it in (words, lay, rules)), *numbers]
        function = builder.inttoptr(place, ir.FunctionType(I64, [I64] * len(given)).as_pointer())
        return builder.call(function, given)

    return types.int64(types.int64, words, lay, rules, *([types.int64] * 5)), codegen


@intrinsic
def fence_seq_cst(typingctx):  # type: ignore[no-untyped-def]
    """A full fence (x86: mfence or a locked instruction; Linux: smp_mb)."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        builder.fence("seq_cst")

    return types.void(), codegen


@intrinsic
def pause(typingctx):  # type: ignore[no-untyped-def]
    """Tell the CPU that this is a spin-wait loop."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        emit_pause(builder, platform.machine())

    return types.void(), codegen


@intrinsic
def settle(typingctx):  # type: ignore[no-untyped-def]
    """Wait until the accesses before are over, so that a timestamp behind it comes after them."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        emit_settle(builder, platform.machine())

    return types.void(), codegen


@intrinsic
def timestamp(typingctx):  # type: ignore[no-untyped-def]
    """The timestamp counter, in ticks; not ordered with the accesses around it."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return emit_timestamp(builder, platform.machine())

    return types.int64(), codegen


@intrinsic
def monotonic_ns(typingctx):  # type: ignore[no-untyped-def]
    """CLOCK_MONOTONIC_RAW in nanoseconds, for machines without a constant timestamp counter."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pair = builder.alloca(I64, size=ir.Constant(ir.IntType(32), 2))
        clock = ir.Constant(ir.IntType(32), time.CLOCK_MONOTONIC_RAW)
        _call_libc(builder, "clock_gettime", ir.IntType(32), [clock, pair])
        seconds = builder.load(pair)
        rest = builder.load(builder.gep(pair, [ir.Constant(I64, 1)]))
        return builder.add(builder.mul(seconds, ir.Constant(I64, 1_000_000_000)), rest)

    return types.int64(), codegen


@intrinsic
def yield_cpu(typingctx):  # type: ignore[no-untyped-def]
    """sched_yield(2): let another actor have this CPU."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        _call_libc(builder, "sched_yield", ir.IntType(32), [])

    return types.void(), codegen


@intrinsic
def sleep_ns(typingctx, length):  # type: ignore[no-untyped-def]
    """nanosleep(2): sleep for so many nanoseconds, less than a second, or until a signal."""
    if not isinstance(length, types.Integer):
        raise TypingError(f"sleep_ns: expected nanoseconds as an integer, found {length}")

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pair = builder.alloca(I64, size=ir.Constant(ir.IntType(32), 2))
        builder.store(ir.Constant(I64, 0), pair)
        builder.store(args[0], builder.gep(pair, [ir.Constant(I64, 1)]))
        _call_libc(builder, "nanosleep", ir.IntType(32), [pair, ir.Constant(I64.as_pointer(), None)])

    return types.void(types.int64), codegen


@intrinsic
def pin_to(typingctx, cpu):  # type: ignore[no-untyped-def]
    """sched_setaffinity(2): this thread runs on this CPU alone, one of the first 1,024; returns 0, or -1 if refused."""
    if not isinstance(cpu, types.Integer):
        raise TypingError(f"pin_to: expected the number of a CPU as an integer, found {cpu}")

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        words = 1024 // 64
        mask = builder.alloca(I64, size=ir.Constant(ir.IntType(32), words))
        for word in range(words):
            builder.store(ir.Constant(I64, 0), builder.gep(mask, [ir.Constant(I64, word)]))
        at = builder.gep(mask, [builder.lshr(args[0], ir.Constant(I64, 6))])
        builder.store(builder.shl(ir.Constant(I64, 1), builder.and_(args[0], ir.Constant(I64, 63))), at)
        given = [ir.Constant(ir.IntType(32), 0), ir.Constant(I64, words * 8), mask]
        return builder.sext(_call_libc(builder, "sched_setaffinity", ir.IntType(32), given), I64)

    return types.int64(types.int64), codegen


def _emit_prefetch(builder: Any, at: Any, write: int) -> None:
    i32 = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [at.type, i32, i32, i32])
    hint = builder.module.declare_intrinsic("llvm.prefetch", [at.type], kind)
    builder.call(hint, [at, ir.Constant(i32, write), ir.Constant(i32, 3), ir.Constant(i32, 1)])


@intrinsic
def prefetch_write(typingctx, words, index):  # type: ignore[no-untyped-def]
    """Ask for the word's line, to write it soon; waits for nothing."""
    _check("prefetch_write", words, index)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        _emit_prefetch(builder, _pointer(context, builder, signature, args), 1)

    return types.void(words, types.int64), codegen


@intrinsic
def prefetch_read(typingctx, words, index):  # type: ignore[no-untyped-def]
    """Ask for the word's line, to read it soon; waits for nothing."""
    _check("prefetch_read", words, index)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        _emit_prefetch(builder, _pointer(context, builder, signature, args), 0)

    return types.void(words, types.int64), codegen


@intrinsic
def bit_length(typingctx, value):  # type: ignore[no-untyped-def]
    """The number of bits of a non-negative int64."""
    if not isinstance(value, types.Integer):
        raise TypingError(f"bit_length: expected an integer, found {value}")

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.sub(ir.Constant(I64, 64), builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0)))

    return types.int64(types.int64), codegen
