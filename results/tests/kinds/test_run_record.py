"""What is missing or wrong in a stored result is named in one line; what a newer run adds does not matter."""

from typing import Any

import numpy as np
import pytest

from kernels.layout import HIST_WORDS
from kernels.tdx.outcomes import OUTCOMES
from results.kinds.run.record import ResultShape, trouble_with_arrays
from results.store import trouble_by
from results.tests.builders.run import PHASE, SCENARIO, WHOLES, a_result, a_run


def without(run: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name != key}


@pytest.mark.parametrize(
    "result",
    [a_result(a_run()), a_result(), a_result(a_run(something_new={"a": 1}), more=[1])],
    ids=["of today", "without orderings", "of a newer run"],
)
def test_a_result_is_sound_whatever_a_newer_run_adds(result: dict[str, Any]):
    assert trouble_by(ResultShape, result) is None


BARE = {**PHASE, "ci95": dict.fromkeys(("p50", "p90", "p99", "p999"))}


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (a_result(without(a_run(), "verdict")), "runs[0].verdict: Field required"),
        (a_result(without(without(a_run(), "verdict"), "title")), "runs[0].verdict: Field required (and 1 more)"),
        (a_result(a_run(verdict="perhaps")), "found 'perhaps'"),
        (
            a_result(a_run(all_shootdowns=-1)),
            "runs[0].all_shootdowns: Input should be greater than or equal to 0, found -1",
        ),
        (
            a_result(a_run(all_shootdowns="many")),
            "runs[0].all_shootdowns: Input should be a valid integer, found 'many'",
        ),
        (a_result(a_run(seconds=float("inf"))), "runs[0].seconds: Input should be a finite number, found inf"),
        (a_result(a_run(latency_ns={})), "runs[0].latency_ns.shootdown: Field required"),
        (a_result(a_run(latency_ns={"shootdown": {"n": 5}})), "runs[0].latency_ns.shootdown.min: Field required"),
        (
            a_result(a_run(latency_ns={"shootdown": BARE, "shootdown_met": WHOLES["shootdown_met"]})),
            "runs[0].latency_ns.shootdown: expected an interval in ci95 for p50, p90, p99, found none",
        ),
        (a_result(a_run(stale_age_epochs={"0": 1})), "expected stale_age_epochs for 0 to 15, found none for 1"),
        (a_result(a_run(expect="unsafe")), "found 'unsafe'"),
        (a_result(a_run(), a_run()), "the whole: expected every ordering once in runs, found v18 again"),
        (a_result(a_run(), host={"timer_ns": "quick"}), "host.timer_ns: Input should be a valid number, found 'quick'"),
        (
            a_result(a_run(), host={"round_trip_ns": 1.5}),
            "host: expected round_trip_range_ns and two round_trip_cpus beside round_trip_ns",
        ),
    ],
)
def test_what_cannot_be_shown_is_named_by_its_field(result: dict[str, Any], said: str):
    assert said in str(trouble_by(ResultShape, result))


@pytest.mark.parametrize("flow", ["", "batch+", "Batch", "sept pages"])
def test_a_flow_that_no_machine_has_is_named(flow: str):
    said = str(trouble_by(ResultShape, a_result(a_run(), scenario={**SCENARIO, "flow": flow})))

    assert said.startswith("scenario.flow: String should match pattern")
    assert said.endswith(f", found {flow!r}")


def histogram(n: int) -> Any:
    counts = np.zeros(HIST_WORDS, dtype=np.int64)
    counts[100] = n
    return counts


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("hist/shootdown", np.zeros(7, dtype=np.int64), f"expected shape ({HIST_WORDS},), found (7,)"),
        ("hist/track", -histogram(1), "expected counts as int64 of 0 or more, found int64"),
        ("hist/track", histogram(1).astype(float), "expected counts as int64 of 0 or more, found float64"),
        ("hist/shootdown", histogram(1), "expected the 4,500 samples of result.json, found 1"),
        ("hist/shootdown_met", histogram(1), "expected the 4,111 samples of result.json, found 1"),
        ("series/time_s", np.array([0.0, np.nan]), "expected finite seconds in one dimension"),
        ("series/outcomes", np.zeros((2, 1), dtype=np.int64), f"expected shape (2, {OUTCOMES}), found (2, 1)"),
        ("ages", np.array(3), "expected shape (16,), found ()"),
    ],
)
def test_an_array_of_another_kind_is_named(name: str, array: Any, said: str):
    assert trouble_with_arrays(a_result(a_run()), {f"v18/{name}": array}) == f"v18/{name}: {said}"


def test_series_are_of_one_length():
    arrays = {"v18/series/time_s": np.zeros(3), "v18/series/outcomes": np.zeros((2, OUTCOMES), dtype=np.int64)}

    assert trouble_with_arrays(a_result(a_run()), arrays) == "v18/series: expected arrays of one length, found 2, 3"


def test_arrays_that_are_not_there_are_no_trouble():
    assert trouble_with_arrays(a_result(a_run()), {}) is None
