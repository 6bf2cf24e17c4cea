"""Functions that compiled code alone calls: without machine code of their own, and compiled once.

numba optimizes every function and makes machine code of it as if Python called it, and compiles it once more for each
constant that a call passes. Here nearly all is inlined into the few functions that are entered: those have the machine
code, and there constants are seen. Compiling takes a third less for the smallest actor, two thirds for the largest.
"""

from types import FunctionType
from typing import Any

from numba import njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}


class _Library(JITCodeLibrary):
    """What others link with; never handed to the engine."""

    def _optimize_final_module(self) -> None:
        """Whoever is entered is optimized with all that is inlined into it."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> "_Library":
        """Whom numba asks to store a function's environment beside its machine code."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """There is no machine code."""


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):
    _name = "lowering_of_what_is_inlined"

    def run_pass(self, state: Any) -> bool:
        state.library = _Library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


class _Compiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        made = DefaultPassBuilder.define_nopython_pipeline(self.state)
        made.passes = [(_Lowering if one is NativeLowering else one, what) for one, what in made.passes]
        return [made]


def inner(function: FunctionType, **options: bool) -> Any:
    """The function as jitted code calls it, an int64 for whatever whole number or truth value it is given."""
    made = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_Compiler, **OPTIONS, **options)(
        function
    )
    asked = made.get_call_template
    made.get_call_template = lambda given, named: asked(tuple(map(_whole, given)), named)
    return made


def inlined(function: FunctionType) -> Any:
    """The same, in the place of each call."""
    return inner(function, forceinline=True)


def _whole(kind: Any) -> Any:
    kind = types.unliteral(kind)
    return types.int64 if kind is types.boolean else kind
