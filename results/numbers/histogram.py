"""Latency counts in HdrHistogram's buckets: 2 significant digits, whole nanoseconds from 0 to 2**40 - 1.

Values below 256 have a bucket each; above, every doubling is cut into 128 buckets of one width, so that a bucket is
never wider than 1/128 of its values. Source: HdrHistogram (`lowestEquivalentValue`, `highestEquivalentValue`,
`medianEquivalentValue`); the kernels count by the same rule. Counts are int64 arrays of shape (HIST_WORDS,).
"""

import numpy as np
from numpy.typing import NDArray

from kernels.layout import HIST_SUB_BUCKETS, HIST_WORDS

Counts = NDArray[np.int64]
HALF = HIST_SUB_BUCKETS // 2
BITS = HIST_SUB_BUCKETS.bit_length() - 1
HIGHEST_NS = (1 << 40) - 1


def bucket_of(value_ns: int) -> int:
    """The bucket that counts this value; a value out of range counts in the first or the last bucket."""
    value = min(max(value_ns, 0), HIGHEST_NS)
    if value < HIST_SUB_BUCKETS:
        return value
    shift = value.bit_length() - BITS
    return shift * HALF + (value >> shift)


def _lows_and_widths() -> tuple[Counts, Counts]:
    index = np.arange(HIST_WORDS, dtype=np.int64)
    shift = np.maximum(index // HALF - 1, 0)
    return (index - shift * HALF) << shift, np.int64(1) << shift


LOWS_NS, WIDTHS_NS = _lows_and_widths()
HIGHS_NS = LOWS_NS + WIDTHS_NS - 1
MIDS_NS = LOWS_NS + (WIDTHS_NS >> 1)


def value_at_rank(counts: Counts, rank: int) -> int:
    """The value of the sample with this rank, 1 the smallest: the highest value of its bucket, as HdrHistogram reports.

    Raises ValueError where there is no such sample.
    """
    total = int(counts.sum())
    if not 1 <= rank <= total:
        raise ValueError(f"rank: expected 1 to {total}, found {rank}")
    return int(HIGHS_NS[int(np.searchsorted(np.cumsum(counts), rank))])


def least(counts: Counts) -> int | None:
    """The lowest value of the first bucket that holds a sample, or None."""
    filled = np.flatnonzero(counts)
    return int(LOWS_NS[filled[0]]) if filled.size else None


def greatest(counts: Counts) -> int | None:
    """The highest value of the last bucket that holds a sample, or None."""
    filled = np.flatnonzero(counts)
    return int(HIGHS_NS[filled[-1]]) if filled.size else None
