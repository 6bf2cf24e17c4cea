"""Chrome trace events: valid JSON, strictly nested, one track an actor."""

import json
from typing import Any

import pytest

from kernels.story.events import Story
from kernels.tests.written_schedules import refused, stale, told, unserialized, waiting, wander
from results.exchange.trace_events import Slice, chrome_trace, story_trace, text


def slices(trace: Any) -> dict[int, list[tuple[float, float, str]]]:
    """Start, end and name of the slices of each track, in the file's order."""
    found: dict[int, list[tuple[float, float, str]]] = {}
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            found.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"], event["name"]))
    return found


def wandered() -> Any:
    run = unserialized()
    wander(run, 7, 300)
    return run


STORIES = [refused, stale, unserialized, waiting, wandered]


@pytest.mark.parametrize("schedule", STORIES)
def test_every_event_has_what_the_format_asks_for_and_slices_of_a_track_nest(schedule):
    trace = json.loads(text(story_trace(told(schedule()), "a title")))  # refused where they do not nest

    assert all(end > start for track in slices(trace).values() for start, end, _ in track)
    assert set(trace) == {"traceEvents", "displayTimeUnit", "otherData"}
    for event in trace["traceEvents"]:
        assert {"name", "ph", "pid", "tid", "args"} <= set(event)
        assert event["ph"] in ("X", "i", "C", "M")
        assert event["ph"] == "M" or event["ts"] >= 0


def test_each_actor_is_a_track_with_its_name():
    trace = story_trace(told(unserialized()), "a title")
    names = [event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"]

    assert names == ["vcpu 0", "vcpu 1", "zapper 0", "zapper 1"]


def test_calls_kicks_stays_and_every_step_are_slices():
    story: Story = told(stale())
    names = [name for track in slices(story_trace(story, "a title")).values() for _, _, name in track]

    assert {"TDH.MEM.RANGE.BLOCK", "TDH.MEM.TRACK", "kick", "in the guest", "TD exit", "shootdown"} <= set(names)
    assert names.count("mem_track: fetch_add_seq_cst epoch_tracking") == 1
    assert len(names) == len(story.events) + len([span for span in story.spans if span.end > span.start])


def test_what_is_forbidden_is_a_moment_and_the_epoch_a_counter():
    trace = story_trace(told(refused()), "a title")
    moments = [event for event in trace["traceEvents"] if event["ph"] == "i"]
    counters = [event["args"] for event in trace["traceEvents"] if event["ph"] == "C"]

    assert [(moment["name"], moment["ts"], moment["tid"]) for moment in moments] == [("tracking_not_done", 41, 2)]
    assert counters == [
        {"td_epoch": 1, "refcount[0]": 0, "refcount[1]": 1},
        {"td_epoch": 2, "refcount[0]": 0, "refcount[1]": 1},
    ]


def test_slices_that_overlap_are_refused():
    with pytest.raises(ValueError, match="slices of zapper 0 do not nest: b at 5 us"):
        chrome_trace("t", ["zapper 0"], [Slice("zapper 0", "a", 0, 10), Slice("zapper 0", "b", 5, 11)])


def test_slices_of_different_tracks_may_overlap_and_times_need_not_be_whole():
    made = chrome_trace(
        "t", ["a", "b"], [Slice("b", "y", 0.25, 2.5), Slice("a", "x", 0, 1.5), Slice("a", "z", 0, 1)],
        [Slice("a", "m", 1.5, 1.5)], [("c", 1.0, {"n": 2})],
    )  # fmt: skip

    assert slices(made) == {1: [(0, 1.5, "x"), (0, 1, "z")], 2: [(0.25, 2.5, "y")]}
    assert json.loads(text(made)) == made
