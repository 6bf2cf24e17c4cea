"""Which rules and which faults the steps of a machine look at: what they do not look at changes nothing there.

The graphs of the actors' step machines are walked under the values of one ordering's rules. Python runs what stands in
a block, on numbers and on what is not known: a test that the rules decide goes the one way that it goes, the steps of a
shootdown are taken as they stand in `rules.shootdown`, and a word in which nobody puts anything is 0. Whatever else is
not known may be anything, and a test of it goes both ways. So what is not read here is read in no interleaving; what is
read may still make no difference.
"""

import ast
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from kernels.language.atomics import ACCESSES
from kernels.language.inline import Block
from kernels.language.machine import blocks_of
from kernels.language.resolve import Names
from kernels.language.syntax import CHOICE_COUNTS, CHOICE_WAYS, ENVIRONMENT, KINDS
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import Flow, Rules

# By these vCPUs are asked, held back or got out of the guest: 0 until a step puts something there.
SILENT = ("requests", "gate", "wait_for_sept_zap", "ipi")
# What a block's locals are is anything once it was come to with so many of them. A loop of private work whose end is
# not known has so many tests at most: what it looks at it looks at in its first turns.
MOST_WAYS, MOST_TESTS = 1024, 16
Held = dict[str, int | None]  # locals, None for what is not known


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


class _Work(NamedTuple):
    """A block as Python runs it: what its step is given, the work behind it, the test; the locals that are kept at its
    head, and those that it names.

    None that counts is kept: as many values as turns, none of which decides anything.
    """

    given: Sequence[CodeType]
    behind: Sequence[tuple[str | None, CodeType]]
    test: CodeType | None
    kept: Sequence[str]
    named: Sequence[str]


class _Machine(NamedTuple):
    """An actor's first block, what names stand for, and by block its work."""

    start: Block
    names: Mapping[str, Any]
    work: Mapping[int, _Work]


@functools.cache
def _machines(flow: Flow) -> Sequence[_Machine]:
    made = []
    for function in protocol_of(flow).actors.values():
        names = Names()
        blocks = blocks_of(function, names)
        counters = {name for block in blocks for name, tree in block.work if name and _counts(name, tree)}
        work = {block.number: _work(block, counters) for block in blocks}
        made.append(_Machine(blocks[0], names.values, work))
    return made


def _work(block: Block, counters: set[str]) -> _Work:
    def code(tree: ast.expr) -> CodeType:
        return compile(ast.unparse(tree), "<private work>", "eval")

    given = [code(argument) for argument in block.step.arguments] if block.step else []
    behind = [(name, code(tree)) for name, tree in block.work]
    test = code(block.test) if block.test else None
    read = {name for one in (*given, *(one for _, one in behind), test) if one for name in one.co_names}
    return _Work(given, behind, test, sorted(block.live - counters), sorted(block.live & read))


def _counts(name: str, tree: ast.expr) -> bool:
    """Whether a local grows by what is added to it."""
    match tree:
        case ast.BinOp(left=ast.Name(id=grown), op=ast.Add()):
            return bool(grown == name)
    return False


class _Unknown:
    """What may be any number, and whatever is made of it. `word`: the silent word whose place it is."""

    def __init__(self, walk: "_Walk", word: str = "") -> None:
        self.walk, self.word = walk, word

    def __bool__(self) -> bool:
        return self.walk.goes()

    def made(self, other: Any = None) -> "_Unknown":
        return other if isinstance(other, _Unknown) and other.word else self


for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "floordiv", "rfloordiv", "mod", "rmod", "lshift", "rlshift", "rshift",
    "rrshift", "and", "rand", "or", "ror", "xor", "rxor", "neg", "invert", "eq", "ne", "lt", "le", "gt", "ge",
):  # fmt: skip
    setattr(_Unknown, f"__{_name}__", _Unknown.made)


class _Record:
    """A record of a step by what its fields are."""

    def __init__(self, field: Callable[[str], Any]) -> None:
        self._field = field

    def __getattr__(self, name: str) -> Any:
        return self._field(name)


class _Faults(NamedTuple):
    """`rules.faults`, of which it is known what is looked for."""

    walk: "_Walk"

    def __and__(self, mask: int) -> int:
        self.walk.faults |= mask
        return self.walk.rules.faults & mask


class _Walk:
    """What is looked at, and which of SILENT is written, where `written` are."""

    def __init__(self, rules: Rules, written: set[str]) -> None:
        self.rules = rules
        self.before = written
        self.fields: set[str] = set()
        self.faults = 0
        self.written: set[str] = set()
        self.unknown = _Unknown(self)
        self.places = {word: _Unknown(self, word) for word in SILENT}
        self.known: dict[Any, Iterable[Any]] = {}  # by function and what it is given
        self.builtins = {"int": lambda value: value, "range": self.turns, "max": self.run(max), "min": self.run(min)}
        self.way: list[bool] = []  # how tests of what is not known go, so many of which were made
        self.tests = 0
        self.others: list[list[bool]] = []

    def machine(self, machine: _Machine) -> None:
        """Every block that can be come to, with each of the values that decide; taken once for those that it names."""
        records = _Record(self.place), _Record(self.rule), _Record(lambda name: self.unknown)
        names = self.meant(machine.names) | dict(zip(ENVIRONMENT, (self.unknown, *records), strict=True))
        ways: dict[int, set[Any]] = {}
        taken: dict[Any, list[tuple[Block, Held]]] = {}
        waiting: list[tuple[Block, Held]] = [(machine.start, {})]
        while waiting:
            block, held = waiting.pop()
            been, work = ways.setdefault(block.number, set()), machine.work[block.number]
            held = {name: held.get(name) for name in work.kept} if len(been) < MOST_WAYS else {}
            if (way := tuple(held.values())) not in been:
                been.add(way)
                its = {name: held.get(name) for name in work.named}
                if (case := (block.number, *its.values())) not in taken:
                    taken[case] = list(self.ends(block, work, names, its))
                waiting += [(after, held | made) for after, made in taken[case]]

    def ends(self, block: Block, work: _Work, names: dict[str, Any], held: Held) -> Iterator[tuple[Block, Held]]:
        """Where a block goes with these locals, and what it makes of them: each way once."""

        def once() -> tuple[Block | None, tuple[tuple[str, int | None], ...]]:
            its = {name: self.unknown if value is None else value for name, value in held.items()}
            after = self.block(block, work, names, its)
            return after, tuple((name, None if isinstance(it, _Unknown) else int(it)) for name, it in its.items())

        return ((after, dict(made)) for after, made in self.every_way(once) if after is not None)

    def block(self, block: Block, work: _Work, names: dict[str, Any], held: dict[str, Any]) -> Block | None:
        """Take a block with its locals; returns where it goes."""
        if block.step is not None:
            found = names[block.step.call](*(eval(one, names, held) for one in work.given))
            if block.step.target:
                held[block.step.target] = found
        for name, code in work.behind:
            value = eval(code, names, held)
            if name:
                held[name] = value
        return block.other if work.test is not None and not eval(work.test, names, held) else block.then

    def every_way(self, run: Callable[[], Any]) -> Iterable[Any]:
        """What comes of this, however tests of what is not known go."""
        outer = self.way, self.tests, self.others
        found: dict[Any, None] = {}
        self.others = [[]]
        while self.others:
            self.way, self.tests = self.others.pop(), 0
            found[run()] = None
        self.way, self.tests, self.others = outer
        return found

    def goes(self) -> bool:
        """How a test of what is not known goes, which goes the other way another time."""
        self.tests += 1
        if self.tests > len(self.way):
            if self.tests <= MOST_TESTS:
                self.others.append([*self.way, False])
            self.way.append(self.tests <= MOST_TESTS)
        return self.way[self.tests - 1]

    def turns(self, *bounds: Any) -> Iterable[Any]:
        """A range; of one that is not known any number of turns."""
        unknown = any(isinstance(one, _Unknown) for one in bounds)
        return itertools.takewhile(bool, itertools.repeat(self.unknown)) if unknown else range(*bounds)

    def place(self, name: str) -> Any:
        """A field of the layout."""
        return self.rule(name) if name == "lps" else self.places.get(name, self.unknown)

    def rule(self, name: str) -> Any:
        if name == "faults":
            return _Faults(self)
        self.fields.add(name)
        return int(getattr(self.rules, name))

    def meant(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """What names mean where functions are given what is not known."""
        return self.builtins | {
            name: self.run(it) if isinstance(it, FunctionType) else it for name, it in known.items()
        }

    def run(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function where it may be given what is not known: of that alone it makes nothing that is."""
        if function in ACCESSES:
            return functools.partial(self.access, function.__name__)
        if function in CHOICE_COUNTS:
            return functools.partial(self.choice, function)

        def run(*given: Any) -> Any:
            if any(isinstance(one, _Record) for one in given) or KINDS.get(function) == "op":
                *others, last = self.answers(function, *given)
                return next((one for one in others if self.goes()), last)
            return self.unknown if any(isinstance(one, _Unknown) for one in given) else function(*given)

        return run

    def answers(self, function: Any, *given: Any) -> Iterable[Any]:
        """What a function may give back; what it names is run so, too."""
        if (function, given) not in self.known:
            means = function.__globals__
            known = self.meant({name: means[name] for name in function.__code__.co_names if name in means})
            inner = FunctionType(function.__code__, known)
            self.known[function, given] = self.every_way(functools.partial(inner, *given))
        return self.known[function, given]

    def choice(self, function: Any, *given: Any) -> Any:
        """Any way of a choice: how many there are, what each means, and how a race draws one."""
        its, more = given[: len(ENVIRONMENT)], given[len(ENVIRONMENT) :]
        self.answers(CHOICE_COUNTS[function], *given)
        if way := CHOICE_WAYS.get(function):
            self.answers(way, *its, self.unknown, *more)
        self.answers(function, *its, *[self.unknown] * (function.__code__.co_argcount - len(its)))
        return self.unknown

    def access(self, name: str, words: Any, place: Any, *values: Any) -> Any:
        """What an access gives back."""
        word, loads = place.word if isinstance(place, _Unknown) else "", name.startswith("load")
        if word and not loads and any(isinstance(value, _Unknown) or value for value in values):
            self.written.add(word)
        return 0 if word and loads and word not in self.before else self.unknown
