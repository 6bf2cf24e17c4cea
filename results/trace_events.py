"""Chrome trace events, as Perfetto and chrome://tracing load them: one track an actor, slices that nest strictly.

Format: "Trace Event Format", Google, phases X (a slice with its duration), i (a moment), C (counters), M (names).
Times are in microseconds; a schedule has no time, so there a step takes one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernels.story import Event, Story
from results.grades import FAILING, grade_of, why

EPOCHS = "epoch_tracking"
PROCESS = 1


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of one track, in microseconds."""

    track: str
    name: str
    start_us: float
    end_us: float
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time on one track."""

    track: str
    name: str
    at_us: float
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counter:
    """What counters of one name stand at from here on."""

    name: str
    at_us: float
    values: Mapping[str, int]


def chrome_trace(
    title: str,
    tracks: Sequence[str],
    slices: Iterable[Slice],
    moments: Iterable[Moment] = (),
    counters: Iterable[Counter] = (),
) -> dict[str, Any]:
    """The trace as JSON's values. Raises ValueError where two slices of a track overlap and neither holds the other."""
    numbers = {track: number for number, track in enumerate(tracks, start=1)}
    made: list[dict[str, Any]] = [_named("process_name", 0, name=title)]
    for track, number in numbers.items():
        made += [_named("thread_name", number, name=track), _named("thread_sort_index", number, sort_index=number)]
    for one in _nested(slices):
        made.append(
            _event("X", one.name, one.start_us, numbers[one.track], one.args) | {"dur": one.end_us - one.start_us}
        )
    for moment in moments:
        made.append(_event("i", moment.name, moment.at_us, numbers[moment.track], moment.args) | {"s": "g"})
    for counter in counters:
        made.append(_event("C", counter.name, counter.at_us, 0, counter.values))
    return {"traceEvents": made, "displayTimeUnit": "ns", "otherData": {"title": title}}


def text(trace: Mapping[str, Any]) -> str:
    """The trace as a file's text, an event a line."""
    events = ",\n".join(json.dumps(event, allow_nan=False) for event in trace["traceEvents"])
    rest = {key: value for key, value in trace.items() if key != "traceEvents"}
    return f'{{"traceEvents": [\n{events}\n],\n{json.dumps(rest, allow_nan=False)[1:]}\n'


def story_trace(story: Story, title: str) -> dict[str, Any]:
    """A schedule's trace: calls, kicks and stays in the guest, in them every step; what failed is a moment."""
    spans = [
        Slice(span.actor, span.name, span.start, span.end, {"status": span.status} if span.status else {})
        for span in story.spans
        if span.end > span.start
    ]
    steps = [Slice(event.actor, event.label, at, at + 1, _step(event)) for at, event in enumerate(story.events)]
    moments = [
        Moment(event.actor, outcome, at + 1, {"grade": str(grade_of(outcome)), "why": why(outcome)})
        for at, event in enumerate(story.events)
        for outcome in event.outcomes
        if grade_of(outcome) in FAILING
    ]
    return chrome_trace(title, story.actors, [*spans, *steps], moments, _epochs(story))


def _step(event: Event) -> dict[str, Any]:
    accesses = [access for access in (event.access, *event.own) if access]
    words = {
        access.word: f"{access.before} -> {access.after}" if access.changed else access.after for access in accesses
    }
    more = {"says": event.says, "status": event.status, "outcomes": ", ".join(event.outcomes)}
    return {**words, "source": f"{event.file}:{event.line}", **{key: value for key, value in more.items() if value}}


def _epochs(story: Story) -> Iterable[Counter]:
    """The TD epoch and both reference counts, wherever they change."""
    for at, event in enumerate(story.events):
        access = event.access
        if access and access.word == EPOCHS and access.changed:
            epoch, _, counts = access.after.partition(" ")
            even, odd = counts.removeprefix("R={").removesuffix("}").split(",")
            values = {"td_epoch": int(epoch.removeprefix("E=")), "refcount[0]": int(even), "refcount[1]": int(odd)}
            yield Counter(EPOCHS, at + 1, values)


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
