"""Explorations as they stand on a terminal of 80 and of 120 columns."""

import io
from typing import Any

import pytest
from rich.console import Console

from results.kinds.exploration_views import exploration_observation, exploration_table
from results.tests.builders.exploration import drawn, explored

CAUGHT = explored({"operand_busy": 5, "tracking_not_done": 33}, ordering="w1", expect=("tracking_not_done",))


def printed(renderable: Any, width: int = 80) -> list[str]:
    """The lines that a terminal of this width shows, without spaces at their ends."""
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False)
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_an_incomplete_search_never_says_never() -> None:
    lines = printed(exploration_table(explored(complete=False, stopped_by="memory")))

    assert "use_after_remove      not seen     - forbidden   someone else's page" in lines
    assert not any("never" in line for line in lines)


def test_no_progress_is_not_said_to_be_impossible_where_livelocks_were_not_looked_for() -> None:
    lines = printed(exploration_table(explored(liveness=None)))

    assert "no_progress           not looked for     - forbidden   livelock or deadlock" in lines


def test_of_a_flow_whose_vcpus_go_with_their_td_the_zappers_alone_are_said_to_finish() -> None:
    live: dict[str, Any] = {"states": 9, "seconds": 0.1, "livelocks": 0, "refused": None, "starving": {}}

    assert "  progress: from each of 9 states every zapper can finish" in printed(
        exploration_table(explored(liveness=live))
    )


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
