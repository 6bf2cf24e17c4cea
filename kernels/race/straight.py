"""The straight line: functions of steps as ordinary functions, the yields stripped. What real processes race.

A labelled function stores, before each step, the step's site and word into its actor's LABEL word: a watchdog and a
trace know who stands where. A perturbed line looks before each step whether the actor is held up, a traced one keeps
the step in its ring behind it. What else stands there is the protocol's. Random numbers of choices live in a local
while a function runs.
"""

import ast
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kernels.language import atomics
from kernels.language.parse import flat, subs
from kernels.language.resolve import Names, resolve
from kernels.language.syntax import (
    ENVIRONMENT,
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
    is_drawn,
    is_shipped,
    tree_of,
    where,
)
from kernels.layout import LABEL, RNG
from kernels.protocol import BuiltIn, Protocol
from kernels.race import tally
from kernels.race.ring import SITE_BITS
from kernels.race.trace import KEPT, keep


@dataclass(frozen=True, slots=True)
class Variant:
    """How a straight line is compiled; what is off is not there at all.

    `perturbed`: before each labelled step the actor looks whether it loses its CPU, with the odds that the tally
    holds for the step's site, and whether the step is declared to take a time. `traced`: behind each labelled step it
    keeps the step in its ring (`kernels/race/trace.py`).
    """

    perturbed: bool = False
    traced: bool = False

    @property
    def suffix(self) -> str:
        """Names the variant's files in the cache: nothing where it is bare."""
        return "_perturbed" * self.perturbed + "_traced" * self.traced


BARE = Variant()


def straight(protocol: Protocol, function: Steps, variant: Variant = BARE) -> Any:
    """The function of steps as a jitted `run(words, lay, rules, me)` without the GIL, which takes what
    `kernels.language.compile.passed` gives; cached on disk.

    Everything is inlined: calls with their spills cost a shootdown a fifth of its time.
    """
    from kernels.language.jit import runnable  # who races nothing need not wait for numba

    @functools.cache
    def written() -> tuple[str, dict[str, Any]]:
        names = Names()
        called = [one for one in subs(function) if one is function or not one.in_place]
        source = "\n\n\n".join(straight_source(protocol, one, names, variant) for one in called)
        extra = {"own": atomics.own, "set_own": atomics.set_own, "xorshift": tally.xorshift, "perturb": tally.perturb}
        return source, {**names.values, **extra, "RNG": RNG, "LABEL": LABEL}

    file = f"straight{variant.suffix}_{function.name}"
    return runnable(file, function.name, written, composition(protocol, function) or written()[0], protocol.records)


def composition(protocol: Protocol, function: Steps) -> str:
    """What a line is made of where all of it stands in the kernels' own sources, by which the cache itself is named:
    the functions, and which stands in whose place. Else "": its text has to say it.
    """
    its = [function]
    for one in its:
        its += [callee for callee in one.calls.values() if callee not in its]
    built_in = [its_lines.behind_step, its_lines.behind_call] if (its_lines := protocol.built_in) else []
    if not all(map(is_shipped, [*(one.source for one in its), *built_in])):
        return ""
    lines = [(one.name, where(one.source), [its.index(callee) for callee in one.calls.values()]) for one in its]
    return repr((protocol.records, list(map(where, built_in)), lines))


def straight_source(protocol: Protocol, function: Steps, names: Names, variant: Variant = BARE) -> str:
    """Source of one function of steps as an ordinary function `name(td, lay, rules, me, ...)`; 0 where nothing is
    returned.

    Fields of the layout and the rules are read once, at the top: an atomic load inside would keep LLVM from hoisting
    them.
    """
    line = Line(function, names, protocol.built_in, variant)
    made = ast.parse("\n".join([f"def {function.name}():", *line.lines()])).body[0]
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


def answers(op: Any) -> bool:
    """Whether a shared access gives back a value."""
    return any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(tree_of(op)))


class Line:
    """One function's lines. `within`: the lines in which they stand in the place of a call."""

    def __init__(
        self, function: Steps, names: Names, built_in: BuiltIn | None, variant: Variant, within: "Line | None" = None
    ) -> None:
        self.function, self.names = function, names
        self.built_in, self.variant = built_in, variant
        self.prefix: str = f"{within.prefix}_{function.name}_" if within else ""
        own = any(
            self.is_drawn(s) if isinstance(s, Step) else s.function.in_place and self.inner(s.function, None).draws
            for s in flat(function.body)
            if isinstance(s, Step | Sub)
        )
        self.draws: bool = within.draws if within else own
        assert self.draws or not own, f"{function.name} draws, and what it stands in does not"

    def inner(self, function: Steps, within: "Line | None") -> "Line":
        return Line(function, self.names, self.built_in, self.variant, within)

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
                built_in = self.built_in.behind_call(self, function, target, arguments) if self.built_in else []
                behind = [pad + line for line in built_in]
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
        inner, pad = self.inner(sub.function, self), "    " * depth
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
        rest = ", ".join(("td", "_word", *arguments[2:]))
        at = f"set_own(td, me.tally + LABEL, _word << {SITE_BITS} | {step.site.number})"
        perturb = [f"perturb(td, lay.perturb, {step.site.number}, me.tally)"] if self.variant.perturbed else []
        before = [f"_word = {arguments[1]}", at, *perturb]
        behind = self.built_in.behind_step(self, step, str(into)) if self.built_in else []
        if not self.variant.traced or self.function.oracle:
            return [*before, f"{target}{name}({rest})", *behind]
        label = f"_word << {SITE_BITS} | {step.site.number}"
        # Before the step, which may change what it is computed from.
        before.insert(0, f"_operand = {arguments[-1] if arguments[2:] else 0}")
        if not answers(self.names.values[name]):
            return [*before, f"{name}({rest})", self.call_of(keep, label, "_operand", "_operand"), *behind]
        seen = into or "_seen"
        return [*before, f"{seen} = {name}({rest})", self.call_of(keep, label, f"int({seen})", "_operand"), *behind]

    def beside(self, call: ast.expr, pad: str) -> list[str]:
        """What a traced line keeps of a call that is no step, before it, while its arguments are what they are."""
        if not (self.variant.traced and isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            return []
        known: Any = self.function.source.__globals__  # type: ignore[attr-defined]
        keeper = KEPT.get(known.get(call.func.id))
        if keeper is None:
            return []
        arguments = [self.text(argument) for argument in call.args if ast.unparse(argument) not in ENVIRONMENT]
        return [pad + self.call_of(keeper, *arguments)]

    def call_of(self, function: Any, *arguments: str) -> str:
        """A call with the environment first."""
        self.names.add(function.__name__, function)
        return f"{function.__name__}({', '.join((*ENVIRONMENT, *arguments))})"
