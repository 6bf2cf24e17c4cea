"""Step machines as machine code: generated source, which knows integers alone, straight to LLVM.

numba's inference of types takes ten seconds for a machine of a thousand lines, and there is one type. What is compiled
here is checked against the same source run by Python.

The language is what `kernels/machine.py` writes and what functions marked `op`, `local` and `choice` hold: int64
locals, if, while, for over a range or a table, arithmetic, comparisons; `td`, `lay`, `rules` and `me` are addresses,
and of the last three the fields. Anything else is an error with the function's name.
"""

import ast
import hashlib
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from llvmlite import binding, ir

from kernels import cache
from kernels.atomics import ATOMIC, PLAIN, SEEN_COUNT, SEEN_ROOM
from kernels.language import ENVIRONMENT, KINDS, tree_of
from kernels.layout import Actor, Layout
from kernels.llvm import I64
from kernels.rules import Rules

RECORDS = {"lay": Layout._fields, "rules": Rules._fields, "me": Actor._fields}
AT = I64.as_pointer()
OPERATIONS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor",
    ast.LShift: "shl", ast.RShift: "ashr",
}  # fmt: skip
COMPARISONS: dict[type, str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
ENTRY_WORDS = ("td", "lay", "rules", *Actor._fields, "chosen")


def _number(value: int) -> Any:
    return ir.Constant(I64, (int(value) + (1 << 63)) % (1 << 64) - (1 << 63))


def _write_down(builder: Any, start: Any, index: Any) -> None:
    """Call the one function that notes an index before the words, up to the room there is."""
    name = "tdx_stress_seen"
    known = builder.module.globals.get(name)
    if known is None:
        known = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64]), name)
        known.linkage = "internal"
        known.attributes.add("noinline")
        inside = ir.IRBuilder(known.append_basic_block())
        words, noted = known.args
        at = inside.gep(words, [ir.Constant(I64, SEEN_COUNT)])
        count = inside.load(at)
        inside.store(noted, inside.gep(words, [inside.sub(ir.Constant(I64, SEEN_COUNT - 1), count)]))
        room = inside.icmp_signed("<", count, ir.Constant(I64, SEEN_ROOM - 2))
        inside.store(inside.add(count, inside.zext(room, I64)), at)
        inside.ret_void()
    builder.call(known, [start, index])


def emit_seen(name: str, builder: Any, words: Any, index: Any, values: list[Any]) -> Any:
    """Emit the plain access of this name, and a note of its index before the words."""
    _write_down(builder, words, index)
    return emit_plain(name, builder, words, index, values)


def emit_plain(name: str, builder: Any, words: Any, index: Any, values: list[Any]) -> Any:
    """Emit the plain access of this name; None where it has no value."""
    return PLAIN[name](builder, builder.gep(words, [index], inbounds=True), values)


class Native:
    """One module of functions, compiled as they are called for."""

    def __init__(self, source: str, values: Mapping[str, Any]) -> None:
        """`source` defines functions of the environment and more; `values` is what the names in it mean."""
        self.module = ir.Module("step_machine")
        self.values = values
        self.trees = {it.name: it for it in ast.parse(source).body if isinstance(it, ast.FunctionDef)}
        self.made: dict[Any, ir.Function] = {}

    def function(self, key: Any) -> ir.Function:
        """The compiled form of a function of the source, by name, or of a marked one."""
        if key not in self.made:
            ours = isinstance(key, str)
            tree = self.trees[key] if ours else tree_of(key)
            names = [argument.arg for argument in tree.args.args]
            kinds = [AT if name in ENVIRONMENT else I64 for name in names]
            made = ir.Function(self.module, ir.FunctionType(I64, kinds), f"{len(self.made)}_{tree.name}")
            made.linkage = "internal"
            self.made[key] = made
            _Body(self, made, names, self.values if ours else key.__globals__).run(tree)
        return self.made[key]

    def entry(self, name: str) -> str:
        """Make a C function that takes ENTRY_WORDS as int64 and calls this one of the source; returns its name."""
        inner = self.function(name)
        made = ir.Function(self.module, ir.FunctionType(I64, [I64] * len(ENTRY_WORDS)), name + "_")
        builder = ir.IRBuilder(made.append_basic_block())
        given = dict(zip(ENTRY_WORDS, made.args, strict=True))
        me = builder.alloca(I64, len(Actor._fields))
        for place, field in enumerate(Actor._fields):
            builder.store(given[field], builder.gep(me, [_number(place)]))
        places = [builder.inttoptr(given[record], AT) for record in ("td", "lay", "rules")]
        builder.ret(builder.call(inner, [*places, me, given["chosen"]][: len(inner.args)]))
        return str(made.name)

    def finish(self, *, kept: bool = False) -> Any:
        """Compile; returns the engine, which the caller keeps for as long as the code shall stay.

        With `kept` the object code of this text is taken from the cache, or left there.
        """
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        target = binding.Target.from_default_triple().create_target_machine(opt=1)
        self.module.triple = target.triple
        text = str(self.module)
        name = f"native_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
        found = cache.read(name) if kept else None
        made = binding.parse_assembly(text)
        made.verify()
        if found is None:
            passes = binding.create_pass_builder(target, binding.create_pipeline_tuning_options(speed_level=1))
            passes.getModulePassManager().run(made, passes)
        engine = binding.create_mcjit_compiler(made, target)
        if kept:
            engine.set_object_cache(lambda _, code: cache.keep(name, bytes(code)), lambda _: found)
        engine.finalize_object()
        return engine


class _Body:
    """One function's statements to LLVM."""

    def __init__(self, native: Native, made: ir.Function, names: list[str], values: Mapping[str, Any]) -> None:
        self.native, self.made, self.values = native, made, values
        self.start = made.append_basic_block()
        self.builder = ir.IRBuilder(made.append_basic_block())
        self.first = self.builder.block
        self.places: dict[str, Any] = {}
        self.records: dict[str, Any] = {}
        self.loops: list[tuple[Any, Any]] = []  # where continue and break go
        for name, argument in zip(names, made.args, strict=True):
            if name in ENVIRONMENT:
                self.records[name] = argument
            else:
                self.builder.store(argument, self.place(name))

    def wrong(self, what: str) -> SyntaxError:
        return SyntaxError(f"{self.made.name}: no step machine has {what}")

    def run(self, tree: ast.FunctionDef) -> None:
        self.statements(tree.body)
        if not self.builder.block.is_terminated:
            self.builder.ret(_number(0))
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
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.builder.store(self.value(value), self.place(name))
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                changed = self.value(ast.BinOp(ast.Name(name), op, value))
                self.builder.store(changed, self.place(name))
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=value):
                self.value(value)
            case ast.Return(value=value):
                self.builder.ret(self.value(value) if value else _number(0))
            case ast.If():
                self.branches(it)
            case ast.While(test=test, body=body, orelse=[]):
                self.loop(test, body, [])
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=args), body=body):
                if len(args) > 2:
                    raise self.wrong("a range with a step")
                self.count(name, args[0] if len(args) == 2 else ast.Constant(0), args[-1], body)
            case ast.For(target=ast.Tuple(elts=names), iter=ast.Name(id=table), body=body):
                for row in self.values[table]:
                    bound = zip(names, row, strict=True)
                    self.statements([ast.Assign([name], ast.Constant(int(value))) for name, value in bound] + body)
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

    def count(self, name: str, start: ast.expr, stop: ast.expr, body: list[ast.stmt]) -> None:
        """for name in range(start, stop): what the body makes of the name is not what is counted."""
        at, end = f"{name} counted {len(self.places)}", f"{name} end {len(self.places)}"
        self.builder.store(self.value(start), self.place(at))
        self.builder.store(self.value(stop), self.place(end))
        more = ast.Compare(ast.Name(at), [ast.Lt()], [ast.Name(end)])
        first: list[ast.stmt] = [ast.Assign([ast.Name(name)], ast.Name(at))]
        self.loop(more, first + body, [ast.AugAssign(ast.Name(at), ast.Add(), ast.Constant(1))])

    def truth(self, it: ast.expr) -> Any:
        """One bit."""
        match it:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.builder.icmp_signed(COMPARISONS[type(op)], self.value(left), self.value(right))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.builder.not_(self.truth(operand))
            case _:
                return self.builder.icmp_signed("!=", self.value(it), _number(0))

    def value(self, it: ast.expr) -> Any:
        """An int64; a truth value is 1 or 0."""
        match it:
            case ast.Constant(value=int(value)):
                return _number(value)
            case ast.Name(id=name) if name in self.places:
                return self.builder.load(self.places[name])
            case ast.Name(id=name) if isinstance(self.values.get(name), int):
                return _number(self.values[name])
            case ast.Attribute(value=ast.Name(id=name), attr=field) if name in self.values:
                return _number(getattr(self.values[name], field))
            case ast.Attribute(value=ast.Name(id=record), attr=field) if record in self.records:
                place = RECORDS[record].index(field)
                return self.builder.load(self.builder.gep(self.records[record], [_number(place)]))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
                return getattr(self.builder, OPERATIONS[type(op)])(self.value(left), self.value(right))
            case ast.BinOp(left=left, op=ast.FloorDiv() | ast.Mod() as op, right=right):
                return self.divided(self.value(left), self.value(right), isinstance(op, ast.Mod))
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

    def either(self, first: ast.expr, rest: ast.expr, both: bool) -> Any:
        """`first and rest` or `first or rest`, whose value is that of the one which decides."""
        seen = self.value(first)
        test = self.builder.icmp_signed("!=" if both else "==", seen, _number(0))
        return self.chosen(test, lambda: self.value(rest), lambda: seen)

    def chosen(self, test: Any, then: Callable[[], Any], other: Callable[[], Any]) -> Any:
        blocks, after = (self.block(), self.block()), self.block()
        self.builder.cbranch(test, *blocks)
        ends = []
        for block, value in zip(blocks, (then, other), strict=True):
            self.builder.position_at_end(block)
            made = value()
            ends.append((made, self.builder.block))
            self.builder.branch(after)
        self.builder.position_at_end(after)
        met = self.builder.phi(I64)
        for made, block in ends:
            met.add_incoming(made, block)
        return met

    def divided(self, one: Any, other: Any, rest: bool) -> Any:
        """As in Python: rounded down, the remainder with the sign of the divisor."""
        quotient, left = self.builder.sdiv(one, other), self.builder.srem(one, other)
        apart = self.builder.icmp_signed("<", self.builder.xor(left, other), _number(0))
        down = self.builder.and_(self.builder.icmp_signed("!=", left, _number(0)), apart)
        if rest:
            return self.builder.select(down, self.builder.add(left, other), left)
        return self.builder.sub(quotient, self.builder.zext(down, I64))

    def call(self, name: str, arguments: list[ast.expr]) -> Any:
        if name in self.native.trees:
            return self.builder.call(self.native.function(name), self.given(arguments))
        value = self.values.get(name)
        if name in ("int", "bool") and value is None:
            return self.value(arguments[0]) if name == "int" else self.builder.zext(self.truth(arguments[0]), I64)
        if name in ("min", "max") and value is None:
            first, *others = map(self.value, arguments)
            for other in others:
                takes = self.builder.icmp_signed("<" if name == "min" else ">", other, first)
                first = self.builder.select(takes, other, first)
            return first
        primitive = next((known for known, atomic in ATOMIC.items() if value is atomic), None)
        if primitive is not None:
            words, index, *others = self.given(arguments)
            emit = emit_plain if _is_its_place(arguments[1]) else emit_seen
            got = emit(primitive, self.builder, words, index, others)
            return _number(0) if got is None else got
        if isinstance(value, FunctionType) and value in KINDS:
            return self.builder.call(self.native.function(value), self.given(arguments))
        raise self.wrong(f"a call of {name}")

    def given(self, arguments: list[ast.expr]) -> list[Any]:
        """Addresses as they are, all else as values."""
        return [
            self.records[it.id] if isinstance(it, ast.Name) and it.id in self.records else self.value(it)
            for it in arguments
        ]


def _is_its_place(index: ast.expr) -> bool:
    """Whether a word is the actor's own label or a register, which is nobody else's: not worth a note."""
    match index:
        case ast.Attribute(value=ast.Name(id="me"), attr="pc" | "register"):
            return True
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Constant()):
            return _is_its_place(left)
        case _:
            return False
