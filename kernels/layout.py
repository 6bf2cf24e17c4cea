"""Where every shared word stands: the protocol's state first, then the tally that only counts.

One flat int64 array holds both. The first `state_words` are the state of the protocol: all that a step may depend on.
What follows is the tally: counters, histograms and labels, which never influence a step. Words that different actors
write stand on lines of their own (128 bytes: two 64-byte lines, as the adjacent-line prefetcher fetches them);
`packed` puts every word beside the next, as a search over states wants it.

A layout is made of the words that a protocol declares, a row each (`kernels/protocol.py`).
"""

import functools
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

LINE_WORDS = 16

# Histograms: HdrHistogram's buckets for 2 significant digits from 1 ns to 2**40 ns.
HIST_SUB_BUCKETS = 256
HIST_WORDS = 34 * HIST_SUB_BUCKETS // 2

# The head of an actor's tally, offsets in words; a protocol's own counters stand in the gaps and behind.
LABEL, RNG, SPINS, DEADLINE, NEXT_START = 0, 1, 2, 3, 4
# Where the actor's ring begins, and how many entries it has written in all; see `kernels/race/ring.py`.
TRACE_RING, TRACED = 6, 7
# What a perturbed run did to the actor: yields, delays, their ticks where it spun, nanoseconds where it slept.
YIELDED, DELAYED, SPUN_TICKS, SLEPT_NS = 11, 12, 13, 14
FINISHED = 30
OUTCOME_COUNTS = 32

# The control block of the tally. Offsets in words, each on its own line.
GO, STOP_ENDING, STOP_ENDLESS, READY = 0, LINE_WORDS, 2 * LINE_WORDS, 3 * LINE_WORDS
# Every ring is frozen; outcomes, a bit each, at which an actor freezes them.
FROZEN, FREEZE_ON = 4 * LINE_WORDS, 4 * LINE_WORDS + 1
CONTROL_WORDS = 5 * LINE_WORDS
MAX_SITES = 1024
# Of a site: odds of a yield, above them those of a delay, both in 65536, and whether it sleeps; the least, the most;
# whether a delay has struck.
DELAY_ODDS_SHIFT, SLEEPS, PERTURB_FIELDS = 20, 1 << 40, 6
STRUCK = 3 * MAX_SITES
# Whether a site has a cost, its median, and by how much lengths are spread: so many quantiles, as parts of 65536.
COSTS, COST, SPREAD, SPREADS = 1 << 41, 4 * MAX_SITES, 5 * MAX_SITES, 256
MAX_TRACE_ENTRIES = 1 << 16
ENTRY_WORDS = 4  # of an entry of a ring

Sizes = Mapping[str, int]


class Layout(tuple[int, ...]):
    """Offsets in words into the one array, a field for each size and word of a protocol; fields named `*_stride` are
    the words from one element to the next. `ending`: where the words of actors begin that come to an end.
    """

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]]
    declared: ClassVar["Words"]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...

        def _asdict(self) -> dict[str, int]: ...

        def _replace(self, **fields: int) -> "Layout": ...


class Actor(NamedTuple):
    """Who runs a step: the index among its kind, the base of its tally, its program counter and registers (step
    machine).
    """

    index: int  # type: ignore[assignment]
    tally: int
    pc: int
    register: int


COUNTS: set[str] = set()  # the fields of a layout that say how many actors of a kind there are
STRIDES: set[str] = set()  # and those that say how far one's words stand from the next one's


@dataclass(frozen=True, slots=True, eq=False)
class ActorKind:
    """Actors that are alike, of which a layout has `<name>s`. An `endless` one runs for as long as others do."""

    name: str
    endless: bool = False

    def __post_init__(self) -> None:
        COUNTS.add(f"{self.name}s")
        STRIDES.add(f"{self.name}_stride")


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Things in the state of which there are several and which are no actors, such as guest pages: how many, and how
    one is called.
    """

    name: str
    count: Callable[[Sizes], int]
    called: Callable[[Sizes, int], str] | None = None


Owner = ActorKind | Group | None


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A word of the state, or so many in a row.

    `per`: whose it is. `table`: the size that says how many there are, a power of two, of which a tag finds one by its
    low bits; or `each`: one for every actor of a kind. `reads`: what a value means. `there`: the machines that have it.
    `beside`: it stands on the line of the word before it. `private`: nobody but its actor looks at it; such words stand
    behind the others. `counts`: of the tally, as many as its function says.
    """

    name: str
    per: Owner = None
    table: str = ""
    each: ActorKind | None = None
    reads: Callable[[int], str] = str
    there: Callable[[Sizes], bool] | None = None
    beside: bool = False
    private: bool = False
    place: bool = False  # where a step machine stands: no part of the protocol
    counts: Callable[[Sizes], int] | None = None

    def words(self, sizes: Sizes) -> int:
        """How many a machine of these sizes has in a row; 0 where it has none."""
        if self.there is not None and not self.there(sizes):
            return 0
        if self.counts is not None:
            return self.counts(sizes)
        return sizes[self.table] if self.table else sizes[f"{self.each.name}s"] if self.each else 1

    def called(self, sizes: Sizes, index: int, offset: int) -> str:
        """`mode[vcpu 3]`, `tlb[vcpu 0][5]`."""
        of = "" if self.per is None else f"[{_called(self.per, sizes, index)}]"
        return f"{self.name}{of}" + (f"[{offset}]" if self.table or self.each else "")


class Words:
    """All that a protocol declares: sizes, kinds of actors with the words of their tally, and rows, as they stand."""

    def __init__(self, sizes: Sequence[str], kinds: Mapping[ActorKind, Callable[[Sizes], int]]) -> None:
        self.sizes, self.kinds = tuple(sizes), kinds
        self.rows: list[Word] = []
        self.row_of: dict[Callable[..., int], Word] = {}  # by the function that says where a word stands

    @functools.cached_property
    def layout(self) -> type[Layout]:
        """The type of a layout of these words; no word is declared behind its first use."""
        registers = (f"{kind.name}_{what}" for kind in self.kinds for what in ("registers", "pc", "register"))
        tallies = (f"{kind.name}_{what}" for kind in self.kinds for what in ("tally", "tally_stride"))
        strides = dict.fromkeys(f"{owner.name}_stride" for owner in self.owners)
        rings = ("trace", "trace_stride", "trace_entries")
        engine = ("ending", "state_words", "control", "perturb", *tallies, *rings, "total_words")
        fields = (*self.sizes, *(row.name for row in self.rows), *registers, *strides, *engine)
        return type("Layout", (Layout, namedtuple("Layout", fields)), {"__slots__": (), "declared": self})  # type: ignore[misc]

    @functools.cached_property
    def owners(self) -> tuple[ActorKind | Group, ...]:
        """Whose words there are, in the order in which they stand."""
        groups = [row.per for row in self.rows if isinstance(row.per, Group)]
        return tuple(dict.fromkeys([*groups, *self.kinds]))

    @functools.cached_property
    def state(self) -> tuple[Word, ...]:
        """The rows of the state, the places of step machines among them, in the order in which they stand."""
        rows = [row for row in self.rows if row.per is None and row.counts is None]
        for owner in self.owners:
            rows += sorted((row for row in self.rows if row.per is owner), key=lambda row: row.private)
            if isinstance(owner, ActorKind):
                registers = f"{owner.name}_registers"
                rows += [Word(f"{owner.name}_pc", owner, place=True)]
                rows += [Word(f"{owner.name}_register", owner, table=registers, place=True)]
        return tuple(rows)


def count_of(owner: Owner, sizes: Sizes) -> int:
    """How many of these a machine has."""
    if owner is None:
        return 1
    return owner.count(sizes) if isinstance(owner, Group) else sizes[f"{owner.name}s"]


def _called(owner: ActorKind | Group, sizes: Sizes, index: int) -> str:
    if isinstance(owner, Group) and owner.called is not None:
        return owner.called(sizes, index)
    return f"{owner.name} {index}"


def plan(words: Words, sizes: Sizes, *, packed: bool = False, registers: Sizes | None = None, trace: int = 0) -> Layout:
    """The layout of a machine of these sizes; `packed` for searches, else spread over lines for real processes.

    `registers`: of a kind of actor's step machine, by its name. `trace`: how many entries the ring of each actor has,
    for traced kernels. Raises ValueError where that is not a power of two.
    """
    if trace & (trace - 1) or not 0 <= trace <= MAX_TRACE_ENTRIES:
        raise ValueError(f"trace: expected 0 or a power of two up to {MAX_TRACE_ENTRIES}, found {trace}")
    at = {**sizes, **{f"{kind.name}_registers": (registers or {}).get(kind.name, 0) for kind in words.kinds}}
    used, line = 0, 1 if packed else LINE_WORDS

    def put(rows: Sequence[tuple[str, int, bool]]) -> int:
        """These words, one behind the other; returns how many there are with what is left free behind them."""
        nonlocal used
        start = used
        for place, (name, count, _) in enumerate(rows):
            at[name] = used
            used += count
            if not (rows[place + 1 :] and rows[place + 1][2]):
                used = -(-used // line) * line
        return used - start

    def rows_of(owner: Owner) -> list[tuple[str, int, bool]]:
        return [(row.name, row.words(at), row.beside) for row in words.state if row.per is owner]

    put(rows_of(None))
    for owner in words.owners:
        if isinstance(owner, ActorKind) and not owner.endless:
            at.setdefault("ending", used)
        stride = put(rows_of(owner))
        at[f"{owner.name}_stride"] = stride
        used += (count_of(owner, sizes) - 1) * stride
    at["state_words"] = used
    at.setdefault("ending", used)
    line = LINE_WORDS
    used = -(-used // line) * line
    counted = [(row.name, row.counts(at), False) for row in words.rows if row.counts is not None]
    put([("control", CONTROL_WORDS, False), *counted, ("perturb", PERTURB_FIELDS * MAX_SITES, False)])
    for kind, head in words.kinds.items():
        stride = put([(f"{kind.name}_tally", head(at), False)])
        at[f"{kind.name}_tally_stride"] = stride
        used += (sizes[f"{kind.name}s"] - 1) * stride
    at["trace_entries"] = trace
    at["trace_stride"] = put([("trace", trace * ENTRY_WORDS, False)])
    used += (sum(sizes[f"{kind.name}s"] for kind in words.kinds) - 1) * at["trace_stride"]
    at["total_words"] = used
    return words.layout(**at)


def actor(lay: Layout, kind: ActorKind, index: int) -> Actor:
    """The actor of a kind with this index."""
    tally, stride, pc, register, more = (
        getattr(lay, f"{kind.name}_{what}") for what in ("tally", "tally_stride", "pc", "register", "stride")
    )
    return Actor(index, tally + index * stride, pc + index * more, register + index * more)


def actors(lay: Layout) -> Iterator[tuple[str, ActorKind, Actor]]:
    """Everybody by name, "vcpu 0", kind after kind."""
    for kind in lay.declared.kinds:
        for index in range(getattr(lay, f"{kind.name}s")):
            yield f"{kind.name} {index}", kind, actor(lay, kind, index)


def row_at(lay: Layout, word: int) -> tuple[Word, str] | None:
    """What stands at a word of the state, and its name: `td_epoch`, `mode[vcpu 3]`, `tlb[vcpu 0][5]`."""
    sizes = lay._asdict()
    for row in lay.declared.state:
        count, stride = count_of(row.per, sizes), sizes[f"{row.per.name}_stride"] if row.per else 0
        index, offset = divmod(word - sizes[row.name], stride) if stride else (0, word - sizes[row.name])
        if 0 <= index < count and 0 <= offset < row.words(sizes):
            return row, row.called(sizes, index, offset)
    return None


def name_of(lay: Layout, word: int) -> str:
    """The name of a word of the state."""
    found = row_at(lay, word)
    return found[1] if found else f"word {word}"


def reading(lay: Layout, word: int, value: int) -> str:
    """What a value means in this word of the state. A value that means nothing there is shown as a number."""
    found = row_at(lay, word)
    return found[0].reads(value) if found else str(value)
