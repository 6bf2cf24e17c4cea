"""Integers to machine code: functions that know int64 alone, straight to LLVM.

numba's inference of types takes ten seconds for a machine of a thousand lines, and there is one type. What is compiled
here is checked against the same source run by Python.

The language: int64 locals, if, while, for over a range or a table, arithmetic, comparisons, min, max, abs; an address
is an int64, too, and `words[index]` the word behind it; a record is the address of its fields. A function may return
several values. Anything else is an error with the function's name. It is what `kernels/language/machine.py` writes,
what functions marked `op`, `local` and `choice` hold, and what the rounds of a search are written in.
"""

import ast
import contextlib
import ctypes
import hashlib
import inspect
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import binding, ir

from kernels.language import cache
from kernels.language.llvm import I64
from kernels.language.lowering import AT, Body, cast, given_back, number_of
from kernels.language.syntax import ENVIRONMENT, OUT_OF_LINE, tree_of
from kernels.layout import Actor

ENTRY_WORDS = ("td", "lay", "rules", *Actor._fields, "chosen")


class Native:
    """One module of functions, compiled as they are called for."""

    def __init__(
        self,
        records: Mapping[str, tuple[str, ...]],
        source: str = "",
        values: Mapping[str, Any] | None = None,
        *,
        raced: bool = False,
        linked: Mapping[Any, Any] | None = None,
        into: ir.Module | None = None,
    ) -> None:
        """`source` defines functions of the environment and more; `values` is what the names in it mean; `into` is the
        module that they go into, if not one of their own.

        `records`: the fields of parameters that are one, by name. Accesses are plain ones that are noted, or with
        `raced` what processes and threads race with; then every function that is called is compiled, else marked ones.
        `linked`: by function, what is called in its place, a function or the name of one of the source.
        """
        self.module = into or ir.Module("integers")
        self.values = values or {}
        self.records = {"me": Actor._fields, **records}
        self.raced = raced
        self.linked = linked or {}
        self.trees = {it.name: it for it in ast.parse(source).body if isinstance(it, ast.FunctionDef)}
        self.made: dict[Any, ir.Function] = {}

    def function(self, key: Any) -> ir.Function:
        """The compiled form of a function of the source, by name, or of one that is called."""
        if key not in self.made:
            ours = isinstance(key, str)
            tree = self.trees[key] if ours else tree_of(key)
            names = [argument.arg for argument in tree.args.args]
            kinds = [AT if name in ENVIRONMENT else I64 for name in names]
            made = ir.Function(self.module, ir.FunctionType(given_back(tree), kinds), f"{len(self.made)}_{tree.name}")
            made.linkage = "internal"
            if self.raced:
                made.attributes.add("noinline" if key in OUT_OF_LINE else "alwaysinline")
            self.made[key] = made
            Body(self, made, names, self.values if ours else key.__globals__).run(tree)
        return self.made[key]

    def entry(self, name: str) -> str:
        """Make a C function that takes ENTRY_WORDS as int64 and calls this one of the source; returns its name."""
        inner = self.function(name)
        made = ir.Function(self.module, ir.FunctionType(I64, [I64] * len(ENTRY_WORDS)), name + "_")
        builder = ir.IRBuilder(made.append_basic_block())
        given = dict(zip(ENTRY_WORDS, made.args, strict=True))
        me = builder.alloca(I64, len(Actor._fields))
        for place, field in enumerate(Actor._fields):
            builder.store(given[field], builder.gep(me, [number_of(place)]))
        places = [builder.inttoptr(given[record], AT) for record in ("td", "lay", "rules")]
        builder.ret(builder.call(inner, [*places, me, given["chosen"]][: len(inner.args)]))
        return str(made.name)

    def exported(self, function: FunctionType) -> str:
        """Make a C function of int64 parameters that calls this one; returns its name."""
        inner = self.function(function)
        made = ir.Function(self.module, ir.FunctionType(I64, [I64] * len(inner.args)), function.__name__)
        builder = ir.IRBuilder(made.append_basic_block())
        builder.ret(
            builder.call(inner, [cast(builder, one, it.type) for one, it in zip(made.args, inner.args, strict=True)])
        )
        return str(made.name)

    def text(self) -> str:
        """The module as LLVM's text."""
        self.module.triple = binding.get_default_triple()
        return str(self.module)


def engine_of(text: Callable[[], str], name: str = "", level: int = 1) -> Any:
    """LLVM's text compiled; the caller keeps the engine for as long as the code shall stay. Under `name` object code is
    taken from the cache, and nobody asks for the text, or left there.
    """
    found, target = cache.read(name) if name else None, _target(level)
    made = binding.parse_assembly("" if found else text())
    if found is None:
        made.verify()
        passes = binding.create_pass_builder(target, binding.create_pipeline_tuning_options(speed_level=level))
        passes.getModulePassManager().run(made, passes)
    engine = binding.create_mcjit_compiler(made, target)
    if found is not None:
        engine.add_object_file(binding.ObjectFileRef.from_data(found))
    elif name:
        engine.set_object_cache(lambda _, code: cache.keep(name, bytes(code)), lambda _: None)
    with uninterrupted():
        engine.finalize_object()
    return engine


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that Python handles are handled behind the block: an exception in what LLVM calls while it makes machine
    code is lost, and the code with it.
    """
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():  # no other handles any
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for missed in came:
            signal.raise_signal(missed)


def compiled(
    name: str,
    functions: Sequence[FunctionType],
    records: Mapping[str, tuple[str, ...]],
    source: str = "",
    values: Mapping[str, Any] | None = None,
    linked: Mapping[Any, Any] | None = None,
) -> SimpleNamespace:
    """These functions and all that they call as machine code: each to be called with int64, arrays and records of them;
    without the GIL. Kept on disk under this name where all that is linked in is a kernel's. For the rest see `Native`.
    """
    more = [one for one in (*(values or {}).values(), *(linked or {}).values()) if isinstance(one, FunctionType)]
    said = [source, repr(records), *(f"{one.__module__}.{one.__qualname__}" for one in more)]
    name = f"{name}_{digest_of(''.join([*map(inspect.getsource, functions), *said]))}"

    def text() -> str:
        native = Native(records, source, values, raced=True, linked=linked)
        for function in functions:
            native.exported(function)
        return native.text()

    engine = engine_of(text, name if all(map(cache.covers, more)) else "", level=2)
    return SimpleNamespace(**{function.__name__: _Code(engine, function) for function in functions})


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class _Code:
    """One function as machine code; `engine` holds it."""

    def __init__(self, engine: Any, function: FunctionType) -> None:
        self._engine = engine
        arguments = [ctypes.c_int64] * function.__code__.co_argcount
        self._code = ctypes.CFUNCTYPE(ctypes.c_int64, *arguments)(engine.get_function_address(function.__name__))

    def __call__(self, *given: Any) -> int:
        return int(self._code(*(it if isinstance(it, int) else place_of(it) for it in given)))


def place_of(given: Any) -> int:
    """Where an array or a record of int64 stands in memory."""
    return int((given if isinstance(given, np.ndarray) else np.frombuffer(given, np.int64)).ctypes.data)


def _target(level: int) -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    host = {"cpu": binding.get_host_cpu_name(), "features": binding.get_host_cpu_features().flatten()}
    return binding.Target.from_default_triple().create_target_machine(opt=level, **(host if level > 1 else {}))
