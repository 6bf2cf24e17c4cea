"""The answer to the reviewer: honest where one run cannot tell."""

from typing import Any

from results.kinds.run.answer import review_answer, yardstick
from results.tests.builders.machine import facts
from results.tests.builders.run import HOST, INTERVALS, PHASE, WHOLES, a_result, a_run, of_an_earlier_version


def whole(p50: int, low: int, high: int) -> dict[str, Any]:
    return {**WHOLES, "shootdown_met": {**PHASE, "p50": p50, "ci95": {**INTERVALS, "p50": [low, high]}}}


def test_both_orders_passed_and_one_run_does_not_rank_them():
    kick_first = a_run("v18", latency_ns=whole(750, 740, 760), met={"kicks": 6_543, "shootdowns": 3_987})
    result = a_result(a_run("spec", latency_ns=whole(600, 590, 610)), kick_first)

    assert review_answer(result) == (
        "Both hold: TRACK before the kick (spec) and the kick before TRACK behind the gate (v18) showed nothing "
        "forbidden; a rate of 0.060 % would have been caught.",
        "With 2 vCPUs and 1 zapper on 4 CPUs a shootdown that met a vCPU took at p50 600 ns "
        "(590-610) with TRACK first against 750 ns (740-760) with the kick first, at p99 6.85 us (5.86-8.83) "
        "against 6.85 us (5.86-8.83), and vCPUs were out of the guest for 667 ns (663-671) against 667 ns (663-671) "
        "a time at p50.",
        "Which is faster one run does not decide (1.25x at p50): tdx-stress bench",
    )


def test_one_run_ranks_nothing_however_large_the_ratio():
    result = a_result(a_run("spec", latency_ns=whole(6000, 5900, 6100)), a_run("v18", latency_ns=whole(750, 740, 760)))

    assert review_answer(result)[-1] == "Which is faster one run does not decide (0.12x at p50): tdx-stress bench"


def test_without_one_of_the_two_orders_nothing_is_decided():
    assert review_answer(a_result(a_run("spec"))) == (
        "This run does not decide whether TRACK or the kick comes first: v18 did not run.",
    )


def test_an_order_that_did_not_pass_is_named_and_its_reason_stands_beside_its_verdict_alone():
    failed = a_run("v18", verdict="failed", reason="declared safe, and showed tracking_not_done 3 times")

    assert review_answer(a_result(a_run("spec"), failed)) == (
        "This run does not decide whether TRACK or the kick comes first: v18 failed.",
    )


def test_an_order_that_was_changed_answers_nothing_though_it_passed():
    changed = a_run("spec", parameters={"faults": ["lost_kick"]}, changed={"kick.wait": False})

    assert review_answer(a_result(changed, a_run("v18", verdict="inconclusive"))) == (
        "This run does not decide whether TRACK or the kick comes first: "
        "spec raced with lost_kick, kick.wait=false; v18 is inconclusive.",
    )


def test_an_order_of_an_earlier_version_decides_nothing_though_it_passed_there():
    old = of_an_earlier_version(a_run("v18"))

    assert review_answer(a_result(a_run("spec"), old)) == (
        "This run does not decide whether TRACK or the kick comes first: v18 is inconclusive "
        "(made by an earlier version, which did not count the shootdowns that met a vCPU).",
    )


def test_another_ordering_that_failed_does_not_matter():
    result = a_result(a_run("spec"), a_run("v18"), a_run("v6_16", verdict="failed"))

    assert review_answer(result)[0].startswith("Both hold: ")


def test_too_few_samples_print_no_percentile():
    few = {"shootdown": {"n": 5, "p50": None, "p99": None, "ci95": {"p50": None, "p99": None}}}
    _, costs, ranking = review_answer(a_result(a_run("spec", latency_ns=few), a_run("v18")))

    assert "an unknown time (n = 5 is too small) with TRACK first" in costs
    assert ranking == "Which is faster one run does not decide: tdx-stress bench"


def test_latencies_stand_beside_what_the_machine_itself_costs_where_that_is_known() -> None:
    known = facts(empty_shootdown_ns=50.0, round_trip_ns=97.0)

    assert yardstick(known) == "a shootdown with nobody to kick 50 ns; a line from CPU to CPU and back 97 ns"
    assert yardstick({**known, "round_trip_ns": None}) == "a shootdown with nobody to kick 50 ns"
    assert yardstick(HOST) == ""
