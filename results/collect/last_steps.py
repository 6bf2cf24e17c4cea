"""The last steps of a race that was traced: as trace events in real time, and as the columns of what led to a failure.

Times are those at which a step was over, by the clock that all CPUs share. A step's own length is not measured: it is
drawn STEP_NS long, or from the actor's step before where that is nearer. Steps of two actors that lie nearer to one
another than a line of memory takes from CPU to CPU, some 100 ns, may stand in the wrong order.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from kernels.story.events import Event, Kind, Span, Story
from results.exchange.columns import Columns, Row, every_step, folded
from results.exchange.trace_events import Times, story_trace
from results.store import TRACE
from results.words import nanoseconds

STEP_NS = 20
MOST_ROWS, FIRST_ROWS, MOST_EVENTS = 60, 16, 4096
MOST_OF_A_TURN, LEAST_TURNS = 6, 2
ENTERED = 8
CLAIMS = frozenset({"claim_page", "claim_range"})


@dataclass(frozen=True, slots=True)
class Traced:
    """A race's last steps. `at_ns` is when each event was over, against the failure; `failed` the index of the event
    that failed, and without one times count from the last event.
    """

    ordering: str
    story: Story
    at_ns: tuple[int, ...]
    failed: int | None
    page: int | None


@dataclass(frozen=True, slots=True)
class LastSteps:
    """What a traced race leaves: `json` for result.json, all its steps, and those that the columns show."""

    json: dict[str, Any]
    whole: Traced
    shown: Traced


def trace(traced: Traced) -> dict[str, Any]:
    """Chrome trace events in microseconds from the first step, strictly nested on each actor's track."""
    return story_trace(traced.story, f"{traced.ordering}: the last steps of a race", times(traced))


def together(traces: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The traces of several races as one, a process each."""
    events = [{**event, "pid": number} for number, one in enumerate(traces, start=1) for event in one["traceEvents"]]
    titles = ", ".join(one["otherData"]["title"] for one in traces)
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"title": titles}}


def times(traced: Traced) -> Times:
    """When spans and events began and ended, in microseconds from the first event, to the nanosecond."""
    story, at_ns = traced.story, traced.at_ns
    own: dict[str, list[int]] = {actor: [] for actor in story.actors}
    begun = []
    for place, event in enumerate(story.events):
        before = own[event.actor]
        shortest = at_ns[place] - STEP_NS
        begun.append(max(shortest, at_ns[before[-1]]) if before else shortest)
        before.append(place)
    first, last = min(begun, default=0), max(at_ns, default=0)

    def spanned(span: Span) -> tuple[int, int]:
        places = own[span.actor]
        start, end = bisect_left(places, span.start), bisect_left(places, span.end)
        before = at_ns[places[start - 1]] if start else first
        if span.kind is Kind.guest:  # from the entry to the exit, whatever was kept between
            return before, begun[places[end]] if end < len(places) else last
        return (begun[places[start]], at_ns[places[end - 1]]) if start < end else (before, before)

    def from_first(stretches: Iterable[tuple[int, int]]) -> list[tuple[float, float]]:
        return [((start - first) / 1000, (end - first) / 1000) for start, end in stretches]

    return Times(from_first(map(spanned, story.spans)), from_first(zip(begun, at_ns, strict=True)))


def window(events: Sequence[Event], failed: int | None, page: int | None) -> list[int]:
    """Which events the columns show: all since the failing shootdown claimed its page; without a failure, the last.

    Of what was under way when that began: the other zappers' shootdowns since their claims, and how those vCPUs had
    entered that were in the guest.
    """
    end = len(events)
    if failed is None:
        return list(range(max(0, end - MOST_ROWS), end))
    claims = (place for place in range(failed, -1, -1) if _claims(events[place], f"mirror[page {page}]"))
    claimed = next(claims, None)
    start = max(failed - MOST_ROWS if claimed is None else claimed, end - MOST_EVENTS, 0)
    return [*_under_way(events[:start], events[start].actor if start == claimed else ""), *range(start, end)]


def _under_way(events: Sequence[Event], but: str) -> list[int]:
    """Of each actor `but` one: the events since its last claim of a page, or of its last TDH.VP.ENTER unless it has
    left again; of the ENTERED vCPUs that came last.
    """
    found: list[int] = []
    entered = 0
    closed = {but}
    entering: set[str] = set()
    for place in range(len(events) - 1, -1, -1):
        event = events[place]
        if event.actor in closed:
            continue
        if event.actor.startswith("zapper"):
            found.append(place)
            if _claims(event, "mirror["):
                closed.add(event.actor)
        elif event.function == "vp_enter" and (event.actor in entering or entered < ENTERED):
            entered += event.actor not in entering
            entering.add(event.actor)
            found.append(place)
        elif event.actor in entering or event.function in ("vp_enter", "td_exit"):
            closed.add(event.actor)
    return found[::-1]


def _claims(event: Event, mirror: str) -> bool:
    """Whether a zapper takes for itself a page whose mirror SPTE's name starts so."""
    access = event.access
    return event.function in CLAIMS and access is not None and access.changed and access.word.startswith(mirror)


def columns(traced: Traced, *, every: bool = False) -> Columns:
    """What led to the failure, a column an actor; a row a step where `every` says so, else calls are folded, and turns
    that only repeat. Of very many rows the middle is left out, and a row says so.
    """

    def when(group: range) -> str:
        ns = traced.at_ns[group[0]]
        return f"{'-' if ns < 0 else '+' if ns else ''}{nanoseconds(abs(ns))}"

    rows = every_step(traced.story, when) if every else without_turns(folded(traced.story, when))
    if len(rows) > MOST_ROWS:
        left_out = Row("", rows[FIRST_ROWS].actor, f"[{len(rows) - MOST_ROWS:,} rows left out: see {TRACE}]")
        rows = [*rows[:FIRST_ROWS], left_out, *rows[FIRST_ROWS - MOST_ROWS :]]
    acting = {row.actor for row in rows}
    return Columns([actor for actor in traced.story.actors if actor in acting], rows, "TIME")


def without_turns(rows: Sequence[Row]) -> list[Row]:
    """The rows; where up to so many stand again and again, but for numbers, once, and how many times more."""
    alike = [(row.actor, re.sub(r"\d+", "", row.does), row.outcomes) for row in rows]
    kept: list[Row] = []
    at = 0
    while at < len(rows):
        for turn in range(1, MOST_OF_A_TURN + 1):
            end = at + turn
            while alike[end : end + turn] == alike[at : at + turn]:
                end += turn
            if (more := (end - at) // turn - 1) >= LEAST_TURNS:
                kept += [*rows[at : at + turn], Row("", rows[at].actor, f"[and so on, {more:,} times more]")]
                at = end
                break
        else:
            kept.append(rows[at])
            at += 1
    return kept


def what_led_to_it(steps: LastSteps, *, every: bool = False) -> Iterator[RenderableType]:
    """For the terminal: what the rings hold, the columns where something failed, and what tracing cost."""
    facts, ordering = steps.json, steps.shown.ordering
    frozen = facts["frozen_by"]
    if frozen is None:
        yield Text(f"{ordering}: no step failed; {TRACE} holds the last {facts['entries']:,} steps before the end")
    else:
        page = "" if frozen["page"] is None else f" on page {frozen['page']}"
        yield Text(f"{ordering}: what led to {frozen['outcome']}{page}", style="bold")
        yield columns(steps.shown, every=every)
        yield Text(f"Time counts from the failure. All {facts['entries']:,} steps that the rings hold: {TRACE}")
    yield Text(cost(facts))


def cost(facts: Mapping[str, Any]) -> str:
    """What tracing cost, in one line."""
    each = f"Tracing cost {facts['ns_of_entry']:.0f} ns a step (measured alone, caches warm)"
    if facts["ns_of_a_shootdown"] is None:
        return f"{each}; no ring holds a whole shootdown to say how many steps one takes"
    return (
        f"{each}, {facts['entries_of_a_shootdown']:.0f} steps of the zapper a shootdown: some "
        f"{nanoseconds(facts['ns_of_a_shootdown'])} of each until rings froze, and the vCPUs' steps beside it"
    )
