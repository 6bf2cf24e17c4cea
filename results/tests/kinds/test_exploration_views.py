"""Explorations as they stand on a terminal of 80 and of 120 columns."""

import io
from typing import Any

import pytest
from rich.console import Console

from results.collect.live import SearchView, search_line, search_table
from results.kinds.exploration_views import exploration_observation, exploration_table, explorations_table
from results.tests.builders.exploration import drawn, explored

CAUGHT = explored({"operand_busy": 5, "tracking_not_done": 33}, ordering="w1", expect=("tracking_not_done",))


def printed(renderable: Any, width: int = 80) -> list[str]:
    """The lines that a terminal of this width shows, without spaces at their ends."""
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False)
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_table_says_of_every_outcome_whether_it_can_happen_and_in_how_few_steps() -> None:
    lines = printed(exploration_table(CAUGHT))

    assert lines[0] == "w1 [unsafe, known for tracking_not_done]: A title"
    assert lines[1] == "  2 vCPUs, 1 zapper, 1 page, 1 TLB entry, 1 shootdown"
    assert "operand_busy          yes         5 acceptable  a try-lock was taken" in lines
    assert "tracking_not_done     yes        33 forbidden!  REMOVE: KVM_BUG_ON" in lines
    assert "use_after_remove      never       - forbidden   someone else's page" in lines
    assert lines[-1] == "  PASSED: caught: tracking_not_done in 33 steps"


def test_below_the_table_stands_how_far_the_search_came() -> None:
    lines = printed(exploration_table(explored()), 120)

    assert "  all interleavings: 50,000 states, 123,456 transitions, depth 61" in lines
    assert "  500 ms on 2 threads, 100 k states/s; two states shared a fingerprint with a chance of 6.8e-11" in lines
    assert "  progress: from each of 90,000 states every zapper can finish and every vCPU enter again" in lines


def test_an_incomplete_search_never_says_never() -> None:
    lines = printed(exploration_table(explored(complete=False, stopped_by="memory")))

    assert "use_after_remove      not seen     - forbidden   someone else's page" in lines
    assert not any("never" in line for line in lines)


def test_no_progress_is_not_said_to_be_impossible_where_livelocks_were_not_looked_for() -> None:
    lines = printed(exploration_table(explored(liveness=None)))

    assert "no_progress           not looked for     - forbidden   livelock or deadlock" in lines


def test_an_unlucky_schedule_is_told_with_the_step_that_it_waits_at() -> None:
    live = {
        "states": 9,
        "seconds": 0.1,
        "livelocks": 0,
        "refused": {},
        "starving": {"zapper 0": "kick: load_acquire ipi"},
    }

    lines = printed(exploration_table(explored(liveness=live)))

    assert "  an unlucky, fair schedule can keep zapper 0 for ever at kick: load_acquire ipi" in lines


def test_deadlocks_and_livelocks_are_counted() -> None:
    live = {"states": 9, "seconds": 0.1, "livelocks": 4, "refused": {"vcpu 0": 3}, "starving": {}}

    lines = printed(exploration_table(explored({"no_progress": 8}, deadlocks=1, liveness=live)))

    assert "  no progress: 1 deadlock, 4 livelocked states" in lines
    assert "  vcpu 0 is kept out of the guest for ever from 3 states on" in lines


def test_of_a_flow_whose_vcpus_go_with_their_td_the_zappers_alone_are_said_to_finish() -> None:
    live: dict[str, Any] = {"states": 9, "seconds": 0.1, "livelocks": 0, "refused": None, "starving": {}}

    assert "  progress: from each of 9 states every zapper can finish" in printed(
        exploration_table(explored(liveness=live))
    )


def test_a_broken_invariant_and_an_outcome_of_no_table_have_rows_of_their_own() -> None:
    lines = printed(exploration_table(explored({"new_status": 3}, {"epoch_monotone": 4})))

    assert "epoch_monotone        yes         4 forbidden!  the TD epoch went back" in lines
    assert "new_status            yes         3 unknown!    undeclared: fails" in lines


def test_faults_stand_beside_the_size() -> None:
    lines = printed(exploration_table(explored(faults=("no_flush_at_entry",))))

    assert lines[1].endswith("1 shootdown; faults: no_flush_at_entry")


def test_random_schedules_are_counted_by_outcome() -> None:
    lines = printed(exploration_table(drawn({"operand_busy": (5, 900)})), 120)

    assert lines[2].startswith("OUTCOME               SCHEDULES STEPS GRADE")
    assert any(line.startswith("operand_busy                900     5 acceptable") for line in lines)
    assert "  1,000 schedules drawn uniformly, seed 7: 400 k steps, the longest 512, in 500 ms" in lines


def test_the_last_table_names_the_forbidden_outcome_of_the_fewest_steps() -> None:
    lines = printed(explorations_table([explored(), CAUGHT]), 100)

    assert lines[1] == "v18         passed  50,000       123 k    61 500 ms -"
    assert lines[2] == "w1 (unsafe) passed  50,000       123 k    61 500 ms tracking_not_done, 33 steps"


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


VIEW = SearchView(
    ordering="v18",
    safe=True,
    place="small, ordering 2 of 3",
    sampled=False,
    states=12_345_678,
    states_per_s=2_100_000.0,
    frontier=123_456,
    depth=61,
    seconds=6.0,
    memory_bytes=700 << 20,
)


def test_a_search_that_goes_on_is_one_line() -> None:
    expected = "v18: 12.3 M states in 6.00 s, 2.10 M states/s, 123 k still to expand, depth 61, 700 MiB"

    assert search_line(VIEW) == expected


def test_on_a_terminal_it_is_a_table() -> None:
    assert printed(search_table(VIEW)) == [
        "small, ordering 2 of 3",
        "ORDERING STATES STATES/s FRONTIER DEPTH  MEMORY   TIME",
        "v18      12.3 M   2.10 M    123 k    61 700 MiB 6.00 s",
    ]
