"""Integers to machine code: functions that know int64 alone, straight to LLVM.

numba's inference of types takes ten seconds for a machine of a thousand lines, and there is one type. What is compiled
here is checked against the same source run by Python.

The language: int64 locals, if, while, for over a range or a table, arithmetic, comparisons, min, max, abs; an address
is an int64, too, and `words[index]` the word behind it; a record is the address of its fields. A function may return
several values. Anything else is an error with the function's name. It is what `kernels/language/machine.py` writes,
what functions marked `op`, `local` and `choice` hold, and what the rounds of a search and the loops that measure a
machine are written in.
"""

import ast
import contextlib
import ctypes
import functools
import hashlib
import itertools
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import binding, ir

from kernels.language import cache
from kernels.language.llvm import I64
from kernels.language.lowering import AT, Body, cast, given_back
from kernels.language.syntax import ENVIRONMENT, OUT_OF_LINE, is_shipped, tree_of
from kernels.layout import Actor


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

        `records`: the fields of parameters that are one, by name. Accesses are noted, but with `raced`, where every
        function that is called is compiled, else marked ones alone.
        `linked`: by function, what is called in its place, a function or the name of one of the source.
        """
        self.module, self.alone = into or ir.Module("integers"), into is None
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

    def exported(self, key: Any) -> None:
        """Make a C function of the same name that calls this one, with an int64 for each parameter."""
        inner = self.function(key)
        name = key if isinstance(key, str) else key.__name__
        made = ir.Function(self.module, ir.FunctionType(I64, [I64] * len(inner.args)), name)
        builder = ir.IRBuilder(made.append_basic_block())
        given = [cast(builder, one, it.type) for one, it in zip(made.args, inner.args, strict=True)]
        builder.ret(builder.call(inner, given))

    def text(self) -> str:
        """The module as LLVM's text."""
        self.module.triple = binding.get_default_triple()
        return str(self.module)


def engine_of(text: Callable[[], str], name: str, level: int) -> Any:
    """LLVM's text compiled; the caller keeps the engine for as long as the code shall stay. Object code is taken from
    the cache under `name`, and nobody asks for the text, or left there.
    """
    found, target = cache.read(name), _target(level)
    made = binding.parse_assembly("" if found else text())
    if found is None:
        made.verify()
        _optimize(made, target, level)
    engine = binding.create_mcjit_compiler(made, target)
    if found is None:
        engine.set_object_cache(lambda _, code: cache.keep(name, bytes(code)), lambda _: None)
    else:
        engine.add_object_file(binding.ObjectFileRef.from_data(found))
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
    functions: Sequence[Any],
    records: Mapping[str, tuple[str, ...]],
    source: str = "",
    values: Mapping[str, Any] | None = None,
    linked: Mapping[Any, Any] | None = None,
    *,
    raced: bool = True,
) -> SimpleNamespace:
    """These functions, those of the source by name, and all that they call as machine code, each a `Code`; kept on disk
    under this name. For the rest see `Native`.
    """

    @functools.cache
    def text() -> str:
        native = Native(records, source, values, raced=raced, linked=linked)
        for function in functions:
            native.exported(function)
        return native.text()

    means = list(itertools.chain(functions, *(values or {}).items(), *(linked or {}).items()))
    called = [it for it in means if isinstance(it, FunctionType)]
    # The cache's own name covers what kernels call; the text of a step machine takes more time than all else here.
    named = [f"{it.__module__}.{it.__qualname__}" if isinstance(it, FunctionType) else it for it in means]
    said = repr((raced, source, records, named))
    name = f"{name}_{digest_of(said if all(map(is_shipped, called)) else text())}"
    engine = engine_of(text, name, 2 if raced else 1)
    names = [one if isinstance(one, str) else one.__name__ for one in functions]
    return SimpleNamespace(**{one: Code(engine, one, name) for one in names})


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Code:
    """One function as machine code, called without the GIL with int64 and with what `words_of` takes. `bare` is the
    same of what takes nothing, in a fifth of the time, for as long as this is kept; `kept_as` is the name of its object
    code in the cache.
    """

    def __init__(self, engine: Any, name: str, kept_as: str) -> None:
        self._engine = engine  # holds it
        self.address, self.kept_as = int(engine.get_function_address(name)), kept_as
        self.bare = ctypes.CFUNCTYPE(ctypes.c_int64)(self.address)

    def __call__(self, *given: Any) -> int:
        held = [it if isinstance(it, int) else words_of(it) for it in given]
        places = (ctypes.c_int64(it if isinstance(it, int) else it.ctypes.data) for it in held)
        return int(self.bare(*places))


def words_of(given: Any) -> np.ndarray:
    """A record as compiled code takes it: its fields as int64, in the place of an array its address, which the caller
    keeps alive. An array stays what it is.
    """
    if isinstance(given, np.ndarray):
        return given
    return np.array([it.ctypes.data if isinstance(it, np.ndarray) else it for it in given], np.int64)


def passed(words: np.ndarray, lay: Any, rules: Any, me: Any) -> tuple[Any, ...]:
    """What a raced line takes: the words, two records of int64, and who it is as values. With all of it as arrays a
    guest reads a twentieth less a second.
    """

    def record(fields: Any) -> Any:
        return np.array(tuple(fields), [(name, np.int64) for name in fields._fields])[()]

    return words, record(lay), record(rules), me


def _optimize(made: Any, target: Any, level: int) -> None:
    """What pays here. Loops are short, and each is as fast as it was when it is neither unrolled nor vectorized; step
    machines, at level 1, are long lists of short pieces.
    """
    tuning = binding.create_pipeline_tuning_options(speed_level=level)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False
    builder = binding.create_pass_builder(target, tuning)
    passes = builder.getModulePassManager() if level > 1 else binding.create_new_module_pass_manager()
    if level == 1:
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        passes.add_new_gvn_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
    passes.run(made, builder)


def _target(level: int) -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    host = {"cpu": binding.get_host_cpu_name(), "features": binding.get_host_cpu_features().flatten()}
    return binding.Target.from_default_triple().create_target_machine(opt=level, **(host if level > 1 else {}))
