"""Which outcomes the steps of a flow can note at all: read off the same graph of blocks that its step machines are made
of.

What flows where is asked of names, not of paths: each local may hold every constant that some block gives it. As
callees are inlined with names of their own, a status reaches the places that its call returns to, and no others. A
block counts where control can get to it: a branch that asks for another flow, or for a page-table page where there is
none, is not taken. So nothing that a step can note is missing, and what only another flow notes is not there.
Source: Wegman and Zadeck 1991 (constants and the branches that they close, together).
"""

import ast
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kernels.language.inline import Block, Inliner
from kernels.language.resolve import Names
from kernels.language.syntax import CHOICE_COUNTS, KINDS, Steps, constant_of, tree_of
from kernels.tdx.outcomes import Outcome
from kernels.tdx.part import has_tables
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import Flow
from kernels.tdx.statuses import SUCCESS
from kernels.tdx.tally import each_page, note, outcome_of

# What no step notes: reads that hit are counted, and a harness or a search sees who no longer moves, references that
# are left at the end, and a status that has no name.
BESIDE = frozenset({Outcome.fresh, Outcome.no_progress, Outcome.refcount_broken, Outcome.unknown_status})


class Values(NamedTuple):
    """What a local may hold: these constants, a guest page, anything else that is read or computed."""

    constants: frozenset[int] = frozenset()
    page: bool = False
    other: bool = False

    def __or__(self, more: "Values") -> "Values":  # type: ignore[override]
        return Values(self.constants | more.constants, self.page or more.page, self.other or more.other)


NOTHING, PAGE, OTHER = Values(), Values(page=True), Values(other=True)


@functools.cache
def raisable(flow: Flow) -> frozenset[Outcome]:
    """The outcomes that a race or a search of this flow can show, under whatever ordering and faults."""
    return BESIDE.union(*(_Graph(actor, flow).noted() for actor in protocol_of(flow).actors.values()))


class _Graph:
    """One actor's blocks, as far as control gets, and what each local may hold there."""

    def __init__(self, actor: Steps, flow: Flow) -> None:
        self.name, self.flow, self.names = actor.name, flow, Names()
        # Whether numbers behind those of the guest pages stand for something: page-table pages, or shared ones.
        self.behind = has_tables(flow) or bool(flow & Flow.MMIO)
        self.start = Inliner(self.names).program(actor)
        self.held: dict[str, Values] = {}
        self.here = self.start
        self.pages = _guest_pages(self.start)
        self.grown = True
        while self.grown:
            self.grown = False
            self.blocks = self.reached()
            for block in self.blocks:
                self.learn(block)

    def noted(self) -> set[Outcome]:
        found: set[Outcome] = set()
        trees = (tree for block in self.blocks for _, tree in block.work)
        for call in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if self.callee(call) is note:
                noted = self.values(call.args[-1]).constants
                assert noted, f"{self.name}: no outcome is known of {ast.unparse(call)}"
                found |= {Outcome(value) for value in noted}
        return found

    def reached(self) -> list[Block]:
        found: dict[int, Block] = {}
        waiting = [self.start]
        while waiting:
            block = waiting.pop()
            if block.number not in found:
                found[block.number] = block
                waiting += self.following(block)
        return list(found.values())

    def following(self, block: Block) -> Iterator[Block]:
        self.here = block
        holds, fails = (True, True) if block.test is None else self.ways(block.test)
        if holds and block.then is not None:
            yield block.then
        if fails and block.other is not None:
            yield block.other

    def ways(self, test: ast.expr) -> tuple[bool, bool]:
        """Whether a test may hold, and whether it may fail."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                holds, fails = self.ways(operand)
                return fails, holds
            case ast.BoolOp(op=op, values=parts):
                each = [self.ways(part) for part in parts]
                first, second = (all, any) if isinstance(op, ast.And) else (any, all)
                return first(holds for holds, _ in each), second(fails for _, fails in each)
            case ast.BinOp(left=left, op=ast.BitAnd(), right=ast.Constant(value=int(parts))) if _is_flow(left):
                return bool(self.flow & parts), not self.flow & parts
            case ast.Compare(left=left, ops=[ast.Lt() | ast.GtE() as op], comparators=[right]) if _is_pages(right):
                found = self.values(left)
                below = (found != NOTHING, self.behind and (found.other or any(c > 0 for c in found.constants)))
                return below if isinstance(op, ast.Lt) else below[::-1]
        return True, True

    def learn(self, block: Block) -> None:
        self.here = block
        if block.step is not None and block.step.target is not None:
            chosen = block.step.is_choice and CHOICE_COUNTS[self.names.values[block.step.call]] is each_page
            self.holds(block.step.target, PAGE if chosen else OTHER)
        for target, tree in block.work:
            if target is not None:
                self.holds(target, self.values(tree))

    def holds(self, name: str, more: Values) -> None:
        before = self.held.get(name, NOTHING)
        self.held[name] = before | more
        self.grown |= self.held[name] != before

    def callee(self, call: ast.Call) -> Any:
        return self.names.values.get(call.func.id) if isinstance(call.func, ast.Name) else None

    def values(self, tree: ast.expr) -> Values:
        """What an expression may come to; a number counted up is no constant, a status with its operand is one."""
        match tree:
            case ast.Constant(value=int(value)):
                return Values(frozenset({int(value)}))
            case ast.Name(id=name):
                known = self.held.get(name, NOTHING)
                return PAGE if known != NOTHING and name in self.pages.get(self.here.number, ()) else known
            case ast.IfExp(body=body, orelse=orelse):
                return self.values(body) | self.values(orelse)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Values(frozenset(-value for value in self.values(operand).constants), other=True)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                first, second = self.values(left).constants, self.values(right).constants
                return Values(frozenset(a | b for a in first for b in second), other=True)
            case ast.Call(args=[argument]) if self.callee(tree) is outcome_of:
                statuses = self.values(argument).constants - {SUCCESS}
                return Values(frozenset(outcome_of(status) for status in statuses))
            case ast.Call() if KINDS.get(self.callee(tree)) == "local":
                return _returned(self.callee(tree)) | OTHER
        return OTHER


def _guest_pages(start: Block) -> dict[int, set[str]]:
    """By block, the locals that are below `lay.pages` there: on every way to it that has been asked since they were
    given a value.
    """
    found: dict[int, set[str]] = {}
    blocks = _behind([start])
    for test in blocks.values():
        for name in _asked_below_pages(test.test):
            given = [one for one in blocks.values() if name in _assigned(one)]
            elsewhere = _behind([start, *given], without=test)
            for number in blocks.keys() - elsewhere.keys():
                found.setdefault(number, set()).add(name)
    return found


def _assigned(block: Block) -> set[str | None]:
    """The locals to which a block gives a value."""
    return {target for target, _ in block.work} | ({block.step.target} if block.step is not None else set())


def _asked_below_pages(test: ast.expr | None) -> Iterator[str]:
    """The locals that a test asks for, so that it fails where one of them is not below `lay.pages`."""
    match test:
        case ast.BoolOp(op=ast.And(), values=parts):
            for part in parts:
                yield from _asked_below_pages(part)
        case ast.Compare(left=ast.Name(id=name), ops=[ast.Lt()], comparators=[right]) if _is_pages(right):
            yield name


def _behind(starts: Sequence[Block], without: Block | None = None) -> dict[int, Block]:
    """What can be come to from these, by no way on which the test at the end of `without` holds."""
    found: dict[int, Block] = {}
    waiting = list(starts)
    while waiting:
        block = waiting.pop()
        if block.number not in found:
            found[block.number] = block
            waiting += block.next() if block is not without else [block.other] if block.other else []
    return found


def _is_flow(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Attribute) and ast.unparse(tree) == "rules.flow"


def _is_pages(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Attribute) and ast.unparse(tree) == "lay.pages"


@functools.cache
def _returned(function: Any) -> Values:
    """The constants that a function of private work may give back: those that its returns name."""
    found = frozenset[int]()
    for node in ast.walk(tree_of(function)):
        for value in _ends(node.value) if isinstance(node, ast.Return) and node.value is not None else ():
            known = constant_of(value, function.__globals__)
            found |= frozenset() if known is None else frozenset({known})
    return Values(found)


def _ends(value: ast.expr) -> Iterator[ast.expr]:
    """The expressions between which one decides."""
    if isinstance(value, ast.IfExp):
        yield from _ends(value.body)
        yield from _ends(value.orelse)
    else:
        yield value
