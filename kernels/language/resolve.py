"""Names in expressions of the step language: what each is in the source that is generated from them."""

import ast
import functools
import inspect
from collections.abc import Iterable
from typing import Any

from kernels.language.syntax import (
    ENVIRONMENT,
    KINDS,
    If,
    Let,
    Loop,
    Statement,
    Step,
    Steps,
    Sub,
    constant_of,
    copied,
    tree_of,
)


class Names:
    """The names that generated source uses, each with its value; one name has one meaning."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, name: str, value: Any) -> None:
        """Raises NameError where the name already means something else."""
        if self.values.setdefault(name, value) is not value:
            raise NameError(f"{name} means two things in the functions of steps")


def resolve(
    tree: ast.expr,
    function: Steps,
    names: Names,
    inline: tuple[str, ...] = ("local",),
    free: tuple[str, ...] = (),
    prefix: str = "",
) -> ast.expr:
    """The expression with global integers as literals, one-line callees of the kinds `inline` in place, the others in
    `names`, and `prefix` before the names of locals.

    `free` are names of the generated code itself.
    """
    made, used = _resolved(tree, function, inline, free, prefix)
    for name, value in used.items():
        names.add(name, value)
    return copied(made)


@functools.cache
def _resolved(
    tree: ast.expr, function: Steps, inline: tuple[str, ...], free: tuple[str, ...], prefix: str
) -> tuple[ast.expr, dict[str, Any]]:
    """The same once for all places where a function is inlined, with the names that it needs."""
    known: dict[str, Any] = function.source.__globals__  # type: ignore[attr-defined]
    if function.source.__closure__:  # type: ignore[attr-defined]
        known = {**known, **inspect.getclosurevars(function.source).nonlocals}
    bound: dict[str, ast.expr] = {name: ast.Name(name) for name in (*ENVIRONMENT, *free)}
    bound |= {name: ast.Name(prefix + name) for name in _locals(function)}
    names = Names()
    return _Resolve(known, bound, names, inline).visit(copied(tree)), names.values


@functools.cache
def _locals(function: Steps) -> frozenset[str]:
    return frozenset((*function.parameters, *assigned(function.body)))


class _Resolve(ast.NodeTransformer):
    """`bound` says what each parameter or local stands for; other names are globals of the source."""

    def __init__(
        self, known: dict[str, Any], bound: dict[str, ast.expr], names: Names, inline: tuple[str, ...]
    ) -> None:
        self.known, self.bound, self.names, self.inline = known, bound, names, inline

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.bound:
            return copied(self.bound[node.id])  # each place is renamed by itself
        if (number := constant_of(node, self.known)) is not None:
            return ast.Constant(number)
        if (value := self.known.get(node.id)) is not None:
            self.names.add(node.id, value)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        number = constant_of(node, self.known)
        return self.generic_visit(node) if number is None else ast.Constant(number)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(argument) for argument in node.args]
        assert isinstance(node.func, ast.Name)
        value = self.known.get(node.func.id)
        if value is None:  # a builtin
            return node
        short = _one_line(value) if KINDS.get(value) in self.inline else None
        if short is None:
            self.names.add(node.func.id, value)
            return node
        parameters, body = short
        bound = dict(zip(parameters, node.args, strict=True))
        return _Resolve(value.__globals__, bound, self.names, self.inline).visit(copied(body))


@functools.cache
def _one_line(function: Any) -> tuple[tuple[str, ...], ast.expr] | None:
    """Parameters and expression of a function that only returns one: hundreds of calls fewer in the source."""
    tree = tree_of(function)
    body = [node for node in tree.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return | ast.Expr) or body[0].value is None:
        return None
    return tuple(argument.arg for argument in tree.args.args), body[0].value


def assigned(body: Iterable[Statement]) -> Iterable[str]:
    """The locals that these statements write."""
    for statement in body:
        match statement:
            case Let(name=name):
                yield name
            case Step(target=str() as name) | Sub(target=str() as name):
                yield name
            case If(body=inner, orelse=other) | Loop(body=inner, step=other):
                yield from assigned(inner)
                yield from assigned(other)
