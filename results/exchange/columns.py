"""A schedule as a table for a review: one column an actor, one row a step, what the step did to which word.

In a row only one actor acts, so its text may run on to the right over the columns of the others: a table of six actors
fits into 80 columns. Plain text carries everything, colours only help the eye.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from kernels.story.events import Access, Event, Held, Kind, Span, Story
from kernels.tdx.outcomes import Grade, Outcome
from results.table import Table
from results.verdict import FAILING, grade_of, why

MARKED = {Grade.forbidden: "bold red", Grade.unknown: "bold red", Grade.interesting: "yellow"}
# Below this a column's head does not fit: then the actor's name stands in the row.
LEAST_COLUMN, MOST_COLUMN, LEAST_TEXT = 4, 22, 38
# Where these hold nothing but what they always hold, nothing is said.
LOCKS = ("epoch_lock", "tree_lock", "mmu_lock")
MERGED = (Kind.host, Kind.wait, Kind.shootdown)


@dataclass(frozen=True, slots=True)
class Row:
    """What one actor does in one row: a headline, what the words then hold, and the outcomes that it shows.

    `when` is the first column: a step's number, or a time.
    """

    when: str
    actor: str
    does: str
    holds: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether an outcome is forbidden or unknown."""
        return any(grade_of(outcome) in FAILING for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class Columns:
    """The table, fitted to whatever width it is printed at; `heading` is that of the first column."""

    actors: Sequence[str]
    rows: Sequence[Row]
    heading: str = "STEP"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        first = max((len(row.when) for row in self.rows), default=0)
        first = max(first, len(self.heading)) + 2
        column = _column(len(self.actors), options.max_width - first)
        if column:
            names = [name if column > len(name) else name[0] + name.split()[-1] for name in self.actors]
            heads = "".join(name.ljust(column) for name in names)
            yield Text(self.heading.ljust(first) + heads.rstrip(), style="bold", no_wrap=True)
        for row in self.rows:
            yield from self._lines(row, first, column, options.max_width)

    def _lines(self, row: Row, first: int, column: int, width: int) -> Iterator[Text]:
        place = self.actors.index(row.actor)
        lanes = "".join(".".ljust(column) for _ in range(place)) if column else ""
        room = max(width - first - len(lanes), 20)
        does = row.does if column else f"{row.actor}: {row.does}"
        when = row.when
        style = "bold red" if row.fails else "bold" if row.outcomes else ""
        said = [(does, style), *((held, "") for held in row.holds), *map(_mark, row.outcomes)]
        for text, look in said:
            first_indent, indent = ("", "    ") if text is does else ("  ", "    ")
            for part in wrap(
                text, room, initial_indent=first_indent, subsequent_indent=indent, break_on_hyphens=False
            ) or [""]:
                line = Text.assemble((when.ljust(first), "cyan"), (lanes, "dim"), (part, look), no_wrap=True)
                line.rstrip()
                yield line
                when = ""


def _column(actors: int, room: int) -> int:
    """How far columns stand apart; 0 where there are too many for that."""
    column = MOST_COLUMN if actors == 1 else min(MOST_COLUMN, (room - LEAST_TEXT) // (actors - 1))
    return column if column >= LEAST_COLUMN else 0


def _mark(outcome: str) -> tuple[str, str]:
    grade = grade_of(outcome)
    arrow = "<== " if grade in FAILING else ""
    return f"{arrow}{outcome} ({grade}): {why(outcome)}", MARKED.get(grade, "green")


def numbers(group: range) -> str:
    """The numbers of these steps, from 1."""
    first, last = group[0] + 1, group[-1] + 1
    return str(first) if first == last else f"{first}-{last}"


def every_step(story: Story, when: Callable[[range], str] = numbers) -> list[Row]:
    """A row for each step: its label and place in the source, the word that it touches, the status of a call's end.

    `when` says what stands in the first column for some steps next to each other, counted from 0.
    """
    rows = []
    for number, event in enumerate(story.events):
        does = f"{event.label} ({event.file}:{event.line})"
        words = [event.access, *event.own] if event.access else [*event.own]
        ends = [f"{event.leaf}: {event.status}"] if event.leaf else []
        holds = (*(_held(access) for access in words), *filter(None, [event.says]), *ends)
        rows.append(Row(when(range(number, number + 1)), event.actor, does, holds, event.outcomes))
    return rows


def folded(story: Story, when: Callable[[range], str] = numbers) -> list[Row]:
    """A row for each call, kick and stay in the guest, as far as nobody else came between; `when` as above."""
    return [_row(story, group, when(group)) for group in _groups(story)]


def _groups(story: Story) -> Iterator[range]:
    """Steps next to each other that make one row: those of one deed, and KVM's own small deeds together."""
    start = 0
    for here in range(1, len(story.events) + 1):
        if here == len(story.events) or not _together(story, here - 1, here):
            yield range(start, here)
            start = here


def _together(story: Story, one: int, other: int) -> bool:
    if story.events[one].actor != story.events[other].actor or story.events[one].outcomes:
        return False
    first, second = (story.spans[story.deeds[step]] for step in (one, other))
    if first is second or {first.kind, second.kind} == {Kind.kick, Kind.wait}:
        return True
    return (first.kind in MERGED or second.kind is Kind.shootdown) and second.kind in MERGED


def _row(story: Story, group: range, when: str) -> Row:
    events = [story.events[step] for step in group]
    deeds = list(dict.fromkeys(story.deeds[step] for step in group))
    named = [_does(story, deed, group, events) for deed in deeds if story.spans[deed].kind is not Kind.shootdown]
    outcomes = dict.fromkeys(outcome for event in events for outcome in event.outcomes)
    return Row(
        when,
        events[0].actor,
        "; ".join(dict.fromkeys(named)) or _own_step(events),  # a wait is told once, however often it was tried
        tuple(_net(events)),
        tuple(outcomes),
    )


def _own_step(events: Sequence[Event]) -> str:
    """What a zapper does between its calls: the oracle's bookkeeping, and giving mmu_lock back."""
    return "gives mmu_lock back" if any("unlock" in event.text for event in events) else "notes it for the oracle"


def _does(story: Story, deed: int, group: range, events: Sequence[Event]) -> str:
    """The headline of one deed; dots where it began in an earlier row or goes on in a later one."""
    span: Span = story.spans[deed]
    if span.kind is Kind.guest:
        said = [event.says for event in events if event.says and event.text not in ("next_page", "next_vcpu")]
        said = [text for text in said if text != "the guest reads on"]
        return "in the guest" + (f": {', '.join(said)}" if said else "")
    before = deed in story.deeds[span.start : group[0]]
    behind = deed in story.deeds[group[-1] + 1 : span.end] or not span.whole
    page = next((event.access.word for event in events if event.access and "[page " in event.access.word), "")
    on = f"page {page.partition('[page ')[2].rstrip(']')}"
    name = span.name.replace("a page", on) if page else span.name
    name += f" {on}" if page and span.kind is Kind.seamcall else ""
    status = f": {span.status}" if span.status and not behind else ""
    return f"{'... ' * before}{name}{status}{' ...' * behind}"


def _net(events: Sequence[Event]) -> Iterator[str]:
    """What the row's words held before and hold after it, each word once; locks only where they were not free."""
    seen: dict[str, Access] = {}
    for event in events:
        for access in (event.access, *event.own):
            if access is not None:
                first = seen.get(access.word, access)
                seen[access.word] = Access(access.word, first.old, access.new, first.before, access.after)
    for access in seen.values():
        family = access.word.partition("[")[0]
        quiet = (family in LOCKS and access.after == "free") or (family == "ipi" and access.after == "none")
        if family != "awaiting" and (access.changed or not quiet):
            yield _held(access)


def _held(access: Access) -> str:
    if access.changed:
        return f"{access.word}: {access.before} -> {access.after}"
    return f"{access.word} = {access.after}"


def failing_step(story: Story, outcome: str) -> int | None:
    """The number, from 1, of the step that showed this outcome first; None where none did."""
    known = outcome in Outcome.__members__
    return next((n for n, event in enumerate(story.events, 1) if known and outcome in event.outcomes), None)


def held_table(words: Sequence[Held]) -> RenderableType:
    """Every word of the state by name: its value, what it means, and a star where it differs from the start."""
    rows = []
    for held in words:
        number = str(held.value) if abs(held.value) < 1 << 20 else f"{held.value & (1 << 64) - 1:#018x}"
        meaning = held.reading if held.reading != str(held.value) else ""
        rows.append((held.word, "*" if held.changed else "", number, meaning))
    table = Table("", ("WORD", "", "value", "meaning"), tuple(rows), frozenset({2}))
    return Group(table, Text("* differs from the start", style="dim"))
