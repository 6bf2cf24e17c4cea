"""The code that comes out has the memory orders that the source names: LLVM for this CPU, instructions for aarch64."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from llvmlite import binding, ir

from kernels.language import atomics
from kernels.language.compile import passed
from kernels.language.llvm import I64, emit_pause, emit_settle, emit_timestamp
from kernels.race.straight import straight
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import plan, vcpu_actor
from kernels.tests.orders import SPEC
from kernels.tests.single_calls import block, enter, leave, remove, track

ACCESS = re.compile(r"(?:load|store) (?:atomic )?i64|atomicrmw \w+|cmpxchg|llvm\.x86\.atomic\.bt[rs]|fence")
ORDER = re.compile(r"monotonic|acquire|release|acq_rel|seq_cst")
ARM = "aarch64-unknown-linux-gnu"

OPERANDS = {"load": 0, "own": 0, "store": 1, "set": 1, "exchange": 1, "fetch": 1, "compare": 2}
# By primitive: its one access in LLVM, the instructions on aarch64 that touch memory, and with LSE if that has one.
PRIMITIVES = {
    "load_relaxed": ("load atomic i64 monotonic", "ldr", ""),
    "load_acquire": ("load atomic i64 acquire", "ldar", ""),
    "load_seq_cst": ("load atomic i64 seq_cst", "ldar", ""),
    "store_relaxed": ("store atomic i64 monotonic", "str", ""),
    "store_release": ("store atomic i64 release", "stlr", ""),
    "store_seq_cst": ("store atomic i64 seq_cst", "stlr", ""),
    "exchange_seq_cst": ("atomicrmw xchg seq_cst", "ldaxr stlxr", "swpal"),
    "fetch_add_seq_cst": ("atomicrmw add seq_cst", "ldaxr stlxr", "ldaddal"),
    "fetch_or_seq_cst": ("atomicrmw or seq_cst", "ldaxr stlxr", "ldsetal"),
    "fetch_and_seq_cst": ("atomicrmw and seq_cst", "ldaxr stlxr", "ldclral"),
    "compare_exchange_seq_cst": ("cmpxchg seq_cst seq_cst", "ldaxr stlxr", "casal"),
    "own": ("load i64", "ldr", ""),
    "set_own": ("store i64", "str", ""),
}


def operands(name: str) -> int:
    return OPERANDS[name.partition("_")[0]]


def accesses(llvm: str) -> list[str]:
    """The accesses in compiled functions, each with its orders; without numba's wrappers and reference counts."""
    found = []
    for body in llvm.split("\ndefine ")[1:]:
        head = body.splitlines()[0]
        if "NRT_" in head or "@_ZN7cpython" in head or "@cfunc." in head:
            continue
        for line in body.partition("\n}")[0].splitlines():
            if (access := ACCESS.search(line)) and "%retptr" not in line:
                found.append(" ".join([access[0], *ORDER.findall(line)]))
    return found


def emitted(emit: Any, result: ir.Type, arguments: list[ir.Type]) -> ir.Module:
    """One function that returns what `emit(builder, arguments)` makes."""
    made = ir.Module("one")
    function = ir.Function(made, ir.FunctionType(result, arguments), "emitted")
    builder = ir.IRBuilder(function.append_basic_block())
    value = emit(builder, list(function.args))
    if isinstance(result, ir.VoidType):
        builder.ret_void()
    else:
        builder.ret(value)
    return made


def primitive(name: str) -> ir.Module:
    """A primitive as processes race it; its result, where it has one, is used."""
    access = atomics.ACCESSES[getattr(atomics, name)]
    result = ir.VoidType() if name.startswith(("store", "set")) else I64
    arguments = [I64.as_pointer(), *[I64] * operands(name)]
    return emitted(lambda builder, given: access(builder, given[0], given[1:]), result, arguments)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_primitive_is_one_access_with_the_order_in_its_name_and_has_that_order_on_aarch64(name):
    llvm, arm, with_lse = PRIMITIVES[name]

    assert accesses(f"\n{primitive(name)}") == [llvm]
    assert primitive_on_arm(name) == arm
    assert primitive_on_arm(name, "+lse") == (with_lse or arm)


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By function, the atomic accesses of its compiled straight line, callees included. Cached code shows no LLVM."""
    lay = plan(1, 1, 1, 1)
    td = np.zeros(lay.total_words, np.int64)
    SHOOTDOWN.prepare(td, lay, SPEC, 1)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TDX_STRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        for function, *_ in STRAIGHT:
            compiled = straight(SHOOTDOWN, function)
            compiled(*passed(td, lay, SPEC, vcpu_actor(lay, 0)))
            all_of_it = accesses(compiled.inspect_llvm(compiled.signatures[0]))
            found[function.name] = [one for one in all_of_it if one not in ("load i64", "store i64")]
    return found


def count(found: Iterable[str], *kinds: str) -> int:
    return sum(one.startswith(kinds) for one in found)


LOCKED = ("atomicrmw", "cmpxchg", "llvm.x86.atomic")
# a call; the locked operations, acquire loads and release stores in its source
STRAIGHT = [(track, 3, 1, 0), (block, 6, 2, 2), (remove, 6, 3, 1), (enter, 3, 1, 0), (leave, 1, 0, 0)]


@pytest.mark.parametrize(("name", "locked", "loads", "stores"), [(row[0].name, *row[1:]) for row in STRAIGHT])
def test_a_straight_line_has_every_access_of_its_source(raced, name, locked, loads, stores):
    """At least as many: LLVM may copy a path, it may not drop or merge an atomic access."""
    assert count(raced[name], *LOCKED) >= locked
    assert count(raced[name], "load atomic") >= loads
    assert count(raced[name], "store atomic") >= stores


@pytest.mark.parametrize("name", [row[0].name for row in STRAIGHT])
def test_a_straight_line_is_weaker_nowhere_than_its_source(raced, name):
    """The one relaxed load is that of `note`, which looks at the tally; the relaxed stores keep there which locks a
    SEAMCALL holds, and no step of the protocol is one.
    """
    locked = {f"atomicrmw {operation} seq_cst" for operation in ("add", "or", "and", "xchg")}
    bits = {"llvm.x86.atomic.bts", "llvm.x86.atomic.btr"}
    loads = {"load atomic i64 acquire", "load atomic i64 monotonic"}

    stores = {"store atomic i64 release", "store atomic i64 monotonic"}

    assert set(raced[name]) <= locked | bits | loads | stores | {"cmpxchg seq_cst seq_cst"}


def on_arm(made: ir.Module, features: str = "") -> list[str]:
    """The instructions of the one function of a module for aarch64."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    made.triple = ARM
    parsed = binding.parse_assembly(str(made))
    parsed.verify()
    machine = binding.Target.from_triple(ARM).create_target_machine(cpu="generic", features=features, opt=2)
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(parsed, passes)
    lines = machine.emit_assembly(parsed).partition("emitted:")[2].partition(".Lfunc_end")[0].splitlines()
    return [line.strip().replace("\t", " ") for line in lines if line.startswith("\t") and not line.startswith("\t.")]


def primitive_on_arm(name: str, features: str = "") -> str:
    """The instructions of a primitive that touch memory."""
    return " ".join(line.split()[0] for line in on_arm(primitive(name), features) if "[" in line)


def test_a_seq_cst_load_stays_behind_a_seq_cst_store_on_aarch64_with_rcpc():
    """exit_requested(): store_seq_cst(mode), then load_seq_cst(requests). ldapr might pass the stlr; ldar does not."""
    assert primitive_on_arm("load_seq_cst", "+rcpc") == "ldar"


@pytest.mark.parametrize(
    ("emit", "result", "instruction"),
    [
        (emit_pause, ir.VoidType(), "yield"),
        (emit_settle, ir.VoidType(), "isb"),
        (emit_timestamp, I64, "mrs x0, cntvct_el0"),
    ],
)
def test_what_only_a_machine_can_do_is_one_instruction_on_aarch64(emit, result, instruction):
    """A spin-wait hint; what a clock behind a step waits with; the counter that user space may read."""
    lines = on_arm(emitted(lambda builder, _: emit(builder, "aarch64"), result, []))

    assert [line.lower() for line in lines] == [instruction, "ret"]
