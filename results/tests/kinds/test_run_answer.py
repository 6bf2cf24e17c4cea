"""The answer to the reviewer: honest where one run cannot tell."""

from typing import Any

import pytest

from results.kinds.run.answer import review_answer, yardstick
from results.tests.builders.machine import facts
from results.tests.builders.run import HOST, a_result, a_run

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


@pytest.mark.parametrize("coarse", ["spec", "v18"])
def test_of_both_orders_the_coarser_rate_would_have_been_caught(coarse: str) -> None:
    runs = [a_run("spec"), a_run("v18")]
    for run in runs:
        for outcome in run["outcomes"]:
            if outcome["grade"] == "forbidden":
                outcome["would_have_caught"] = 0.02 if run["ordering"] == coarse else 0.0004

    assert review_answer(a_result(*runs))[0].endswith("; a rate of 2.00 % would have been caught.")


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
