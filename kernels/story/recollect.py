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

from kernels.language import atomics
from kernels.language.parse import flat
from kernels.language.syntax import SITES, Site, Step, Steps, Sub
from kernels.language.worlds import World
from kernels.layout import Layout, name_of, reading
from kernels.race.ring import Entry, Mark
from kernels.story.events import Access, Event, Story
from kernels.story.spans import READS, WALKS, gathered
from kernels.tdx.kvm.vcpu_run import EPT_VIOLATION, IPI, TICK
from kernels.tdx.outcomes import Outcome
from kernels.tdx.parts.mmio import PENDING_VIOLATION, SHARED_VIOLATION, VMCALL
from kernels.tdx.parts.zero_step import PRIORITY_TIMEOUT
from kernels.tdx.protocol import PROTOCOLS
from kernels.tdx.rules import Flow
from kernels.tdx.statuses import LEAF_NAMES, NAMES, SUCCESS, Leaf, Status
from kernels.tdx.tally import PLACE_OF_STATUS
from kernels.tdx.words import owner

LEFT = {
    IPI: "left for an IPI",
    TICK: "left for the host's tick",
    EPT_VIOLATION: "left for an EPT violation",
    SHARED_VIOLATION: "left for an EPT violation on a shared page",
    VMCALL: "left by TDG.VP.VMCALL",
    PENDING_VIOLATION: "left for an EPT violation on a pending page",
    PRIORITY_TIMEOUT: "left as the host's priority lasted",
}
_PYTHON = World(atomics.PYTHON, lambda bound: bound)
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


def recollect(found: Sequence[Entry], lay: Layout, failing: frozenset[Outcome]) -> Recollection:
    """The entries of all rings, in the order of time, told; `failing` are the outcomes for which rings freeze."""
    failures = [entry for entry in found if entry.site == Mark.OUTCOME and Outcome(entry.word) in failing]
    page = failures[0].value if failures and failures[0].value >= 0 else None
    told = _Told(lay, page)
    begins = {entry.actor: entry.ticks for entry in reversed(found)}
    complete_from = max(begins.values(), default=0)
    for entry in found:
        if entry.ticks == complete_from:
            told.forget()
        told.add(entry)
    names = {outcome.name for outcome in failing}
    failed = next((place for place, event in enumerate(told.events) if names & set(event.outcomes)), None)
    actors = (*(f"vcpu {i}" for i in range(lay.vcpus)), *(f"zapper {i}" for i in range(lay.zappers)))
    return Recollection(actors, tuple(told.events), tuple(told.ticks), failed, page)


def story(actors: Sequence[str], events: Sequence[Event]) -> Story:
    """These events with their spans; the state at the end is not known."""
    spans, deeds = gathered(events, dict.fromkeys(actors, ((), "", "")))
    seen = dict.fromkeys(outcome for event in events for outcome in event.outcomes)
    return Story(tuple(actors), tuple(events), spans, deeds, (), {}, tuple(seen), "")


@dataclass(slots=True)
class _Told:
    """Entries one by one; `events` and `ticks` grow. Fills of other pages than `page` are counted in one event."""

    lay: Layout
    page: int | None
    events: list[Event] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    _known: dict[int, int] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)  # the index of each actor's last event
    _fills: dict[str, int] = field(default_factory=dict)  # pages filled in each actor's last event
    _ended: set[str] = field(default_factory=set)  # whose call has just ended in an error

    def forget(self) -> None:
        """What words held: until here some ring is not told any more, so somebody may have changed them unseen."""
        self._known.clear()

    def add(self, entry: Entry) -> None:
        ended = entry.actor in self._ended
        self._ended.discard(entry.actor)
        last = self._last.get(entry.actor)
        match entry.site:
            case Mark.STATUS:
                if entry.value != SUCCESS:
                    self._ended.add(entry.actor)
                self._change(last, leaf=LEAF_NAMES[Leaf(entry.word)], status=_status(entry.value))
            case Mark.OUTCOME:
                self._outcome(entry, ended)
            case Mark.OWN:
                self._own(entry)
            case Mark.FLUSHED:
                self._change(last, says="drops every translation of its TLB")
            case Mark.LEFT:
                self._left(entry)
            case _:
                self._step(entry)

    def _step(self, entry: Entry) -> None:
        site = SITES[entry.site - 1]
        old, new = retaken(entry.site, self._known.get(entry.word), entry.value, entry.operand)
        self._append(entry, site, self._access(entry.word, old, new), times(entry))

    def _outcome(self, entry: Entry, ended: bool) -> None:
        """Of the call that has just ended in an error, of a TD exit, or of a guest read."""
        outcome, last = Outcome(entry.word), self._last.get(entry.actor)
        if not ended and (last is None or self.events[last].function != "td_exit"):
            site = guest_site(WALKS if outcome == Outcome.fault else READS, self.lay.flow)
            word = owner(self.lay, entry.value)
            access = self._access(word, self._known[word], self._known[word]) if word in self._known else None
            self._append(entry, site, access, ", ".join(filter(None, [f"reads page {entry.value}", times(entry)])))
        last = self._last.get(entry.actor)
        if last is not None:
            self._change(last, outcomes=(*self.events[last].outcomes, outcome.name))

    def _own(self, entry: Entry) -> None:
        access = self._access(entry.word, self._known.get(entry.word, entry.value), entry.value)
        last = self._last.get(entry.actor)
        if not access.word.startswith("tlb["):
            if last is not None:
                self._change(last, own=(*self.events[last].own, access))
            return
        if access.after.startswith(f"page {self.page} "):
            self._append(entry, guest_site(WALKS, self.lay.flow), None, f"fills {access.after}")
            self._change(self._last[entry.actor], own=(access,))
            return
        before = self._fills.get(entry.actor, 0)
        if not before:
            self._append(entry, guest_site(WALKS, self.lay.flow), None, "")
        self._fills[entry.actor] = before + 1
        pages = "a page" if before == 0 else f"{before + 1} pages"
        self._change(self._last[entry.actor], says=f"fills its TLB with {pages}")

    def _left(self, entry: Entry) -> None:
        """Told behind the exit: of the last TD exit of this vCPU."""
        for place in range(len(self.events) - 1, -1, -1):
            if self.events[place].actor == entry.actor and self.events[place].function == "td_exit":
                self._change(place, says=LEFT[entry.value])
                return

    def _append(self, entry: Entry, site: Site, access: Access | None, says: str) -> None:
        last = self._last.get(entry.actor)
        calls = called(entry.actor, site.function, () if last is None else self.events[last].calls, self.lay.flow)
        self._last[entry.actor] = len(self.events)
        self._fills.pop(entry.actor, None)
        self.ticks.append(entry.ticks)
        self.events.append(
            Event(
                entry.actor, 0, site.name, site.function, site.text, site.file, site.line,
                calls, access, (), "", "", (), says,
            )
        )  # fmt: skip

    def _change(self, place: int | None, **changed: Any) -> None:
        """What tells more of an event; of one that the ring has lost nothing is told."""
        if place is not None:
            self.events[place] = replace(self.events[place], **changed)

    def _access(self, word: int, old: int, new: int) -> Access:
        self._known[word] = new
        return Access(name_of(self.lay, word), old, new, reading(self.lay, word, old), reading(self.lay, word, new))


def times(entry: Entry) -> str:
    """How often a step was taken, where that is more than once."""
    return f"{entry.repeats + 1:,} times" if entry.repeats else ""


def retaken(site: int, known: int | None, value: int, operand: int) -> tuple[int, int]:
    """What a step's word held before it and after: `value` is what the step answered, `known` what was last seen there.

    Taken again on what was known, or else on the first plain guess on which it gives the same answer.
    """
    run, takes_operand = _operations()[site]
    for old in (known, value, 0, 1):
        if old is not None:
            words = {0: old}
            answer = run(words, 0, operand) if takes_operand else run(words, 0)
            if answer is None or int(answer) == value:
                return old, words[0]
    return value, value


def called(actor: str, function: str, before: tuple[str, ...], flow: int = Flow.SHOOTDOWN) -> tuple[str, ...]:
    """The calls that lead to a step of `function`, outermost first, where the actor's step before came by `before`.

    A function that several call was called by the one whose own step came before; else it is the outermost call.
    """
    if before and before[-1] == function:
        return before
    ways = _paths(actor.startswith("vcpu"), flow)[function]
    return next((way for way in ways if way[:-1] == before), min(ways, key=len))


@cache
def _paths(of_vcpu: bool, flow: int) -> Paths:
    """By function, every chain of calls that leads to it from an actor of the flow."""
    found: Paths = {}

    def visit(one: Steps, chain: tuple[str, ...]) -> None:
        here = (*chain, one.name)
        found.setdefault(one.name, []).append(here)
        for inner in dict.fromkeys(s.function for s in flat(one.body) if isinstance(s, Sub)):
            visit(inner, here)

    vcpu, zapper = PROTOCOLS[Flow(flow)].actors.values()
    visit(vcpu if of_vcpu else zapper, ())
    return found


@cache
def _operations() -> dict[int, tuple[Callable[..., Any], bool]]:
    """By site, what its step does as Python, and whether that takes an operand."""
    found: dict[int, tuple[Callable[..., Any], bool]] = {}
    for one in (one for protocol in PROTOCOLS.values() for one in protocol.steps.values()):
        known: dict[str, Any] = {**one.source.__globals__}  # type: ignore[attr-defined]
        for step in flat(one.body):
            if isinstance(step, Step) and not step.is_choice:
                run = _PYTHON.resolve(known[ast.unparse(step.call.func)])
                found[step.site.number] = run, len(inspect.signature(run).parameters) > 2
    return found


@cache
def guest_site(names: tuple[str, ...], flow: int) -> Site:
    """The first of these sites that stands in the flow's guest."""
    taken, known = _paths(of_vcpu=True, flow=flow), {site.name: site for site in SITES}
    return next(known[name] for name in names if known[name].function in taken)


def _status(code: int) -> str:
    """A status code by name."""
    return NAMES[next((Status(place) for known, place in PLACE_OF_STATUS if known == code), Status.OTHER)]
