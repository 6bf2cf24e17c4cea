"""Verdicts and exit codes of explorations from literal findings."""

from typing import Any

import pytest

from results.kinds.exploration import exploration_exit_code, failing, judge_exploration, larger
from results.tests.builders.exploration import drawn, explored

WRONG: Any = {"expect": ("tracking_not_done",)}


def test_a_complete_search_without_a_forbidden_outcome_has_passed() -> None:
    judgement = judge_exploration(explored({"operand_busy": 5, "stale_after_kick": 20}))

    assert judgement == ("passed", "nothing forbidden can happen in all 50,000 states")


def test_what_was_not_looked_for_is_said_beside_the_pass() -> None:
    judgement = judge_exploration(explored(liveness=None))

    assert judgement.reason == "nothing forbidden can happen in all 50,000 states; livelocks were not looked for"


def test_one_forbidden_outcome_fails_a_safe_ordering_and_the_shortest_is_said_first() -> None:
    judgement = judge_exploration(explored({"tracking_not_done": 33, "previous_epoch_busy": 9}))

    reason = "declared safe, and can happen: previous_epoch_busy in 9 steps, tracking_not_done in 33 steps"
    assert judgement == ("failed", reason)


@pytest.mark.parametrize("name", ["no_progress", "unknown_status", "refcount_broken", "never_heard_of"])
def test_no_progress_and_what_nobody_declared_fail(name: str) -> None:
    assert judge_exploration(explored({name: 4})).verdict == "failed"
    assert judge_exploration(explored({name: 4, "tracking_not_done": 9}, **WRONG)).verdict == "failed"


def test_a_broken_invariant_fails() -> None:
    judgement = judge_exploration(explored(broken={"epoch_monotone": 12}))

    assert judgement == ("failed", "declared safe, and can happen: epoch_monotone in 12 steps")


def test_refcounts_that_do_not_add_up_are_the_outcome_of_that_name_once() -> None:
    one = explored(broken={"refcounts_add_up": 12})

    assert failing(one) == {"refcount_broken": 12}
    assert judge_exploration(explored(broken={"refcounts_add_up": 12}, expect=("refcount_broken",))).verdict == "passed"


def test_references_that_a_fault_loses_do_not_hide_that_it_was_caught() -> None:
    one = explored({"tracking_not_done": 87}, broken={"refcounts_add_up": 60}, **WRONG)

    assert judge_exploration(one).verdict == "failed"
    assert judge_exploration({**one, "faults": ["zero_step_keeps_reference"]}).verdict == "passed"


@pytest.mark.parametrize(
    ("stopped_by", "said"),
    [
        ("memory", "but the search ran out of the memory that it may use"),
        ("interrupt", "but the search was interrupted"),
    ],
)
def test_an_incomplete_search_is_never_safe(stopped_by: str, said: str) -> None:
    judgement = judge_exploration(explored(complete=False, stopped_by=stopped_by))

    assert judgement == ("inconclusive", f"nothing forbidden in 50,000 states, {said}")


def test_an_incomplete_search_that_found_something_forbidden_has_failed() -> None:
    assert judge_exploration(explored({"not_blocked": 7}, complete=False, stopped_by="memory")).verdict == "failed"


def test_random_schedules_are_never_a_proof() -> None:
    judgement = judge_exploration(drawn())

    assert judgement == ("inconclusive", "nothing forbidden in 1,000 random schedules, which prove nothing")


def test_a_forbidden_outcome_in_a_random_schedule_fails() -> None:
    assert judge_exploration(drawn({"stale_after_done": (40, 1)})).verdict == "failed"


def test_a_known_wrong_ordering_that_can_show_its_outcome_has_passed() -> None:
    judgement = judge_exploration(explored({"tracking_not_done": 33, "previous_epoch_busy": 50}, **WRONG))

    assert judgement == ("passed", "caught: tracking_not_done in 33 steps")


def test_a_right_ordering_that_is_known_for_what_its_machine_shows_fails_by_anything_else() -> None:
    found = explored({"ve_on_memory": 31, "use_after_remove": 47}, expect=("ve_on_memory",))

    assert judge_exploration(found).verdict == "passed"
    assert judge_exploration({**found, "otherwise_safe": True}) == (
        "failed",
        "can happen, and nobody declared it: use_after_remove in 47 steps",
    )


def test_a_known_wrong_ordering_is_caught_by_a_search_that_stopped_at_it() -> None:
    one = explored({"tracking_not_done": 33}, complete=False, stopped_by="first", **WRONG)

    assert judge_exploration(one).verdict == "passed"


def test_a_declared_violation_that_cannot_happen_fails_and_says_which_machine_to_try() -> None:
    one = explored(expect=("previous_epoch_busy",))

    assert judge_exploration(one) == (
        "failed",
        "known for previous_epoch_busy, which cannot happen in a machine of this size "
        "(2 vCPUs, 1 zapper, 1 page, 1 TLB entry, 1 shootdown); try --zappers 2 --pages 2",
    )


def test_a_declared_violation_not_seen_by_an_incomplete_search_is_inconclusive() -> None:
    one = explored(complete=False, stopped_by="memory", **WRONG)

    assert judge_exploration(one).verdict == "inconclusive"
    assert judge_exploration(drawn(**WRONG)) == (
        "inconclusive",
        "known for tracking_not_done, which did not show in 1,000 random schedules, which prove nothing",
    )


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ({}, "--zappers 2 --pages 2"),
        ({"pages": 2}, "--zappers 2"),
        ({"zappers": 2}, "--pages 2"),
        ({"zappers": 2, "pages": 2, "vcpus": 1}, "--vcpus 2"),
        ({"zappers": 2, "pages": 2}, "--shootdowns 2"),
        ({"zappers": 2, "pages": 2, "shootdowns": 2}, "--vcpus 3"),
    ],
)
def test_the_next_larger_machine_first_lets_two_shootdowns_overlap(size: Any, options: str) -> None:
    assert larger(explored(**size)) == options


PASSED, FAILED = explored(), explored({"stale_after_done": 9})
OPEN = explored(complete=False, stopped_by="memory")
INTERRUPTED = explored(complete=False, stopped_by="interrupt")


@pytest.mark.parametrize(
    ("explorations", "code"),
    [
        ([], 5),
        ([PASSED], 0),
        ([PASSED, FAILED], 1),
        ([FAILED, OPEN], 1),
        ([PASSED, OPEN], 6),
        ([drawn()], 6),
        ([FAILED, INTERRUPTED], 130),
    ],
)
def test_the_exit_code_is_that_of_the_gravest(explorations: list[Any], code: int) -> None:
    assert exploration_exit_code(explorations) == code
