"""What numba compiles, through a cache that notices every change (`kernels/language/cache.py`): the entries of straight
lines.

numba would infer the types of a thousand lines for ten seconds, and there is one type. So an entry is an intrinsic that
puts the LLVM of `kernels/language/compile.py` into numba's module: numba optimizes and links it, calls it without the
GIL, and hands over the object code to keep.
"""

import pickle
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
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
from kernels.language.compile import Native, digest_of, uninterrupted
from kernels.language.llvm import I64
from kernels.language.lowering import AT, number_of
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
        return f"{self._name}-{digest_of(str(sig))}"

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def runnable(
    file: str, name: str, written: Callable[[], tuple[str, Mapping[str, Any]]], of: str, records: Records
) -> Any:
    """`run(words, lay, rules, me)` without the GIL, which is the function `name` of the source that is `written`, with
    what the names in it mean, where it is not cached on disk under `file` and what it is made `of`. Takes what
    `kernels.language.compile.passed` gives.
    """

    @intrinsic
    def line(typingctx: Any, words: Any, lay: Any, rules: Any, me: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            made = Native(records, *written(), raced=True, into=builder.module)
            own = cgutils.alloca_once(builder, I64, size=len(Actor._fields))
            for place in range(len(Actor._fields)):
                builder.store(builder.extract_value(args[3], place), builder.gep(own, [number_of(place)]))
            start = make_array(signature.args[0])(context, builder, args[0]).data
            given = [start, *(builder.bitcast(record, AT) for record in args[1:3])]
            return builder.call(made.function(name), [*given, own])

        return types.int64(words, lay, rules, me), codegen

    # numba finds the module of a cached function by its name.
    module = sys.modules[f"{file}_{digest_of(of)}"] = ModuleType(f"{file}_{digest_of(of)}")
    module.__dict__["line"] = line
    text = "def run(words, lay, rules, me):\n    return line(words, lay, rules, me)\n"
    exec(compile(text, f"<{module.__name__}>", "exec"), module.__dict__)
    made = njit(**OPTIONS)(module.__dict__["run"])
    made._cache = Kept(f"{module.__name__}-run")
    compiled = made.compile

    def compile_whole(signature: Any) -> Any:
        with uninterrupted():
            return compiled(signature)

    made.compile = compile_whole
    return made
