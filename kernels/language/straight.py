"""The straight line: functions of steps as ordinary functions, the yields stripped. What real processes race.

What a race has built in around the steps, such as labels for a watchdog, is woven in by whoever compiles them
(`Weave`). Random numbers of choices live in a local while a function runs.
"""

import ast
import functools
import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from kernels.language.parse import flat
from kernels.language.syntax import (
    ENVIRONMENT,
    KINDS,
    Break,
    Continue,
    Do,
    If,
    Let,
    Loop,
    Return,
    Statement,
    Step,
    Steps,
    Sub,
    constant_of,
    copied,
    is_drawn,
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
    known: dict[str, Any] = function.source.__globals__  # type: ignore[attr-defined]
    if function.source.__closure__:  # type: ignore[attr-defined]
        known = {**known, **inspect.getclosurevars(function.source).nonlocals}
    bound: dict[str, ast.expr] = {name: ast.Name(name) for name in (*ENVIRONMENT, *free)}
    bound |= {name: ast.Name(prefix + name) for name in _locals(function)}
    return _Resolve(known, bound, names, inline).visit(copied(tree))


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


def answers(op: Any) -> bool:
    """Whether a shared access gives back a value."""
    return any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(tree_of(op)))


def subs(function: Steps) -> list[Steps]:
    """The functions of steps that this one needs, callees first, itself last."""
    found: list[Steps] = []

    def visit(one: Steps) -> None:
        for statement in flat(one.body):
            if isinstance(statement, Sub):
                visit(statement.function)
        if one not in found:
            found.append(one)

    visit(function)
    return found


def straight_source(function: Steps, names: Names, weave: "Weave") -> str:
    """Source of one function of steps as an ordinary function `name(td, lay, rules, me, ...)`; 0 where nothing is
    returned.

    Fields of the layout and the rules are read once, at the top: an atomic load inside would keep LLVM from hoisting
    them.
    """
    made = ast.parse("\n".join([f"def {function.name}():", *Line(function, names, weave).lines()])).body[0]
    assert isinstance(made, ast.FunctionDef)
    fields: dict[str, None] = {}

    class Hoist(ast.NodeTransformer):
        def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
            if isinstance(node.value, ast.Name) and node.value.id in ("lay", "rules"):
                fields[ast.unparse(node)] = None
                return ast.Name(f"_{node.value.id}_{node.attr}")
            return node

    body = [Hoist().visit(statement) for statement in made.body]
    reads = [f"    _{field.replace('.', '_')} = {field}" for field in fields]
    lines = [f"    {line}" for statement in body for line in ast.unparse(statement).splitlines()]
    return "\n".join([f"def {function.name}({', '.join((*ENVIRONMENT, *function.parameters))}):", *reads, *lines])


class Weave(Protocol):
    """What a straight line has built in around its steps and calls, as lines of source."""

    def step(self, line: "Line", step: Step, arguments: Sequence[str], into: str | None) -> list[str]:
        """A labelled step, whose value goes `into` a local, and what stands around it."""

    def behind(self, line: "Line", function: Steps, target: str | None, arguments: tuple[ast.expr, ...]) -> list[str]:
        """What stands behind the steps of a callee, whose value is in `target`."""

    def beside(self, line: "Line", call: ast.expr) -> list[str]:
        """What stands before a call that is no step, while its arguments are what they are."""


class Line:
    """One function's lines. `within`: the lines in which they stand in the place of a call."""

    def __init__(self, function: Steps, names: Names, weave: Weave, within: "Line | None" = None) -> None:
        self.function = function
        self.names = names
        self.weave = weave
        self.prefix: str = f"{within.prefix}_{function.name}_" if within else ""
        own = any(
            self.is_drawn(s) if isinstance(s, Step) else s.function.in_place and Line(s.function, names, weave).draws
            for s in flat(function.body)
            if isinstance(s, Step | Sub)
        )
        self.draws: bool = within.draws if within else own
        assert self.draws or not own, f"{function.name} draws, and what it stands in does not"

    def lines(self) -> list[str]:
        start = ["    _random = own(td, me.tally + RNG)"] if self.draws else []
        body = self.function.body
        end = [] if isinstance(body[-1], Return) else self.leave("0", "    ")
        return [*start, *self.block(body, 1, ()), *end]

    def is_drawn(self, step: Step) -> bool:
        if not step.is_choice:
            return False
        assert isinstance(step.call.func, ast.Name)
        resolve(step.call.func, self.function, self.names)
        return is_drawn(self.names.values[step.call.func.id])

    def leave(self, value: str, pad: str) -> list[str]:
        save = [f"{pad}set_own(td, me.tally + RNG, _random)"] if self.draws else []
        return [*save, f"{pad}return {value}"]

    def text(self, tree: ast.expr) -> str:
        return ast.unparse(resolve(tree, self.function, self.names, ("local", "harness"), prefix=self.prefix))

    def block(self, body: Iterable[Statement], depth: int, after: tuple[Statement, ...]) -> list[str]:
        lines = [line for statement in body for line in self.statement(statement, depth, after)]
        return lines or ["    " * depth + "pass"]

    def statement(self, statement: Statement, depth: int, after: tuple[Statement, ...]) -> list[str]:
        pad = "    " * depth
        match statement:
            case Let(name=name, value=value):
                return [*self.beside(value, pad), f"{pad}{self.prefix}{name} = {self.text(value)}"]
            case Do(call=call):
                return [*self.beside(call, pad), pad + self.text(call)]
            case Step():
                return [pad + line for line in self.step(statement)]
            case Sub(function=Steps(in_place=True)):
                return self.in_place(statement, depth)
            case Sub(target=target, function=function, arguments=arguments):
                target = target and self.prefix + target
                inner = f"{function.name}({', '.join((*ENVIRONMENT, *map(self.text, arguments)))})"
                line = f"{pad}{target} = {inner}" if target else pad + inner
                behind = [pad + line for line in self.weave.behind(self, function, target, arguments)]
                if not self.draws:
                    return [line, *behind]
                save, load = "set_own(td, me.tally + RNG, _random)", "_random = own(td, me.tally + RNG)"
                return [pad + save, line, *behind, pad + load]
            case If(test=test, body=body, orelse=orelse):
                lines = [f"{pad}if {self.text(test)}:", *self.block(body, depth + 1, after)]
                return [*lines, f"{pad}else:", *self.block(orelse, depth + 1, after)] if orelse else lines
            case Loop(body=body, step=step):
                inside = self.block(body, depth + 1, step)
                return [f"{pad}while True:", *inside, *(self.block(step, depth + 1, ()) if step else ())]
            case Break():
                return [f"{pad}break"]
            case Continue():
                return [*(self.block(after, depth, ()) if after else ()), f"{pad}continue"]
            case Return(value=value):
                return self.leave("0" if value is None else self.text(value), pad)
        raise AssertionError(statement)

    def in_place(self, sub: Sub, depth: int) -> list[str]:
        """The steps of a callee where it is called; what it returns at its end goes into the target."""
        inner, pad = Line(sub.function, self.names, self.weave, self), "    " * depth
        *body, last = sub.function.body
        given = zip(sub.function.parameters, map(self.text, sub.arguments), strict=True)
        lines = [f"{pad}{inner.prefix}{parameter} = {value}" for parameter, value in given]
        if not isinstance(last, Return):
            return [*lines, *inner.block((*body, last), depth, ())]
        lines += inner.block(body, depth, ())
        if sub.target and last.value is not None:
            lines.append(f"{pad}{self.prefix}{sub.target} = {inner.text(last.value)}")
        return lines

    def step(self, step: Step) -> list[str]:
        call = step.call
        name = ast.unparse(call.func)
        arguments = [self.text(argument) for argument in call.args]
        resolve(call.func, self.function, self.names)
        into = step.target and self.prefix + step.target
        target = f"{into} = " if into else ""
        if step.is_choice:
            random = [ast.Name("_random")] if self.is_drawn(step) else []
            drawn = ast.Call(call.func, [*map(ast.Name, ENVIRONMENT), *random, *call.args[4:]], [])
            kinds = ("local", "harness", "choice")
            way = resolve(drawn, self.function, self.names, kinds, ("_random",), self.prefix)
            return [*(["_random = xorshift(_random)"] if random else []), target + ast.unparse(way)]
        if not self.function.labelled:
            return [f"{target}{name}({', '.join(arguments)})"]
        return self.weave.step(self, step, arguments, into)

    def beside(self, call: ast.expr, pad: str) -> list[str]:
        return [pad + line for line in self.weave.beside(self, call)]

    def call_of(self, function: Any, *arguments: str) -> str:
        """A call with the environment first."""
        self.names.add(function.__name__, function)
        return f"{function.__name__}({', '.join((*ENVIRONMENT, *arguments))})"
