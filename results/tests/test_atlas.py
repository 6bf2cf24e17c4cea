"""The atlas's verdicts, its races, its tables and its map, from literals."""

import io
import itertools
from typing import Any

import pytest
from rich.console import Console

from results.atlas import AS_IS, CHECK_OFF, HOST_FREES, Order, OrderVerdict, Tier, atlas_document, kinds, verdict_of
from results.atlas_map import Box, atlas_picture, boxes
from results.atlas_races import Spread, differs, race_entries, same_order_twice, spread
from results.atlas_tables import atlas_tables

SMALLEST = Tier(vcpus=1, zappers=1, pages=1, shootdowns=1, liveness=True)
STEPS = ("block", "track", "remove")
NOT_DONE = {"tracking_not_done": 21, "stale_after_done": 30}


def order(steps: tuple[str, ...], **forbidden: int) -> dict[str, Any]:
    """An order decided on the smallest machine; a refused one is stale where the host frees."""
    found = {AS_IS: forbidden, **({HOST_FREES: {"use_after_remove": 25}} if forbidden else {})}
    return Order(steps, found, (), SMALLEST, 100).entry()


def atlas(races: dict[str, Any] | None = None) -> dict[str, Any]:
    """All orders of three steps, of which one is safe."""
    entries = [
        order(steps) if steps == STEPS else order(steps, **{"not_blocked": 9} if steps[0] == "remove" else NOT_DONE)
        for steps in itertools.permutations(STEPS)
    ]
    bounds = {CHECK_OFF: 256 << 20, HOST_FREES: 32 << 20}
    subject = {
        "ordering": "mine",
        "parameters": {"expect": ["tracking_not_done"]},
        "steps": list(STEPS),
        "machines": [SMALLEST._asdict()],
        "variant_bytes": bounds,
    }
    explored = {"orders": 6, "decided": 6, "complete": True, "states": 600, "transitions": 900, "threads": 2}
    return atlas_document({}, subject, {**explored, "seconds": 0.5}, entries, races, [])


def text_of(found: dict[str, Any], width: int = 120) -> str:
    """The tables as they stand on a terminal of so many columns."""
    out = io.StringIO()
    Console(file=out, width=width).print(atlas_tables(found))
    return out.getvalue()


def raced(p50_ns: int) -> dict[str, Any]:
    """One race of a round."""
    return {
        "latency_ns": {"shootdown_met": {"p50": p50_ns}, "shootdown": {"p50": p50_ns // 2}},
        "verdict": "passed",
        "all_shootdowns": 1000,
        "met": {"kicks": 1_700, "shootdowns": 900},
    }


@pytest.mark.parametrize(
    ("forbidden", "verdict"),
    [
        ({}, "safe"),
        ({"tracking_not_done": 42, "stale_after_done": 57}, "refused"),
        ({"use_after_remove": 30}, "stale"),
        ({"no_progress": 12}, "deadlock"),
        ({"epoch_monotone": 5}, "broken"),
    ],
)
def test_what_an_order_shows_decides_what_is_said_of_it(forbidden: dict[str, int], verdict: str) -> None:
    assert verdict_of(forbidden) == verdict


def test_an_order_not_looked_at_to_the_end_is_open_whatever_was_not_seen() -> None:
    entry = Order(STEPS, {}, (), None, 0).entry()

    assert (entry["verdict"], entry["decided"], entry["statuses"]) == ("open", None, [])


def test_an_entry_says_by_variant_where_it_is_stale_and_in_how_many_steps() -> None:
    found = {AS_IS: {"tracking_not_done": 21}, CHECK_OFF: {"use_after_remove": 25}, HOST_FREES: {}}

    entry = Order(STEPS, found, (HOST_FREES,), SMALLEST, 100).entry()

    assert (entry["stale_in"], entry["stale_open_in"]) == ([CHECK_OFF], [HOST_FREES])
    assert entry["witness_steps"][CHECK_OFF] == {"use_after_remove": 25}
    assert entry["decided"] == {"vcpus": 1, "zappers": 1, "pages": 1, "shootdowns": 1, "tlb_entries": 1}


def test_orders_are_counted_by_verdict_and_status_the_safe_first() -> None:
    found = [(kind.kind, kind.orders, kind.stale[HOST_FREES], kind.witness) for kind in kinds(atlas()["orders"])]

    assert found == [
        ("safe", 1, 0, None),
        ("refused: tracking_not_done", 3, 3, (21, 21)),
        ("refused: not_blocked", 2, 2, (9, 9)),
    ]


def test_a_median_of_fewer_than_six_rounds_has_no_interval_of_95_percent() -> None:
    assert spread([1, 2, 3, 4, 5]) is None
    assert spread([6, 1, 2, 3, 4, 5]) == Spread(3.5, 1, 6)
    assert spread([9, 1, 2, 3, 4, 5, 6, 7, 8]) == Spread(5, 2, 8)


def test_races_are_told_fastest_first_each_against_the_median_of_its_round() -> None:
    rounds = [
        {"a,b": raced(200 * drift), "spec": raced(300 * drift), "v18": raced(600 * drift)} for drift in range(1, 10)
    ]

    entries = race_entries(rounds, {"v18": ("b", "a"), "spec": ("a",), "a,b": ("b", "a")}, ("spec", "v18"))

    assert [entry["name"] for entry in entries] == ["a,b", "spec", "v18"]
    assert entries[0]["p50_ns"] == {"median": 1000, "low": 400, "high": 1600}
    assert [entry["ratio"]["median"] for entry in entries] == [0.666667, 1.0, 2.0]
    assert [differs(entry) for entry in entries] == [True, False, True]
    assert same_order_twice(entries) is entries[0]


def test_a_race_without_a_median_is_no_round() -> None:
    none = {**raced(0), "latency_ns": {"shootdown_met": {"p50": None}, "shootdown": {"p50": 7}}}

    (entry,) = race_entries([{"spec": none}] * 9, {"spec": ("a",)}, ("spec",))

    assert (entry["p50_ns"], entry["ratio"], entry["shootdowns"]) == (None, None, 8100)


def test_the_map_goes_on_where_orders_differ_and_ends_where_they_do_not() -> None:
    assert boxes(atlas()["orders"]) == [
        Box(1, 0, 1, ("track",), {"safe": 1}),
        Box(1, 1, 1, ("remove",), {"refused: tracking_not_done": 1}),
        Box(0, 0, 2, ("block",), {}),
        Box(0, 2, 1, ("track", "remove"), {"refused: tracking_not_done": 2, "refused: not_blocked": 2}),
    ]


def test_the_tables_fit_80_columns_and_tell_every_kind_of_order() -> None:
    text = text_of(atlas(), width=80)

    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[0] == "Every order of block, track, remove; all else as in mine (unsafe)"
    assert [line.split()[:3] for line in text.splitlines()[2:5]] == [
        ["safe", "1", "-"],
        ["refused:", "tracking_not_done", "3"],
        ["refused:", "not_blocked", "2"],
    ]
    assert "safe: block, track, remove" in text


def test_the_known_orderings_stand_among_the_orders_however_slow() -> None:
    names = [f"order{number}" for number in range(14)]
    rounds = [{**{name: raced(100 + place) for place, name in enumerate(names)}, "v18": raced(900)}] * 9
    entries = race_entries(rounds, {**{name: (name,) for name in names}, "v18": ("block",)}, ("v18",))
    scenario = {"vcpus": 1, "zappers": 1, "duration_s": 0.5}

    text = text_of(atlas({"scenario": scenario, "rounds": 9, "orders": entries}))

    assert " 15. v18: block" in text
    assert "order9" in text
    assert "order10" not in text
    assert "4 slower safe orders in atlas.json" in text


@pytest.mark.parametrize(("kind", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_picture_is_drawn_with_races_and_without(kind: Any, begin: bytes) -> None:
    entries = race_entries([{"v18": raced(300)}] * 9, {"v18": STEPS}, ("v18",))

    for races in (None, {"orders": entries}):
        out = io.BytesIO()
        atlas_picture(atlas(races), out, kind)
        assert out.getvalue().startswith(begin)


def test_the_verdicts_are_words_of_the_json() -> None:
    assert [verdict.value for verdict in OrderVerdict] == ["safe", "refused", "stale", "deadlock", "broken", "open"]
