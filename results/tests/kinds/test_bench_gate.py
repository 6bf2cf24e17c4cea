"""`--fail-if`: what can be written, and when it fails."""

import numpy as np
import pytest

from results.kinds.bench.findings import found
from results.kinds.bench.gate import GateError, judged, parse_gate
from results.tests.builders.bench import a_bench, noisy


@pytest.mark.parametrize(
    ("text", "figure", "above", "limit", "ordering"),
    [
        ("p99>+15%", "p99_ns", True, 1.15, None),
        ("p50 > 10%", "p50_ns", True, 1.1, None),
        ("max_ns>1.5x", "max_ns", True, 1.5, None),
        ("reads/s<-5%", "reads_per_s", False, 0.95, None),
        ("v18:shootdowns_per_s<0.9x", "shootdowns_per_s", False, 0.9, "v18"),
        ("block,remove:p50>+0%", "p50_ns", True, 1.0, "block,remove"),
    ],
)
def test_a_gate_names_a_figure_and_a_limit(text: str, figure: str, above: bool, limit: float, ordering: str | None):
    gate = parse_gate(text)

    assert (gate.figure, gate.above, gate.limit, gate.ordering) == (figure, above, limit, ordering)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p99", 'expected FIGURE>+15%, such as "p99>+15%"'),
        ("p99>15", 'expected FIGURE>+15%, such as "p99>+15%"'),
        ("p98>+15%", 'unknown figure "p98"; did you mean "p99"?'),
        ("p99>-15%", 'expected a limit of +0% or more after ">"'),
        ("reads/s<+5%", 'expected a limit from -99% to -0% after "<"'),
        ("reads/s<-100%", 'expected a limit from -99% to -0% after "<"'),
    ],
)
def test_a_gate_that_cannot_be_meant_is_one_line(text: str, said: str):
    with pytest.raises(GateError) as refused:
        parse_gate(text)

    assert str(refused.value).startswith("--fail-if: ")
    assert said in str(refused.value)


def test_a_difference_beyond_the_limit_fails():
    comparisons = found(a_bench(12, noisy({"B": 1.5}))).comparisons

    outcome = judged(parse_gate("p99>+15%"), comparisons)

    assert outcome.state == "failed"
    assert outcome.why.startswith("v18: shootdown, p99 1.")
    assert outcome.why.endswith("slower; the limit is 1.15x")


def test_a_difference_within_the_limit_holds():
    comparisons = found(a_bench(12, noisy({"B": 1.5}))).comparisons

    assert judged(parse_gate("p99>+80%"), comparisons).state == "held"
    assert judged(parse_gate("reads/s<-5%"), comparisons).state == "held"


def test_a_ratio_beyond_the_limit_that_may_be_noise_is_undecided():
    values = [3.0, 0.5, 2.0, 0.4, 3.0, 0.6, 2.5, 0.5, 2.0, 2.2]
    comparisons = found(a_bench(10, lambda arm, point, n: 1000 * (values[n - 1] if arm == "B" else 1.0))).comparisons

    outcome = judged(parse_gate("p50>+15%"), comparisons)

    assert outcome.state == "undecided"
    assert outcome.why.endswith("beyond the limit of 1.15x, and may be noise")


def test_too_few_rounds_decide_nothing():
    comparisons = found(a_bench(5, noisy({"B": 9.0}))).comparisons

    assert judged(parse_gate("p50>+15%"), comparisons).state == "undecided"


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_what_is_not_comparable_decides_nothing(ratio: float):
    bench = found(a_bench(20, noisy({"A2": 1.5, "B": ratio})))

    outcome = judged(parse_gate("p99>+15%"), bench.comparisons)
    assert (outcome.state, outcome.why) == ("undecided", "v18: shootdown, p99 not comparable: spec differs from itself")


def test_what_was_0_and_is_no_more_fails_though_there_is_no_ratio():
    comparisons = found(a_bench(12, lambda arm, point, n: 0.01 * n if arm == "B" else 0.0)).comparisons

    assert judged(parse_gate("retries>+15%"), comparisons).state == "failed"


def test_a_gate_is_undecided_where_the_first_ordering_differs_from_itself():
    comparisons = found(a_bench(12, noisy({"A2": 2.0}))).comparisons

    assert judged(parse_gate("p50>+15%"), comparisons).state == "undecided"


def test_a_gate_on_an_ordering_that_was_not_compared_is_undecided():
    comparisons = found(a_bench(12, noisy({}))).comparisons

    assert judged(parse_gate("v6_16:p50>+15%"), comparisons).why == "v6_16 was not compared"


def test_one_point_of_a_sweep_is_enough_to_fail():
    rng = np.random.default_rng(1)

    def value(arm: str, point: str, number: int) -> float:
        return 1000 * (2 if (arm, point) == ("B", "vcpus=4") else 1) * float(np.exp(0.01 * rng.standard_normal()))

    bench = found(a_bench(12, value, values=(1, 2, 4)))

    outcome = judged(parse_gate("p50>+15%"), bench.comparisons, bench.points)

    assert outcome.state == "failed"
    assert outcome.why.startswith("v18 at vcpus=4: ")
