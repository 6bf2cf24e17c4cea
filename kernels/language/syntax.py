"""The step language: what a function of steps consists of once it is parsed, and what each marked function is.

`steps.py` has the words to write it with, `parse.py` reads it, `machine.py` and `kernels/race/straight.py` run it.
"""

import ast
import functools
import inspect
import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import EnumMeta
from pathlib import Path
from typing import Any

from kernels.language import atomics
from kernels.layout import MAX_SITES

ENVIRONMENT = ("td", "lay", "rules", "me")
ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "kernels"
OUT_OF_LINE: set[Any] = set()


class LanguageError(SyntaxError):
    """The source uses what the step language does not have; says file and line."""


@dataclass(frozen=True, slots=True)
class Site:
    """One yield of the source: where it stands and what it does."""

    function: str
    text: str  # "load_acquire td_epoch"
    file: str
    line: int
    name: str  # "mem_track.load_acquire_td_epoch": for `yields` in a scenario
    says: Any = ()  # of a choice what each way means, or who is turned to; of another step what its function says
    access: str = ""  # the primitive that it is made of, with its memory order; "" for a choice

    @property
    def number(self) -> int:
        """From 1: its place among `sites`."""
        return _numbers(tuple(DECLARED))[self]

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


@dataclass(frozen=True, slots=True)
class Naming:
    """Whom a local names, and how; see `kernels/language/naming.py`."""

    form: str
    of: Any  # a kind of actors, or the function that says where a word stands

    def __str__(self) -> str:
        return f"{self.form}[{getattr(self.of, 'name', None) or self.of.__name__}]"


Statement = Let | Do | Step | Sub | If | Loop | Break | Continue | Return


@dataclass(frozen=True, slots=True)
class Parsed:
    """What stands in a function of steps, checked. `gives_name`: what it returns may name an actor; `in_order`: file
    and line of what tells actors apart.
    """

    body: tuple[Statement, ...]
    sites: tuple[Site, ...]
    naming: Mapping[str, Naming]  # by local or parameter that is declared
    gives_name: bool
    in_order: str


@dataclass(eq=False)
class Steps:
    """A function of atomic steps. It is parsed and checked when what stands in it is first wanted: whoever races lines
    that are compiled wants none of it.
    """

    name: str
    source: Callable[..., Any]
    parse: Callable[["Steps"], Parsed]
    labelled: bool = True
    in_place: bool = False  # a straight line has its steps in the place of the call
    oracle: bool = False  # its steps are no part of the protocol
    span: Any = None  # what a story calls the time spent here; see `kernels/story/spans.py`
    at: Mapping[str, Any] = field(default_factory=dict)  # the same of single steps, by what the step does
    says: Mapping[str, Any] = field(default_factory=dict)  # what `Site.says` is of single steps
    goal: bool = False  # an endless actor comes here again and again, where all is well

    @functools.cached_property
    def parsed(self) -> Parsed:
        """Raises LanguageError."""
        return self.parse(self)

    @property
    def body(self) -> tuple[Statement, ...]:
        return self.parsed.body

    @property
    def parameters(self) -> tuple[str, ...]:
        """Behind the environment."""
        code: Any = self.source.__code__  # type: ignore[attr-defined]
        return tuple(code.co_varnames[len(ENVIRONMENT) : code.co_argcount])

    @property
    def calls(self) -> dict[str, "Steps"]:
        """The functions of steps that its source names, by name."""
        source: Any = self.source
        known = {name: source.__globals__.get(name) for name in source.__code__.co_names}
        return {name: value for name, value in known.items() if isinstance(value, Steps)}

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.name} is a function of steps: take it through Reference, straight or machine")


DECLARED: list[Steps] = []  # every function of steps, in the order of imports; what is composed of them is none
KINDS: dict[Any, str] = {}
CHOICE_COUNTS: dict[Any, Callable[..., int]] = {}
CHOICE_WAYS: dict[Any, Callable[..., int]] = {}
CHOICE_SAYS: dict[Any, Any] = {}
HARNESS_VALUES: dict[Any, int] = {}
TOLD: set[Any] = set()  # functions of the harness that a story calls as well


def sites() -> Sequence[Site]:
    """Every step of every function that is declared, by number: those of the kernels' own by file and line, then all
    others. Straight lines hold numbers, and must not differ by what was imported first.
    """
    return tuple(_numbers(tuple(DECLARED)))  # a dictionary keeps its order


@functools.lru_cache(maxsize=1)
def _numbers(functions: tuple[Steps, ...]) -> Mapping[Site, int]:
    ours: list[Site] = []
    others: list[Site] = []
    for one in functions:
        (ours if is_shipped(one.source) else others).extend(one.parsed.sites)
    if (found := len(ours) + len(others)) >= MAX_SITES:
        raise LanguageError(
            f"kernels/layout.py: MAX_SITES: {found:,} sites of steps, expected at most {MAX_SITES - 1:,}"
        )
    ours.sort(key=lambda site: (site.file, site.line))
    return {site: number for number, site in enumerate(dict.fromkeys((*ours, *others)), 1)}


def is_shipped(function: Any) -> bool:
    """Whether the kernels' own sources hold this function, no test."""
    path = Path(function.__code__.co_filename)
    return path.is_relative_to(SOURCES) and "tests" not in path.relative_to(SOURCES).parts


@functools.cache
def access_of(op: Any) -> str:
    """The primitive that a shared access is made of. Raises LanguageError where that is not one."""
    if op in atomics.SHARED_ACCESSES:
        return str(op.__name__)
    nodes = list(ast.walk(tree_of(op)))
    called = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    names = [name for name in called if op.__globals__.get(name) in atomics.SHARED_ACCESSES]
    what = f"{where(op)}: an op is one shared access, {op.__name__} has"
    if any(isinstance(node, ast.For | ast.While) for node in nodes):
        raise LanguageError(f"{what} a loop")
    if len(names) != 1:
        raise LanguageError(f"{what} {len(names)}: {names}")
    return names[0]


@functools.cache
def has_effect(function: Callable[..., Any]) -> bool:
    """Whether a local function writes anything: it, or one that it calls."""
    known = function.__globals__  # type: ignore[attr-defined]
    for node in ast.walk(tree_of(function)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            value: Any = known.get(node.func.id)
            writes = value is atomics.set_own or (
                value in atomics.SHARED_ACCESSES and not value.__name__.startswith("load")
            )
            if writes or (KINDS.get(value) == "local" and has_effect(value)):
                return True
    return False


def is_drawn(choice: Callable[..., Any]) -> bool:
    """Whether a race draws a random number for this choice; else its function alone says which way it goes."""
    return "random" in choice.__code__.co_varnames[: choice.__code__.co_argcount]  # type: ignore[attr-defined]


def where(function: Any) -> str:
    """File and line of a function."""
    code = function.__code__  # type: ignore[attr-defined]
    return f"{short_path(code.co_filename)}:{code.co_firstlineno}"


@functools.cache
def short_path(file: str) -> str:
    """The path below this checkout, or the file's name."""
    path = Path(file)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def out_of_line(function: Any) -> Any:
    """Mark a function that is hardly ever needed, and long: it is not compiled into those that call it."""
    OUT_OF_LINE.add(function)
    return function


def tree_of(function: Callable[..., Any]) -> ast.FunctionDef:
    """The syntax tree of a function, with its own line numbers; everybody's: nobody changes it."""
    code = inspect.unwrap(function).__code__  # type: ignore[attr-defined]
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))  # type: ignore[attr-defined]
    return _functions_in(text)[code.co_firstlineno]


@functools.lru_cache(maxsize=128)
def _functions_in(text: str) -> dict[int, ast.FunctionDef]:
    """By the line in which each begins, decorators and all. A file is parsed once, not once for each of them."""
    made: list[ast.FunctionDef] = []
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:  # no expression holds one
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            made.append(node)
        for inner in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, inner, ())
    return {min([node.lineno, *(mark.lineno for mark in node.decorator_list)]): node for node in made}


def copied(tree: ast.AST) -> Any:
    """The same tree anew, to be changed; what copy.deepcopy does in a tenth of its time."""
    made = tree.__class__.__new__(tree.__class__)
    vars(made).update(vars(tree))
    for name in tree._fields:
        value = getattr(tree, name, None)
        if isinstance(value, list):
            setattr(made, name, [copied(one) if isinstance(one, ast.AST) else one for one in value])
        elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context | ast.operator):  # one for all
            setattr(made, name, copied(value))
    return made


def constant_of(tree: ast.expr, known: Mapping[str, Any]) -> int | None:
    """The integer that a global of a source is, or a member of an enumeration, `Fault.LOST_KICK`; None for all else."""
    match tree:
        case ast.Name(id=name):
            value = known.get(name)
        case ast.Attribute(value=ast.Name(id=name), attr=member) if isinstance(known.get(name), EnumMeta):
            value = known[name].__members__.get(member)
        case _:
            return None
    return int(value) if isinstance(value, int) else None


def kind_of(value: Any) -> str | None:
    """`op`, `local`, `choice`, `harness`, `steps`, `int`, or None for what a step may not name."""
    if isinstance(value, Steps):
        return "steps"
    if isinstance(value, int):
        return "int"
    if value in (atomics.own, atomics.set_own):
        return "local"
    try:
        return "op" if value in atomics.SHARED_ACCESSES else KINDS.get(value)
    except TypeError:  # nothing that is marked
        return None
