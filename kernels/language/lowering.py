"""Statements and expressions of the language of `kernels/language/compile.py` as LLVM's instructions."""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from kernels.language.atomics import ACCESSES, INSTRUCTIONS, at_word, enter
from kernels.language.llvm import I64, note_seen
from kernels.language.syntax import ENVIRONMENT, KINDS

if TYPE_CHECKING:
    from kernels.language.compile import Native

AT = I64.as_pointer()
OPERATIONS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor",
    ast.LShift: "shl", ast.RShift: "ashr",
}  # fmt: skip
COMPARISONS: dict[type, str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


def number_of(value: int) -> Any:
    return ir.Constant(I64, (int(value) + (1 << 63)) % (1 << 64) - (1 << 63))


class Body:
    """One function's statements to LLVM."""

    def __init__(self, native: "Native", made: ir.Function, names: list[str], values: Mapping[str, Any]) -> None:
        self.native, self.made, self.values = native, made, values
        self.start = made.append_basic_block()
        self.builder = ir.IRBuilder(made.append_basic_block())
        self.first = self.builder.block
        self.places: dict[str, Any] = {}
        self.records: dict[str, Any] = {}
        self.loops: list[tuple[Any, Any]] = []  # where continue and break go
        for name, argument in zip(names, made.args, strict=True):
            if name in ENVIRONMENT or name in native.records:
                self.records[name] = argument
            else:
                self.builder.store(argument, self.place(name))

    def wrong(self, what: str) -> SyntaxError:
        return SyntaxError(f"{self.made.name}: what is compiled here has no {what}")

    def run(self, tree: ast.FunctionDef) -> None:
        self.statements(tree.body)
        if not self.builder.block.is_terminated:
            self.builder.ret(number_of(0))
        ir.IRBuilder(self.start).branch(self.first)

    def place(self, name: str) -> Any:
        """A local's place on the stack."""
        if name not in self.places:
            self.places[name] = ir.IRBuilder(self.start).alloca(I64)
        return self.places[name]

    def block(self) -> Any:
        return self.made.append_basic_block()

    def go(self, to: Any) -> None:
        if not self.builder.block.is_terminated:
            self.builder.branch(to)

    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if self.builder.block.is_terminated:
                return
            self.statement(statement)

    def statement(self, it: ast.stmt) -> None:
        match it:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                for target, one in zip(targets, self.several(value), strict=True):
                    self.put(target, one)
            case ast.Assign(targets=targets, value=value):
                whole = self.value(value)
                for target in targets:
                    self.put(target, whole)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                changed = self.value(ast.BinOp(ast.Name(name), op, value))
                self.builder.store(changed, self.place(name))
            case ast.AugAssign(target=ast.Subscript() as target, op=op, value=value):
                at = self.written(target)
                self.builder.store(self.operation(op, self.builder.load(at), self.value(value)), at)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=value):
                self.value(value)
            case ast.Return(value=ast.Tuple() as several):
                whole = ir.Constant(self.made.function_type.return_type, ir.Undefined)
                for place, one in enumerate(self.several(several)):
                    whole = self.builder.insert_value(whole, one, place)
                self.builder.ret(whole)
            case ast.Return(value=value):
                self.builder.ret(self.value(value) if value else number_of(0))
            case ast.If():
                self.branches(it)
            case ast.While(test=test, body=body, orelse=[]):
                self.loop(test, body, [])
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=args), body=body):
                start, stop = (ast.Constant(0), args[0]) if len(args) == 1 else args[:2]
                self.count(name, start, stop, args[2] if len(args) == 3 else ast.Constant(1), body)
            case ast.For(target=ast.Tuple(elts=names), iter=ast.Name(id=table), body=body):
                self.unrolled(names, self.values[table], body)
            case ast.Continue():
                self.builder.branch(self.loops[-1][0])
            case ast.Break():
                self.builder.branch(self.loops[-1][1])
            case _:
                raise self.wrong(ast.unparse(it))

    def branches(self, it: ast.If) -> None:
        """A chain of if and elif; one of hundreds, as here, is no nest."""
        after = self.block()
        rest: list[ast.stmt] = [it]
        while len(rest) == 1 and isinstance(rest[0], ast.If):
            test, body, rest = rest[0].test, rest[0].body, rest[0].orelse
            then, other = self.block(), self.block()
            self.builder.cbranch(self.truth(test), then, other)
            self.builder.position_at_end(then)
            self.statements(body)
            self.go(after)
            self.builder.position_at_end(other)
        self.statements(rest)
        self.go(after)
        self.builder.position_at_end(after)

    def loop(self, test: ast.expr, body: list[ast.stmt], then: list[ast.stmt]) -> None:
        """Until the test fails; `then` runs after the body and on continue."""
        head, inside, next_, after = self.block(), self.block(), self.block(), self.block()
        self.go(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(self.truth(test), inside, after)
        self.builder.position_at_end(inside)
        self.loops.append((next_, after))
        self.statements(body)
        self.loops.pop()
        self.go(next_)
        self.builder.position_at_end(next_)
        self.statements(then)
        self.go(head)
        self.builder.position_at_end(after)

    def unrolled(self, names: list[ast.expr], table: Iterable[Sequence[int]], body: list[ast.stmt]) -> None:
        """The body once for each row of a table."""
        after = self.block()
        for row in table:
            next_ = self.block()
            self.loops.append((next_, after))
            bound = zip(names, row, strict=True)
            self.statements([ast.Assign([name], ast.Constant(int(value))) for name, value in bound] + body)
            self.loops.pop()
            self.go(next_)
            self.builder.position_at_end(next_)
        self.go(after)
        self.builder.position_at_end(after)

    def put(self, target: ast.expr, value: Any) -> None:
        """Give a local or a word a value."""
        if isinstance(target, ast.Name):
            self.builder.store(value, self.place(target.id))
        elif isinstance(target, ast.Subscript):
            self.builder.store(value, self.written(target))
        else:
            raise self.wrong(ast.unparse(target))

    def written(self, it: ast.Subscript) -> Any:
        """Where a word is written. A field of a record stays what it is."""
        if isinstance(it.value, ast.Name) and it.value.id in self.records and it.value.id != "td":
            raise self.wrong(f"write to a record: {ast.unparse(it)}")
        return self.word(it)

    def word(self, it: ast.Subscript) -> Any:
        """Where the word at an index behind an address stands."""
        return self.builder.gep(self.pointer(it.value), [self.value(it.slice)], inbounds=True)

    def pointer(self, it: ast.expr) -> Any:
        if isinstance(it, ast.Name) and it.id in self.records:
            return cast(self.builder, self.records[it.id], AT)
        return self.builder.inttoptr(self.value(it), AT)

    def several(self, it: ast.expr) -> list[Any]:
        """The values of a tuple, or of a call that returns one, all of them before any is put anywhere."""
        if isinstance(it, ast.Tuple):
            return [self.value(one) for one in it.elts]
        whole = self.value(it)
        return [self.builder.extract_value(whole, place) for place in range(len(whole.type.elements))]

    def count(self, name: str, start: ast.expr, stop: ast.expr, step: ast.expr, body: list[ast.stmt]) -> None:
        """for name in range(start, stop, step), upwards: what the body makes of the name is not what is counted."""
        at, end = f"{name} counted {len(self.places)}", f"{name} end {len(self.places)}"
        self.builder.store(self.value(start), self.place(at))
        self.builder.store(self.value(stop), self.place(end))
        more = ast.Compare(ast.Name(at), [ast.Lt()], [ast.Name(end)])
        first: list[ast.stmt] = [ast.Assign([ast.Name(name)], ast.Name(at))]
        self.loop(more, first + body, [ast.AugAssign(ast.Name(at), ast.Add(), step)])

    def truth(self, it: ast.expr) -> Any:
        """One bit."""
        match it:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.builder.icmp_signed(COMPARISONS[type(op)], self.value(left), self.value(right))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.builder.not_(self.truth(operand))
            case _:
                return self.builder.icmp_signed("!=", self.value(it), number_of(0))

    def value(self, it: ast.expr) -> Any:
        """An int64; a truth value is 1 or 0."""
        match it:
            case ast.Constant(value=int(value)):
                return number_of(value)
            case ast.Name(id=name) if name in self.places:
                return self.builder.load(self.places[name])
            case ast.Name(id=name) if isinstance(self.values.get(name), int):
                return number_of(self.values[name])
            case ast.Attribute(value=ast.Name(id=name), attr=field) if name in self.values:
                return number_of(getattr(self.values[name], field))
            case ast.Name(id=record) if record in self.records:
                return cast(self.builder, self.records[record], I64)
            case ast.Attribute(value=ast.Name(id=record) as whole, attr=field) if record in self.records:
                place = self.native.records[record].index(field)
                known = self.builder.load(self.builder.gep(self.pointer(whole), [number_of(place)]))
                if self.native.alone:  # in numba's module it would take a fifth more time to compile
                    known.set_metadata("invariant.load", self.builder.module.add_metadata([]))
                return known
            case ast.Subscript():
                return self.builder.load(self.word(it))
            case ast.BinOp(left=left, op=op, right=right):
                return self.operation(op, self.value(left), self.value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.builder.neg(self.value(operand))
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return self.builder.not_(self.value(operand))
            case ast.UnaryOp(op=ast.Not()) | ast.Compare(ops=[_]):
                return self.builder.zext(self.truth(it), I64)
            case ast.BoolOp(op=op, values=[first, *rest]):
                if not rest:
                    return self.value(first)
                return self.either(first, ast.BoolOp(op, rest), isinstance(op, ast.And))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.chosen(self.truth(test), lambda: self.value(body), lambda: self.value(orelse))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self.call(name, arguments)
            case _:
                raise self.wrong(ast.unparse(it))

    def operation(self, op: ast.operator, one: Any, other: Any) -> Any:
        if type(op) in OPERATIONS:
            return getattr(self.builder, OPERATIONS[type(op)])(one, other)
        if isinstance(op, ast.FloorDiv | ast.Mod):
            return self.divided(one, other, isinstance(op, ast.Mod))
        raise self.wrong(type(op).__name__)

    def either(self, first: ast.expr, rest: ast.expr, both: bool) -> Any:
        """`first and rest` or `first or rest`, whose value is that of the one which decides."""
        seen = self.value(first)
        test = self.builder.icmp_signed("!=" if both else "==", seen, number_of(0))
        return self.chosen(test, lambda: self.value(rest), lambda: seen)

    def chosen(self, test: Any, then: Callable[[], Any], other: Callable[[], Any]) -> Any:
        ends = []
        with self.builder.if_else(test) as ways:
            for way, value in zip(ways, (then, other), strict=True):
                with way:
                    ends.append((value(), self.builder.block))
        met = self.builder.phi(I64)
        for made, block in ends:
            met.add_incoming(made, block)
        return met

    def divided(self, one: Any, other: Any, rest: bool) -> Any:
        """As in Python: rounded down, the remainder with the sign of the divisor; by 0 it is 0, and nothing ends."""
        nothing = self.builder.icmp_signed("==", other, number_of(0))
        other = self.builder.select(nothing, number_of(1), other)
        quotient, left = self.builder.sdiv(one, other), self.builder.srem(one, other)
        apart = self.builder.icmp_signed("<", self.builder.xor(left, other), number_of(0))
        down = self.builder.and_(self.builder.icmp_signed("!=", left, number_of(0)), apart)
        if rest:
            return self.builder.select(down, self.builder.add(left, other), left)
        whole = self.builder.sub(quotient, self.builder.zext(down, I64))
        return self.builder.select(nothing, number_of(0), whole)

    def call(self, name: str, arguments: list[ast.expr]) -> Any:
        if name in self.native.trees:
            return self.inner(name, arguments)
        value = self.values.get(name)
        if value is None:
            return self.builtin(name, arguments)
        if value in self.native.linked:
            return self.inner(self.native.linked[value], arguments)
        if value is at_word:
            return self.builder.add(self.value(arguments[0]), self.builder.mul(self.value(arguments[1]), number_of(8)))
        if value is enter:
            place, *given = map(self.value, arguments)
            kind = ir.FunctionType(I64, [I64] * len(given))
            return self.builder.call(self.builder.inttoptr(place, kind.as_pointer()), given)
        if value in ACCESSES:
            return self.access(value, arguments)
        if value in INSTRUCTIONS:
            return _or_nothing(INSTRUCTIONS[value](self.builder, [self.value(it) for it in arguments]))
        if isinstance(value, FunctionType) and (self.native.raced or value in KINDS):
            return self.inner(value, arguments)
        raise self.wrong(f"a call of {name}")

    def builtin(self, name: str, arguments: list[ast.expr]) -> Any:
        match name:
            case "int":
                return self.value(arguments[0])
            case "bool":
                return self.builder.zext(self.truth(arguments[0]), I64)
            case "abs":
                value = self.value(arguments[0])
                return self.builder.select(
                    self.builder.icmp_signed("<", value, number_of(0)), self.builder.neg(value), value
                )
            case "min" | "max":
                first, *others = map(self.value, arguments)
                for other in others:
                    takes = self.builder.icmp_signed("<" if name == "min" else ">", other, first)
                    first = self.builder.select(takes, other, first)
                return first
        raise self.wrong(f"a call of {name}")

    def access(self, primitive: Any, arguments: list[ast.expr]) -> Any:
        """An access to a word, as the module has it."""
        words, (index, *others) = self.pointer(arguments[0]), map(self.value, arguments[1:])
        if not self.native.raced and not _is_its_place(arguments[1]):
            note_seen(self.builder, words, index)
        return _or_nothing(ACCESSES[primitive](self.builder, self.builder.gep(words, [index]), others))

    def inner(self, key: Any, arguments: list[ast.expr]) -> Any:
        """A call of one that is compiled here, too."""
        callee = self.native.function(key)
        given = [
            self.pointer(it) if kind == AT else self.value(it)
            for it, kind in zip(arguments, (one.type for one in callee.args), strict=True)
        ]
        return self.builder.call(callee, given)


def _or_nothing(value: Any) -> Any:
    """What has no value is 0."""
    return number_of(0) if value is None or isinstance(value.type, ir.VoidType) else value


def cast(builder: Any, value: Any, kind: Any) -> Any:
    """An address as an int64, or the other way about."""
    if value.type == kind:
        return value
    return builder.inttoptr(value, kind) if kind == AT else builder.ptrtoint(value, kind)


def given_back(tree: ast.FunctionDef) -> Any:
    """The type of what a function returns: int64, or so many of them."""
    several = [len(it.value.elts) for it in _returns(tree) if isinstance(it.value, ast.Tuple)]
    return ir.LiteralStructType([I64] * several[0]) if several else I64


def _returns(it: ast.AST) -> Iterator[ast.Return]:
    """The returns in a statement. Expressions have none, and are what a step machine has most of."""
    if isinstance(it, ast.Return):
        yield it
    for inner in (*getattr(it, "body", ()), *getattr(it, "orelse", ())):
        yield from _returns(inner)


def _is_its_place(index: ast.expr) -> bool:
    """Whether a word is the actor's own label or a register, which is nobody else's: not worth a note."""
    match index:
        case ast.Attribute(value=ast.Name(id="me"), attr="pc" | "register"):
            return True
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Constant()):
            return _is_its_place(left)
        case _:
            return False
