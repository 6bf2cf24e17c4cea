"""What numba compiles, through a cache that notices every change (`kernels/language/cache.py`): the entries of straight
lines, and plain loops over the atomics.

numba would infer the types of a thousand lines for ten seconds, and there is one type. So an entry is an intrinsic that
puts the LLVM of `kernels/language/compile.py` into numba's module: numba optimizes and links it, calls it without the
GIL, and hands over the object code to keep.
"""

import hashlib
import inspect
import pickle
import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

from numba import njit, types
from numba.core import cgutils
from numba.core.caching import _Cache as NumbaCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from kernels.language import cache
from kernels.language.compile import Native, uninterrupted
from kernels.language.llvm import I64
from kernels.language.lowering import AT, number_of
from kernels.language.worlds import globals_of
from kernels.layout import Actor

Records = Mapping[str, tuple[str, ...]]
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}


class Kept(NumbaCache):
    """What numba asks for the compiled forms of one function: those of `kernels/language/cache.py`, a file each."""

    cache_path = None

    def __init__(self, name: str) -> None:
        self._name = name

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)  # numba's own refreshes all, for a tenth of a start
        found = cache.read(self._file(sig))
        return None if found is None else CompileResult._rebuild(target_context, *pickle.loads(found))

    def save_overload(self, sig: Any, data: Any) -> None:
        assert not data.library.has_dynamic_globals, self._name
        cache.keep(self._file(sig), dumps(data._reduce()))

    def _file(self, sig: Any) -> str:
        return f"{self._name}-{hashlib.sha256(str(sig).encode()).hexdigest()[:16]}"

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def _kept(bound: FunctionType) -> Any:
    """A function that Python calls: compiled, or taken from the cache."""
    made = njit(**OPTIONS)(bound)
    made._cache = Kept(f"{bound.__module__}-{bound.__name__}")
    compiled = made.compile

    def compile_whole(signature: Any) -> Any:
        with uninterrupted():
            return compiled(signature)

    made.compile = compile_whole
    return made


def _module(name: str, source: str, values: Mapping[str, Any]) -> ModuleType:
    """Run generated source as a module."""
    name = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    made = ModuleType(name)
    made.__dict__.update(values)
    sys.modules[name] = made  # numba finds the module of a cached function by this name
    exec(compile(source, f"<{name}>", "exec"), made.__dict__)
    return made


def runnable(file: str, source: str, name: str, values: Mapping[str, Any], records: Records) -> Any:
    """`run(words, lay, rules, me)` without the GIL, which is the function `name` of this source, or of the values;
    cached on disk under `file`. `words` is an array, `lay` and `rules` are numpy records, `me` an Actor.
    """

    @intrinsic
    def line(typingctx: Any, words: Any, lay: Any, rules: Any, me: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            made = Native(records, source, values, raced=True, into=builder.module)
            fields = cgutils.alloca_once(builder, I64, size=len(Actor._fields))
            for place in range(len(Actor._fields)):
                builder.store(builder.extract_value(args[3], place), builder.gep(fields, [number_of(place)]))
            start = make_array(signature.args[0])(context, builder, args[0]).data
            given = [start, *(builder.bitcast(record, AT) for record in args[1:3]), fields]
            return builder.call(made.function(name if name in made.trees else values[name]), given)

        return types.int64(words, lay, rules, me), codegen

    entry = f"# {hashlib.sha256(source.encode()).hexdigest()}\n" + (
        "@kept\ndef run(words, lay, rules, me):\n    return line(words, lay, rules, me)\n"
    )
    return _module(file, entry, {"kept": _kept, "line": line}).run


def loops(name: str, *functions: Any) -> ModuleType:
    """A module that holds these plain functions over the atomics, jitted without the GIL; cached on disk."""
    # What a function is marked with for the step language says nothing here.
    plain = (source[source.index("def ") :] for source in map(inspect.getsource, functions))
    # What annotations name is not among the values.
    source = "\n\n\n".join(["from __future__ import annotations", *(f"@kept\n{one}" for one in plain)])
    values = {used: f.__globals__[used] for f in functions for used in globals_of(f) if used in f.__globals__}
    return _module(name, source, {**values, "kept": _kept})
