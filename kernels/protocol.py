"""What one brings: a protocol as a value."""

import linecache
from collections.abc import Callable
from typing import Any

from kernels.language.naming import names as naming
from kernels.language.steps import local
from kernels.layout import ActorKind, Group, Word, Words


def declare(
    words: Words, name: str, per: ActorKind | Group | None = None, *, names: ActorKind | None = None, **said: Any
) -> Callable[..., int]:
    """Declare a word as `kernels.layout.Word` has it, which may name an actor of a kind. Returns the function that says
    where it stands, in a step as elsewhere: `flag(lay, index)`, of a table `tlb(lay, index, tag)`.
    """
    row = Word(name, per, **said)
    given, parameters = f"lay.{name}", ["lay"]
    if per is not None:
        given, parameters = f"{given} + {per.name} * lay.{per.name}_stride", ["lay", per.name]
    if row.table:
        given, parameters = f"{given} + (tag & (lay.{row.table} - 1))", [*parameters, "tag"]
    if row.each:
        given, parameters = f"{given} + other", [*parameters, "other"]
    # The step language inlines it by its source, as it does any other.
    file, source = f"<word {name}>", f"def {name}({', '.join(parameters)}):\n    return {given}\n"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    space: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, file, "exec"), space)
    where: Callable[..., int] = local(space[name])
    words.rows.append(row)
    words.row_of[where] = row
    return where if names is None else naming(names)(where)
