"""Verdicts and exit codes of explorations from literal findings."""

from typing import Any

import pytest

from results.kinds.exploration import exploration_exit_code, failing, judge_exploration, larger
from results.tests.builders.exploration import drawn, explored

WRONG: Any = {"expect": ("tracking_not_done",)}


BY_MEMORY: Any = {"complete": False, "stopped_by": "memory"}
OUT_OF_MEMORY = "but the search ran out of the memory that it may use"
ALL = "nothing forbidden can happen in all 50,000 states"
# By what is shown: what a search found, its verdict and the reason.
JUDGED: dict[str, tuple[Any, str, str]] = {
    "a complete search without a forbidden outcome": (
        explored({"operand_busy": 5, "stale_after_kick": 20}), "passed", ALL,
    ),
    "what was not looked for is said beside the pass": (
        explored(liveness=None), "passed", f"{ALL}; livelocks were not looked for",
    ),
    "one forbidden outcome fails a safe ordering, and the shortest is said first": (
        explored({"tracking_not_done": 33, "previous_epoch_busy": 9}), "failed",
        "declared safe, and can happen: previous_epoch_busy in 9 steps, tracking_not_done in 33 steps",
    ),
    "a broken invariant": (
        explored(broken={"epoch_monotone": 12}), "failed", "declared safe, and can happen: epoch_monotone in 12 steps",
    ),
    "refcounts that do not add up are the outcome of that name": (
        explored(broken={"refcounts_add_up": 12}, expect=("refcount_broken",)), "passed",
        "caught: refcount_broken in 12 steps",
    ),
    "references that are lost are an error": (
        explored({"tracking_not_done": 87}, broken={"refcounts_add_up": 60}, **WRONG), "failed",
        "can happen, and nobody declared it: refcount_broken in 60 steps",
    ),
    "references that a fault loses do not hide that it was caught": (
        explored(
            {"tracking_not_done": 87}, broken={"refcounts_add_up": 60}, faults=("zero_step_keeps_reference",), **WRONG
        ),
        "passed", "caught: tracking_not_done in 87 steps",
    ),
    "an incomplete search is never safe": (
        explored(**BY_MEMORY), "inconclusive", f"nothing forbidden in 50,000 states, {OUT_OF_MEMORY}",
    ),
    "nor one that was interrupted": (
        explored(complete=False, stopped_by="interrupt"), "inconclusive",
        "nothing forbidden in 50,000 states, but the search was interrupted",
    ),
    "an incomplete search that found something forbidden": (
        explored({"not_blocked": 7}, **BY_MEMORY), "failed", "declared safe, and can happen: not_blocked in 7 steps",
    ),
    "random schedules are never a proof": (
        drawn(), "inconclusive", "nothing forbidden in 1,000 random schedules, which prove nothing",
    ),
    "a forbidden outcome in a random schedule": (
        drawn({"stale_after_done": (40, 1)}), "failed", "declared safe, and can happen: stale_after_done in 40 steps",
    ),
    "a known wrong ordering that can show its outcome, among others": (
        explored({"tracking_not_done": 33, "previous_epoch_busy": 50}, **WRONG), "passed",
        "caught: tracking_not_done in 33 steps",
    ),
    "a known wrong ordering is caught by a search that stopped at it": (
        explored({"tracking_not_done": 33}, complete=False, stopped_by="first", **WRONG), "passed",
        "caught: tracking_not_done in 33 steps",
    ),
    "a right ordering that is known for what its machine shows": (
        explored({"ve_on_memory": 31, "use_after_remove": 47}, expect=("ve_on_memory",)), "passed",
        "caught: ve_on_memory in 31 steps",
    ),
    "fails by anything else": (
        {**explored({"ve_on_memory": 31, "use_after_remove": 47}, expect=("ve_on_memory",)), "otherwise_safe": True},
        "failed", "can happen, and nobody declared it: use_after_remove in 47 steps",
    ),
    "a declared violation that cannot happen fails and says which machine to try": (
        explored(expect=("previous_epoch_busy",)), "failed",
        "known for previous_epoch_busy, which cannot happen in a machine of this size "
        "(2 vCPUs, 1 zapper, 1 page, 1 TLB entry, 1 shootdown); try --zappers 2 --pages 2",
    ),
    "a declared violation not seen by an incomplete search": (
        explored(**BY_MEMORY, **WRONG), "inconclusive",
        f"known for tracking_not_done, which did not show in 50,000 states, {OUT_OF_MEMORY}",
    ),
    "nor in random schedules": (
        drawn(**WRONG), "inconclusive",
        "known for tracking_not_done, which did not show in 1,000 random schedules, which prove nothing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("found", "verdict", "reason"), JUDGED.values(), ids=JUDGED)
def test_a_search_is_judged_by_what_it_found(found: Any, verdict: str, reason: str) -> None:
    assert judge_exploration(found) == (verdict, reason)


@pytest.mark.parametrize("name", ["no_progress", "unknown_status", "refcount_broken", "never_heard_of"])
def test_no_progress_and_what_nobody_declared_fail(name: str) -> None:
    assert judge_exploration(explored({name: 4})).verdict == "failed"
    assert judge_exploration(explored({name: 4, "tracking_not_done": 9}, **WRONG)).verdict == "failed"


def test_refcounts_that_do_not_add_up_are_the_outcome_of_that_name_once() -> None:
    assert failing(explored(broken={"refcounts_add_up": 12})) == {"refcount_broken": 12}


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
