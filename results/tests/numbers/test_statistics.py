"""Intervals against scipy's, percentiles against HdrHistogram's, what keeps a number unprinted or an interval wide."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from results.kinds.bench.findings import found
from results.kinds.bench.record import Comparison
from results.numbers.rounds import latency_interval
from results.numbers.statistics import (
    ENOUGH,
    clock_step_ns,
    clopper_pearson,
    enough,
    off_ns,
    percentile,
    percentile_interval,
    ratio_off,
    share_margin,
    summary,
    values_at_ranks,
    widened,
    would_have_caught,
)
from results.tests.builders.bench import a_bench, with_races
from results.tests.builders.run import counted


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 0, 0.0, 1.0),  # without a try every rate is possible
        (0, 10, 0.0, 0.2588655508930523),  # 1 - 0.05 ** (1 / 10)
        (0, 81234, 0.0, 3.6878e-05),
        (1, 10, 0.0025285785444617, 0.4450161170389544),
        (5, 10, 0.1870860284474045, 0.8129139715525955),
        (10, 10, 0.6915028921812392, 1.0),
        (3, 81234, 7.6159e-06, 1.07924e-04),
    ],
)
def test_clopper_pearson_gives_the_known_intervals(k: int, n: int, low: float, high: float):
    assert clopper_pearson(k, n) == pytest.approx((low, high), rel=1e-4)


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_clopper_pearson_is_the_exact_interval_of_scipy(n: int, part: float):
    k = int(part * n)
    exact = binomtest(k, n, alternative="less" if k == 0 else "two-sided").proportion_ci(0.95, "exact")

    assert clopper_pearson(k, n) == pytest.approx((exact.low, exact.high), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("k", [3, -1])
def test_more_successes_than_tries_or_fewer_than_none_are_refused(k: int):
    with pytest.raises(ValueError, match=f"expected 0 <= k <= n, found k={k}, n=2"):
        clopper_pearson(k, 2)


def test_a_rate_that_would_have_been_caught_shows_itself_with_95_percent():
    rate = would_have_caught(1000)

    assert rate is not None
    assert (1 - rate) ** 1000 == pytest.approx(0.05)
    assert would_have_caught(81234) == pytest.approx(3.0 / 81234, rel=0.002)  # the rule of three
    assert would_have_caught(0) is None


def test_the_fewest_samples_for_each_percentile():
    assert ENOUGH == {"p50": 6, "p90": 36, "p99": 368, "p999": 3688}


@pytest.mark.parametrize(
    ("n", "name", "value"), [(367, "p99", None), (368, "p99", 1003), (3687, "p999", None), (3688, "p999", 1003)]
)
def test_a_percentile_is_given_from_its_fewest_samples_on(n: int, name: str, value: int | None):
    assert summary(counted(*[1000] * n))[name] == value


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((), {"n": 0, "min": None, "p50": None, "max": None}),
        ((1, 2, 3, 4, 5, 6, 7, 8, 9, 100), {"n": 10, "min": 1, "p50": 5, "max": 100}),
        ((1000, 5000), {"n": 2, "min": 1000, "p50": None, "max": 5023}),  # the ends of the filled buckets
    ],
)
def test_a_summary_has_what_n_is_enough_for(values: tuple[int, ...], found: dict[str, int | None]):
    made = summary(counted(*values))

    assert made.pop("ci95").keys() == {"p50", "p90", "p99", "p999"}
    assert made == dict.fromkeys(("p90", "p99", "p999")) | found


@pytest.mark.parametrize(("q", "value"), [(0.0, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.9, 9), (1.0, 10)])
def test_a_percentile_is_the_value_at_the_nearest_rank(q: float, value: int):
    assert percentile(counted(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), q) == value


def test_a_rank_gives_the_highest_value_of_its_bucket_and_one_that_no_sample_has_the_last_ones():
    counts = counted(10, 10, 1000)

    assert values_at_ranks(counts, np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [10, 10, 1003, 1003]


@given(st.lists(st.integers(0, 2**40 - 1), min_size=1, max_size=200), st.data())
def test_percentiles_at_every_rank_are_those_of_hdrhistogram(values: list[int], data: st.DataObject):
    hdr = HdrHistogram(1, 2**40 - 1, 2)
    for value in values:
        hdr.record_value(value)
    rank = data.draw(st.integers(1, len(values)))

    assert percentile(counted(*values), rank / len(values)) == hdr.get_value_at_percentile(100 * rank / len(values))


@pytest.mark.parametrize(
    ("n", "interval"),
    # P(B <= 1) for B ~ Binomial(n, 1/2) is 0.0352 of 8 and 0.0107 of 10; P(B <= 5) is 0.0207 of 20.
    [(5, None), (6, (1, 6)), (8, (1, 8)), (10, (2, 9)), (20, (6, 15))],
)
def test_the_interval_of_a_median_runs_between_these_ranks(n: int, interval: tuple[int, int] | None):
    assert percentile_interval(counted(*range(1, n + 1)), 0.5) == interval


@given(st.lists(st.integers(0, 10**6), min_size=6, max_size=400), st.sampled_from([0.5, 0.9, 0.99]))
def test_an_interval_holds_its_percentile_wherever_there_is_one(values: list[int], q: float):
    counts = counted(*values)
    interval = percentile_interval(counts, q)

    assert (interval is None) == (len(values) < enough(q))
    if interval is not None:
        assert interval[0] <= (percentile(counts, q) or 0) <= interval[1]


def test_an_interval_of_a_hundred_million_samples_is_narrow():
    counts = counted()
    counts[:200] = 500_000

    assert percentile_interval(counts, 0.5) == (99, 100)


def test_intervals_cover_the_median_about_as_often_as_they_say():
    random = np.random.default_rng(1)
    found = [percentile_interval(counted(*random.integers(0, 200, 50)), 0.5) for _ in range(400)]
    covered = sum(low <= 99.5 <= high for low, high in (interval for interval in found if interval))

    # Coverage is at least 95 %; of 400 intervals fewer than 360 hold the median with odds below 1 in 10,000. Seeded.
    assert covered >= 360


@pytest.mark.parametrize(
    ("n", "margin"),
    # sqrt(ln(2 / 0.05) / 2000), and never more than all of it.
    [(1000, 0.042947), (2, 0.960323), (1, 1.0), (0, 1.0)],
)
def test_the_band_of_a_distribution_is_that_of_dvoretzky_kiefer_and_wolfowitz(n: int, margin: float):
    assert share_margin(n) == pytest.approx(margin, abs=1e-6)


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
    bench = found(with_races(bench, figures=lambda race: race.figures | {"p90_ns": 10.0 * (race.round + 2)}))
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
