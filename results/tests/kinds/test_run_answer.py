"""The answer to the reviewer: honest where one run cannot tell."""

from typing import Any

import pytest

from results.kinds.run.answer import review_answer, yardstick
from results.tests.builders.machine import facts
from results.tests.builders.run import HOST, INTERVALS, PHASE, WHOLES, a_result, a_run


def whole(p50: int, low: int, high: int) -> dict[str, Any]:
    return {**WHOLES, "shootdown_met": {**PHASE, "p50": p50, "ci95": {**INTERVALS, "p50": [low, high]}}}


def test_both_orders_passed_and_one_run_does_not_rank_them_whatever_another_did():
    kick_first = a_run("v18", latency_ns=whole(750, 740, 760), met={"kicks": 6_543, "shootdowns": 3_987})
    result = a_result(a_run("spec", latency_ns=whole(600, 590, 610)), kick_first, a_run("v6_16", verdict="failed"))

    assert review_answer(result) == (
        "Both hold: TRACK before the kick (spec) and the kick before TRACK behind the gate (v18) showed nothing "
        "forbidden; a rate of 0.060 % would have been caught.",
        "With 2 vCPUs and 1 zapper on 4 CPUs a shootdown that met a vCPU took at p50 600 ns "
        "(590-610) with TRACK first against 750 ns (740-760) with the kick first, at p99 6.85 us (5.86-8.83) "
        "against 6.85 us (5.86-8.83), and vCPUs were out of the guest for 667 ns (663-671) against 667 ns (663-671) "
        "a time at p50.",
        "Which is faster one run does not decide (1.25x at p50): tdx-stress bench",
    )


CHANGED = a_run("spec", parameters={"faults": ["lost_kick"]}, changed={"kick.wait": False})


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ([a_run("spec")], "v18 did not run"),
        ([a_run("spec"), a_run("v18", verdict="failed", reason="declared safe, and showed it")], "v18 failed"),
        (
            [CHANGED, a_run("v18", verdict="inconclusive")],
            "spec raced with lost_kick, kick.wait=false; v18 is inconclusive",
        ),
    ],
)
def test_where_one_of_the_two_orders_did_not_pass_as_it_is_nothing_is_decided(runs: list[Any], why: str):
    assert review_answer(a_result(*runs)) == (
        f"This run does not decide whether TRACK or the kick comes first: {why}.",
    )


def test_too_few_samples_print_no_percentile():
    few = {"shootdown_met": {"n": 5, "p50": None, "p99": None, "ci95": {"p50": None, "p99": None}}}
    _, costs, ranking = review_answer(a_result(a_run("spec", latency_ns=few), a_run("v18")))

    assert "an unknown time (n = 5 is too small) with TRACK first" in costs
    assert ranking == "Which is faster one run does not decide: tdx-stress bench"


def test_latencies_stand_beside_what_the_machine_itself_costs_where_that_is_known() -> None:
    known = facts(empty_shootdown_ns=50.0, round_trip_ns=97.0)

    assert yardstick(known) == "a shootdown with nobody to kick 50 ns; a line from CPU to CPU and back 97 ns"
    assert yardstick({**known, "round_trip_ns": None}) == "a shootdown with nobody to kick 50 ns"
    assert yardstick(HOST) == ""
