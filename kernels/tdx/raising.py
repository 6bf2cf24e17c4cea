"""Which outcomes the steps of a flow can note at all: those that the functions name to which its actors come, and those
of the statuses that are named there as an answer, not held against one.

A branch that asks for another flow is not taken. So nothing that a step can note is missing, and what only another flow
notes is not there.
"""

import ast
import functools
from typing import Any

from kernels.language.syntax import KINDS, Steps, constant_of, tree_of
from kernels.tdx import statuses
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import Flow
from kernels.tdx.statuses import SUCCESS
from kernels.tdx.tally import outcome_of

# What no step notes: reads that hit are counted, and a harness or a search sees who no longer moves, references that
# are left at the end, and a status that has no name.
BESIDE = frozenset({Outcome.fresh, Outcome.no_progress, Outcome.refcount_broken, Outcome.unknown_status})
STATUSES = {code for code, _ in statuses.PLACE_OF_STATUS} - {SUCCESS}


@functools.cache
def raisable(flow: Flow) -> frozenset[Outcome]:
    """The outcomes that a race or a search of this flow can show, under whatever ordering and faults."""
    named = _Named(flow)
    for actor in protocol_of(flow).actors.values():
        named.look_into(actor)
    return BESIDE | named.outcomes


class _Named(ast.NodeVisitor):
    """Outcomes and statuses that are named in functions of steps and of private work, and in all that these call."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.outcomes: set[Outcome] = set()
        self.seen: set[Any] = set()
        self.known: dict[str, Any] = {}

    def look_into(self, function: Any) -> None:
        source = function.source if isinstance(function, Steps) else function
        if function not in self.seen:
            self.seen.add(function)
            before, self.known = self.known, source.__globals__
            for statement in tree_of(source).body:
                self.visit(statement)
            self.known = before

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        for statement in [*(node.body if self.may_hold(node.test) else ()), *node.orelse]:
            self.visit(statement)

    def visit_Compare(self, node: ast.Compare) -> None:
        for operand in (node.left, *node.comparators):
            if self.status(operand) is None:
                self.visit(operand)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        called = self.known.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if isinstance(called, Steps) or KINDS.get(called) == "local":
            self.look_into(called)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and self.known.get(node.value.id) is Outcome:
            self.outcomes.add(Outcome[node.attr])

    def generic_visit(self, node: ast.AST) -> None:
        status = self.status(node)
        if status in STATUSES:
            self.outcomes.add(Outcome(outcome_of(status)))
        else:
            super().generic_visit(node)

    def status(self, tree: ast.AST) -> int | None:
        """The status that an expression names, alone or with its operand; None for all else."""
        match tree:
            case ast.Name(id=name) if name in vars(statuses):
                return constant_of(tree, self.known)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                code, operand = self.status(left), self.status(right)
                return None if code is None or operand is None else code | operand
        return None

    def may_hold(self, test: ast.expr) -> bool:
        """Whether a test may hold in this flow."""
        match test:
            case ast.BoolOp(op=ast.And(), values=values):
                return all(map(self.may_hold, values))
            case ast.BinOp(left=ast.Attribute(attr="flow"), op=ast.BitAnd(), right=right):
                asked = constant_of(right, self.known)
                return asked is None or bool(self.flow & asked)
        return True
