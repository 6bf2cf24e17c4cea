"""From functions of steps to one graph of blocks: subprograms inlined, names unique, control flow cut at the yields."""

import ast
import functools
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from kernels.language.resolve import Names, assigned, resolve
from kernels.language.syntax import (
    CHOICE_COUNTS,
    ENVIRONMENT,
    HARNESS_VALUES,
    KINDS,
    Break,
    Continue,
    Do,
    If,
    Let,
    Loop,
    Naming,
    Return,
    Site,
    Statement,
    Step,
    Steps,
    Sub,
)


@dataclass(slots=True)
class BlockStep:
    """The step at the head of a block, its arguments with names made unique."""

    target: str | None
    call: str
    arguments: list[ast.expr]
    site: Site
    is_choice: bool
    calls: tuple[Steps, ...]  # the functions of steps that lead here, outermost first
    given: tuple[dict[str, ast.expr], ...]  # of each of these its parameters, as locals or constants


@dataclass(slots=True, eq=False)
class Block:
    """A piece of code with one entry: perhaps a step first, then private work, then where it goes."""

    number: int
    step: BlockStep | None = None
    work: list[tuple[str | None, ast.expr]] = field(default_factory=list)
    test: ast.expr | None = None
    then: "Block | None" = None
    other: "Block | None" = None  # where the test fails
    live: set[str] = field(default_factory=set)

    def next(self) -> list["Block"]:
        """Where control may go from here."""
        return [block for block in (self.then, self.other) if block is not None]


class Inliner:
    """Statements of one function and all that it calls, as a graph of blocks with names made unique."""

    def __init__(self, names: Names, kept: Container[Any] = ()) -> None:
        """`kept`: functions of the harness that stay, where they stand alone."""
        self.names = names
        self.kept = kept
        self.calls: tuple[Steps, ...] = ()
        self.given: tuple[dict[str, ast.expr], ...] = ()
        self.count = 0
        self.naming: dict[str, Naming] = {}  # of what is declared, by its new name
        self.blocks: list[Block] = []

    def program(self, function: Steps) -> Block:
        start, end = self.block(), self.block()
        renamed: dict[str, ast.expr] = {name: ast.Name(self.fresh(name, function)) for name in function.parameters}
        self.calls, self.given = (function,), (dict(renamed),)
        last = self.run(function.body, start, function, renamed, None, end, None, None)
        if last:
            last.then = end
        return start

    def block(self) -> Block:
        made = Block(len(self.blocks))
        self.blocks.append(made)
        return made

    def fresh(self, name: str, function: Steps) -> str:
        self.count += 1
        made = f"{name}_{self.count}"
        if name in function.parsed.naming:
            self.naming[made] = function.parsed.naming[name]
        return made

    def expression(self, tree: ast.expr, function: Steps, renamed: dict[str, ast.expr]) -> ast.expr:
        return _Rename(self, function, renamed).visit(resolve(tree, function, self.names))

    def run(
        self,
        body: Iterable[Statement],
        at: Block,
        function: Steps,
        renamed: dict[str, ast.expr],
        result: str | None,
        end: Block,
        on_break: Block | None,
        on_continue: Block | None,
    ) -> Block | None:
        """Append statements at the end of `at`; returns where the next one goes, None where control has left."""
        here: Block | None = at
        for statement in body:
            if here is None:
                break
            match statement:
                case Let(name=name, value=value):
                    made = self.expression(value, function, renamed)
                    here.work.append((self.name(name, renamed, function), made))
                case Do(call=call, harness=harness):
                    if not harness or self.callee(call, function) in self.kept:
                        here.work.append((None, self.expression(call, function, renamed)))
                case Step(target=target, call=call, site=site, is_choice=is_choice):
                    resolve(call.func, function, self.names)
                    assert isinstance(call.func, ast.Name)
                    given = call.args[: arity(self.names.values[call.func.id])] if is_choice else call.args
                    arguments = [self.expression(argument, function, renamed) for argument in given]
                    label = self.block()
                    label.step = BlockStep(
                        target and self.name(target, renamed, function),
                        call.func.id,
                        arguments,
                        site,
                        is_choice,
                        self.calls,
                        self.given,
                    )
                    here.then, here = label, label
                case Sub(target=target, function=callee, arguments=given):
                    after = self.block()
                    inner: dict[str, ast.expr] = {}
                    changed = set(assigned(callee.body))
                    for parameter, argument in zip(callee.parameters, given, strict=True):
                        value = self.expression(argument, function, renamed)
                        if parameter in changed or not isinstance(value, ast.Name | ast.Constant):
                            fresh = self.fresh(parameter, callee)
                            inner[parameter] = ast.Name(fresh)
                            here.work.append((fresh, value))
                        else:
                            inner[parameter] = value
                    to = target and self.name(target, renamed, function)
                    outer = self.calls, self.given
                    self.calls, self.given = (*self.calls, callee), (*self.given, dict(inner))
                    last = self.run(callee.body, here, callee, inner, to, after, None, None)
                    self.calls, self.given = outer
                    if last is not None:
                        if to:
                            last.work.append((to, ast.Constant(0)))
                        last.then = after
                    here = after
                case If(test=test, body=then, orelse=orelse):
                    here.test = self.expression(test, function, renamed)
                    after = self.block()
                    here.then, here.other = self.block(), self.block()
                    for branch, start in ((then, here.then), (orelse, here.other)):
                        last = self.run(branch, start, function, renamed, result, end, on_break, on_continue)
                        if last is not None:
                            last.then = after
                    here = after
                case Loop(body=inside, step=step):
                    top, again, after = self.block(), self.block(), self.block()
                    here.then = top
                    last = self.run(inside, top, function, renamed, result, end, after, again)
                    if last is not None:
                        last.then = again
                    last = self.run(step, again, function, renamed, result, end, None, None)
                    assert last is not None
                    last.then = top
                    here = after
                case Break():
                    here.then, here = on_break, None
                case Continue():
                    here.then, here = on_continue, None
                case Return(value=value):
                    if result is not None:
                        made = ast.Constant(0) if value is None else self.expression(value, function, renamed)
                        here.work.append((result, made))
                    here.then, here = end, None
        return here

    def callee(self, call: ast.Call, function: Steps) -> Any:
        assert isinstance(call.func, ast.Name)
        return function.source.__globals__.get(call.func.id)

    def name(self, name: str, renamed: dict[str, ast.expr], function: Steps) -> str:
        if name not in renamed:
            renamed[name] = ast.Name(self.fresh(name, function))
        made = renamed[name]
        assert isinstance(made, ast.Name)
        return made.id


class _Rename(ast.NodeTransformer):
    """Locals of a function by their unique names, and what the harness is called for by what it returns."""

    def __init__(self, inliner: Inliner, function: Steps, renamed: dict[str, ast.expr]) -> None:
        self.inliner, self.function, self.renamed = inliner, function, renamed

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in ENVIRONMENT:
            return node
        if node.id not in self.renamed:
            self.renamed[node.id] = ast.Name(self.inliner.fresh(node.id, self.function))
        return self.renamed[node.id]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        assert isinstance(node.func, ast.Name)
        value = self.inliner.names.values.get(node.func.id)
        if value is not None and KINDS.get(value) == "harness" and value not in self.inliner.kept:
            return ast.Constant(HARNESS_VALUES[value])
        node.args = [self.visit(argument) for argument in node.args]
        return node


def arity(choice: Any) -> int:
    """How many arguments of a choice mean something outside a race: as many as its count takes."""
    return int(CHOICE_COUNTS[choice].__code__.co_argcount)  # type: ignore[attr-defined]


@functools.cache
def names_in(tree: ast.expr) -> frozenset[str]:
    """The locals that an expression reads. Asked again and again of one that nobody changes any more."""
    nodes = list(ast.walk(tree))
    callees = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return frozenset(
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and id(node) not in callees and node.id not in ENVIRONMENT
    )
