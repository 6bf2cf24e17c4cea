"""The one sentence to the reviewer: honest where one run cannot tell."""

from typing import Any

from results.kinds.run.tables import review_sentence
from results.tests.builders.run import INTERVALS, PHASE, WHOLES, a_result, a_run, of_an_earlier_version


def whole(p50: int, low: int, high: int) -> dict[str, Any]:
    return {**WHOLES, "shootdown_met": {**PHASE, "p50": p50, "ci95": {**INTERVALS, "p50": [low, high]}}}


def test_both_orders_passed_and_one_run_does_not_rank_them():
    kick_first = a_run("v18", latency_ns=whole(750, 740, 760), met={"kicks": 6_543, "shootdowns": 3_987})
    result = a_result(a_run("spec", latency_ns=whole(600, 590, 610)), kick_first)

    assert review_sentence(result) == (
        "On this machine, with 2 vCPUs and 1 zapper on 4 CPUs, TRACK before the kick (spec) and the kick before "
        "TRACK behind the gate (v18) both held: no forbidden outcome in 4,321 and 3,987 shootdowns that met "
        "a vCPU (a rate of 6.0e-04 or more would have been caught); a shootdown that met a vCPU took at p50 600 ns "
        "(590-610) with TRACK first against 750 ns (740-760) with the kick first, at p99 6.85 us (5.86-8.83) "
        "against 6.85 us (5.86-8.83), and vCPUs were out of the guest for 667 ns (663-671) against 667 ns (663-671) "
        "a time at p50; which is faster one run does not decide (1.25x at p50): tdx-stress bench."
    )


def test_one_run_ranks_nothing_however_large_the_ratio():
    result = a_result(a_run("spec", latency_ns=whole(6000, 5900, 6100)), a_run("v18", latency_ns=whole(750, 740, 760)))

    assert review_sentence(result).endswith("which is faster one run does not decide (0.12x at p50): tdx-stress bench.")


def test_without_one_of_the_two_orders_nothing_is_decided():
    assert review_sentence(a_result(a_run("spec"))) == (
        "This run does not decide whether TRACK or the kick comes first: v18 did not run."
    )


def test_an_order_that_did_not_pass_is_named_with_its_reason():
    failed = a_run("v18", verdict="failed", reason="declared safe, and showed tracking_not_done 3 times")

    assert review_sentence(a_result(a_run("spec"), failed)) == (
        "This run does not decide whether TRACK or the kick comes first: "
        "v18 failed (declared safe, and showed tracking_not_done 3 times)."
    )


def test_an_order_of_an_earlier_version_decides_nothing_though_it_passed_there():
    old = of_an_earlier_version(a_run("v18"))

    assert review_sentence(a_result(a_run("spec"), old)) == (
        "This run does not decide whether TRACK or the kick comes first: v18 inconclusive "
        "(made by an earlier version, which did not count the shootdowns that met a vCPU)."
    )


def test_another_ordering_that_failed_does_not_matter():
    result = a_result(a_run("spec"), a_run("v18"), a_run("v6_16", verdict="failed"))

    assert "both held" in review_sentence(result)


def test_too_few_samples_print_no_percentile():
    few = {"shootdown": {"n": 5, "p50": None, "p99": None, "ci95": {"p50": None, "p99": None}}}
    sentence = review_sentence(a_result(a_run("spec", latency_ns=few), a_run("v18")))

    assert "an unknown time (n = 5 is too small) with TRACK first" in sentence
    assert sentence.endswith("which is faster one run does not decide: tdx-stress bench.")
