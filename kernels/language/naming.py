"""What a local names. Said at the local, in the step's source, as searches take states for one that differ in names.

    vcpu: OneOf[VCPU] = yield next_vcpu(td, lay, rules, me, visited, place)
    visited: SetOf[VCPU] = 0
    seen: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
    mine: OfMe = 1 << me.index

A parameter, or the counter of a `for`, is declared by the annotation alone. Whatever could name an actor and goes into
a local that is not declared is refused at import: what is made of `me` or of a declared local, what a word holds that
names an actor (`@names`), a choice among actors, what a function of any of these returns; and whatever says whose word
is meant. So are a store of it into a word that names nobody, and a call that hands it to a parameter which is not
declared. A comparison names nobody; one by order, and a loop in the order of actors, tell them apart, and a flow that
takes such a step cannot be folded.
"""

import ast
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernels.language.syntax import (
    CHOICE_COUNTS,
    CHOICE_WAYS,
    ENVIRONMENT,
    KINDS,
    Do,
    If,
    LanguageError,
    Let,
    Loop,
    Naming,
    Return,
    Statement,
    Step,
    Sub,
    kind_of,
    short_path,
    tree_of,
)
from kernels.layout import COUNTS, STRIDES, ActorKind

NAMELESS: set[Any] = set()
WORDS: dict[Any, ActorKind] = {}  # by function that says where a word stands, whom the word names


@dataclass(frozen=True, slots=True)
class Form:
    """`OneOf[VCPU]`: how a local names whom."""

    name: str

    def __getitem__(self, of: Any) -> Naming:
        return Naming(self.name, of)


OneOf, SetOf, Holds = Form("OneOf"), Form("SetOf"), Form("Holds")
OfMe = Naming("OfMe", None)


def names(actor: ActorKind) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The word that this function gives the place of names an actor of this kind."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        WORDS[function] = actor
        return function

    return mark


def nameless(function: Callable[..., Any]) -> Callable[..., Any]:
    """What this function makes of a word that names an actor is the same whomever it names."""
    NAMELESS.add(function)
    return function


def declared(annotation: ast.expr, known: Mapping[str, Any]) -> Naming | None:
    """The declaration that an annotation makes, None where it makes none."""
    match annotation:
        case ast.Subscript(value=ast.Name(id=form), slice=ast.Name(id=of)) if isinstance(known.get(form), Form):
            found: Form = known[form]
            return found[known[of]] if of in known else None
        case ast.Name(id=name) if isinstance(known.get(name), Naming):
            return known[name]  # type: ignore[no-any-return]
    return None


@dataclass(slots=True)
class Names:
    """The names within one function, of steps or local. `carries`: locals and parameters that may name an actor.

    What it finds besides: whether a value that is returned does, and `in_order`, the first place that tells actors
    apart. `refuse(node, why)` raises.
    """

    known: Mapping[str, Any]
    carries: dict[str, bool]
    refuse: Callable[[ast.AST, str], Any]
    declared: frozenset[str] = frozenset()
    returns: bool = False
    in_order: ast.AST | None = None
    _inner: dict[tuple[Any, tuple[bool, ...]], bool] = field(default_factory=dict)

    def value(self, tree: ast.expr) -> bool:
        """Whether a value may name an actor."""
        match tree:
            case ast.Name(id=name):
                return self.carries.get(name, False)
            case ast.Attribute(value=ast.Name(id="me")):
                return True
            case ast.Compare(left=left, comparators=others, ops=ops):
                told = [self.value(one) for one in (left, *others)]
                if any(told) and any(not isinstance(op, ast.Eq | ast.NotEq) for op in ops):
                    self.in_order = self.in_order or tree
                return False
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.value(operand)
                return False
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.value(test)
                return self.value(body) | self.value(orelse)
            case ast.Call():
                return self.call(tree)
        return self.any_of(inner for inner in ast.iter_child_nodes(tree) if isinstance(inner, ast.expr))

    def any_of(self, values: Iterable[ast.expr]) -> bool:
        """Whether one of these may; all of them are looked at."""
        told = [self.value(one) for one in values]
        return any(told)

    def call(self, call: ast.Call) -> bool:
        """Whether what a call returns may."""
        assert isinstance(call.func, ast.Name)
        function = self.known.get(call.func.id)
        kind = kind_of(function) if function is not None else None
        if kind == "harness":
            return False
        if kind == "op" or call.func.id in ("own", "set_own"):
            return self.access(call)
        given = [self.value(one) for one in call.args]
        for place in _actors_of(function):
            if not given[place]:
                what = ast.unparse(call.args[place])
                self.refuse(call, f"{what} says whose word is meant and is not declared: {what}: OneOf[...]")
        if function in NAMELESS:
            return False
        if kind != "local":
            return any(given)
        return self.inside(function, tuple(given))

    def access(self, call: ast.Call) -> bool:
        """Whether an access gives what may; what it stores does so only where the word is one that does."""
        word = self.word(call.args[1])
        for value in call.args[2:]:
            if self.value(value) and not word:
                self.refuse(call, f"{ast.unparse(value)} names an actor, {ast.unparse(call.args[1])} is no such word")
        return word

    def word(self, tree: ast.expr) -> bool:
        """Whether the word at this place names an actor."""
        self.value(tree)
        return any(
            self.known.get(node.func.id) in WORDS
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        )

    def inside(self, function: Any, given: tuple[bool, ...]) -> bool:
        """Whether a local function returns what may, called with arguments that do."""
        if (function, given) not in self._inner:
            self._inner[function, given] = False  # while it is looked at
            tree = tree_of(function)
            carries = dict(zip((argument.arg for argument in tree.args.args), given, strict=False))
            inner = Names(function.__globals__, carries, _refuser(function), _inner=self._inner)
            while True:
                before = dict(inner.carries)
                inner.look_at(tree)
                if inner.carries == before:
                    break
            self._inner[function, given] = inner.returns
            self.in_order = self.in_order or inner.in_order
        return self._inner[function, given]

    def look_at(self, tree: ast.FunctionDef) -> None:
        """Every statement of a local function: nothing in it is held between steps, so no local is declared."""
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.carries[name] = self.carries.get(name, False) | self.value(value)
                case ast.AugAssign(target=ast.Name(id=name), value=value):
                    self.carries[name] = self.carries.get(name, False) | self.value(value)
                case ast.For(target=ast.Name(id=name), iter=ast.Call(args=bounds)):
                    of = {inner.attr for one in bounds for inner in ast.walk(one) if isinstance(inner, ast.Attribute)}
                    self.carries[name] = self.any_of(bounds) or bool(COUNTS & of)
                case ast.Expr(value=ast.Call() as call):
                    self.call(call)
                case ast.Return(value=ast.expr() as value):
                    self.returns |= self.value(value)

    def choice(self, call: ast.Call) -> bool:
        """Whether the way of a choice may: the number of one among actors, or what is made of the number."""
        function = self.known[call.func.id]  # type: ignore[attr-defined]
        way, count = CHOICE_WAYS.get(function), CHOICE_COUNTS[function]
        given = [self.value(one) for one in call.args[len(ENVIRONMENT) :]]
        if way is not None:
            return self.inside(way, (False,) * (len(ENVIRONMENT) + 1) + tuple(given))
        return any(isinstance(node, ast.Attribute) and node.attr in COUNTS for node in ast.walk(tree_of(count)))

    def keep(self, name: str, may: bool, node: ast.AST) -> None:
        """A value goes into a local."""
        if name.startswith("_t"):  # the translator's own, gone before the next step
            self.carries[name] = may
        elif may and name not in self.declared:
            self.refuse(node, f"{name} may name an actor and is not declared: {name}: OneOf[...], SetOf, Holds or OfMe")

    def block(self, body: Iterable[Statement]) -> None:
        """The statements of a function of steps."""
        for statement in body:
            match statement:
                case Let(name=name, value=value):
                    self.keep(name, self.value(value), value)
                case Do(call=call):
                    self.call(call)
                case Step(target=target, call=call, is_choice=is_choice):
                    may = self.choice(call) if is_choice else self.access(call)
                    if target:
                        self.keep(target, may, call)
                case Sub(target=target, function=callee, arguments=arguments):
                    for parameter, argument in zip(callee.parameters, arguments, strict=True):
                        if self.value(argument) and parameter not in callee.parsed.naming:
                            what = f"{ast.unparse(argument)} names an actor"
                            self.refuse(argument, f"{what}, {parameter} of {callee.name} is not declared to")
                    if target:
                        self.keep(target, callee.parsed.gives_name, arguments[0] if arguments else ast.Constant(0))
                case If(test=test, body=then, orelse=orelse):
                    self.value(test)
                    self.block((*then, *orelse))
                case Loop(body=inner, step=step):
                    self.block((*inner, *step))
                case Return(value=ast.expr() as value):
                    self.returns |= self.value(value)


def _refuser(function: Any) -> Callable[[ast.AST, str], Any]:
    def refuse(node: ast.AST, why: str) -> None:
        raise LanguageError(f"{short_path(function.__code__.co_filename)}:{getattr(node, 'lineno', 0)}: {why}")

    return refuse


@functools.cache
def _actors_of(function: Any) -> frozenset[int]:
    """The parameters of a local function that say which actor's word it gives the place of: multiplied by the words of
    an actor, or added to a place that is.
    """
    if KINDS.get(function) != "local":
        return frozenset()
    tree = tree_of(function)
    given = [argument.arg for argument in tree.args.args]
    for_actors = any(isinstance(node, ast.Attribute) and node.attr in STRIDES for node in ast.walk(tree))
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(left=ast.Name(id=name), op=ast.Mult(), right=ast.Attribute(attr=attr)) if attr in STRIDES:
                found.add(given.index(name))
            case ast.BinOp(op=ast.Add(), right=ast.Name(id=name)) if for_actors and name in given:
                found.add(given.index(name))
    return frozenset(found)
