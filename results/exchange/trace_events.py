"""Chrome trace events, as Perfetto and chrome://tracing load them: one track an actor, slices that nest strictly.

Format: "Trace Event Format", Google, phases X (a slice with its duration), i (a moment), C (counters), M (names).
Times are in microseconds; a schedule has no time, so there a step takes one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kernels.story.events import Event, Story
from results.verdict import FAILING, grade_of, why

EPOCHS = "epoch_tracking"
PROCESS = 1


class Slice(NamedTuple):
    """A stretch of one track, in microseconds; a point in time where it ends at once."""

    track: str
    name: str
    start_us: float
    end_us: float
    args: Mapping[str, Any] = {}


def chrome_trace(
    title: str,
    tracks: Sequence[str],
    slices: Iterable[Slice],
    moments: Iterable[Slice] = (),
    counters: Iterable[tuple[str, float, Mapping[str, int]]] = (),
) -> dict[str, Any]:
    """The trace as JSON's values. `counters`: a name, from when on, and what they stand at.
    Raises ValueError where two slices of a track overlap and neither holds the other.
    """
    numbers = {track: number for number, track in enumerate(tracks, start=1)}
    made: list[dict[str, Any]] = [_named("process_name", 0, name=title)]
    for track, number in numbers.items():
        made += [_named("thread_name", number, name=track), _named("thread_sort_index", number, sort_index=number)]
    for one in _nested(slices):
        length_us = round(one.end_us - one.start_us, 3)  # to the nanosecond
        made.append(_event("X", one.name, one.start_us, numbers[one.track], one.args) | {"dur": length_us})
    for moment in moments:
        made.append(_event("i", moment.name, moment.start_us, numbers[moment.track], moment.args) | {"s": "g"})
    for name, at_us, values in counters:
        made.append(_event("C", name, at_us, 0, values))
    return {"traceEvents": made, "displayTimeUnit": "ns", "otherData": {"title": title}}


def text(trace: Mapping[str, Any]) -> str:
    """The trace as a file's text, an event a line."""
    events = ",\n".join(json.dumps(event, allow_nan=False) for event in trace["traceEvents"])
    rest = {key: value for key, value in trace.items() if key != "traceEvents"}
    return f'{{"traceEvents": [\n{events}\n],\n{json.dumps(rest, allow_nan=False)[1:]}\n'


@dataclass(frozen=True, slots=True)
class Times:
    """When each span and each event of a story began and ended, in microseconds."""

    spans: Sequence[tuple[float, float]]
    events: Sequence[tuple[float, float]]


def numbered(story: Story) -> Times:
    """The times of a schedule, which has none: a step takes a microsecond."""
    return Times([(span.start, span.end) for span in story.spans], [(at, at + 1) for at in range(len(story.events))])


def story_trace(story: Story, title: str, times: Times | None = None) -> dict[str, Any]:
    """A story's trace: calls, kicks and stays in the guest, in them every step; what failed is a moment."""
    times = times or numbered(story)
    spans = [
        Slice(span.actor, span.name, start, end, {"status": span.status} if span.status else {})
        for span, (start, end) in zip(story.spans, times.spans, strict=True)
        if end > start
    ]
    timed = list(zip(story.events, times.events, strict=True))
    steps = [Slice(event.actor, event.label, start, end, _step(event)) for event, (start, end) in timed]
    moments = [
        Slice(event.actor, outcome, end, end, {"grade": str(grade_of(outcome)), "why": why(outcome)})
        for event, (_, end) in timed
        for outcome in event.outcomes
        if grade_of(outcome) in FAILING
    ]
    return chrome_trace(title, story.actors, [*spans, *steps], moments, _epochs(story, times))


def _step(event: Event) -> dict[str, Any]:
    accesses = [access for access in (event.access, *event.own) if access]
    words = {
        access.word: f"{access.before} -> {access.after}" if access.changed else access.after for access in accesses
    }
    more = {"says": event.says, "status": event.status, "outcomes": ", ".join(event.outcomes)}
    return {**words, "source": f"{event.file}:{event.line}", **{key: value for key, value in more.items() if value}}


def _epochs(story: Story, times: Times) -> Iterable[tuple[str, float, Mapping[str, int]]]:
    """The TD epoch and both reference counts, wherever they change."""
    for event, (_, end) in zip(story.events, times.events, strict=True):
        access = event.access
        if access and access.word == EPOCHS and access.changed:
            epoch, _, counts = access.after.partition(" ")
            even, odd = counts.removeprefix("R={").removesuffix("}").split(",")
            values = {"td_epoch": int(epoch.removeprefix("E=")), "refcount[0]": int(even), "refcount[1]": int(odd)}
            yield EPOCHS, end, values


def _nested(slices: Iterable[Slice]) -> list[Slice]:
    """By time, a slice before those that it holds."""
    ordered = sorted(slices, key=lambda one: (one.start_us, -one.end_us))
    around: dict[str, list[Slice]] = {}
    for one in ordered:
        holders = around.setdefault(one.track, [])
        while holders and holders[-1].end_us <= one.start_us:
            holders.pop()
        if one.end_us < one.start_us or (holders and holders[-1].end_us < one.end_us):
            raise ValueError(f"slices of {one.track} do not nest: {one.name} at {one.start_us} us")
        holders.append(one)
    return ordered


def _event(phase: str, name: str, at_us: float, track: int, args: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": phase, "ts": at_us, "pid": PROCESS, "tid": track, "args": dict(args)}


def _named(what: str, track: int, **value: Any) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": PROCESS, "tid": track, "args": value}
