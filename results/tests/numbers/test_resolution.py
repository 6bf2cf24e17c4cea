"""What a latency can be told by, from literals: buckets, steps of a clock, and intervals that hold both."""

import numpy as np
import pytest

from results.kinds.bench.findings import found
from results.kinds.bench.record import Comparison
from results.numbers.rounds import latency_interval
from results.numbers.statistics import clock_step_ns, off_ns, ratio_off, widened
from results.tests.builders.bench import a_bench

TENS = {"A": 311.0, "A2": 311.0, "B": 331.0}
# As buckets give them: the highest value of each.
BY_TENS = [20, 30, 70, 130, 250, 261, 301, 311, 331, 421, 511, 1003, 4_095]


def test_a_clock_that_counts_by_tens_shows_in_what_it_read():
    assert clock_step_ns(BY_TENS) == pytest.approx(10, abs=0.1)
    assert clock_step_ns([41, 83, 125, 166, 208, 250, 333, 375, 500]) == pytest.approx(41.7, abs=0.3)


@pytest.mark.parametrize(
    "latencies", [[*BY_TENS, 37], [20, 40, 60, 80, 100], [20, 40, None, 0, 60, 80, 100, 5_000, 6_010], []]
)
def test_one_latency_beside_the_steps_or_too_few_show_no_clock(latencies: list[float | None]):
    assert clock_step_ns(latencies) == 1


def test_latencies_of_a_fine_clock_hardly_ever_look_as_if_it_were_coarse():
    chance = np.random.default_rng(5)

    wide = sum(clock_step_ns(chance.integers(10, 512, 8)) >= 10 for _ in range(300))

    assert wide <= 3  # 0.1 are expected


def test_a_latency_is_off_by_half_a_bucket_or_half_a_step_and_never_by_more_than_half_of_itself():
    assert off_ns([200, 301, 999.7, 70_000, 5e12], 1).tolist() == [0.5, 1, 2, 256, 2**32 / 2]
    assert off_ns([4, 200, 301, 70_000], 10).tolist() == [2, 5, 5, 256]


def test_a_ratio_is_off_by_what_both_of_its_latencies_are():
    assert ratio_off([(311, 331), (311, 331), (20, 30)], 10) == pytest.approx(5 / 311 + 5 / 331)
    assert widened(2.0, 1.9, 2.4, 0.3) == (1.7, 2.4)
    assert latency_interval(np.array([311.0] * 12), 10) == (311, 306, 316)


def shown(values: dict[str, float], figure: str = "p50_ns") -> Comparison:
    """Rounds that all hold the same, on a clock that counts by tens."""
    bench = a_bench(12, lambda arm, point, number: values[arm])
    races = (
        race.model_copy(update={"figures": {**race.figures, "p90_ns": 10.0 * (race.round + 2)}})
        for race in bench.rounds
    )
    bench = found(bench.model_copy(update={"rounds": tuple(races)}))
    return next(one for one in bench.comparisons if (one.arm, one.figure) == ("B", figure))


def test_rounds_that_all_agree_are_known_no_better_than_to_a_step_of_the_clock():
    one = shown(TENS)

    assert one.verdict_text == "1.06x (1.03-1.10, 12 rounds), slower"
    assert [one.low, one.high] == pytest.approx([1.0315, 1.0982], abs=1e-4)
    assert shown(TENS, "reads_per_s").verdict_text == "1.06x (1.06-1.06, 12 rounds), more"


def test_a_single_step_of_the_clock_is_no_difference_though_all_rounds_show_it():
    one = shown({"A": 240.0, "A2": 240.0, "B": 250.0})

    assert one.holm_p is not None
    assert (one.finding, round(one.holm_p, 2)) == ("no_difference", 0)
    assert one.verdict_text == "no difference shown (1.00-1.09, 12 rounds); 1.04x would have shown"
