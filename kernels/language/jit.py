"""Generated source to compiled functions, through a cache that notices every change (`kernels/language/cache.py`)."""

import functools
import hashlib
import inspect
import pickle
import sys
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
from kernels.language.straight import Names, straight_source, subs
from kernels.language.syntax import Steps
from kernels.language.variant import BARE, Variant
from kernels.language.worlds import World, globals_of
from kernels.layout import LABEL, RNG, Layout
from kernels.race.lock_contention import contended
from kernels.tdx.rules import Rules

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


def _module(name: str, source: str, values: dict[str, Any]) -> ModuleType:
    """Run generated source as a module."""
    name = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    made = ModuleType(name)
    made.__dict__.update(values)
    sys.modules[name] = made  # numba finds the module of a cached function by this name
    exec(compile(source, f"<{name}>", "exec"), made.__dict__)
    return made


_NJIT: dict[str, Any] = {"kept": _kept, "inlined": inlined}


def _values(names: Names, world: World, extra: dict[str, Any]) -> dict[str, Any]:
    return {name: world.resolve(value) for name, value in {**names.values, **extra}.items()}


def straight(function: Steps, variant: Variant = BARE) -> Any:
    """The function of steps as a jitted `run(words, lay, rules, me)` without the GIL, `words` an array; cached on disk.

    Everything is inlined: calls with their spills cost a shootdown a fifth of its time.
    """
    from kernels.race import tally

    names = Names()
    called = [one for one in subs(function) if one is function or not one.in_place]
    sources = [f"@inlined\n{straight_source(one, names, variant)}" for one in called]
    extra = {"own": atomics.own, "set_own": atomics.set_own, "xorshift": tally.xorshift, "perturb": tally.perturb}
    values = {**_values(names, RACE, extra), **_NJIT, "RNG": RNG, "LABEL": LABEL}
    return _runnable(f"straight{variant.suffix}_{function.name}", sources, function.name, values)


def alone(function: Any) -> Any:
    """A function of the harness as a jitted `run(words, lay, rules, me)` like that of `straight`; cached on disk."""
    name = function.__name__
    return _runnable(name, [], name, {name: RACE.resolve(function), **_NJIT})


def _runnable(file: str, sources: list[str], name: str, values: dict[str, Any]) -> Any:
    """`run(words, lay, rules, me)`, which calls `name` of these sources with the words' address."""
    entry = f"@kept\ndef run(words, lay, rules, me):\n    return {name}(address(words), lay, rules, me)"
    source = "\n\n\n".join([*sources, entry]) + "\n"
    return _module(file, source, {**values, "address": atomics.address}).run


# Of the C function that `kernels.language.atomics.enter` calls.
ENTRY = types.int64(*([types.int64] * 8))
_PLACES = "words_at(td), layout_at(lay), rules_at(rules)"
_ENTERING: dict[str, Any] = {
    "words_at": atomics.words_at,
    "layout_at": atomics.fields_at(Layout._fields),
    "rules_at": atomics.fields_at(Rules._fields),
}


@functools.cache
def contended_at() -> int:
    """The address of compiled `kernels.race.lock_contention.contended`, for the control block; cached on disk."""
    head = f"def entry(td, lay, rules, what, tally, word, _, __):\n    return contended({_PLACES}, what, tally, word)\n"
    entry = _module("contended", head, {"contended": RACE.resolve(contended), **_ENTERING}).entry
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
