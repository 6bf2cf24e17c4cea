"""Explorations as they stand on a terminal of 80 columns."""

from typing import Any

import pytest

from results.kinds.exploration import document
from results.kinds.exploration_views import (
    each_point_table,
    exploration_observation,
    exploration_screen,
    exploration_table,
)
from results.tests.builders.exploration import drawn, explored
from results.tests.views import printed

CAUGHT = explored({"operand_busy": 5, "tracking_not_done": 33}, ordering="w1", expect=("tracking_not_done",))


def shown(*ones: Any) -> str:
    """What a terminal of 80 columns shows, on one line."""
    made = document({}, list(ones), single=len(ones) == 1) | {"caveats": []}
    return " ".join(printed(*exploration_screen(made), width=80).split())


def test_no_progress_is_not_said_to_be_impossible_where_livelocks_were_not_looked_for() -> None:
    silent, asked = explored(liveness=None), explored()

    assert (
        "Never: 11 outcomes that are forbidden or unknown, and 5 others, and livelocks were not looked for."
        in shown(silent)
    )
    assert "Never: 12 outcomes that are forbidden or unknown, and 5 others." in shown(asked)
    assert ("no_progress", "forbidden", "not looked for") in [row[:3] for row in exploration_table(silent).rows]


def test_more_than_four_orderings_have_a_row_each_and_one_that_is_caught_says_so() -> None:
    five = shown(*(explored({"operand_busy": 5}, ordering=name) for name in "abcd"), CAUGHT)

    assert "operand_busy" not in five
    assert all(said in five for said in ("PASSED a ", "PASSED b ", "PASSED c ", "PASSED d ", "CAUGHT w1 (unsafe) "))


def test_of_a_flow_whose_vcpus_go_with_their_td_the_zappers_alone_are_said_to_finish() -> None:
    live: dict[str, Any] = {"states": 9, "seconds": 0.1, "livelocks": 0, "refused": None, "starving": {}}

    assert "progress: from each of 9 states every zapper can finish" in shown(explored(liveness=live, states=9))
    assert "and every vCPU enter again" not in shown(explored(liveness=live))


def test_more_states_than_the_search_had_are_said_to_be_those_with_actors_told_apart() -> None:
    live = {"states": 126_993, "seconds": 1.0, "livelocks": 0, "refused": {}, "starving": {"vcpu 0": "flush_tlb: x"}}
    folded, alone = (shown(explored(states=states, liveness=live)) for states in (64_261, 126_993))

    assert "progress: from each of 126,993 states, actors that are alike told apart, every zapper can" in folded
    assert "progress: from each of 126,993 states every zapper can" in alone
    assert "no failure: an unlucky, fair schedule can keep vcpu 0 for ever at flush_tlb: x" in folded


@pytest.mark.parametrize(
    ("exploration", "line"),
    [
        (explored({"operand_busy": 5, "fault": 3}), "Observation v18 Never 0 2"),
        (CAUGHT, "Observation w1 Sometimes 1 1"),
        (explored(complete=False, stopped_by="memory"), "Observation v18 Unknown 0 0"),
        (drawn(), "Observation v18 Unknown 0 1000"),
        (drawn({"not_blocked": (8, 400)}), "Observation v18 Sometimes 400 600"),
        (drawn({"not_blocked": (8, 1000)}), "Observation v18 Always 1000 0"),
    ],
)
def test_the_line_to_grep_says_never_only_of_a_complete_search(exploration: Any, line: str) -> None:
    assert exploration_observation(exploration) == line


def test_each_point_of_a_sweep_has_a_row_with_its_verdict_or_what_fails_first() -> None:
    ones = [
        {**explored({"operand_busy": 5}, ordering="a"), "point": "without=none"},
        {**explored({"busy_given_up": 15, "tracking_not_done": 33}, ordering="a"), "point": "without=sept_lock"},
        {**explored({"operand_busy": 7}, ordering="b"), "point": "without=none"},
    ]

    assert each_point_table(ones).head == ("point", "a", "b")
    assert each_point_table(ones).rows == (
        ("without=none", "passed", "passed"),
        ("without=sept_lock", "busy_given_up 15", "-"),
    )
    assert "without=sept_lock busy_given_up 15 -" in shown(*ones)
