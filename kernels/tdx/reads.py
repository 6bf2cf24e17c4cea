"""Which rules and which faults the steps of a machine look at: what they do not look at changes nothing there.

The graphs of the actors' step machines are walked under the values of one ordering's rules. A test that these decide is
followed the one way that it goes, the steps of a shootdown are taken as they stand in `rules.shootdown`, and a word in
which nobody puts anything is 0. Whatever else is not known may be anything. So what is not read here is read in no
interleaving; what is read may still make no difference.
"""

import ast
import functools
import inspect
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kernels.language.inline import Block
from kernels.language.machine import blocks_of
from kernels.language.resolve import Names
from kernels.language.syntax import CHOICE_COUNTS, CHOICE_WAYS, ENVIRONMENT, KINDS, constant_of, tree_of
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import Fault, Flow, Rules

# By these vCPUs are asked, held back or got out of the guest: 0 until a step puts something there.
SILENT = ("requests", "gate", "wait_for_sept_zap", "ipi")
ANY_FAULT = sum(Fault)
# All that a local can be, None for anything. More values than so many are anything, and so is what a block's locals are
# once it was come to with so many of them.
Value = frozenset[int] | None
MOST_VALUES, MOST_WAYS, MOST_TURNS = 16, 256, 64
EITHER = frozenset((0, 1))
OPERATORS: dict[type, Callable[..., int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.USub: operator.neg,
    ast.Invert: operator.invert,
}  # fmt: skip
BUILTINS: dict[str, Callable[..., int]] = {"int": int, "max": max, "min": min}


class Reads(NamedTuple):
    """Fields of the rules by name, and faults by their bits."""

    fields: frozenset[str]
    faults: int


def reads(rules: Rules) -> Reads:
    """What the actors of the rules' flow look at under these rules: the same wherever what it looks at is the same."""
    found = _FOUND.setdefault(rules.flow, {})
    for its, values in found.items():
        if _values(rules, its) in values:
            return its
    its = _walked(rules)
    found.setdefault(its, set()).add(_values(rules, its))
    return its


_FOUND: dict[int, dict[Reads, set[tuple[int, ...]]]] = {}


def _values(rules: Rules, its: Reads) -> tuple[int, ...]:
    """Of what is looked at."""
    fields = (getattr(rules, name) for name in Rules._fields if name in its.fields and name != "faults")
    return (rules.faults & its.faults, *fields)


def _walked(rules: Rules) -> Reads:
    written: set[str] = set()
    while True:
        walk = _Walk(rules, written)
        for machine in _machines(Flow(rules.flow)):
            walk.machine(machine)
        if walk.written == written:
            # A machine does not interrupt anybody; a race does where an IPI is sent.
            raced = {"kick_by"} if "ipi" in written else set()
            return Reads(frozenset(walk.fields | raced), walk.faults)
        written = walk.written


class _Machine(NamedTuple):
    """An actor's first block, what names stand for, and by block the locals that are kept, and which of these it names.

    None that counts is kept: as many values as turns, none of which decides anything.
    """

    start: Block
    names: Mapping[str, Any]
    kept: Mapping[int, tuple[str, ...]]
    named: Mapping[int, tuple[str, ...]]


@functools.cache
def _machines(flow: Flow) -> Sequence[_Machine]:
    made = []
    for function in protocol_of(flow).actors.values():
        names = Names()
        blocks = blocks_of(function, names)
        counters = {name for block in blocks for name, tree in block.work if name and _counts(name, tree)}
        kept = {block.number: tuple(sorted(block.live - counters)) for block in blocks}
        named = {block.number: tuple(sorted(_named(block).intersection(kept[block.number]))) for block in blocks}
        made.append(_Machine(blocks[0], names.values, kept, named))
    return made


def _named(block: Block) -> set[str]:
    trees = [tree for _, tree in block.work] + ([] if block.test is None else [block.test])
    trees += [] if block.step is None else block.step.arguments
    return {one.id for tree in trees for one in ast.walk(tree) if isinstance(one, ast.Name)}


def _counts(name: str, tree: ast.expr) -> bool:
    """Whether a local grows by what is added to it."""
    match tree:
        case ast.BinOp(left=ast.Name(id=grown), op=ast.Add()):
            return bool(grown == name)
    return False


class _Walk:
    """What is looked at, and which of SILENT is written, where `written` are."""

    def __init__(self, rules: Rules, written: set[str]) -> None:
        self.rules = rules
        self.before = written
        self.fields: set[str] = set()
        self.faults = 0
        self.written: set[str] = set()
        self.known: dict[Any, Value] = {}

    def machine(self, machine: _Machine) -> None:
        """Every block that can be come to, with each of the values that decide; taken once for those that it names."""
        ways: dict[int, set[Any]] = {}
        taken: dict[Any, tuple[Sequence[Block], dict[str, Value]]] = {}
        waiting: list[tuple[Block, dict[str, Value]]] = [(machine.start, {})]
        while waiting:
            block, held = waiting.pop()
            been = ways.setdefault(block.number, set())
            if len(been) >= MOST_WAYS:
                held = {}
            if (way := tuple(map(held.get, machine.kept[block.number]))) not in been:
                been.add(way)
                named = machine.named[block.number]
                if (case := (block.number, *map(held.get, named))) not in taken:
                    scope = _Scope(self, machine.names, {name: held.get(name) for name in named})
                    taken[case] = self.block(block, scope), scope.held
                after, made = taken[case]
                waiting += [(one, held | made) for one in after]

    def block(self, block: Block, scope: "_Scope") -> Sequence[Block]:
        if block.step is not None:
            step = block.step
            given = [scope.value(argument) for argument in step.arguments]
            function = scope.names[step.call]
            if step.is_choice:
                more = [None] * (function.__code__.co_argcount - len(given))
                for one in filter(None, (CHOICE_COUNTS[function], CHOICE_WAYS.get(function), function)):
                    count = one.__code__.co_argcount
                    self.call(one, tuple([*given, *more][:count]) if one is not function else (None,) * count)
                found: Value = None
            else:
                found = self.access(step.call, step.arguments[1], given[2:])
            if step.target:
                scope.held[step.target] = found
        for name, tree in block.work:
            value = scope.value(tree)
            if name:
                scope.held[name] = value
        if block.test is None:
            return block.next()
        assert block.then is not None and block.other is not None
        truth = _truth(scope.value(block.test))
        return [block.then, block.other] if truth is None else [block.then if truth else block.other]

    def access(self, call: str, address: ast.expr, operands: Sequence[Value]) -> Value:
        """What an access gives back."""
        word = next(
            (one.attr for one in ast.walk(address) if isinstance(one, ast.Attribute) and one.attr in SILENT), ""
        )
        if word and not call.startswith("load") and not all(value == {0} for value in operands):
            self.written.add(word)
        return frozenset((0,)) if word and word not in self.before and call.startswith("load") else None

    def field(self, record: str, name: str) -> Value:
        if record == "rules" and name == "faults":
            self.faults = ANY_FAULT
        if record == "lay" and name != "lps":
            return None
        if record not in ("rules", "lay"):
            return None
        self.fields.add(name)
        return frozenset((int(getattr(self.rules, name)),))

    def call(self, function: Any, given: tuple[Value, ...]) -> Value:
        """What a function answers, once its steps are looked at."""
        key = function, given
        if key not in self.known:
            self.known[key] = None
            tree = _tree(function)
            names = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
            scope = _Scope(self, names, dict(zip((one.arg for one in tree.args.args), given, strict=True)))
            scope.run(tree.body)
            self.known[key] = _joined(scope.answers)
        return self.known[key]


class _Scope:
    """Expressions and statements where names mean what they do: `held` are locals, the others globals."""

    def __init__(self, walk: _Walk, names: Mapping[str, Any], held: dict[str, Value]) -> None:
        self.walk, self.names, self.held = walk, names, held
        self.answers: list[Value] = []

    def value(self, tree: ast.expr) -> Value:
        match tree:
            case ast.Constant(value=int() as value):
                return frozenset((int(value),))
            case ast.Name(id=name) if name in self.held:
                return self.held[name]
            case ast.Name() | ast.Attribute() if (number := constant_of(tree, self.names)) is not None:
                return frozenset((number,))
            case ast.Attribute(value=ast.Name(id=record), attr=name):
                return self.walk.field(record, name)
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right) if _is_faults(left):
                return self.faults(self.value(right))
            case ast.BinOp(left=left, op=op, right=right):
                return _computed(OPERATORS[type(op)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                found = _computed(OPERATORS[type(op)], self.value(left), self.value(right))
                return EITHER if found is None else found
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                truth = _truth(self.value(operand))
                return EITHER if truth is None else frozenset((int(not truth),))
            case ast.UnaryOp(op=op, operand=operand):
                return _computed(OPERATORS[type(op)], self.value(operand))
            case ast.BoolOp(op=op, values=operands):
                return self.either(operands, isinstance(op, ast.Or))
            case ast.IfExp(test=test, body=then, orelse=other):
                truth = _truth(self.value(test))
                taken = [then, other] if truth is None else [then if truth else other]
                return _joined([self.value(one) for one in taken])
            case ast.Call(func=ast.Name(id=name), args=arguments):
                given = tuple(None if _is_environment(one) else self.value(one) for one in arguments)
                function = self.names.get(name)
                if KINDS.get(function) in ("local", "harness"):
                    return self.walk.call(function, given)
                return _computed(BUILTINS[name], *given) if name in BUILTINS else None
        return None

    def faults(self, mask: Value) -> Value:
        """`rules.faults & mask`."""
        looked_at = ANY_FAULT if mask is None else functools.reduce(operator.or_, mask)
        self.walk.faults |= looked_at
        return _computed(operator.and_, frozenset((self.walk.rules.faults & looked_at,)), mask)

    def either(self, operands: Sequence[ast.expr], is_or: bool) -> Value:
        """`or`, `and`: the first operand at which the answer is known; those behind it are not looked at."""
        ends: list[Value] = []
        for place, operand in enumerate(operands):
            value = self.value(operand)
            if place == len(operands) - 1:
                ends.append(value)
            elif value is None:
                ends.append(None if is_or else frozenset((0,)))
            else:
                ends.append(frozenset(one for one in value if bool(one) == is_or))
                if ends[-1] == value:
                    break
        return _joined(ends)

    def run(self, body: Sequence[ast.stmt]) -> bool:
        """Take statements of a function; False where none behind them is taken."""
        return all(map(self.statement, body))

    def statement(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Return(value=value):
                self.answers.append(frozenset((0,)) if value is None else self.value(value))
                return False
            case ast.Break() | ast.Continue():
                return False
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.held[name] = self.value(value)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                self.held[name] = self.value(ast.BinOp(target, op, value))
            case ast.Expr(value=value):
                self.value(value)
            case ast.If(test=test, body=then, orelse=other):
                return self.branch(_truth(self.value(test)), then, other)
            case ast.While(test=test, body=body):
                return self.loop(statement, test, body)
            case ast.For(iter=ast.Call(args=bounds), body=body):
                for bound in bounds:
                    self.value(bound)
                self.forget(statement)
                self.apart(body)
        return True

    def branch(self, truth: bool | None, then: Sequence[ast.stmt], other: Sequence[ast.stmt]) -> bool:
        if truth is not None:
            return self.run(then if truth else other)
        ends = [held for held in (self.apart(then), self.apart(other)) if held is not None]
        self.held = {name: _joined([held.get(name) for held in ends]) for name in set().union(*ends)} if ends else {}
        return bool(ends)

    def apart(self, body: Sequence[ast.stmt]) -> dict[str, Value] | None:
        """The locals behind these statements, None where nothing is behind them; ours stay as they are."""
        ours, self.held = self.held, dict(self.held)
        goes_on = self.run(body)
        theirs, self.held = self.held, ours
        return theirs if goes_on else None

    def loop(self, whole: ast.While, test: ast.expr, body: Sequence[ast.stmt]) -> bool:
        """Turn after turn where each is known, else any number of them."""
        leaves = any(isinstance(one, ast.Break | ast.Continue) for one in ast.walk(whole))
        for _ in range(0 if leaves else MOST_TURNS):
            truth = _truth(self.value(test))
            if truth is None:
                break
            if not truth:
                return True
            if not self.run(body):
                return False
        self.forget(whole)
        self.value(test)
        self.apart(body)
        return True

    def forget(self, whole: ast.stmt) -> None:
        """What a loop assigns may be anything."""
        for one in ast.walk(whole):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                self.held[one.id] = None


_tree = functools.cache(tree_of)


def _is_faults(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Attribute) and tree.attr == "faults"


def _is_environment(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Name) and tree.id in ENVIRONMENT


def _truth(value: Value) -> bool | None:
    found = None if value is None else {bool(one) for one in value}
    return found.pop() if found and len(found) == 1 else None


def _joined(values: Sequence[Value]) -> Value:
    found: set[int] = set()
    for value in values:
        if value is None:
            return None
        found |= value
    return frozenset(found) if len(found) <= MOST_VALUES else None


def _computed(function: Callable[..., int], *values: Value) -> Value:
    return _joined([frozenset((int(function(*given)),)) for given in _each(values)] or [None])


def _each(values: Sequence[Value]) -> Iterator[tuple[int, ...]]:
    """Every way to take one of each; none where one may be anything."""
    known = [value for value in values if value is not None]
    return itertools.product(*known) if len(known) == len(values) else iter(())
