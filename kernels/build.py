"""Generated source to compiled functions, through a cache that notices every change.

numba's own cache does not see that a callee in another file has changed. So generated source, and numba's cache beside
it, live in a directory named by a digest of every kernel source, the versions and the CPU: a changed constant is
another directory.
"""

import atexit
import contextlib
import functools
import hashlib
import inspect
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding
from numba import cfunc, njit, types
from numba.np.numpy_support import from_dtype

from kernels import atomics
from kernels.contention import contended
from kernels.inlined import OPTIONS, inlined, inner
from kernels.language import KINDS, Steps
from kernels.layout import LABEL, RNG, Layout
from kernels.rules import Rules
from kernels.straight import Names, straight_source, subs
from kernels.variant import BARE, Variant
from kernels.worlds import World, globals_of

_NJIT: dict[str, Any] = {"njit": njit, "_OPTIONS": OPTIONS, "inner": inner, "inlined": inlined}

RACE = World(atomics.ATOMIC, inner)


def sources_digest() -> str:
    """Names every kernel source, on any machine."""
    made = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        made.update(path.name.encode() + b"\0" + path.read_bytes())
    return made.hexdigest()[:24]


def digest() -> str:
    """Names the cache: every kernel source, Python, numba, LLVM, the CPU and its features."""
    made = hashlib.sha256(sources_digest().encode())
    versions = (sys.version, numba.__version__, llvmlite.__version__, binding.get_host_cpu_name())
    made.update(repr((versions, sorted(binding.get_host_cpu_features().items()))).encode())
    return made.hexdigest()[:24]


def cache_directory() -> Path:
    """Where this version's compiled code is kept: TDX_STRESS_CACHE, XDG_CACHE_HOME or ~/.cache; a temporary one where
    that cannot be written.
    """
    chosen, temporary = os.environ.get("TDX_STRESS_CACHE"), Path(tempfile.gettempdir()) / f"tdx-stress-{os.getuid()}"
    base = chosen or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/tdx-stress"
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody's home
        return _writable(Path(base).expanduser() / digest())
    with contextlib.suppress(OSError):
        temporary.mkdir(mode=0o700, exist_ok=True)
        found = temporary.lstat()
        # What lies there is unpickled: whoever else could write it would run code as us.
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return _writable(temporary / digest())
    try:
        return _private_directory()
    except OSError:
        tried = f"{base} and {tempfile.gettempdir()}"
        raise OSError(f"no directory for compiled code can be written: tried {tried}") from None


def _writable(place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=place):
        return place


@functools.cache
def _private_directory() -> Path:
    """One for this process alone, gone with it. Raises OSError where no temporary directory can be written."""
    made = tempfile.TemporaryDirectory(prefix="tdx-stress-")
    atexit.register(made.cleanup)
    return Path(made.name)


def _module(name: str, source: str, values: dict[str, Any]) -> ModuleType:
    """Run generated source as a module whose file exists, so that numba can cache beside it; one file a text."""
    name = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    path = cache_directory() / f"{name}.py"
    if not path.exists() or path.read_text() != source:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            file.write(source)
        os.utime(temporary, (0, 0))  # numba's cache is keyed by this time too: equal text, equal time
        os.replace(temporary, path)
    made = ModuleType(f"tdx_stress_{name}")
    made.__file__ = str(path)
    made.__dict__.update(values)
    sys.modules[made.__name__] = made  # numba finds the module of a cached function by this name
    exec(compile(source, str(path), "exec"), made.__dict__)
    return made


def _values(names: Names, world: World, extra: dict[str, Any]) -> dict[str, Any]:
    return {name: world.resolve(value) for name, value in {**names.values, **extra}.items()}


def straight(function: Steps, variant: Variant = BARE) -> Any:
    """The function of steps as a jitted `run(words, lay, rules, me)` without the GIL, `words` an array; cached on disk.

    Everything is inlined: calls with their spills cost a shootdown a fifth of its time.
    """
    from kernels import tally

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
    entry = (
        "@njit(cache=True, **_OPTIONS)\n"
        "def run(words, lay, rules, me):\n"
        f"    return {name}(address(words), lay, rules, me)"
    )
    source = "\n\n\n".join([*sources, entry]) + "\n"
    return _module(file, source, {**values, "address": atomics.address}).run


# Of the C function that `kernels.atomics.enter` calls.
ENTRY = types.int64(*([types.int64] * 8))
_ENTER, _PLACES = "@cfunc(ENTRY, cache=True, **_ENTERED)\n", "words_at(td), layout_at(lay), rules_at(rules)"
_ENTERING: dict[str, Any] = {
    "cfunc": cfunc,
    "ENTRY": ENTRY,
    "_ENTERED": {"error_model": "numpy", "boundscheck": False},
    "words_at": atomics.words_at,
    "layout_at": atomics.fields_at(Layout._fields),
    "rules_at": atomics.fields_at(Rules._fields),
}


@functools.cache
def contended_at() -> int:
    """The address of compiled `kernels.contention.contended`, for the control block; cached on disk."""
    head = f"def entry(td, lay, rules, what, tally, word, _, __):\n    return contended({_PLACES}, what, tally, word)\n"
    code = _module("contended", _ENTER + head, {"contended": RACE.resolve(contended), **_ENTERING})
    return int(code.entry.address)


def plain(
    name: str, functions: Iterable[Any], entries: Iterable[Any], records: dict[str, Any], called: Iterable[Any] = ()
) -> ModuleType:
    """Plain functions compiled into one module, which call each other by name; cached on disk.

    `entries` are those that Python calls, compiled at once: a parameter named in `records` is a record of those int64
    fields, one that ends in an underscore an array of int64, any other an int64. The others are inlined where they are
    called, but for those in `called`.
    """
    values: dict[str, Any] = {**_NJIT}
    sources = []
    entered, apart = tuple(entries), tuple(called)
    for function in functions:
        called_by_ours = "@inner\n" if function in apart else "@inlined\n"
        mark = "@njit(cache=True, **_OPTIONS)\n" if function in entered else called_by_ours
        sources.append(mark + inspect.getsource(function))
        names = globals_of(function)
        for known, value in function.__globals__.items():
            if known in names:
                meant = RACE.function(value) if isinstance(value, FunctionType) and value in KINDS else value
                assert values.setdefault(known, meant) is meant or values[known] == meant, known
    made = _module(name, "\n\n".join(sources), values)
    kinds = {name: from_dtype(np.dtype([(field, np.int64) for field in it._fields])) for name, it in records.items()}
    for function in entered:
        signature = [
            kinds.get(it) or (types.int64[::1] if it.endswith("_") else types.int64)
            for it in inspect.signature(function).parameters
        ]
        getattr(made, function.__name__).compile(tuple(signature))
    return made


def loops(name: str, *functions: Any) -> ModuleType:
    """A module that holds these plain functions over the atomics, jitted without the GIL; cached on disk."""
    mark = "@njit(cache=True, **_OPTIONS)\n"
    # What annotations name is not among the values.
    source = "\n\n\n".join(["from __future__ import annotations", *(mark + inspect.getsource(f) for f in functions)])
    values = {used: f.__globals__[used] for f in functions for used in globals_of(f) if used in f.__globals__}
    return _module(name, source, {**values, "njit": njit, "_OPTIONS": OPTIONS})
