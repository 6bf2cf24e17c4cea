"""The matrix's verdicts, its findings, its table and its picture, from literals."""

import textwrap

import pytest

from results.draw.sheet import drawn
from results.kinds.faults import (
    NO_FAULT,
    Pair,
    beside_no_right_order,
    breaks_a_right_order,
    entries,
    matrix_screen,
    matrix_tables,
    pair_cases,
    rows_of,
)
from results.kinds.maps import matrix_picture
from results.tests.builders.faults import FLOW, NOT_DONE, PAIRS, SMALLEST, STALE, matrix, pair
from results.tests.views import printed


@pytest.mark.parametrize(
    ("found", "complete", "verdict", "outcome"),
    [
        ({}, True, "safe", None),
        ({}, False, "open", None),
        (NOT_DONE, True, "refused", "tracking_not_done"),
        (STALE, False, "stale", "use_after_remove"),
        ({"stale_after_done": 9}, True, "stale", "stale_after_done"),
        ({"no_progress": 27}, True, "stuck", "no_progress"),
        ({"no_progress": 27, "busy_given_up": 30}, True, "refused", "busy_given_up"),
        ({"refcount_broken": 25}, True, "broken", "refcount_broken"),
        ({"tracking_not_done": 30, "sept_use_after_free": 99}, True, "stale", "sept_use_after_free"),
        ({"not_zeroed": 70, "use_after_remove": 80}, True, "stale", "not_zeroed"),
        ({"hkid_leaked": 50, "td_state_incorrect": 55}, True, "refused", "td_state_incorrect"),
        ({"ve_on_memory": 51}, True, "stuck", "ve_on_memory"),
    ],
)
def test_the_gravest_outcome_decides_a_pair(
    found: dict[str, int], complete: bool, verdict: str, outcome: str | None
) -> None:
    its = pair("mine", "blind", found, complete=complete)
    (case,) = pair_cases({"pairs": entries([its], {})})

    assert (its.verdict, its.outcome) == (verdict, outcome)
    assert (case.state, case.word) == ("inconclusive" if verdict == "open" else "passed", verdict)
    assert case.told == (f"{verdict}: {outcome}" if outcome else verdict)


def test_what_a_fault_adds_and_takes_away_is_told_against_the_ordering_without_it() -> None:
    blind, kind = (
        next(c for c in matrix()["pairs"] if c["ordering"] == "wrong" and c["fault"] == f) for f in ("blind", "kind")
    )

    assert (blind["added"], blind["lost"]) == (["use_after_remove"], ["stale_after_done"])
    assert (kind["added"], kind["lost"]) == ([], ["stale_after_done", "tracking_not_done"])
    assert len(blind["witness"]) == 1


@pytest.mark.parametrize(
    ("pairs", "said", "title"),
    [
        (
            [pair("wrong", NO_FAULT, NOT_DONE), pair("wrong", "blind", STALE), pair("wrong", "kind", {})],
            """
            Faults searched through with no right order, and the wrong orders to which they
            add something
            blind wrong (unsafe)
            Nothing worse in any order searched: kind.
            wrong (unsafe) shows nothing any more with kind
            """,
            "2 faults searched with no right order; 1 of them adds something to a wrong one",
        ),
        (
            [pair("wrong", NO_FAULT, NOT_DONE), pair("wrong", "late", NOT_DONE)],
            "Nothing worse in any order searched: late.",
            "1 fault searched with no right order",
        ),
        (
            [pair("right", NO_FAULT, {}), pair("right", "late", {}, complete=False),
             pair("wrong", NO_FAULT, NOT_DONE), pair("wrong", "late", NOT_DONE)],
            "",
            "1 fault searched with no right order",
        ),
        (
            # A stale read beside what is refused already is nothing worse.
            [pair("right", NO_FAULT, {}), pair("right", "late", {}),
             pair("wrong", NO_FAULT, {"tracking_not_done": 33}), pair("wrong", "late", NOT_DONE)],
            "Nothing worse in any order searched: late.",
            "0 of 1 fault break a right order",
        ),
        (
            [pair("right", NO_FAULT, {}), pair("right", "late", NOT_DONE)],
            """
            Faults that break a right order alone
            late right
            """,
            "1 of 1 fault breaks a right order",
        ),
        (
            [pair("right", NO_FAULT, {}), Pair(FLOW, "right", "late", {}, True, 100, None, unread=True)],
            "",
            "No ordering looks for these faults",
        ),
    ],
)  # fmt: skip
def test_of_a_selection_nothing_is_said_of_orders_that_were_not_searched(
    pairs: list[Pair], said: str, title: str
) -> None:
    document = matrix(pairs)

    shown = printed(*matrix_screen(document), width=80)

    assert textwrap.dedent(said).strip() == shown.partition("-v has all of it.\n")[2].partition("Open:")[0].strip()
    assert title.encode() in drawn({"matrix": lambda: matrix_picture(document)}, ["svg"])["matrix.svg"]


def test_a_fault_is_held_against_the_ordering_in_its_own_flow() -> None:
    elsewhere = [
        Pair("mmio", "right", NO_FAULT, NOT_DONE, True, 100, SMALLEST._asdict()),
        Pair("mmio", "right", "keep", NOT_DONE, True, 100, SMALLEST._asdict()),
    ]
    cells = entries([*PAIRS, *elsewhere], {})

    assert "keep" not in breaks_a_right_order(cells)
    assert beside_no_right_order(cells) == {"keep": []}
    assert cells[-1]["added"] == []
    assert rows_of(cells)[-2:] == [("mmio", NO_FAULT), ("mmio", "keep")]


def test_an_unsafe_ordering_is_marked_in_the_table_and_in_the_picture_whose_title_says_what_faults_do() -> None:
    picture = drawn({"matrix": lambda: matrix_picture(matrix())}, ["svg"])["matrix.svg"]

    assert next(iter(matrix_tables(matrix()))).head == ("fault / ordering", "right", "wrong\n(unsafe)")
    assert picture.count(b"(unsafe)") == 1
    assert b"1 of 3 faults breaks a right order; 1 shows only where more is wrong; 1 in no order searched" in picture
