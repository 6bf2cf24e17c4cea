"""The record of an exploration as JSON, its caveats, its verdict and its exit code, from literal findings."""

import json
from typing import Any

import pytest

from results.kinds.exploration import (
    Found,
    document,
    exploration_caveats,
    exploration_exit_code,
    failing,
    judge_exploration,
    larger,
    record,
)
from results.tests.builders.exploration import SUBJECT, WHOLE, drawn, explored

STEPS = ({"actor": "vcpu 0", "step": "vcpu: store_seq_cst mode (kernels/tdx/kvm/vcpu_run.py:189)", "chosen": 0},)


def test_an_entry_names_what_was_reached_in_the_order_of_the_outcomes() -> None:
    one = explored({"tracking_not_done": 33, "operand_busy": 5, "fault": 12})

    assert one["outcomes"] == ["fault", "operand_busy", "tracking_not_done"]
    assert one["witness_steps"] == {"fault": 12, "operand_busy": 5, "tracking_not_done": 33}
    assert one["grades"]["tracking_not_done"] == "forbidden"
    assert (one["verdict"], one["states"], one["complete"]) == ("failed", 50_000, True)


def test_an_entry_holds_the_schedule_where_one_was_told() -> None:
    one = record(SUBJECT, WHOLE, {"not_blocked": Found(1, None, STEPS), "fault": Found(3)}, {})

    assert one["witnesses"] == {"not_blocked": list(STEPS)}


def test_an_entry_of_random_schedules_counts_those_that_showed_an_outcome() -> None:
    one = drawn({"fault": (12, 900)})

    assert (one["schedules_with"], one["seed"], one["states"]) == ({"fault": 900}, 7, None)


def test_a_single_ordering_is_a_document_of_its_own_and_several_are_a_list_though_only_one_was_reached() -> None:
    alone, several = (document({"version": "0.1.0"}, [explored()], single=single) for single in (True, False))

    assert (alone["schema"], alone["version"], alone["ordering"]) == ("tdx-stress/exploration/1", "0.1.0", "v18")
    assert json.loads(json.dumps(alone, allow_nan=False)) == alone
    assert several["schema"] == "tdx-stress/explorations/1"
    assert [one["ordering"] for one in several["explorations"]] == ["v18"]


def caveats(*explorations: dict[str, object]) -> dict[str, str]:
    """What was seen, by the caveat's id."""
    return {caveat["id"]: caveat["seen"] for caveat in exploration_caveats(explorations)}


@pytest.mark.parametrize(
    ("found", "caveat", "said"),
    [
        (
            explored(), "bounded",
            "all of 2 vCPUs, 1 zapper, 1 page, 1 TLB entry, 1 shootdown, one atomic step at a time",
        ),
        (
            explored(complete=False, stopped_by="memory", frontier=4000), "out_of_memory",
            "the search ran out of the memory that it may use: v18 after 50,000 states, 4,000 states still to expand",
        ),
        (explored(liveness=None), "no_liveness", "livelocks were not looked for in v18"),
        (
            explored({"tracking_not_done": 33, "previous_epoch_busy": 50}, expect=("tracking_not_done",)),
            "undeclared_outcome", "forbidden and not declared: v18 previous_epoch_busy",
        ),
        (drawn(unfinished=12), "unfinished_schedules", "schedules that were cut off: 12 of v18"),
        (
            explored(chance_of_miss=1e-3), "fingerprints",
            "two states of v18 share a fingerprint with a chance of 0.10 %",
        ),
        (explored(chance_of_miss=1e-9), "fingerprints", None),
        (explored(complete=False, stopped_by="memory"), "bounded", None),
    ],
)  # fmt: skip
def test_a_caveat_says_what_was_seen_where_it_has_a_reason(
    found: dict[str, object], caveat: str, said: str | None
) -> None:
    assert caveats(found).get(caveat) == said
    assert caveats(explored()).keys() == {"bounded"}


def test_of_a_sweep_what_an_ordering_shows_undeclared_at_any_point_is_told_and_its_name_once() -> None:
    found = {"tracking_not_done": 33, "previous_epoch_busy": 50}, {"tracking_not_done": 41}, {"not_blocked": 9}
    points = [explored({"tracking_not_done": 44, **one}, expect=("tracking_not_done",)) for one in found]

    told = "forbidden and not declared: v18 previous_epoch_busy, not_blocked"
    assert caveats(*points)["undeclared_outcome"] == told
    assert caveats(*[explored(liveness=None)] * 3)["no_liveness"] == "livelocks were not looked for in v18"


@pytest.mark.parametrize(
    ("asked", "advice"), [(True, "a smaller machine or more --memory"), (False, "the same without --no-liveness")]
)
def test_what_to_try_is_not_to_leave_out_an_option_that_nobody_typed(asked: bool, advice: str) -> None:
    found = exploration_caveats([explored(liveness=None, liveness_asked=asked)])

    assert [one["try"] for one in found if one["id"] == "no_liveness"] == [advice]


def test_a_sweep_of_machines_names_once_what_one_zapper_of_them_did_not_show_and_a_larger_one_of_that() -> None:
    free = explored(parameters={"serialized": False})
    found = exploration_caveats([{**free, "zappers": 2, "pages": 2}, {**free, "zappers": 1, "pages": 1}, free])
    [told] = [one for one in found if one["id"] == "one_zapper"]

    assert told["seen"] == f"one zapper, which meets no other: {free['ordering']} without mmu_lock for write"
    assert told["try"] == "--zappers 2 --pages 2"


def test_random_schedules_say_what_rate_they_would_have_shown_and_pct_that_its_bound_does_not_hold() -> None:
    uniform, pct = exploration_caveats([drawn()]), exploration_caveats([drawn(method="pct", pct_depth=3)])

    # 1 - 0.05 ** (1 / 1000)
    assert [one["means"] for one in (*uniform, *pct)] == [
        "never a proof: what shows in 0.30 % of such schedules or more would have been seen (95 %)",
        "never a proof: what each schedule shows with a chance of 0.30 % or more would have been seen (95 %); "
        "PCT's bound for 3 ordered steps does not hold, as whoever waits falls behind too",
    ]


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
