"""From the rings of a race to a story: who did what, in the protocol's words, as `kernels.story.events` has it.

A ring says which step was taken on which word and what it answered. What the word held before and after comes from
taking the step once more on it, in Python, where what was last seen there agrees with the answer; and what a step was
called from, from who calls whom in the source.
"""

import ast
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from kernels.language.parse import flat
from kernels.language.syntax import Site, Step, Steps, Sub, sites
from kernels.layout import Layout, actors, name_of, reading
from kernels.protocol import Protocol
from kernels.race.ring import Entry, Mark
from kernels.story.events import Access, Event, Story
from kernels.story.spans import gathered

Paths = dict[str, list[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Recollection:
    """What a race's rings tell. `ticks` are of each event, right behind its step; `failed` the index of the first event
    that showed one of the outcomes for which rings freeze, None where none did; `page` the guest page of that outcome.
    """

    actors: tuple[str, ...]
    events: tuple[Event, ...]
    ticks: tuple[int, ...]
    failed: int | None
    page: int | None


def recollect(protocol: Protocol, found: Sequence[Entry], lay: Layout, failing: frozenset[Any]) -> Recollection:
    """The entries of all rings, in the order of time, told; `failing` are the outcomes for which rings freeze."""
    failures = [entry for entry in found if entry.site == Mark.OUTCOME and protocol.outcomes(entry.word) in failing]
    page = failures[0].value if failures and failures[0].value >= 0 else None
    told = Told(protocol, lay, page)
    begins = {entry.actor: entry.ticks for entry in reversed(found)}
    complete_from = max(begins.values(), default=0)
    for entry in found:
        if entry.ticks == complete_from:
            told.forget()
        told.add(entry)
    names = {outcome.name for outcome in failing}
    failed = next((place for place, event in enumerate(told.events) if names & set(event.outcomes)), None)
    return Recollection(tuple(name for name, _, _ in actors(lay)), tuple(told.events), tuple(told.ticks), failed, page)


def story(protocol: Protocol, actors: Sequence[str], events: Sequence[Event]) -> Story:
    """These events with their spans; the state at the end is not known."""
    spans, deeds = gathered(protocol.steps, events, dict.fromkeys(actors, ((), "", "")))
    seen = dict.fromkeys(outcome for event in events for outcome in event.outcomes)
    return Story(tuple(actors), tuple(events), spans, deeds, (), {}, tuple(seen), "")


@dataclass(slots=True)
class Told:
    """Entries one by one; `events` and `ticks` grow. What is no step and not told here the protocol may tell: its
    `retold` are by `Mark` what it makes of an entry. `page`: what the outcome is of for which rings froze.
    """

    protocol: Protocol
    lay: Layout
    page: int | None
    events: list[Event] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    known: dict[int, int] = field(default_factory=dict)  # what words held when they were last seen
    last: dict[str, int] = field(default_factory=dict)  # the index of each actor's last event
    counted: dict[str, int] = field(default_factory=dict)  # the protocol's, of each actor's last event
    sites: Sequence[Site] = field(default_factory=sites)  # by number, from 1
    ended: bool = False  # whether the call of the actor at hand has just ended in an error
    _ended: set[str] = field(default_factory=set)

    def forget(self) -> None:
        """What words held: until here some ring is not told any more, so somebody may have changed them unseen."""
        self.known.clear()

    def add(self, entry: Entry) -> None:
        """The next entry."""
        self.ended = entry.actor in self._ended
        self._ended.discard(entry.actor)
        retold = self.protocol.telling.retold.get(entry.site)
        if retold is not None:
            retold(self, entry)
        elif entry.site == Mark.STATUS:
            self._status(entry)
        elif entry.site == Mark.OUTCOME:
            self.outcome(entry)
        elif entry.site == Mark.OWN:
            self.own(entry)
        elif entry.site < min(Mark):
            site = self.sites[entry.site - 1]
            old, new = retaken(self.protocol, entry.site, self.known.get(entry.word), entry.value, entry.operand)
            self.append(entry, site, self.access(entry.word, old, new), times(entry))

    def _status(self, entry: Entry) -> None:
        statuses = self.protocol.telling.statuses
        assert statuses is not None, "a status of a protocol that has none"
        status = statuses.of_code(entry.value)
        if status != statuses.well:
            self._ended.add(entry.actor)
        self.change(self.last.get(entry.actor), leaf=statuses.calls[entry.word], status=status)

    def outcome(self, entry: Entry) -> None:
        """An outcome, of the actor's last event."""
        if (last := self.last.get(entry.actor)) is not None:
            name = self.protocol.outcomes(entry.word).name
            self.change(last, outcomes=(*self.events[last].outcomes, name))

    def own(self, entry: Entry) -> None:
        """A word of its own that the actor wrote behind its last event."""
        access = self.access(entry.word, self.known.get(entry.word, entry.value), entry.value)
        if (last := self.last.get(entry.actor)) is not None:
            self.change(last, own=(*self.events[last].own, access))

    def append(self, entry: Entry, site: Site, access: Access | None, says: str) -> None:
        """One more event of the entry's actor, at this site."""
        last = self.last.get(entry.actor)
        before = () if last is None else self.events[last].calls
        calls = called(self.protocol, entry.actor, site.function, before)
        self.last[entry.actor] = len(self.events)
        self.counted.pop(entry.actor, None)
        self.ticks.append(entry.ticks)
        self.events.append(
            Event(
                entry.actor, 0, site.name, site.function, site.text, site.file, site.line,
                calls, access, (), "", "", (), says,
            )
        )  # fmt: skip

    def change(self, place: int | None, **changed: Any) -> None:
        """What tells more of an event; of one that the ring has lost nothing is told."""
        if place is not None:
            self.events[place] = replace(self.events[place], **changed)

    def access(self, word: int, old: int, new: int) -> Access:
        """A word that held this and holds that."""
        self.known[word] = new
        return Access(name_of(self.lay, word), old, new, reading(self.lay, word, old), reading(self.lay, word, new))


def times(entry: Entry) -> str:
    """How often a step was taken, where that is more than once."""
    return f"{entry.repeats + 1:,} times" if entry.repeats else ""


def retaken(protocol: Protocol, site: int, known: int | None, value: int, operand: int) -> tuple[int, int]:
    """What a step's word held before it and after: `value` is what the step answered, `known` what was last seen there.

    Taken again on what was known, or else on the first plain guess on which it gives the same answer.
    """
    run, takes_operand = _operations(protocol)[site]
    for old in (known, value, 0, 1):
        if old is not None:
            words = {0: old}
            answer = run(words, 0, operand) if takes_operand else run(words, 0)
            if answer is None or int(answer) == value:
                return old, words[0]
    return value, value


def called(protocol: Protocol, actor: str, function: str, before: tuple[str, ...]) -> tuple[str, ...]:
    """The calls that lead to a step of `function`, outermost first, where the actor's step before came by `before`.

    A function that several call was called by the one whose own step came before, or by what that one calls; else it is
    the outermost call.
    """
    if before and before[-1] == function:
        return before
    kind = next(kind for kind in protocol.actors if kind.name == actor.split()[0])
    ways = paths(protocol.actors[kind])[function]
    return min([way for way in ways if way[: len(before)] == before] or ways, key=len)


@cache
def paths(actor: Steps) -> Paths:
    """By function, every chain of calls that leads to it from an actor."""
    found: Paths = {}

    def visit(one: Steps, chain: tuple[str, ...]) -> None:
        here = (*chain, one.name)
        found.setdefault(one.name, []).append(here)
        for inner in dict.fromkeys(s.function for s in flat(one.body) if isinstance(s, Sub)):
            visit(inner, here)

    visit(actor, ())
    return found


@cache
def _operations(protocol: Protocol) -> dict[int, tuple[Callable[..., Any], bool]]:
    """By site, what its step does as Python, and whether that takes an operand."""
    found: dict[int, tuple[Callable[..., Any], bool]] = {}
    for one in protocol.steps.values():
        known: dict[str, Any] = {**one.source.__globals__}  # type: ignore[attr-defined]
        for step in flat(one.body):
            if isinstance(step, Step) and not step.is_choice:
                run = known[ast.unparse(step.call.func)]
                found[step.site.number] = run, len(inspect.signature(run).parameters) > 2
    return found
