"""What is emitted for the primitives of `kernels/language/atomics.py`: LLVM for accesses, instructions and calls of
libc.

Each decorator here makes numba's intrinsic of a function that says what is meant. Here and in
`kernels/language/compile.py` is what knows LLVM. x86-64 and aarch64. Inline assembly is not used: llvmlite's default
set-up cannot parse it.
"""

import platform
import signal
import time
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

I32, I64 = ir.IntType(32), ir.IntType(64)
_PAUSES = {"x86_64": ("llvm.x86.sse2.pause", ()), "aarch64": ("llvm.aarch64.hint", (1,))}
_SYSTEM_CALLS = {
    "x86_64": {"membarrier": 324, "tgkill": 234, "fallocate": 285, "mmap": 9, "mprotect": 10, "pwrite64": 18},
    "aarch64": {"membarrier": 283, "tgkill": 131, "fallocate": 47, "mmap": 222, "mprotect": 226, "pwrite64": 68},
}
# Of linux/membarrier.h, what there is to ask for and to register with; and the signal of a kick, that of KVM's users.
MEMBARRIER_QUERY, MEMBARRIER_GLOBAL, MEMBARRIER_REGISTER_GLOBAL = 0, 1 << 1, 1 << 2
KICK_SIGNAL, THREAD_BITS = signal.SIGUSR1, 32
_SETTLES = {"x86_64": ("llvm.x86.sse2.lfence", ()), "aarch64": ("llvm.aarch64.isb", (15,))}

# The words without numba's array around them: nothing to count references of between two atomic steps.
WORDS: Any = types.CPointer(types.int64)  # type: ignore[attr-defined]

# What emits an instruction, and what is done to a word that is no access to it, by what numba calls for it.
INSTRUCTIONS: dict[Any, "Instruct"] = {}
WORDS_OF: dict[Any, "Emit"] = {}

Emit = Callable[[Any, Any, list[Any]], Any]  # given the builder, the place of the word, the operands
Instruct = Callable[[Any, list[Any]], Any]  # given the builder, the arguments


def _check_words(name: str, words: Any) -> None:
    """The typing rule: one C-contiguous writable array of int64, or its address."""
    fits = isinstance(words, types.Array) and words.dtype == types.int64 and words.ndim == 1
    if words != WORDS and not (fits and words.layout == "C" and words.mutable):
        raise TypingError(f"{name}: words must be a writable C-contiguous one-dimensional int64 array, found {words}")


def _check(name: str, words: Any, *numbers: Any) -> None:
    """Beside the words everything is a signed integer."""
    _check_words(name, words)
    for number in numbers:
        plain: Any = number.literal_type if isinstance(number, types.Literal) else number
        whole = isinstance(plain, types.Integer)
        if not (whole and plain.signed and plain.bitwidth <= 64):
            raise TypingError(f"{name}: index and values must be signed integers of at most 64 bits, found {number}")


def _named(made: Callable[..., Any], body: Callable[..., Any]) -> Any:
    made.__name__, made.__doc__ = body.__name__, body.__doc__
    return intrinsic(made)


def access(operands: int, result: types.Type, emit: Emit) -> Callable[[Callable[..., Any]], Any]:
    """Mark an access `(words, index, *operands)`."""

    def mark(body: Callable[..., Any]) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            first = signature.args[0]
            start = args[0] if first == WORDS else make_array(first)(context, builder, args[0]).data
            return emit(builder, builder.gep(start, [args[1]], inbounds=True), list(args[2:]))

        def typing(typingctx: Any, words: Any, index: Any, *values: Any) -> Any:
            _check(body.__name__, words, index, *values)
            return result(words, types.int64, *([types.int64] * operands)), codegen

        signatures: dict[int, Callable[..., Any]] = {
            0: lambda typingctx, words, index: typing(typingctx, words, index),
            1: lambda typingctx, words, index, value: typing(typingctx, words, index, value),
            2: lambda typingctx, words, index, expected, value: typing(typingctx, words, index, expected, value),
        }
        made = _named(signatures[operands], body)
        WORDS_OF[made] = emit
        return made

    return mark


def instruction(result: types.Type, emit: Instruct) -> Callable[[Callable[..., Any]], Any]:
    """Mark what takes nothing, one integer or seven, and touches no word."""

    def mark(body: Callable[..., Any]) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(builder, list(args))

        def one(typingctx: Any, number: Any) -> Any:
            if not isinstance(number, types.Integer):
                raise TypingError(f"{body.__name__}: expected an integer, found {number}")
            return result(types.int64), codegen

        def none(typingctx: Any) -> Any:
            return result(), codegen

        def seven(typingctx: Any, number: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
            return result(*[types.int64] * 7), codegen

        shapes: dict[int, Callable[..., Any]] = {0: none, 1: one, 7: seven}
        made = _named(shapes[body.__code__.co_argcount], body)  # type: ignore[attr-defined]
        INSTRUCTIONS[made] = emit
        return made

    return mark


def start(body: Callable[..., Any]) -> Any:
    """Mark what gives the address of an array of words."""

    def of(typingctx: Any, words: Any) -> Any:
        _check_words(body.__name__, words)
        array = make_array(words)
        return WORDS(words), lambda context, builder, _, args: array(context, builder, args[0]).data

    return _named(of, body)


def plain_load(builder: Any, at: Any, values: list[Any]) -> Any:
    return builder.load(at)


def plain_store(builder: Any, at: Any, values: list[Any]) -> None:
    builder.store(values[0], at)


def plain_modify(operation: str) -> Emit:
    def emit(builder: Any, at: Any, values: list[Any]) -> Any:
        old = builder.load(at)
        combine = {"add": builder.add, "or": builder.or_, "and": builder.and_, "xchg": lambda _, new: new}[operation]
        builder.store(combine(old, values[0]), at)
        return old

    return emit


def plain_compare(builder: Any, at: Any, values: list[Any]) -> Any:
    old = builder.load(at)
    builder.store(builder.select(builder.icmp_signed("==", old, values[0]), values[1], old), at)
    return old


def atomic_load(order: str) -> Emit:
    return lambda builder, at, values: builder.load_atomic(at, order, 8)


def atomic_store(order: str) -> Emit:
    def emit(builder: Any, at: Any, values: list[Any]) -> None:
        builder.store_atomic(values[0], at, order, 8)

    return emit


def atomic_modify(operation: str) -> Emit:
    return lambda builder, at, values: builder.atomic_rmw(operation, at, values[0], "seq_cst")


def atomic_compare(builder: Any, at: Any, values: list[Any]) -> Any:
    pair = builder.cmpxchg(at, values[0], values[1], "seq_cst", "seq_cst")
    return builder.extract_value(pair, 0)


def prefetch(write: int) -> Emit:
    def emit(builder: Any, at: Any, values: list[Any]) -> None:
        kind = ir.FunctionType(ir.VoidType(), [at.type, I32, I32, I32])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [at.type], kind)
        builder.call(hint, [at, ir.Constant(I32, write), ir.Constant(I32, 3), ir.Constant(I32, 1)])

    return emit


def its_place(builder: Any, at: Any, values: list[Any]) -> Any:
    return at


def fence(builder: Any, args: list[Any]) -> None:
    builder.fence("seq_cst")


def _hint(builder: Any, name: str, arguments: tuple[int, ...]) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I32] * len(arguments))
    known = builder.module.declare_intrinsic(name, (), kind)
    builder.call(known, [ir.Constant(I32, value) for value in arguments])


def emit_pause(builder: Any, machine: str) -> None:
    """Emit the spin-wait hint of an instruction set: x86 `pause`, aarch64 `yield`."""
    _hint(builder, *_PAUSES[machine])


def emit_settle(builder: Any, machine: str) -> None:
    """Emit a wait until every access before is over, for a clock read behind it: x86 `lfence`, aarch64 `isb`."""
    _hint(builder, *_SETTLES[machine])


def emit_timestamp(builder: Any, machine: str) -> Any:
    """Emit a read of the counter that user space may read: x86 `rdtsc`, aarch64 `cntvct_el0`."""
    if machine == "x86_64":
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), ir.FunctionType(I64, [])), [])
    # LLVM's own counters become PMCCNTR_EL0, which user space may not read, or nothing at all, by its version.
    named = builder.module.add_metadata(["cntvct_el0"])
    kind = ir.FunctionType(I64, [ir.MetaDataType()])
    return builder.call(builder.module.declare_intrinsic("llvm.read_volatile_register", [I64], kind), [named])


def here(emit: Callable[[Any, str], Any]) -> Instruct:
    """What is emitted on the machine at hand."""
    return lambda builder, args: emit(builder, platform.machine())


def _call_libc(builder: Any, name: str, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(I32, [argument.type for argument in arguments])
    known = builder.module.globals.get(name)
    return builder.call(known or ir.Function(builder.module, kind, name), arguments)


def clock_gettime(builder: Any, args: list[Any]) -> Any:
    """Nanoseconds of CLOCK_MONOTONIC_RAW."""
    pair = builder.alloca(I64, size=ir.Constant(I32, 2))
    _call_libc(builder, "clock_gettime", [ir.Constant(I32, time.CLOCK_MONOTONIC_RAW), pair])
    seconds = builder.load(pair)
    rest = builder.load(builder.gep(pair, [ir.Constant(I64, 1)]))
    return builder.add(builder.mul(seconds, ir.Constant(I64, 1_000_000_000)), rest)


def sched_yield(builder: Any, args: list[Any]) -> None:
    _call_libc(builder, "sched_yield", [])


def nanosleep(builder: Any, args: list[Any]) -> None:
    """For so many nanoseconds, less than a second."""
    pair = builder.alloca(I64, size=ir.Constant(I32, 2))
    builder.store(ir.Constant(I64, 0), pair)
    builder.store(args[0], builder.gep(pair, [ir.Constant(I64, 1)]))
    _call_libc(builder, "nanosleep", [pair, ir.Constant(I64.as_pointer(), None)])


def sched_setaffinity(builder: Any, args: list[Any]) -> Any:
    """To one of the first 1,024 CPUs; 0, or -1 if refused."""
    words = 1024 // 64
    mask = builder.alloca(I64, size=ir.Constant(I32, words))
    for word in range(words):
        builder.store(ir.Constant(I64, 0), builder.gep(mask, [ir.Constant(I64, word)]))
    at = builder.gep(mask, [builder.lshr(args[0], ir.Constant(I64, 6))])
    builder.store(builder.shl(ir.Constant(I64, 1), builder.and_(args[0], ir.Constant(I64, 63))), at)
    given = [ir.Constant(I32, 0), ir.Constant(I64, words * 8), mask]
    return builder.sext(_call_libc(builder, "sched_setaffinity", given), I64)


def syscall(builder: Any, args: list[Any]) -> Any:
    """A system call by its number, through libc; -1 where it is refused."""
    kind = ir.FunctionType(I64, [I64], var_arg=True)
    known = builder.module.globals.get("syscall")
    return builder.call(known or ir.Function(builder.module, kind, "syscall"), args)


def system_call_number(name: str) -> int:
    """Of the machine at hand."""
    return _SYSTEM_CALLS[platform.machine()][name]


def _system_call(builder: Any, name: str, arguments: list[Any]) -> Any:
    """By its name."""
    return syscall(builder, [ir.Constant(I64, system_call_number(name)), *arguments])


def membarrier(builder: Any, args: list[Any]) -> Any:
    return _system_call(builder, "membarrier", [ir.Constant(I64, value) for value in (MEMBARRIER_GLOBAL, 0, 0)])


def tgkill(builder: Any, args: list[Any]) -> Any:
    """To a thread whose process stands above it in one number."""
    process, bits = builder.lshr(args[0], ir.Constant(I64, THREAD_BITS)), ir.Constant(I64, (1 << THREAD_BITS) - 1)
    return _system_call(builder, "tgkill", [process, builder.and_(args[0], bits), ir.Constant(I64, int(KICK_SIGNAL))])


def exit_now(builder: Any, args: list[Any]) -> None:
    _call_libc(builder, "_exit", [builder.trunc(args[0], I32)])


def length_in_bits(builder: Any, args: list[Any]) -> Any:
    return builder.sub(ir.Constant(I64, 64), builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0)))
