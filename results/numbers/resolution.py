"""What a latency can be told by, so that no interval is narrower: a bucket of its histogram, or where that is wider a
step of the clock. Pure.

Where every round falls into one bucket a bootstrap sees no spread, and the interval would be a point. So a latency may
be off by half of what it can be told by, a ratio by what both of its latencies may be, and an interval holds at least
that around its middle.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.numbers.rounds import median_interval
from results.numbers.statistics import HIGHS_NS, WIDTHS_NS

Values = NDArray[np.float64]
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
    fits = (step for step in STEPS_NS if (np.ceil((lows - 0.5) / step) * step < near + 1.5).all())
    return float(next(fits, 1.0))


def off_ns(latencies: Any, step_ns: float) -> Values:
    """How far each of these may be off."""
    found = np.asarray(latencies, dtype=np.float64)
    return np.minimum(np.maximum(_widths(found), step_ns), found) / 2


def ratio_off(pairs: Iterable[tuple[float, float]], step_ns: float) -> float:
    """How far the median of these pairs' ratios may be off, as a logarithm; all latencies are above 0."""
    both = np.array(list(pairs), dtype=np.float64)
    return float(np.median((off_ns(both, step_ns) / both).sum(axis=1)))


def latency_interval(latencies: Values, step_ns: float) -> tuple[float, float, float]:
    """The median of these, one a round, with its interval: (median, low, high)."""
    middle = float(np.median(latencies))
    return middle, *widened(middle, *median_interval(latencies), float(off_ns(middle, step_ns)))


def widened(middle: float, low: float, high: float, off: float) -> tuple[float, float]:
    """An interval that holds at least what its middle may be off by."""
    return min(low, middle - off), max(high, middle + off)


def _widths(latencies: Values) -> NDArray[np.int64]:
    return WIDTHS_NS[np.minimum(np.searchsorted(HIGHS_NS, latencies), len(HIGHS_NS) - 1)]
