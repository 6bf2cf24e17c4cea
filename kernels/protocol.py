"""What one brings: a protocol as a value, all that the engine knows of what races and is searched.

    THREAD = ActorKind("thread")
    WORDS = Words(sizes=("threads",), kinds={THREAD: tally_words})
    flag = declare(WORDS, "flag", THREAD)
    turn = declare(WORDS, "turn", names=THREAD)

    @steps
    def thread(td, lay, rules, me):
        yield store_seq_cst(td, flag(lay, me.index), 1)
        ...

    PETERSON = Protocol(WORDS, {THREAD: thread}, Outcome)

`kernels/tests/peterson.py` is a whole one, `kernels/tdx/protocol.py` the one that this project is about.
"""

import ast
import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kernels.language.machine import Machine
from kernels.language.naming import names as naming
from kernels.language.parse import subs
from kernels.language.steps import local
from kernels.language.syntax import LanguageError, Site, Step, Steps
from kernels.layout import RNG, TRACE_RING, ActorKind, Group, Layout, Sizes, Word, Words, actors, plan
from kernels.story.events import Statuses

if TYPE_CHECKING:
    from kernels.race.straight import Line

Open = Callable[..., Any]


class NoRules(NamedTuple):
    """What a protocol without rules is told."""

    none: int = 0


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """What a race has built in beside labels, as lines of source: behind a labelled step, whose value is in a local,
    and behind the steps of a callee.
    """

    behind_step: Callable[["Line", Step, str], list[str]]
    behind_call: Callable[["Line", Steps, str | None, tuple[ast.expr, ...]], list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """What a search is told of states; functions are compiled into it in the place of those of
    `kernels/search/saying.py`.

    `normal`, `over` and `rests` are those of that file. `of_changes` and `invariants`: by name, a `broken_by` and a
    `broken_in`; `of_label`: what these know of an endless actor at each label, by its step machine. `lasting`: endless
    actors are to come back to where a function of steps is their `goal`, whatever happens. `ways`: by what one calls
    them, the sizes of which a choice may have as many ways.

    `folds`: states are taken for one that differ only in the names of actors that are alike, and no step tells these
    apart (`kernels/language/naming.py`). `renamed`: by word that names actors which come to their end, what it is with
    their places in an order in place of their numbers.
    """

    normal: Open | None = None
    over: Open | None = None
    rests: Open | None = None
    of_changes: Mapping[str, Open] = field(default_factory=dict)
    invariants: Mapping[str, Open] = field(default_factory=dict)
    of_label: Callable[[Machine], Sequence[int]] | None = None
    lasting: bool = True
    ways: Mapping[str, str] = field(default_factory=dict)
    folds: bool = False
    renamed: Mapping[Callable[..., int], Open] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Telling:
    """What a story is told beside spans: `statuses` of calls, what is said of a step just taken, `says(run, site,
    actor, word)`, and by the mark of an entry of a ring what is `retold` of it (`kernels/story/recollect.py`).
    """

    statuses: Statuses | None = None
    says: Callable[[Any, Site, str, int], str] = lambda run, site, actor, word: ""
    retold: Mapping[Any, Callable[[Any, Any], None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """All that the engine knows. A small protocol says the first three.

    `actors`: by kind, endless ones first; an actor's name is that of compiled files, so protocols share one only where
    they share the function. `rules` is a named tuple of integers that steps may look at; `sizes` makes of the rules and
    of a machine's size, another such tuple, the sizes of the layout. `smallest` are rules and size of a machine on
    which compiled actors run once, told to stop. `start(words, lay, rules)` writes the first state into zeroed words;
    `searched` says what a search makes of the rules; a race has something `built_in` beside labels.
    """

    words: Words
    actors: Mapping[ActorKind, Steps]
    outcomes: type[IntEnum]
    rules: type[Any] = NoRules
    smallest: tuple[Any, Any] = (NoRules(), ())
    sizes: Callable[[Any, Any], Sizes] = lambda rules, size: size._asdict()
    start: Callable[[Any, Layout, Any], None] = lambda words, lay, rules: None
    searched: Callable[[Any], Any] = lambda rules: rules
    states: States = field(default_factory=States)
    built_in: BuiltIn | None = None
    telling: Telling = field(default_factory=Telling)

    def __post_init__(self) -> None:
        kinds = list(self.actors)
        if kinds != list(self.words.kinds) or kinds != sorted(kinds, key=lambda kind: not kind.endless):
            raise ValueError("actors: expected the kinds of the words in their order, endless ones first")
        if self.states.folds and len({kind.endless for kind in kinds}) < len(kinds):
            raise ValueError("folds: expected at most one kind of endless actors and one of others")

    @property
    def folds(self) -> bool:
        """Whether a search takes states for one that differ in which actor is which. Raises LanguageError where a step
        tells them apart.
        """
        its = (one.parsed for actor in self.actors.values() for one in subs(actor))
        if self.states.folds and (told := next((one.in_order for one in its if one.in_order), "")):
            names = " and ".join(actor.name for actor in self.actors.values())
            raise LanguageError(f"{told}: actors are told apart here: {names} cannot be folded")
        return self.states.folds

    @property
    def records(self) -> dict[str, tuple[str, ...]]:
        """The fields of the records that a step is given, by parameter."""
        return {"lay": self.words.layout._fields, "rules": self.rules._fields}

    @property
    def steps(self) -> dict[str, Steps]:
        """The functions of steps of all actors, by name."""
        return {one.name: one for actor in self.actors.values() for one in subs(actor)}

    def plan(self, rules: Any, size: Any, **how: Any) -> Layout:
        """The layout of a machine of this size under these rules; see `kernels.layout.plan`."""
        return plan(self.words, self.sizes(rules, size), **how)

    def prepare(self, td: Any, lay: Layout, rules: Any, seed: int) -> None:
        """Write the start into zeroed words, and into the tally each actor's random seed and where its ring stands.

        `td` is an int64 array of `lay.total_words`. Raises ValueError where it is not, or is not aligned to 8 bytes.
        """
        if td.dtype != np.int64 or td.shape != (lay.total_words,) or td.ctypes.data % 8:
            raise ValueError(f"expected {lay.total_words} aligned int64 words, found {td.shape} of {td.dtype}")
        self.start(td, lay, rules)
        everybody = [me for _, _, me in actors(lay)]
        seeds = np.random.SeedSequence(seed).generate_state(len(everybody), np.uint64) >> np.uint64(2)
        for place, (me, drawn) in enumerate(zip(everybody, seeds, strict=True)):
            td[me.tally + RNG] = int(drawn) | 1
            td[me.tally + TRACE_RING] = lay.trace + place * lay.trace_stride


def declare(
    words: Words, name: str, per: ActorKind | Group | None = None, *, names: ActorKind | None = None, **said: Any
) -> Callable[..., int]:
    """Declare a word as `kernels.layout.Word` has it, which may name an actor of a kind. Returns the function that says
    where it stands, in a step as elsewhere: `flag(lay, index)`, of a table `tlb(lay, index, tag)`.
    """
    row = Word(name, per, **said)
    given, parameters = f"lay.{name}", ["lay"]
    if per is not None:
        given, parameters = f"{given} + {per.name} * lay.{per.name}_stride", ["lay", per.name]
    if row.table:
        given, parameters = f"{given} + (tag & (lay.{row.table} - 1))", [*parameters, "tag"]
    if row.each:
        given, parameters = f"{given} + other", [*parameters, "other"]
    # The step language inlines it by its source, as it does any other.
    file, source = f"<word {name}>", f"def {name}({', '.join(parameters)}):\n    return {given}\n"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    space: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, file, "exec"), space)
    where: Callable[..., int] = local(space[name])
    words.rows.append(row)
    words.row_of[where] = row
    return where if names is None else naming(names)(where)
