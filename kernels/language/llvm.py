"""What is emitted for the primitives of `kernels/language/atomics.py`: LLVM for accesses, instructions and calls of
libc.

Here and in `kernels/language/compile.py` is what knows LLVM. x86-64 and aarch64. Inline assembly is not used:
llvmlite's default set-up cannot parse it.
"""

import platform
import signal
import time
from collections.abc import Callable
from typing import Any

from llvmlite import ir

I32, I64 = ir.IntType(32), ir.IntType(64)
_PAUSES = {"x86_64": ("llvm.x86.sse2.pause", ()), "aarch64": ("llvm.aarch64.hint", (1,))}
_SYSTEM_CALLS = {
    "x86_64": {"membarrier": 324, "tgkill": 234, "fallocate": 285, "mmap": 9, "mprotect": 10, "pwrite64": 18},
    "aarch64": {"membarrier": 283, "tgkill": 131, "fallocate": 47, "mmap": 222, "mprotect": 226, "pwrite64": 68},
}
# Of linux/membarrier.h, what there is to ask for and to register with; and the signal of a kick, that of KVM's users.
MEMBARRIER_QUERY, MEMBARRIER_GLOBAL, MEMBARRIER_REGISTER_GLOBAL = 0, 1 << 1, 1 << 2
KICK_SIGNAL, THREAD_BITS = int(signal.SIGUSR1), 32
_SETTLES = {"x86_64": ("llvm.x86.sse2.lfence", ()), "aarch64": ("llvm.aarch64.isb", (15,))}

# What is noted of plain accesses stands before the words: how many there were, and before that the index of each.
SEEN_ROOM, SEEN_COUNT = 8192, -1

Emit = Callable[[Any, Any, list[Any]], Any]  # given the builder, the place of the word, the operands
Instruct = Callable[[Any, list[Any]], Any]  # given the builder, the arguments


def plain_load(builder: Any, at: Any, values: list[Any]) -> Any:
    return builder.load(at)


def plain_store(builder: Any, at: Any, values: list[Any]) -> None:
    builder.store(values[0], at)


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


def note_seen(builder: Any, words: Any, index: Any) -> None:
    """Call the one function that notes an index before the words, up to the room there is."""
    name = "tdx_stress_seen"
    known = builder.module.globals.get(name)
    if known is None:
        known = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64]), name)
        known.linkage = "internal"
        known.attributes.add("noinline")
        inside = ir.IRBuilder(known.append_basic_block())
        at = inside.gep(known.args[0], [ir.Constant(I64, SEEN_COUNT)])
        count = inside.load(at)
        inside.store(known.args[1], inside.gep(known.args[0], [inside.sub(ir.Constant(I64, SEEN_COUNT - 1), count)]))
        room = inside.icmp_signed("<", count, ir.Constant(I64, SEEN_ROOM - 2))
        inside.store(inside.add(count, inside.zext(room, I64)), at)
        inside.ret_void()
    builder.call(known, [words, index])


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


def _call_libc(builder: Any, name: str, arguments: list[Any], kind: Any = None) -> Any:
    kind = kind or ir.FunctionType(I32, [argument.type for argument in arguments])
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
    return _call_libc(builder, "syscall", args, ir.FunctionType(I64, [I64], var_arg=True))


def system_call_number(name: str) -> int:
    """Of the machine at hand; of one that is not known here a number that every kernel refuses."""
    return _SYSTEM_CALLS.get(platform.machine(), {}).get(name, -1)


def exit_now(builder: Any, args: list[Any]) -> None:
    _call_libc(builder, "_exit", [builder.trunc(args[0], I32)])


def length_in_bits(builder: Any, args: list[Any]) -> Any:
    return builder.sub(ir.Constant(I64, 64), builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0)))
