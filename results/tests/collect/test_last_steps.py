import json
from typing import Any

import pytest

from kernels.story.events import Access, Event, Kind, Span, Story
from results.collect.last_steps import (
    FIRST_ROWS,
    MOST_ROWS,
    STEP_NS,
    LastSteps,
    Traced,
    columns,
    times,
    together,
    trace,
    window,
    without_turns,
)
from results.collect.last_steps import what_led_to_it as told
from results.exchange.columns import Row
from results.exchange.trace_events import text
from results.tests.views import printed

FACTS: dict[str, Any] = {
    "entries": 2082, "frozen_by": {"outcome": "tracking_not_done", "actor": "zapper 0", "page": 7}, "ns_of_entry": 22.2,
    "entries_of_a_shootdown": 50.0, "ns_of_a_shootdown": 1110,
}  # fmt: skip


def event(actor: str, function: str, word: str = "", changed: bool = False, **more: Any) -> Event:
    access = Access(word, 0, int(changed), "before", "after" if changed else "before") if word else None
    known: dict[str, Any] = {
        "leaf": "", "status": "", "outcomes": (), "says": "", "own": (), "calls": (function,),
    } | more  # fmt: skip
    return Event(
        actor=actor, chosen=0, name=f"{function}.step", function=function, text=f"step {word}", file="kernels/some.py",
        line=3, access=access, **known,
    )  # fmt: skip


def raced(
    events: list[Event], at_ns: list[int], spans: list[Span], deeds: list[int] | None = None, **more: Any
) -> Traced:
    actors = ("vcpu 0", "zapper 0")
    made = Story(actors, tuple(events), tuple(spans), tuple(deeds or [0] * len(events)), (), {}, (), "")
    return Traced("kick_then_track", made, tuple(at_ns), **({"failed": None, "page": None} | more))


def a_race() -> Traced:
    """A vCPU enters, stays in the guest for a microsecond and leaves; meanwhile REMOVE is refused."""
    refused: dict[str, Any] = {
        "leaf": "TDH.MEM.PAGE.REMOVE",
        "status": "TLB_TRACKING_NOT_DONE|RCX",
        "outcomes": ("tracking_not_done",),
    }
    events = [
        event("vcpu 0", "vp_enter", "epoch_lock"),
        event("vcpu 0", "vp_enter", "epoch_lock", status="SUCCESS", leaf="TDH.VP.ENTER"),
        event("zapper 0", "mem_page_remove", "tree_lock"),
        event("zapper 0", "mem_page_remove", "tree_lock", **refused),
        event("vcpu 0", "td_exit", "epoch_tracking"),
    ]
    spans = [
        Span("vcpu 0", "TDH.VP.ENTER", Kind.seamcall, 0, 2, 0, status="SUCCESS"),
        Span("vcpu 0", "in the guest", Kind.guest, 2, 4, 0),
        Span("zapper 0", "TDH.MEM.PAGE.REMOVE", Kind.seamcall, 2, 4, 0, status="TLB_TRACKING_NOT_DONE|RCX"),
        Span("vcpu 0", "TD exit", Kind.exit, 4, 5, 0),
    ]
    return raced(events, [-600, -570, -35, 0, 430], spans, [0, 0, 2, 2, 3], failed=3, page=7)


def slices(trace_: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in trace_["traceEvents"] if one["ph"] == "X"]


def test_a_call_lasts_from_its_first_step_to_its_last_and_has_its_status() -> None:
    """A stay in the guest lasts from the entry to the exit, whatever was kept between: of fresh reads nothing is."""
    found = {
        one["name"]: (one["ts"], round(one["dur"], 6), one["args"].get("status")) for one in slices(trace(a_race()))
    }

    assert found["TDH.VP.ENTER"] == (0.0, 0.050, "SUCCESS")
    assert found["in the guest"] == (0.05, 0.980, None)
    assert found["TDH.MEM.PAGE.REMOVE"] == (0.565, 0.055, "TLB_TRACKING_NOT_DONE|RCX")


def test_the_failure_is_a_moment_at_its_time() -> None:
    (moment,) = [one for one in trace(a_race())["traceEvents"] if one["ph"] == "i"]

    assert (moment["name"], moment["ts"], moment["args"]["grade"]) == ("tracking_not_done", 0.62, "forbidden")


def test_a_step_is_no_longer_than_the_time_since_the_step_before() -> None:
    at = [0, 5, 100]
    found = times(raced([event("vcpu 0", "vp_enter")] * 3, at, [])).events

    assert [round(end * 1000 - start * 1000) for start, end in found] == [STEP_NS, 5, STEP_NS]


def test_a_stay_in_the_guest_that_has_not_ended_lasts_to_the_end() -> None:
    events = [event("vcpu 0", "vp_enter"), event("zapper 0", "mem_track")]
    stay = Span("vcpu 0", "in the guest", Kind.guest, 1, 2, 0)

    assert times(raced(events, [0, 900], [stay])).spans == [(0.02, 0.92)]


def test_races_of_several_orderings_are_processes_of_one_trace() -> None:
    one = together([trace(a_race()), trace(a_race())])

    names = [(e["pid"], e["args"]["name"]) for e in one["traceEvents"] if e["name"] == "process_name"]
    assert [number for number, _ in names] == [1, 2]
    assert json.loads(text(one))["traceEvents"] == one["traceEvents"]


def test_an_empty_trace_is_one() -> None:
    assert slices(trace(raced([], [], []))) == []


def claim(actor: str, page: int) -> Event:
    return event(actor, "claim_page", f"mirror[page {page}]", changed=True)


TRACKS = event("zapper 0", "mem_track")
BOTH_ENTER = [event("vcpu 0", name) for name in ("td_exit", "vp_enter", "vp_enter", "guest")]
COMES_AND_GOES = [event("vcpu 1", "vp_enter"), event("vcpu 1", "td_exit")]
OTHERS = [event("zapper 1", "mem_track"), claim("zapper 1", 3), event("zapper 1", "mem_track")]
# By what is shown: the events, the last of which fails on page 7, and the places of those in the columns.
WINDOWS: dict[str, tuple[list[Event], list[int]]] = {
    "they begin where the failing page was claimed": (
        [claim("zapper 0", 7), claim("zapper 0", 7), claim("zapper 1", 3), TRACKS], [1, 2, 3],
    ),
    "a claim that the ring has lost leaves the last steps": (
        [event("vcpu 0", "acknowledge")] * (MOST_ROWS + 9), list(range(8, MOST_ROWS + 9)),
    ),
    "how those entered who were in the guest": (
        [*BOTH_ENTER, *COMES_AND_GOES, claim("zapper 0", 7), TRACKS], [1, 2, 6, 7],
    ),
    "what other zappers were at": (
        [*OTHERS, event("vcpu 0", "acknowledge"), claim("zapper 0", 7), TRACKS], [1, 2, 4, 5],
    ),
    "of many vCPUs in the guest those that entered last": (
        [*(event(f"vcpu {number}", "vp_enter") for number in range(30)), claim("zapper 0", 7), TRACKS],
        list(range(22, 32)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "shown"), WINDOWS.values(), ids=WINDOWS)
def test_the_columns_show_what_the_failure_hangs_on(events: list[Event], shown: list[int]) -> None:
    assert window(events, failed=len(events) - 1, page=7) == shown


def test_without_a_failure_the_columns_show_the_last_steps() -> None:
    assert window([TRACKS] * 100, None, None) == list(range(100 - MOST_ROWS, 100))


def test_time_counts_from_the_failure_which_stands_where_it_happened() -> None:
    lines = printed(columns(a_race()), width=100).splitlines()

    assert lines[0].split() == ["TIME", "vcpu", "0", "zapper", "0"]
    assert [line.split("  ")[0] for line in lines[1:] if line[0] != " "] == ["-600 ns", "-35 ns", "+430 ns"]
    assert [("<== tracking_not_done (forbidden)" in line) for line in lines].count(True) == 1


@pytest.mark.parametrize(("every", "rows"), [(False, 3), (True, 5)])
def test_calls_are_folded_unless_every_step_is_asked_for(every: bool, rows: int) -> None:
    assert len(columns(a_race(), every=every).rows) == rows


def test_of_very_many_rows_the_middle_is_left_out_and_said_so() -> None:
    events = [event(("vcpu 0", "zapper 0")[number % 2], "mem_track") for number in range(100)]
    spans = [Span("vcpu 0", "TDH.MEM.TRACK", Kind.seamcall, 0, 100, 0)]

    rows = columns(raced(events, list(range(100)), spans), every=True).rows
    assert len(rows) == MOST_ROWS + 1
    assert rows[FIRST_ROWS].does == "[40 rows left out: see trace.json]"


def test_only_actors_that_do_something_have_a_column() -> None:
    alone = raced([event("zapper 0", "mem_track")], [0], [Span("zapper 0", "TRACK", Kind.seamcall, 0, 1, 0)])

    assert columns(alone).actors == ["zapper 0"]


def test_what_led_to_a_failure_is_shown_with_the_cost_of_tracing() -> None:
    said = printed(*told(LastSteps(FACTS, a_race(), a_race())), width=200)

    assert said.startswith("kick_then_track: what led to tracking_not_done on page 7\n")
    assert "All 2,082 steps that the rings hold: trace.json" in said
    assert said.endswith(
        "Tracing cost 22 ns a step (measured alone, caches warm), 50 steps of the zapper a shootdown: some 1.11 us of "
        "each until rings froze, and the vCPUs' steps beside it"
    )


def test_without_a_failure_there_is_no_table_and_the_cost_of_a_shootdown_is_not_guessed() -> None:
    facts = {**FACTS, "frozen_by": None, "entries_of_a_shootdown": None, "ns_of_a_shootdown": None}

    assert printed(*told(LastSteps(facts, a_race(), a_race())), width=200).splitlines() == [
        "kick_then_track: no step failed; trace.json holds the last 2,082 steps before the end",
        "Tracing cost 22 ns a step (measured alone, caches warm); no ring holds a whole shootdown to say how many "
        "steps one takes",
    ]


def test_turns_that_only_repeat_are_told_once_and_how_often() -> None:
    def turn(page: int) -> list[Row]:
        return [Row(f"-{page} ns", "vcpu 1", f"in the guest: page {page} faults"), Row("", "vcpu 1", "TD exit")]

    other = Row("-9 ns", "zapper 0", "TDH.MEM.TRACK: SUCCESS")
    rows = [*turn(3), *turn(11), *turn(7), other, *turn(5), *turn(4)]

    assert without_turns(rows) == [
        *turn(3), Row("", "vcpu 1", "[and so on, 2 times more]"), other, *turn(5), *turn(4),
    ]  # fmt: skip
