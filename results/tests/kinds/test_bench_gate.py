"""`--fail-if`: what can be written, and when it fails."""

import re

import numpy as np
import pytest

from results.kinds.bench.findings import found
from results.kinds.bench.gate import GateError, judged, parse_gate
from results.tests.builders.bench import Value, a_bench, noisy


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


SLOWER, P99, P50 = noisy({"B": 1.5}), "p99>+15%", "p50>+15%"
UNSTEADY = [3.0, 0.5, 2.0, 0.4, 3.0, 0.6, 2.5, 0.5, 2.0, 2.2]
DOUBTFUL = "v18: shootdown, p99 not comparable: spec differs from itself$"
# By what is shown: rounds, their values, a gate, its state, and what stands in its reason.
JUDGED: dict[str, tuple[int, Value, str, str, str]] = {
    "beyond the limit": (12, SLOWER, P99, "failed", r"v18: shootdown, p99 1\..*slower; the limit is 1\.15x$"),
    "within the limit": (12, SLOWER, "p99>+80%", "held", "v18: shootdown, p99 "),
    "more, and not less": (12, SLOWER, "reads/s<-5%", "held", "v18: guest reads/s "),
    "beyond the limit, and may be noise": (
        10, lambda arm, point, n: 1000 * (UNSTEADY[n - 1] if arm == "B" else 1.0), P50, "undecided",
        ".*beyond the limit of 1.15x, and may be noise$",
    ),
    "too few rounds": (5, noisy({"B": 9.0}), P50, "undecided", "v18: shootdown, p50 too few"),
    "not comparable, faster": (20, noisy({"A2": 1.5, "B": 0.5}), P99, "undecided", DOUBTFUL),
    "not comparable, slower": (20, noisy({"A2": 1.5, "B": 2.0}), P99, "undecided", DOUBTFUL),
    "what was 0 and is no more, without a ratio": (
        12, lambda arm, point, n: 0.01 * n if arm == "B" else 0.0, "retries>+15%", "failed", "v18: ",
    ),
    "an ordering that was not compared": (12, noisy({}), "v6_16:p50>+15%", "undecided", "v6_16 was not compared$"),
}  # fmt: skip


@pytest.mark.parametrize(("rounds", "values", "text", "state", "why"), JUDGED.values(), ids=JUDGED)
def test_a_gate_fails_by_what_was_shown_alone(rounds: int, values: Value, text: str, state: str, why: str):
    outcome = judged(parse_gate(text), found(a_bench(rounds, values)).comparisons)

    assert outcome.state == state
    assert re.match(why, outcome.why)


def test_one_point_of_a_sweep_is_enough_to_fail():
    rng = np.random.default_rng(1)

    def value(arm: str, point: str, number: int) -> float:
        return 1000 * (2 if (arm, point) == ("B", "vcpus=4") else 1) * float(np.exp(0.01 * rng.standard_normal()))

    bench = found(a_bench(12, value, values=(1, 2, 4)))

    outcome = judged(parse_gate("p50>+15%"), bench.comparisons, bench.points)

    assert outcome.state == "failed"
    assert outcome.why.startswith("v18 at vcpus=4: ")
