"""`run --trace`: the rings of a race armed before it, and told behind it."""

from collections.abc import Sequence
from typing import Any

from kernels.language.syntax import sites
from kernels.layout import FREEZE_ON, Layout
from kernels.race.clock import Calibration
from kernels.race.ring import Entry, entries
from kernels.race.ticks import NS_SHIFT
from kernels.story.recollect import Recollection, recollect, story
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import Flow
from results.collect.last_steps import LastSteps, Traced, window
from results.store import TRACE
from results.verdict import FAILING
from stress.processes.shared_words import Words

# Of each ring; fewer where there are many actors: a trace of some ten thousand steps is as much as one can read.
MAX_ENTRIES, MIN_ENTRIES, ALL_ENTRIES = 1024, 64, 1 << 16
CLAIMS = frozenset({"claim_page.claim_mirror", "claim_range.claim_mirror", "claim_range.store_release_mirror"})
FORBIDDEN = frozenset(outcome for outcome in Outcome if outcome.grade in FAILING)


def ring_entries(actors: int) -> int:
    """How many entries the ring of each of so many actors has: a power of two."""
    room = 1 << (ALL_ENTRIES // actors).bit_length() - 1
    return max(MIN_ENTRIES, min(MAX_ENTRIES, room))


def arm(words: Words, lay: Layout) -> None:
    """Before the race: have an actor that notes a forbidden or unknown outcome freeze all rings."""
    words[lay.control + FREEZE_ON] = sum(1 << outcome for outcome in FORBIDDEN)


def last_steps(words: Words, lay: Layout, clock: Calibration, ordering: str, ns_of_entry: float) -> LastSteps:
    """What the rings hold, told. The workers have stopped, however they did."""
    found = entries(words, lay)
    protocol = protocol_of(Flow(lay.flow))
    told = recollect(protocol, found, lay, FORBIDDEN)
    zero = told.ticks[told.failed] if told.failed is not None else max(told.ticks, default=0)
    at_ns = tuple((ticks - zero) * clock.ticks_to_ns >> NS_SHIFT for ticks in told.ticks)
    whole = Traced(ordering, story(protocol, told.actors, told.events), at_ns, told.failed, told.page)
    part = window(told.events, told.failed, told.page)
    failed = None if told.failed is None else part.index(told.failed)
    some = story(protocol, told.actors, [told.events[place] for place in part])
    shown = Traced(ordering, some, tuple(at_ns[place] for place in part), failed, told.page)
    a_shootdown = entries_of_a_shootdown(found, lay)
    return LastSteps(
        {
            "file": TRACE,
            "ring_entries": lay.trace_entries,
            "entries": len(found),
            "frozen_by": _frozen_by(told),
            "ns_of_entry": round(ns_of_entry, 1),
            "entries_of_a_shootdown": a_shootdown,
            "ns_of_a_shootdown": None if a_shootdown is None else round(a_shootdown * ns_of_entry),
        },
        whole,
        shown,
    )


def _frozen_by(told: Recollection) -> dict[str, Any] | None:
    """The outcome that froze the rings, None where the end of the race did."""
    if told.failed is None:
        return None
    event = told.events[told.failed]
    names = {outcome.name for outcome in FORBIDDEN}
    outcome = next(name for name in event.outcomes if name in names)
    return {"outcome": outcome, "actor": event.actor, "page": told.page, "step": event.label, "status": event.status}


def entries_of_a_shootdown(found: Sequence[Entry], lay: Layout) -> float | None:
    """How many entries a zapper keeps from one claim of a page to the next, on average; None where no ring holds two.

    The turns of a waiting loop behind the first are not counted: they cost nobody anything but the wait.
    """
    claim = {number for number, site in enumerate(sites(), 1) if site.name in CLAIMS}
    count = shootdowns = 0
    for zapper in (f"zapper {index}" for index in range(lay.zappers)):
        mine = [entry for entry in found if entry.actor == zapper]
        claims = [place for place, entry in enumerate(mine) if entry.site in claim and entry.value]
        if len(claims) > 1:
            count += claims[-1] - claims[0]
            shootdowns += len(claims) - 1
    return round(count / shootdowns, 1) if shootdowns else None
