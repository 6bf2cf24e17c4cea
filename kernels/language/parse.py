"""From the source of a function of steps to checked statements; what the language does not have is refused with file
and line.
"""

import ast
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kernels.language.naming import Names, declared
from kernels.language.syntax import (
    CHOICE_SAYS,
    ENVIRONMENT,
    Break,
    Continue,
    Do,
    If,
    LanguageError,
    Let,
    Loop,
    Naming,
    Parsed,
    Return,
    Site,
    Statement,
    Step,
    Steps,
    Sub,
    access_of,
    constant_of,
    copied,
    has_effect,
    kind_of,
    short_path,
    tree_of,
)

# Arithmetic that is the same for Python's integers, numba's and the hardware's.
PURE = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.expr_context, ast.And, ast.Or, ast.Not, ast.USub,
    ast.Invert, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift,
    ast.RShift, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip


def flat(body: Iterable[Statement]) -> Iterator[Statement]:
    """These statements and all inside them."""
    for statement in body:
        yield statement
        if isinstance(statement, If):
            yield from flat((*statement.body, *statement.orelse))
        elif isinstance(statement, Loop):
            yield from flat((*statement.body, *statement.step))


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


def always_returns(body: Sequence[Statement]) -> bool:
    """Whether control never runs off the end, and no return is without a value."""
    if any(isinstance(statement, Return) and statement.value is None for statement in flat(body)):
        return False
    match body[-1] if body else None:
        case Return():
            return True
        case If(body=then, orelse=orelse):
            return always_returns(then) and always_returns(orelse)
        case Loop(body=inner):
            return not breaks(inner)
    return False


def breaks(body: Iterable[Statement]) -> bool:
    """Whether a break among these statements ends the loop around them."""
    return any(
        isinstance(statement, Break)
        or (isinstance(statement, If) and (breaks(statement.body) or breaks(statement.orelse)))
        for statement in body
    )


class Parser:
    """One function: from its source to checked statements."""

    def __init__(self, its: Steps) -> None:
        self.its = its
        self.function: Any = its.source
        self.names = self.function.__globals__
        if self.function.__code__.co_freevars:
            self.names = {**self.names, **inspect.getclosurevars(self.function).nonlocals}
        self.locals: set[str] = set()
        self.loop_names: list[str] = []
        self.temporaries = 0
        self.texts: dict[str, int] = {}
        self.sites: list[Site] = []
        self.naming: dict[str, Naming] = {}
        self.in_order = ""

    def parse(self) -> Parsed:
        tree, name = copied(tree_of(self.function)), self.its.name
        given = [argument.arg for argument in tree.args.args]
        plain = not (tree.args.vararg or tree.args.kwarg or tree.args.kwonlyargs or tree.args.defaults)
        if tuple(given[:4]) != ENVIRONMENT or not plain:
            self.refuse(tree, f"the first parameters of {name} must be {', '.join(ENVIRONMENT)}, without defaults")
        self.locals = set(given[4:])
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                if node.id in ENVIRONMENT:
                    self.refuse(node, f"{node.id} cannot be assigned to")
                if node.id.startswith("_") and node.id != "_":
                    self.refuse(node, f"{node.id}: names that start with _ are the translator's")
                self.locals.add(node.id)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                naming = declared(node.annotation, self.names)
                if naming is not None:
                    self.naming[node.target.id] = naming
        body = self.block(tree.body)
        # What is taken in place of a call may be nothing, where another function in its place takes steps; see `like`.
        if not self.its.in_place and not any(isinstance(statement, Step | Sub) for statement in flat(body)):
            self.refuse(tree, f"{name} takes no step")
        if self.its.in_place and any(isinstance(statement, Return) for statement in flat(body[:-1])):
            self.refuse(tree, f"{name} is taken in place: it returns at its end and nowhere else")
        told = Names(self.names, dict.fromkeys(self.naming, True), self.refuse, frozenset(self.naming))
        told.block(body)
        if told.in_order is not None:
            self.in_order = self.at(told.in_order)
        return Parsed(tuple(body), tuple(self.sites), self.naming, told.returns, self.in_order)

    def at(self, node: ast.AST) -> str:
        file = short_path(self.function.__code__.co_filename)
        return f"{file}:{getattr(node, 'lineno', 0)}"

    def refuse(self, node: ast.AST, why: str) -> None:
        raise LanguageError(f"{self.at(node)}: {why}")

    def block(self, nodes: list[ast.stmt]) -> list[Statement]:
        return [statement for node in nodes for statement in self.statement(node)]

    def statement(self, node: ast.stmt) -> Iterator[Statement]:
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                return
            case ast.Expr(value=ast.Yield() | ast.YieldFrom() as step):
                yield from self.step(None, step)
            case ast.Expr(value=ast.Call() as call):
                kind = self.callee(call)
                if kind not in ("local", "harness"):
                    self.refuse(
                        node, f"a bare call may be to a local or harness function, {ast.unparse(call.func)} is {kind}"
                    )
                for argument in call.args:
                    self.pure(argument)
                yield Do(call, kind == "harness")
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield from self.assign(node, name, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if name in self.naming:
                if value is not None:
                    yield from self.assign(node, name, value)
            case ast.AugAssign(target=ast.Name(id=name), op=operator, value=value):
                total = ast.BinOp(ast.Name(name, ast.Load()), operator, value)
                yield from self.assign(node, name, ast.copy_location(total, node))
            case ast.If(test=test, body=body, orelse=orelse):
                before, test = self.split(test)
                yield from before
                yield If(test, tuple(self.block(body)), tuple(self.block(orelse)))
            case ast.While(test=test, body=body, orelse=[]):
                before, test = self.split(test)
                always = isinstance(test, ast.Constant) and bool(test.value)
                leave = [] if always else [If(test, (), (Break(),))]
                yield Loop((*before, *leave, *self.block(body)), ())
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=bounds), orelse=[]):
                yield from self.counted(node, name, bounds)
            case ast.Break():
                yield Break()
            case ast.Continue():
                yield Continue()
            case ast.Return(value=None):
                yield Return(None)
            case ast.Return(value=value):
                assert value is not None
                before, value = self.split(value)
                yield from before
                yield Return(value)
            case _:
                self.refuse(
                    node,
                    f"the step language has no {type(node).__name__} like this: {ast.unparse(node).splitlines()[0]}",
                )

    def assign(self, node: ast.stmt, name: str, value: ast.expr) -> Iterator[Statement]:
        if name in self.loop_names:
            self.refuse(node, f"{name} counts a loop around this line and cannot be assigned to")
        if isinstance(value, ast.Yield | ast.YieldFrom):
            yield from self.step(name, value)
        else:
            before, value = self.split(value)
            yield from before
            yield Let(name, value)

    def counted(self, node: ast.For, name: str, bounds: list[ast.expr]) -> Iterator[Statement]:
        """for over range(stop) or range(start, stop): a counter that the body cannot change."""
        if not 1 <= len(bounds) <= 2 or name in self.loop_names:
            self.refuse(node, "a for runs over range(stop) or range(start, stop) with a name of its own")
        start, stop = bounds if len(bounds) == 2 else [ast.Constant(0), bounds[0]]
        for bound in (start, stop):
            self.pure(bound)
        counter = self.temporary()
        if name in self.naming and not self.in_order:
            self.in_order = self.at(node)
        if not isinstance(stop, ast.Constant | ast.Attribute):
            held = self.temporary()
            yield Let(held, stop)
            stop = ast.Name(held, ast.Load())
        yield Let(counter, start)
        self.loop_names.append(name)
        body = self.block(node.body)
        self.loop_names.pop()
        here, one = ast.Name(counter, ast.Load()), ast.Constant(1)
        test = ast.Compare(here, [ast.Lt()], [stop])
        yield Loop(
            (If(test, (), (Break(),)), Let(name, here), *body),
            (Let(counter, ast.BinOp(here, ast.Add(), one)),),
        )

    def temporary(self) -> str:
        self.temporaries += 1
        name = f"_t{self.temporaries}"
        self.locals.add(name)
        return name

    def split(self, value: ast.expr) -> tuple[list[Statement], ast.expr]:
        """Take the one yield out of an expression: the step before it, and the expression with the step's value."""
        yields = [node for node in ast.walk(value) if isinstance(node, ast.Yield | ast.YieldFrom)]
        if not yields:
            self.pure(value)
            return [], value
        if len(yields) > 1:
            self.refuse(value, "one yield an expression")
        for node in ast.walk(value):
            hidden = isinstance(node, ast.BoolOp | ast.IfExp) or (isinstance(node, ast.Compare) and len(node.ops) > 1)
            if hidden and any(inner is yields[0] for inner in ast.walk(node)):
                self.refuse(
                    value, "a yield under and, or, a conditional expression or a chained comparison may not happen"
                )
        inside = {id(node) for node in ast.walk(yields[0])}
        for node in ast.walk(value):
            reads = isinstance(node, ast.Call) and any(isinstance(a, ast.Name) and a.id == "td" for a in node.args)
            if reads and id(node) not in inside:
                self.refuse(value, "what reads words does not stand beside a yield: which comes first?")
        name = self.temporary()
        before = list(self.step(name, yields[0]))

        class Replace(ast.NodeTransformer):
            def visit(self, node: ast.AST) -> Any:
                if node is yields[0]:
                    return ast.copy_location(ast.Name(name, ast.Load()), node)
                return self.generic_visit(node)

        rest = Replace().visit(value)
        self.pure(rest)
        return before, rest

    def step(self, target: str | None, node: ast.Yield | ast.YieldFrom) -> Iterator[Statement]:
        call = node.value
        if not isinstance(call, ast.Call):
            self.refuse(node, "a yield takes a call")
        assert isinstance(call, ast.Call)
        kind = self.callee(call)
        for argument in call.args:
            self.pure(argument)
        if isinstance(node, ast.YieldFrom):
            if kind != "steps":
                self.refuse(node, f"yield from takes a function of steps, {ast.unparse(call.func)} is {kind}")
            function = self.names[call.func.id]  # type: ignore[attr-defined]
            self.same_environment(call, 4)
            if len(call.args) != 4 + len(function.parameters):
                self.refuse(node, f"{function.name} takes {len(function.parameters)} arguments behind the environment")
            if target is not None and not always_returns(function.body):
                self.refuse(node, f"{function.name} does not end with a return of a value everywhere")
            yield Sub(target, function, tuple(call.args[4:]))
            return
        if kind not in ("op", "choice"):
            self.refuse(node, f"a yield takes one shared access or a choice, {ast.unparse(call.func)} is {kind}")
        self.same_environment(call, 1 if kind == "op" else 4)
        yield Step(target, call, self.site(call, kind == "choice"), kind == "choice")

    def same_environment(self, call: ast.Call, count: int) -> None:
        given = tuple(ast.unparse(argument) for argument in call.args[:count])
        if given != ENVIRONMENT[:count]:
            self.refuse(
                call, f"{ast.unparse(call.func)} takes {', '.join(ENVIRONMENT[:count])} first, found {', '.join(given)}"
            )

    def site(self, call: ast.Call, is_choice: bool) -> Site:
        what = ast.unparse(call.func)
        if not is_choice and len(call.args) > 1:
            word = call.args[1]
            named = word.func if isinstance(word, ast.Call) else word
            what += " " + (named.attr if isinstance(named, ast.Attribute) else ast.unparse(named))
        again = self.texts.get(what, 0) + 1
        self.texts[what] = again
        function = self.function.__name__
        name = f"{function}.{what.replace(' ', '_')}" + (f"_{again}" if again > 1 else "")
        file = short_path(self.function.__code__.co_filename)
        if any((site.function, site.file, site.line) == (function, file, call.lineno) for site in self.sites):
            self.refuse(call, "one step a line")
        called = self.names[call.func.id]  # type: ignore[attr-defined]
        says = CHOICE_SAYS.get(called, ()) or self.its.says.get(name.partition(".")[2], ())
        access = "" if is_choice else access_of(called)
        site = Site(function, what, file, call.lineno, name, says, access)
        self.sites.append(site)
        return site

    def callee(self, call: ast.Call) -> str | None:
        if not isinstance(call.func, ast.Name) or call.keywords:
            self.refuse(call, f"a call is to a plain name without keywords: {ast.unparse(call)}")
        name = call.func.id  # type: ignore[attr-defined]
        if name not in self.names:
            self.refuse(call, f"{name} is not known here: what a step calls stands above it")
        return kind_of(self.names[name])

    def pure(self, value: ast.expr) -> None:
        """Refuse what is not arithmetic over locals, integers, the environment, local and harness functions."""
        waiting: list[ast.AST] = [value]
        while waiting:
            node = waiting.pop()
            match node:
                case ast.Constant(value=int()):
                    pass
                case ast.Name(id=name) if name in self.locals or name in ENVIRONMENT:
                    pass
                case ast.Attribute(value=ast.Name(id="lay" | "rules" | "me")):
                    pass
                case ast.Name() | ast.Attribute() if constant_of(node, self.names) is not None:
                    pass
                case ast.Name(id=name):
                    self.refuse(node, f"{name} is not a local, an integer or the environment")
                case ast.Call():
                    kind = self.callee(node)
                    name = ast.unparse(node.func)
                    if kind not in ("local", "harness"):
                        self.refuse(node, f"{name} is {kind}: a shared access stands under a yield")
                    if name == "set_own" or (kind == "local" and name != "own" and has_effect(self.names[name])):
                        self.refuse(node, f"{name} has an effect: it stands alone, not in an expression")
                    waiting += node.args
                case _ if isinstance(node, PURE):
                    waiting += ast.iter_child_nodes(node)
                case _:
                    at = node if hasattr(node, "lineno") else value
                    self.refuse(at, f"an expression has no {type(node).__name__}: {ast.unparse(value)}")
