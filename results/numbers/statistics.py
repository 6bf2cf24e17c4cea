"""Counts in, intervals and percentiles out: pure functions, no clock, no file.

Counts are of latencies in HdrHistogram's buckets: 2 significant digits, whole nanoseconds from 0 to 2**40 - 1. Values
below 256 have a bucket each; above, every doubling is cut into 128 buckets of one width, so that a bucket is never
wider than 1/128 of its values. Source: HdrHistogram (`lowestEquivalentValue`, `highestEquivalentValue`,
`medianEquivalentValue`); the kernels count by the same rule. Counts are int64 arrays of shape (HIST_WORDS,).

An interval is always a 95 % one. The unit of a rate is the shootdown. A percentile is printed
only where the samples suffice for an interval on both sides of it: `ENOUGH` follows from that one rule.

A latency can be told by a bucket of its histogram, or where that is wider by a step of the clock, and no interval is
narrower. Where every round falls into one bucket a bootstrap sees no spread, and the interval would be a point. So a
latency may be off by half of what it can be told by, a ratio by what both of its latencies may be, and an interval
holds at least that around its middle.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.layout import HIST_SUB_BUCKETS, HIST_WORDS

Counts = NDArray[np.int64]
Values = NDArray[np.float64]
LEVEL = 0.95
HALF = HIST_SUB_BUCKETS // 2
HIGHEST_NS = (1 << 40) - 1


def _lows_and_widths() -> tuple[Counts, Counts]:
    index = np.arange(HIST_WORDS, dtype=np.int64)
    shift = np.maximum(index // HALF - 1, 0)
    return (index - shift * HALF) << shift, np.int64(1) << shift


LOWS_NS, WIDTHS_NS = _lows_and_widths()
HIGHS_NS = LOWS_NS + WIDTHS_NS - 1
MIDS_NS = LOWS_NS + (WIDTHS_NS >> 1)


def values_at_ranks(counts: Counts, ranks: Values) -> Counts:
    """The values of the samples with these ranks, 1 the smallest: the highest value of its bucket, as HdrHistogram
    reports; beyond the first or the last sample it is that one's.
    """
    within = np.clip(ranks, 1, counts.sum())
    return HIGHS_NS[np.searchsorted(np.cumsum(counts), within)]


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """The exact interval of a rate seen k times in n; (0, 1) where n is 0.

    Equals `scipy.stats.binomtest(k, n).proportion_ci(0.95, "exact")`, two-sided. Of what was never seen there is but
    one side, and one bound: `would_have_caught`. Raises ValueError unless 0 <= k <= n.
    """
    if not 0 <= k <= n:
        raise ValueError(f"expected 0 <= k <= n, found k={k}, n={n}")
    from scipy.special import betaincinv

    if k == 0:
        return 0.0, would_have_caught(n) or 1.0
    tail = (1 - LEVEL) / 2
    low = float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def would_have_caught(n: int) -> float | None:
    """The rate for k = 0: anything that happens this often or more shows itself in n tries with a probability of
    95 %. None where nothing was tried. For large n this is the rule of three, 3/n.
    """
    return -math.expm1(math.log1p(-LEVEL) / n) if n else None


def enough(q: float) -> int:
    """The fewest samples that give the quantile q, the median or above, an interval by order statistics on both sides:
    6 for the median, 368 for p99, 3,688 for p99.9.
    """
    return math.ceil(math.log((1 - LEVEL) / 2) / math.log(q))


ENOUGH = {name: enough(q) for name, q in PERCENTILES.items()}


def percentile(counts: Counts, q: float) -> int | None:
    """The quantile q (0 to 1) in ns by nearest rank, the highest value of its bucket; None where there is no sample.

    At most 0.8 % above the true sample: the width of a bucket.
    """
    return int(quantiles(counts, np.array(q))) if counts.any() else None


def quantiles(counts: Counts, qs: Values) -> Counts:
    """The same of several quantiles of one or more samples."""
    n = counts.sum()
    return values_at_ranks(counts, np.ceil(np.round(qs * n, 6)))


def percentile_interval(counts: Counts, q: float) -> tuple[int, int] | None:
    """The interval of the quantile q in ns by order statistics: (low, high), or None where n is below `enough(q)`.

    It holds for independent samples of one run and says nothing about the next run.
    """
    if int(counts.sum()) < enough(q):
        return None
    low, high = quantile_intervals(counts, np.array(q))
    return int(low), int(high)


def quantile_intervals(counts: Counts, qs: Values) -> tuple[Counts, Counts]:
    """The same of several quantiles, for each of which the samples are enough: the lows, and the highs."""
    low, high = interval_ranks(int(counts.sum()), qs)
    return values_at_ranks(counts, low), values_at_ranks(counts, high)


def interval_ranks(n: int, qs: Any) -> tuple[Values, Values]:
    """The ranks, 1 the smallest, of the samples at the ends of these quantiles' intervals: the lows, and the highs."""
    from scipy.special import bdtrik

    tail = (1 - LEVEL) / 2
    # B ~ Binomial(n, q) samples lie at or below the quantile. Low: the last rank with P(B < rank) <= tail; high: the
    # first with P(B >= rank) <= tail.
    return np.floor(bdtrik(tail, n, qs)) + 1, np.ceil(bdtrik(1 - tail, n, qs)) + 1


def share_margin(n: int) -> float:
    """Half the width of a band that holds the whole true distribution at once: Dvoretzky, Kiefer and Wolfowitz with
    Massart's constant; 1 where there is no sample."""
    return min(math.sqrt(math.log(2 / (1 - LEVEL)) / (2 * n)), 1.0) if n else 1.0


def summary(counts: Counts) -> dict[str, Any]:
    """n, min, percentiles and max in ns, and in `ci95` the percentiles' intervals by order statistics, of this run
    alone; None stands where n is too small for the number. The ends are those of the first and the last bucket that
    hold a sample.
    """
    n, filled = int(counts.sum()), np.flatnonzero(counts)
    found = {name: percentile(counts, q) if n >= ENOUGH[name] else None for name, q in PERCENTILES.items()}
    least, most = (int(LOWS_NS[filled[0]]), int(HIGHS_NS[filled[-1]])) if n else (None, None)
    intervals = {name: percentile_interval(counts, q) for name, q in PERCENTILES.items()}
    ci95 = {name: list(interval) if interval else None for name, interval in intervals.items()}
    return {"n": n, "min": least, **found, "max": most, "ci95": ci95}


# A clock's step is looked for between these, among so many latencies below NEAR_NS, where buckets are narrow.
STEPS_NS, FEW, NEAR_NS = np.arange(64, 5, -0.02), 6, 512


def clock_step_ns(latencies: Iterable[float | None]) -> float:
    """The step of the clock that these were read by, 1 where none is seen.

    A clock that counts by tens of nanoseconds (AMD's counter does) leaves latencies at multiples of that alone; others
    all lie there by chance in less than one case of a hundred. Readings themselves do not tell: a host that scales the
    counter blurs them by a tick.
    """
    near = np.array(sorted({one for one in latencies if one and one < NEAR_NS}), dtype=np.float64)
    if len(near) < FEW:
        return 1.0
    lows = near - _widths(near) + 1
    steps = STEPS_NS[:, None]
    fits = (np.ceil((lows - 0.5) / steps) * steps < near + 1.5).all(axis=1)
    return float(STEPS_NS[fits.argmax()]) if fits.any() else 1.0


def off_ns(latencies: Any, step_ns: float) -> Values:
    """How far each of these may be off."""
    found = np.asarray(latencies, dtype=np.float64)
    return np.minimum(np.maximum(_widths(found), step_ns), found) / 2


def ratio_off(pairs: Iterable[tuple[float, float]], step_ns: float) -> float:
    """How far the median of these pairs' ratios may be off, as a logarithm; all latencies are above 0."""
    both = np.array(list(pairs), dtype=np.float64)
    return float(np.median((off_ns(both, step_ns) / both).sum(axis=1)))


def widened(middle: float, low: float, high: float, off: float) -> tuple[float, float]:
    """An interval that holds at least what its middle may be off by."""
    return min(low, middle - off), max(high, middle + off)


def _widths(latencies: Values) -> NDArray[np.int64]:
    return WIDTHS_NS[np.minimum(np.searchsorted(HIGHS_NS, latencies), len(HIGHS_NS) - 1)]
