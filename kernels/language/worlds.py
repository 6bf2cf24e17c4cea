"""One source, several meanings of its primitives: real atomics, plain accesses, Python."""

import dis
from collections.abc import Callable
from types import FunctionType
from typing import Any

from kernels.language import atomics
from kernels.language.syntax import KINDS


def globals_of(function: FunctionType) -> set[str]:
    """The global names that a function reads."""
    return {found.argval for found in dis.get_instructions(function) if found.opname == "LOAD_GLOBAL"}


class World:
    """One meaning of the primitives, and every marked function compiled for it."""

    def __init__(self, primitives: dict[str, Any], compile_one: Callable[[FunctionType], Any]) -> None:
        self.primitives = primitives
        self.compile_one = compile_one
        self.made: dict[Any, Any] = {}

    def resolve(self, value: Any) -> Any:
        """The thing to call in this world for a name's value in the source."""
        for name, atomic in atomics.ATOMIC.items():
            if value is atomic:
                return self.primitives[name]
        if isinstance(value, FunctionType) and value in KINDS:
            return self.function(value)
        return value

    def function(self, source: FunctionType) -> Any:
        """`source` with the primitives and the functions that it calls taken from this world."""
        if source not in self.made:
            self.made[source] = self.compile_one(self.rebound(source))
        return self.made[source]

    def rebound(self, source: FunctionType) -> FunctionType:
        names = {
            name: self.resolve(source.__globals__[name]) for name in globals_of(source) if name in source.__globals__
        }
        space = {"__builtins__": __builtins__, "__name__": source.__module__, **names}
        bound = FunctionType(source.__code__, space, source.__name__, source.__defaults__, source.__closure__)
        bound.__module__ = source.__module__
        return bound
