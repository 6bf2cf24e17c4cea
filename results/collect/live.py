"""What the live view shows of the race, or of the search, that goes on: how far it is and how fast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from kernels.tdx.outcomes import Outcome
from results.collect.tally import Snapshot
from results.numbers.statistics import ENOUGH, percentile
from results.table import GRADE_STYLES, Table
from results.verdict import FAILING, MET, grade_of, named
from results.words import count, nanoseconds, per_second

ALWAYS_SHOWN = (Outcome.stale_in_window, Outcome.stale_after_kick)
NOTABLE = (Outcome.stale_after_done, Outcome.tracking_not_done, Outcome.previous_epoch_busy)


@dataclass(frozen=True, slots=True)
class Live:
    """One moment of one ordering. `place` says where in the run this is, `left` how long it still takes, for people."""

    ordering: str
    safe: bool
    place: str
    left: str
    shootdowns: int
    shootdowns_per_s: float
    reads_per_s: float
    p50_ns: int | None
    p99_ns: int | None
    outcomes: Mapping[str, int]


def live_view(
    ordering: str, before: Snapshot, now: Snapshot, *, safe: bool, place: str = "", left_s: float | None = None
) -> Live:
    """What happened between two snapshots; percentiles only where both hold histograms and n suffices.

    Outcomes are counted from the start of the ordering: the stale reads, the usual errors, and whatever else fails.
    """
    seconds = (now.at_ns - before.at_ns) / 1e9
    new = now.histograms[MET] - before.histograms[MET] if now.histograms and before.histograms else None
    counts = None if new is None else np.maximum(new, 0)
    n = 0 if counts is None else int(counts.sum())
    events = now.outcomes
    failing = [o for o in Outcome if o.grade in FAILING and (events[o] > 0 or o in NOTABLE)]
    return Live(
        ordering,
        safe,
        place,
        "" if left_s is None else f"{max(left_s, 0.0):.0f} s",
        now.shootdowns,
        (now.shootdowns - before.shootdowns) / seconds if seconds > 0 else 0.0,
        (now.reads - before.reads) / seconds if seconds > 0 else 0.0,
        percentile(counts, 0.5) if counts is not None and n >= ENOUGH["p50"] else None,
        percentile(counts, 0.99) if counts is not None and n >= ENOUGH["p99"] else None,
        {o.name: int(events[o]) for o in (*ALWAYS_SHOWN, *failing)},
    )


def live_line(live: Live) -> str:
    """The same as one line, for where there is no terminal."""
    bad = ", ".join(f"{name} {count(events)}" for name, events in live.outcomes.items() if events)
    parts = [
        f"{named(live.ordering, live.safe)}: {per_second(live.shootdowns_per_s)} shootdowns/s, "
        f"{per_second(live.reads_per_s)} reads/s",
        f"p50 {nanoseconds(live.p50_ns)}, p99 {nanoseconds(live.p99_ns)}" if live.p50_ns is not None else "",
        bad,
        f"{live.left} left" if live.left else "",
    ]
    return "; ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class SearchView:
    """One moment of one search. `states` are distinct states, or schedules where `sampled`; rates are of the time since
    the last look. `memory_bytes` is this process's; `found` says what is forbidden and was reached.
    """

    ordering: str
    safe: bool
    place: str
    sampled: bool
    states: int
    states_per_s: float
    frontier: int
    depth: int
    seconds: float
    memory_bytes: int
    found: str = ""


def search_table(view: SearchView) -> RenderableType:
    """The search as a table of one line, what it has found below it."""
    what = "SCHEDULES" if view.sampled else "STATES"
    names = (what, f"{what}/s", *(() if view.sampled else ("FRONTIER",)), "DEPTH", "MEMORY", "TIME")
    found = [Padding(Text(view.found, style="red"), (0, 0, 0, 2))] if view.found else []
    return Group(Text(view.place, style="dim"), _row(view.ordering, view.safe, names, _cells(view)), *found)


def _row(ordering: str, safe: bool, names: Sequence[str], cells: Sequence[str]) -> Table:
    head, bad = ("ORDERING", *names), frozenset() if safe else frozenset({0})
    return Table("", head, ((named(ordering, safe), *cells),), frozenset(range(1, len(head))), bad)


def search_line(view: SearchView) -> str:
    """The same as one line, for where there is no terminal."""
    what = "schedules" if view.sampled else "states"
    states, rate, *frontier, depth, memory, seconds = _cells(view)
    left = f", {frontier[0]} still to expand" if frontier else ""
    name = named(view.ordering, view.safe)
    found = f"; {view.found}" if view.found else ""
    return f"{name}: {states} {what} in {seconds}, {rate} {what}/s{left}, depth {depth}, {memory}{found}"


def _cells(view: SearchView) -> list[str]:
    frontier = [] if view.sampled else [count(view.frontier)]
    return [
        count(view.states), per_second(view.states_per_s), *frontier, f"{view.depth:,}",
        f"{view.memory_bytes / 2**20:,.0f} MiB", nanoseconds(view.seconds * 1e9),
    ]  # fmt: skip


def live_table(live: Live) -> RenderableType:
    """The ordering that runs now, a second's worth: throughput, latency, the outcomes that matter, the time left."""
    numbers = ("LEFT", "SHOOTDOWNS/s", "READS/s", "p50", "p99")
    rates = per_second(live.shootdowns_per_s), per_second(live.reads_per_s)
    cells = (live.left, *rates, nanoseconds(live.p50_ns), nanoseconds(live.p99_ns))
    seen = Text("  ").join(
        Text(f"{name} {count(events)}", style=GRADE_STYLES[grade_of(name)] if events else "dim")
        for name, events in live.outcomes.items()
    )
    table = _row(live.ordering, live.safe, numbers, cells)
    return Group(Text(live.place, style="dim"), table, Padding(seen, (0, 0, 0, 2)))
