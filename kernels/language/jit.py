"""Generated source to compiled functions, through a cache that notices every change (`kernels/language/cache.py`)."""

import hashlib
import inspect
import pickle
import sys
from collections.abc import Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

from numba import njit, types
from numba.core import sigutils
from numba.core.caching import _Cache as NumbaCache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from kernels.language import atomics, cache
from kernels.language.inlined import OPTIONS, inlined, inner
from kernels.language.worlds import World, globals_of

RACE = World(atomics.ATOMIC, inner)


class Kept(NumbaCache):
    """What numba asks for the compiled forms of one function: those of `kernels/language/cache.py`, a file each."""

    cache_path = None

    def __init__(self, name: str) -> None:
        self._name = name

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
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
    return made


def _module(name: str, source: str, values: Mapping[str, Any]) -> ModuleType:
    """Run generated source as a module."""
    name = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    made = ModuleType(name)
    made.__dict__.update(values)
    sys.modules[name] = made  # numba finds the module of a cached function by this name
    exec(compile(source, f"<{name}>", "exec"), made.__dict__)
    return made


def values_of(names: Mapping[str, Any]) -> dict[str, Any]:
    """What names in the source mean where numba compiles it."""
    return {name: RACE.resolve(value) for name, value in names.items()}


def runnable(file: str, sources: Sequence[str], name: str, values: Mapping[str, Any]) -> Any:
    """`run(words, lay, rules, me)` without the GIL, which calls `name` of these sources, or of the values, with the
    words' address; cached on disk under `file`. Sources mark what is compiled into it with `@inlined`.
    """
    entry = f"@kept\ndef run(words, lay, rules, me):\n    return {name}(address(words), lay, rules, me)"
    source = "\n\n\n".join([*sources, entry]) + "\n"
    return _module(file, source, {**values, "kept": _kept, "inlined": inlined, "address": atomics.address}).run


# Of the C function that `kernels.language.atomics.enter` calls.
ENTRY = types.int64(*([types.int64] * 8))


def c_function(file: str, source: str, values: Mapping[str, Any]) -> int:
    """The address of `entry` of this source as a C function of eight int64; cached on disk under `file`."""
    entry = _module(file, source, values).entry
    made: Any = CFunc(entry, sigutils.normalize_signature(ENTRY), {}, {"error_model": "numpy", "boundscheck": False})
    made._cache = Kept(f"{entry.__module__}-entry")
    made.compile()
    return int(made.address)


def loops(name: str, *functions: Any) -> ModuleType:
    """A module that holds these plain functions over the atomics, jitted without the GIL; cached on disk."""
    mark = "@kept\n"
    # What annotations name is not among the values.
    source = "\n\n\n".join(["from __future__ import annotations", *(mark + inspect.getsource(f) for f in functions)])
    values = {used: f.__globals__[used] for f in functions for used in globals_of(f) if used in f.__globals__}
    return _module(name, source, {**values, "kept": _kept})
