"""The language in which the protocol is written, once: generator functions whose yields mark atomic steps.

    @steps
    def mem_track(td, lay, rules, me):
        if not (yield try_lock_exclusive(td, lay.epoch_lock)):
            return OPERAND_BUSY | TD_EPOCH
        ...

Each `yield` is one access that others can see, or one locked read-modify-write, or one choice. The first four parameters
are the same everywhere: the words, the layout, the rules, the actor; the others and all locals are int64. There are
assignments to names, `if`, `while`, `for` over `range`, `break`, `continue`, `return` and `yield from`; one yield an
expression. Anything else is a `LanguageError` at import, with file and line.

What a step may call is marked: `@op` one shared access (a primitive of `atomics` is one too), `@local` private work,
`@choice` the only nondeterminism inside an actor, `@harness` what only a race does (time, counters, CPU yields).
`straight.py` and `machine.py` translate; `Reference` below runs the generator itself.
"""

import ast
import dis
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from kernels import atomics

ENVIRONMENT = ("td", "lay", "rules", "me")
ROOT = Path(__file__).resolve().parent.parent


class LanguageError(SyntaxError):
    """The source uses what the step language does not have; says file and line."""


@dataclass(frozen=True, slots=True)
class Site:
    """One yield of the source: where it stands and what it does."""

    number: int
    function: str
    text: str  # "load_acquire td_epoch"
    file: str
    line: int
    name: str  # "mem_track.load_acquire_td_epoch": for `yields` in a scenario

    def __str__(self) -> str:
        return f"{self.function}: {self.text} ({self.file}:{self.line})"


@dataclass(frozen=True, slots=True)
class Let:
    """name = expression of locals."""

    name: str
    value: ast.expr


@dataclass(frozen=True, slots=True)
class Do:
    """A call for its effect on the actor's own words or on the tally."""

    call: ast.Call
    harness: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One atomic step; `target` takes its value."""

    target: str | None
    call: ast.Call
    site: Site
    is_choice: bool


@dataclass(frozen=True, slots=True)
class Sub:
    """`yield from`: the steps of another function, in place."""

    target: str | None
    function: "Steps"
    arguments: tuple[ast.expr, ...]


@dataclass(frozen=True, slots=True)
class If:
    test: ast.expr
    body: tuple["Statement", ...]
    orelse: tuple["Statement", ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """Until a break; `step` runs after the body and on continue."""

    body: tuple["Statement", ...]
    step: tuple["Statement", ...]


@dataclass(frozen=True, slots=True)
class Break:
    pass


@dataclass(frozen=True, slots=True)
class Continue:
    pass


@dataclass(frozen=True, slots=True)
class Return:
    value: ast.expr | None


Statement = Let | Do | Step | Sub | If | Loop | Break | Continue | Return


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """A function of atomic steps, parsed and checked."""

    name: str
    source: Callable[..., Any]
    parameters: tuple[str, ...]  # behind the environment
    body: tuple[Statement, ...]
    labelled: bool

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.name} is a function of steps: take it through Reference, straight or machine")


SITES: list[Site] = []
KINDS: dict[Any, str] = {}
CHOICE_COUNTS: dict[Any, Callable[..., int]] = {}
HARNESS_VALUES: dict[Any, int] = {}


def local(function: Callable[..., Any]) -> Callable[..., Any]:
    """Private work: arithmetic, and the actor's own words."""
    KINDS[function] = "local"
    return function


def op(function: Callable[..., Any]) -> Callable[..., Any]:
    """One shared access, made of exactly one primitive; `(td, word, ...)`."""
    names = [
        node.func.id
        for node in ast.walk(tree_of(function))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in atomics.SHARED_ACCESSES
    ]
    if len(names) != 1:
        raise LanguageError(f"{_where(function)}: an op is one shared access, {function.__name__} has {len(names)}: {names}")
    KINDS[function] = "op"
    return function


def choice(count: Callable[..., int]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A choice of `count(td, lay, rules, me, *args)` ways. The function `(td, lay, rules, me, random, *args)` draws in a race."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        KINDS[function] = "choice"
        CHOICE_COUNTS[function] = count
        return function

    return mark


def harness(value: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Only a race does this; everywhere else it is `value` and has no effect."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        KINDS[function] = "harness"
        HARNESS_VALUES[function] = value
        return function

    return mark


def steps(function: Callable[..., Any] | None = None, *, labelled: bool = True) -> Any:
    """Parse and check a function of steps. `labelled=False` for the innermost guest loop: it stores no labels."""
    if function is None:
        return lambda inner: steps(inner, labelled=labelled)
    return _Parser(function, labelled).parse()


def _where(function: Callable[..., Any]) -> str:
    code = function.__code__  # type: ignore[attr-defined]
    return f"{_short(code.co_filename)}:{code.co_firstlineno}"


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def tree_of(function: Callable[..., Any]) -> ast.FunctionDef:
    """The syntax tree of a function, with its own line numbers."""
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(tree, first - 1)
    found = tree.body[0]
    assert isinstance(found, ast.FunctionDef)
    return found


def kind_of(value: Any) -> str | None:
    """`op`, `local`, `choice`, `harness`, `steps`, `int`, or None for what a step may not name."""
    if isinstance(value, Steps):
        return "steps"
    if isinstance(value, int):
        return "int"
    if value in (atomics.own, atomics.set_own):
        return "local"
    try:
        if value in KINDS:
            return KINDS[value]
    except TypeError:
        return None
    return "op" if any(value is atomic for atomic in atomics.ATOMIC.values()) else None


class _Parser:
    """One function: from its source to checked statements."""

    def __init__(self, function: Callable[..., Any], labelled: bool) -> None:
        self.function = function
        self.labelled = labelled
        self.names = function.__globals__  # type: ignore[attr-defined]
        code = function.__code__  # type: ignore[attr-defined]
        if code.co_freevars:
            self.names = {**self.names, **inspect.getclosurevars(function).nonlocals}
        self.locals: set[str] = set()
        self.loop_names: list[str] = []
        self.temporaries = 0
        self.texts: dict[str, int] = {}

    def parse(self) -> Steps:
        tree = tree_of(self.function)
        given = [argument.arg for argument in tree.args.args]
        plain = not (tree.args.vararg or tree.args.kwarg or tree.args.kwonlyargs or tree.args.defaults)
        if tuple(given[:4]) != ENVIRONMENT or not plain:
            self.refuse(tree, f"the first parameters of {tree.name} must be {', '.join(ENVIRONMENT)}, without defaults")
        parameters = tuple(given[4:])
        self.locals = set(parameters)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                if node.id in ENVIRONMENT:
                    self.refuse(node, f"{node.id} cannot be assigned to")
                self.locals.add(node.id)
        body = self.block(tree.body)
        made = Steps(tree.name, self.function, parameters, tuple(body), self.labelled)
        return made

    def refuse(self, node: ast.AST, why: str) -> None:
        file = _short(self.function.__code__.co_filename)  # type: ignore[attr-defined]
        raise LanguageError(f"{file}:{getattr(node, 'lineno', 0)}: {why}")

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
                    self.refuse(node, f"a bare call may be to a local or harness function, {ast.unparse(call.func)} is {kind}")
                self.pure(call)
                yield Do(call, kind == "harness")
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Yield() | ast.YieldFrom() as step):
                yield from self.step(name, step)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
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
                self.refuse(node, f"the step language has no {type(node).__name__} like this: {ast.unparse(node).splitlines()[0]}")

    def assign(self, node: ast.stmt, name: str, value: ast.expr) -> Iterator[Statement]:
        if name in self.loop_names:
            self.refuse(node, f"{name} counts a loop around this line and cannot be assigned to")
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
                self.refuse(value, "a yield under and, or, a conditional expression or a chained comparison may not happen")
        name = self.temporary()
        before = list(self.step(name, yields[0]))

        class Replace(ast.NodeTransformer):
            def visit(self, node: ast.AST) -> ast.AST:
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
            yield Sub(target, function, tuple(call.args[4:]))
            return
        if kind not in ("op", "choice"):
            self.refuse(node, f"a yield takes one shared access or a choice, {ast.unparse(call.func)} is {kind}")
        self.same_environment(call, 1 if kind == "op" else 4)
        yield Step(target, call, self.site(call, kind == "choice"), kind == "choice")

    def same_environment(self, call: ast.Call, count: int) -> None:
        given = tuple(ast.unparse(argument) for argument in call.args[:count])
        if given != ENVIRONMENT[:count]:
            self.refuse(call, f"{ast.unparse(call.func)} takes {', '.join(ENVIRONMENT[:count])} first, found {', '.join(given)}")

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
        file = _short(self.function.__code__.co_filename)  # type: ignore[attr-defined]
        site = Site(len(SITES) + 1, function, what, file, call.lineno, name)
        SITES.append(site)
        return site

    def callee(self, call: ast.Call) -> str | None:
        if not isinstance(call.func, ast.Name) or call.keywords:
            self.refuse(call, f"a call is to a plain name without keywords: {ast.unparse(call)}")
        name = call.func.id  # type: ignore[attr-defined]
        if name not in self.names:
            self.refuse(call, f"{name} is not known here: what a step calls stands above it")
        return kind_of(self.names[name])

    def pure(self, value: ast.expr) -> None:
        """Refuse what is not arithmetic over locals, the environment's fields, integers, local and harness functions."""
        fine = (
            ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
            ast.expr_context,
        )  # fmt: skip
        callees = {id(node.func) for node in ast.walk(value) if isinstance(node, ast.Call)}
        for node in ast.walk(value):
            match node:
                case ast.Constant(value=int()):
                    pass
                case ast.Name() if id(node) in callees:
                    pass
                case ast.Name(id=name):
                    known = name in self.locals or name in ENVIRONMENT or kind_of(self.names.get(name)) == "int"
                    if not known:
                        self.refuse(node, f"{name} is not a local, an integer or the environment")
                case ast.Attribute(value=ast.Name(id="lay" | "rules" | "me")):
                    pass
                case ast.Call():
                    kind = self.callee(node)
                    if kind not in ("local", "harness"):
                        self.refuse(node, f"{ast.unparse(node.func)} is {kind}: a shared access stands under a yield")
                case _ if isinstance(node, fine):
                    pass
                case _:
                    self.refuse(node, f"an expression has no {type(node).__name__}: {ast.unparse(value)}")


def _globals_of(function: FunctionType) -> set[str]:
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
        names = {name: self.resolve(source.__globals__[name]) for name in _globals_of(source) if name in source.__globals__}
        space = {"__builtins__": __builtins__, "__name__": source.__module__, **names}
        bound = FunctionType(source.__code__, space, source.__name__, source.__defaults__, source.__closure__)
        bound.__module__ = source.__module__
        return bound


@dataclass(frozen=True, slots=True)
class Choice:
    """A step that waits for one of `count` choices."""

    count: int


class Reference:
    """The generator itself, one step at a time: slow and obvious. Driven like the step machine."""

    _world: World | None = None
    _generators: dict[Steps, FunctionType] = {}

    def __init__(self, function: Steps, td: Any, lay: Any, rules: Any, me: Any, *args: int) -> None:
        self.value: int | None = None
        self.site: Site | None = None
        self._run = self._generator(function)(td, lay, rules, me, *args)
        self._sites = {(site.file, site.line): site for site in SITES}
        self._pending: Any = None
        self._advance(None)

    @classmethod
    def _generator(cls, function: Steps) -> FunctionType:
        if cls._world is None:
            cls._world = World(atomics.PYTHON, lambda bound: bound)
        if function not in cls._generators:
            source: Any = function.source
            space: dict[str, Any] = {**source.__globals__, **inspect.getclosurevars(source).nonlocals}
            for name in (*_globals_of(source), *source.__code__.co_freevars):
                if name in space:
                    space[name] = cls._deferred(space[name])
            closure = tuple(type((lambda x: lambda: x)(0).__closure__[0])(space[n]) for n in source.__code__.co_freevars)  # type: ignore[index]
            cls._generators[function] = FunctionType(source.__code__, space, source.__name__, None, closure)
        return cls._generators[function]

    @classmethod
    def _deferred(cls, value: Any) -> Any:
        """What a name means inside the generator: an access is put off until its step is taken."""
        assert cls._world is not None
        kind = kind_of(value)
        if kind == "steps":
            return cls._generator(value)
        if kind == "op":
            run = cls._world.resolve(value)
            return lambda *args: lambda: run(*args)
        if kind == "choice":
            count = cls._world.function(CHOICE_COUNTS[value])  # type: ignore[arg-type]
            return lambda *args: Choice(count(*args))
        if kind == "harness":
            return lambda *args, value=value: HARNESS_VALUES[value]
        return cls._world.resolve(value)

    def _advance(self, result: Any) -> None:
        try:
            self._pending = self._run.send(result)
        except StopIteration as stop:
            self._pending, self.site, self.value = None, None, stop.value
            return
        inner: Any = self._run
        while inner.gi_yieldfrom is not None:
            inner = inner.gi_yieldfrom
        self.site = self._sites.get((_short(inner.gi_code.co_filename), inner.gi_frame.f_lineno))

    @property
    def done(self) -> bool:
        """Whether the function has returned; its value is in `value`."""
        return self._pending is None

    @property
    def choices(self) -> int:
        """How many ways the next step can go."""
        return self._pending.count if isinstance(self._pending, Choice) else 1

    def step(self, chosen: int = 0) -> None:
        """Take the next step, then the private work up to the one after it."""
        self._advance(chosen if isinstance(self._pending, Choice) else self._pending())
