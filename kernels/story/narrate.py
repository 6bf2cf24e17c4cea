"""From moves to a story: the schedule runs once more, in Python, and every step says what it did.

The step machines are those of `kernels.search.schedule`, interpreted: same labels, same registers, the same words after
every step. What a step did is read off the words before and behind it and off the tally, so nothing here decides
anything.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.language.syntax import Site
from kernels.layout import OUTCOME_COUNTS, Layout, Word, row_at
from kernels.protocol import Protocol
from kernels.search.interpreted import interpreted_machines
from kernels.search.schedule import Schedule
from kernels.story.events import RETURNED, Access, Event, Held, Story
from kernels.story.spans import READS, WALKS, gathered
from kernels.tdx.counters import STATUS_COUNTS, STATUSES
from kernels.tdx.outcomes import OUTCOMES, Outcome
from kernels.tdx.statuses import LEAF_NAMES, NAMES, Leaf, Status
from kernels.tdx.words import content_of, generation_of, is_hit, lp_tlb, occupant, tlb, translation


class Narrator:
    """A schedule that tells what it does. `run` is the schedule itself, `events` what has happened so far."""

    def __init__(self, protocol: Protocol, rules: Any, size: Any) -> None:
        self.run = Schedule(protocol, rules, size, made=interpreted_machines(protocol))
        lay = self.run.lay
        self._rows = [_row_at(lay, word) for word in range(lay.state_words)]
        self._begun = self.state().copy()
        self.events: list[Event] = []

    def state(self) -> NDArray[np.int64]:
        """The words of the protocol's state, places in the code included: all that decides what can happen next."""
        return self.run.words[: self.run.lay.state_words]

    def step(self, actor: str, chosen: int = 0) -> Event:
        """Take one step and tell it. Raises KeyError, ValueError where there is no such actor or no such step."""
        calls = self.run.calls(actor)
        before = self.state().copy()
        counted = self._counts(actor).copy()
        site = self.run.step(actor, chosen)
        word = self.run.touched
        more = self._counts(actor) - counted
        leaf, status = _status(more)
        event = Event(
            actor=actor,
            chosen=chosen,
            name=site.name,
            function=site.function,
            text=site.text,
            file=site.file,
            line=site.line,
            calls=calls,
            access=None if word is None else self._access(word, before),
            own=tuple(self._own(word, before)),
            leaf=leaf,
            status=status,
            outcomes=tuple(Outcome(int(place)).name for place in np.flatnonzero(more[OUTCOME_COUNTS:][:OUTCOMES])),
            says=self._says(site, actor, chosen, word),
        )
        self.events.append(event)
        return event

    def story(self) -> Story:
        """What has happened so far, as a value."""
        run = self.run
        sites = {name: run.site(name) for name in run.actors}
        ahead = {name: (run.calls(name), site.name, self._next_word(name)) for name, site in sites.items() if site}
        spans, deeds = gathered(self.events, ahead)
        return Story(
            actors=run.actors,
            events=tuple(self._told()),
            spans=spans,
            deeds=deeds,
            held=tuple(self._held()),
            stands={name: str(site or RETURNED) for name, site in sites.items()},
            outcomes=tuple(dict.fromkeys(outcome for event in self.events for outcome in event.outcomes)),
            state_sha256=state_sha256(self.state()),
        )

    def _counts(self, actor: str) -> NDArray[np.int64]:
        """The head of the actor's tally up to its statuses."""
        at = self.run.actor(actor).tally
        return self.run.words[at : at + STATUS_COUNTS + len(Leaf) * STATUSES]

    def _access(self, word: int, before: NDArray[np.int64]) -> Access:
        (row, name), old, new = self._rows[word], int(before[word]), int(self.run.words[word])
        return Access(name, old, new, row.reads(old), row.reads(new))

    def _own(self, touched: int | None, before: NDArray[np.int64]) -> Iterator[Access]:
        for word in np.flatnonzero(self.state() != before):
            if word != touched and not self._rows[word][0].place:
                yield self._access(int(word), before)

    def _held(self) -> Iterator[Held]:
        for word, (row, name) in enumerate(self._rows):
            if not row.place:
                value = int(self.run.words[word])
                yield Held(name, value, row.reads(value), value != int(self._begun[word]))

    def _told(self) -> Iterator[Event]:
        """The events, those that turn to a vCPU with its name: the actor's next step shows which one it was."""
        after: dict[str, str] = {}
        told = []
        for event in reversed(self.events):
            if event.text in TURNS:
                event = replace(event, says=after.get(event.actor, "turns to a vCPU"))
            on = event.access.word.partition("[")[2].partition("]")[0] if event.access else ""
            after[event.actor] = f"turns to {on}" if on.startswith("vcpu ") else "no vCPU is left"
            told.append(event)
        return reversed(told)

    def _next_word(self, actor: str) -> str:
        """The word of the step ahead as far as a wait for it goes: an actor that waits looks at the same word again."""
        last = next((event for event in reversed(self.events) if event.actor == actor and event.access), None)
        return last.access.word if last and last.access else ""

    def _says(self, site: Site, actor: str, chosen: int, word: int | None) -> str:
        if word is None:
            if site.text in TURNS:
                return ""
            return CHOICES[site.text][min(chosen, len(CHOICES[site.text]) - 1)].format(chosen)
        if site.name in READS:
            return self._read(actor, word)
        if site.name in WALKS:
            return "walks the shared EPT" if self._rows[word][0].name == "shared_spte" else "walks the S-EPT"
        return ""

    def _read(self, actor: str, word: int) -> str:
        """A guest read of the page that this word is of, by what the TLB holds: the two have just been compared."""
        lay, words = self.run.lay, self.run.words
        shared = self._rows[word][0].name == "shared_owner"
        gpa = (word - (lay.shared_owner if shared else lay.owner)) // lay.page_stride
        number = gpa + lay.pages if shared else gpa
        held = int(words[self._entry(self.run.actor(actor).index, number)])
        page = f"shared page {gpa}" if shared else f"page {gpa}"
        if held == translation(number, int(words[word])):
            return f"reads {page}: fresh"
        if is_hit(held, number):
            return f"reads {page} through hpa {generation_of(content_of(held))}: not current"
        return f"reads {page}: not in the TLB"

    def _entry(self, vcpu: int, gpa: int) -> int:
        """The TLB entry for a guest page: the vCPU's own, or that of the processor it runs on."""
        lay = self.run.lay
        for lp in range(lay.lps):
            if self.run.words[occupant(lay, lp)] == vcpu + 1:
                return lp_tlb(lay, lp, gpa)
        return tlb(lay, vcpu, gpa)


# What each way of a choice means; the last one stands for all behind it.
CHOICES = {
    "any_page": ("takes page {}",),
    "any_range": ("takes range {}",),
    "any_table": ("takes page-table page {}",),
    "pages_after_yield": ("will yield behind the last page", "will yield with pages left: {}"),
    "next_page": ("the guest turns to page {}",),
    "next_access": ("the guest turns to page {}, private ones first",),
    "next_lp": ("is scheduled on processor {}",),
    "zaps": ("no page goes now", "a page goes"),
    "accepts_first": ("touches it", "accepts it first"),
    "event_pending": ("nothing else to do", "an event is pending"),
    "private_or_shared": ("shoots a private page down", "changes a memslot"),
    "reads_before_tick": ("the tick comes", "the guest reads on"),
    "arrives": ("the IPI is still on its way", "the IPI arrives"),
    "drains": ("its store is still in the store buffer", "its store leaves the store buffer"),
    "gives_up": ("tries again", "gives up"),
    "root_is_obsolete": ("keeps its root", "has to load a root"),
}
TURNS = ("next_vcpu", "next_marked", "next_due")


def _row_at(lay: Layout, word: int) -> tuple[Word, str]:
    found = row_at(lay, word)
    assert found is not None, f"word {word} of a state is no protocol's"
    return found


def _status(more: NDArray[Any]) -> tuple[str, str]:
    """The SEAMCALL or TDCALL that ended, and how, by name; empty where none did."""
    for place in np.flatnonzero(more[STATUS_COUNTS:]):
        leaf, status = divmod(int(place), STATUSES)
        return LEAF_NAMES[Leaf(leaf)], NAMES[Status(status)]
    return "", ""


def narrate(protocol: Protocol, rules: Any, moves: Iterable[Any], size: Any) -> Story:
    """The story of these moves, each with an `actor` and a `chosen`. Raises KeyError, ValueError as `Narrator.step`."""
    narrator = Narrator(protocol, rules, size)
    for move in moves:
        narrator.step(move.actor, move.chosen)
    return narrator.story()


def state_sha256(state: NDArray[np.int64]) -> str:
    """Names a state, on any machine."""
    return hashlib.sha256(state.astype("<i8").tobytes()).hexdigest()
