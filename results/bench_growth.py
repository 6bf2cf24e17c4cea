"""How figures grow along a sweep: as a power of the swept key, where the rounds bear that out. Pure.

A line through logarithms, round by round, so that what a round has in common falls out. It is shown with its check: at
least five sizes, and at none of them do the rounds lie off their own lines to one side (signed ranks, Holm over the
sizes) by more than a figure is known to. Elsewhere no power law holds, and the medians stand for themselves.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from results.bench_record import AGAIN, Arm, Bench, Slope, by_round
from results.comparison import LEAST_ROUNDS, LEVEL, Values, holm, median_interval, sign_flip_p
from results.figures import FIGURES

LEAST_SIZES = 5
TOO_FEW = "too few sizes: five are needed"
NO_LAW = "no power law holds here"
# A figure is known to a bucket of the histogram.
RESOLUTION = 1 + 1 / 128


def slopes(bench: Bench) -> Iterable[Slope]:
    """The growth of every figure and ordering that was measured along an axis of numbers, or why there is none."""
    axis = _axis(bench)
    if len(axis) < 2 or bench.finished_rounds < LEAST_ROUNDS:
        return
    sizes = np.log(np.array(axis, dtype=np.float64))
    for arm in bench.arms:
        for figure in FIGURES if arm.arm != AGAIN else ():
            columns = [by_round(bench, point, arm.arm, figure.id) for point in bench.points]
            rows = [row for row in zip(*columns, strict=True) if all(value is not None and value > 0 for value in row)]
            if len(rows) >= LEAST_ROUNDS:
                yield _slope(figure.id, arm, sizes, np.array(rows, dtype=np.float64))


def _axis(bench: Bench) -> Sequence[int | float]:
    """The sizes, where all are numbers above 0."""
    values = bench.sweep.values if bench.sweep is not None else ()
    axis = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    return axis if len(axis) == len(values) else ()


def _slope(figure: str, arm: Arm, sizes: Values, rows: Values) -> Slope:
    """`rows` are the figure's values, shape (rounds, sizes); `sizes` are logarithms."""
    why = TOO_FEW if len(sizes) < LEAST_SIZES else ""
    powers = np.zeros(len(rows))
    if not why:
        powers, starts = np.polyfit(sizes, np.log(rows).T, 1)
        why = NO_LAW if _leans(np.log(rows) - starts[:, None] - powers[:, None] * sizes) else ""
    low, high = median_interval(powers)
    shown = (None, None, None) if why else (float(np.median(powers)), low, high)
    return Slope(
        figure=figure,
        arm=arm.arm,
        ordering=arm.ordering,
        slope=shown[0],
        low=shown[1],
        high=shown[2],
        points=len(sizes),
        why_none=why,
        medians=tuple(float(value) for value in np.median(rows, axis=0)),
    )


def _leans(residuals: Values) -> bool:
    """Whether at some size the rounds lie off their lines to one side; shape (rounds, sizes)."""
    corrected = holm({place: sign_flip_p(column) for place, column in enumerate(residuals.T)})
    off = np.abs(np.median(residuals, axis=0)) > np.log(RESOLUTION)
    return any(off[place] and p <= 1 - LEVEL for place, p in corrected.items())
