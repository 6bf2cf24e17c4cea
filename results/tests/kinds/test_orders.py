"""The atlas's verdicts, its races, its tables and its map, from literals."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from results.draw.sheet import drawn
from results.exchange.cases import Case
from results.kinds.maps import Box, atlas_picture, boxes, how_many_are_safe
from results.kinds.orders import (
    AS_IS,
    CHECK_OFF,
    HOST_FREES,
    differs,
    order_entry,
    race_entries,
    races_caveats,
    spread,
    verdict_of,
)
from results.kinds.orders_views import atlas_screen, order_cases
from results.tests.builders.orders import NOT_DONE, SMALLEST, STEPS, TWICE, atlas, order, raced, twice
from results.tests.views import printed


def text_of(found: dict[str, Any], width: int = 120) -> str:
    """The tables as they stand on a terminal of so many columns."""
    return printed(*atlas_screen({"caveats": [], **found}), width=width)


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
    entry = order_entry(STEPS, {})

    assert (entry["verdict"], entry["decided"], entry["statuses"]) == ("open", None, [])


def test_an_entry_says_by_variant_where_it_is_stale_and_in_how_many_steps() -> None:
    found = {AS_IS: {"tracking_not_done": 21}, CHECK_OFF: {"use_after_remove": 25}, HOST_FREES: {}}

    entry = order_entry(STEPS, found, (HOST_FREES,), SMALLEST, 100)

    assert (entry["stale_in"], entry["stale_open_in"]) == ([CHECK_OFF], [HOST_FREES])
    assert entry["witness_steps"][CHECK_OFF] == {"use_after_remove": 25}
    assert entry["decided"] == {"vcpus": 1, "zappers": 1, "pages": 1, "shootdowns": 1, "tlb_entries": 1}


def test_a_median_of_fewer_than_six_rounds_has_no_interval_of_95_percent() -> None:
    assert spread([1, 2, 3, 4, 5]) is None
    assert spread([6, 1, 2, 3, 4, 5]) == {"median": 3.5, "low": 1, "high": 6}
    assert spread([9, 1, 2, 3, 4, 5, 6, 7, 8]) == {"median": 5, "low": 2, "high": 8}


def test_races_are_told_fastest_first_each_against_the_median_of_its_round() -> None:
    rounds = [
        {"a,b": raced(200 * drift), "v18": raced(600 * drift), **twice(300 * drift, drift)} for drift in range(1, 10)
    ]

    entries = race_entries(rounds, {"v18": ("b", "a"), **TWICE, "a,b": ("b", "a")}, ("spec", "v18"))

    assert [entry["name"] for entry in entries] == ["a,b", "spec again", "spec", "v18"]
    assert entries[0]["p50_ns"] == {"median": 1000, "low": 400, "high": 1600}
    assert [round(entry["ratio"]["median"], 2) for entry in entries] == [0.67, 1.0, 1.0, 2.0]
    assert entries[0]["holm_p"] == pytest.approx(4 * 2 / 4**9)
    assert [differs(entry) for entry in entries] == [True, False, False, True]
    assert {entry["refused"] for entry in entries} == {""}


def test_where_the_reference_differs_from_its_copy_no_order_is_ranked() -> None:
    rounds = [{"a,b": raced(100), "spec": raced(300), "spec again": raced(330)}] * 9

    entries = race_entries(rounds, {"a,b": ("b", "a"), **TWICE}, ("spec",))

    assert {(entry["refused"], entry["ratio"]) for entry in entries} == {("spec differs from itself", None)}
    assert not any(map(differs, entries))


def test_an_order_whose_races_met_nobody_is_not_comparable_and_no_part_of_its_rounds() -> None:
    # A quarter of the others' time, as v18 was once ranked first on a vCPU that happened to be elsewhere.
    rounds = [{"v18": raced(75, met=5 if n == 3 else 900), "a": raced(303), **twice(300, n)} for n in range(1, 10)]

    entries = race_entries(rounds, {"v18": ("b",), "a": ("a",), **TWICE}, ("spec", "v18"))

    last = entries[-1]
    assert (last["name"], last["p50_ns"], last["ratio"]) == ("v18", None, None)
    assert last["refused"] == "in round 3 5 shootdowns met a vCPU, 6 are needed"
    assert [round(entry["ratio"]["median"], 3) for entry in entries[:3]] == [0.997, 1.0, 1.007]


def test_same_orders_are_ranked_in_1_percent_of_atlases_at_most() -> None:
    # 12 orders, of which each race is fast or slow by chance: of 200 atlases 2 by the promise, 6 would be three
    # standard deviations more.
    rng = np.random.default_rng(5)
    names = [*TWICE, *(f"order{number}" for number in range(10))]

    ranked = 0
    for _ in range(200):
        p50s = np.exp(rng.choice([5.5, 6.5], (9, len(names))) + 0.1 * rng.standard_t(2, (9, len(names))))
        rounds = [dict(zip(names, map(raced, row), strict=True)) for row in p50s]
        ranked += any(map(differs, race_entries(rounds, {name: (name,) for name in names}, ())))

    assert ranked <= 6


def test_a_race_without_a_median_is_no_round() -> None:
    rounds = [{**twice(300, n), "a": raced(None)} for n in range(1, 10)]

    entries = race_entries(rounds, {**TWICE, "a": ("a",)}, ("spec",))

    assert (entries[-1]["p50_ns"], entries[-1]["ratio"], entries[-1]["shootdowns"]) == (None, None, 8100)


def test_the_map_goes_on_where_orders_differ_and_ends_where_they_do_not() -> None:
    assert boxes(atlas()["orders"]) == [
        Box(1, 0, 1, ("track",), {"safe": 1}),
        Box(1, 1, 1, ("remove",), {"refused: tracking_not_done": 1}),
        Box(0, 0, 2, ("block",), {}),
        Box(0, 2, 1, ("track", "remove"), {"refused: tracking_not_done": 2, "refused: not_blocked": 2}),
    ]


def test_the_known_orderings_stand_among_the_orders_however_slow() -> None:
    names = [f"order{number}" for number in range(14)]
    rounds = [
        {**{name: raced(100 + place) for place, name in enumerate(names)}, "v18": raced(900), **twice(106, number)}
        for number in range(1, 10)
    ]
    entries = race_entries(rounds, {**{name: (name,) for name in names}, **TWICE, "v18": ("block",)}, (*TWICE, "v18"))
    scenario = {"vcpus": 1, "zappers": 1, "duration_s": 0.5}

    text = text_of(atlas({"scenario": scenario, "rounds": 9, "orders": entries}))

    assert " 17. v18: block" in text
    assert "  - order6" in text  # in the middle of its rounds
    assert "  1. order0" in text
    assert "order7" in text
    assert "order8" not in text
    assert "6 slower safe orders in atlas.json" in text
    assert "spec raced twice: 106 ns and 107 ns; less means nothing." in text


def test_the_picture_is_drawn_with_races_and_without() -> None:
    entries = race_entries([{"v18": raced(300)}] * 9, {"v18": STEPS}, ("v18",))

    for races in (None, {"orders": entries}):
        files = drawn({"atlas": partial(atlas_picture, atlas(races))})
        assert files["atlas.png"].startswith(b"\x89PNG")
        assert files["atlas.svg"].startswith(b"<?xml")


@pytest.mark.parametrize(
    ("verdicts", "title"),
    [
        (["safe", "refused"], "1 of 2 orders of a shootdown's steps is safe"),
        (["refused", "open", "stale", "open"], "0 of 2 orders of a shootdown's steps are safe; 2 open"),
    ],
)
def test_what_is_open_is_no_part_of_how_many_are_safe(verdicts: list[str], title: str) -> None:
    assert how_many_are_safe([{"verdict": verdict} for verdict in verdicts]) == title


def test_an_order_is_a_case_that_passes_unless_it_is_open() -> None:
    refused, left = order(("block",), **NOT_DONE), order_entry(("remove",), {})

    assert order_cases({"orders": [refused, left], "races": None}) == [
        Case("block", "passed", "refused: tracking_not_done", word="refused"),
        Case("remove", "inconclusive", "open", word="open"),
    ]


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        (["inconclusive", "passed"], "passed"),
        (["failed", "passed"], "failed"),
        (["crashed", "failed"], "crashed"),
    ],
)
def test_a_race_is_as_good_as_its_gravest_round(verdicts: list[str], state: str) -> None:
    races = {"orders": [{"name": "v18", "verdicts": verdicts}]}

    assert order_cases({"orders": [], "races": races}) == [
        Case("race of v18", state, ", ".join(verdicts), word="raced" if state == "passed" else "")
    ]


def test_races_that_were_ended_are_a_caveat():
    interrupted, late = (races_caveats(7, 10, interrupted=it)[0]["seen"] for it in (True, False))

    assert races_caveats(10, 10, interrupted=True) == []
    assert interrupted == "interrupted after 7 of 10 rounds of races"
    assert late == "ended after 7 of 10 rounds of races"
