"""Panels about stale reads: when they were seen, how old they were, and how long they are legal."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from kernels.tdx.counters import AGE_BUCKETS
from kernels.tdx.outcomes import Outcome
from results.draw.style import BAD, MARKER, QUIET, percentile_axes, say
from results.draw.time import Arrays, Run, Shown, curves
from results.grades import FAILING
from results.verdict import met_shootdowns
from results.words import count, per_second, without_zeros

STALE = (Outcome.stale_in_window, Outcome.stale_after_kick, Outcome.stale_after_done, Outcome.use_after_remove)
MOST_POINTS = 150
# Above this many, ages share bars.
FEW_AGES = 6
AGE_GROUPS = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 7), (8, AGE_BUCKETS - 2), (AGE_BUCKETS - 1, AGE_BUCKETS - 1)]
# An outcome that was never seen has a flat strip that says so.
FLAT, TALL = 0.4, 1.0


def strip_heights(runs: Sequence[Run]) -> list[float]:
    """How high the strip of each stale outcome is, relative to the others."""
    return [TALL if total(runs, outcome) else FLAT for outcome in STALE]


def total(runs: Sequence[Run], outcome: Outcome) -> int:
    """Events of this outcome over all orderings."""
    return sum(o["count"] for run in runs for o in run["outcomes"] if o["id"] == outcome.name)


def stale_over_time(panels: Sequence[Axes], shown: Shown) -> None:
    """Stale reads a second over time: a strip for each outcome of `STALE`, on one axis of time."""
    all_rates = [_rates(shown.arrays, run) for run in shown.runs]
    for ax, outcome in zip(panels, STALE, strict=True):
        grade, events = outcome.grade, total(shown.runs, outcome)
        colour = BAD if grade in FAILING and events else "black"
        ax.set_title(f"{outcome.name}: {grade.value}, {count(events)} in all", fontsize=10, color=colour)
        peaks = []
        for (times, rates), look in zip(all_rates, shown.looks, strict=True):
            rate = rates[:, outcome]
            if rate.any():
                every = max(1, len(times) // 8)
                ax.plot(
                    times, rate, color=look.colour, linestyle=look.dash, marker=look.marker, markevery=every, **MARKER
                )
                peaks.append(float(rate.max()))
        if not peaks:
            met = [met_shootdowns(run) for run in shown.runs]
            of = sum(one or 0 for one in met)
            never = f"never seen in {of:,} shootdowns that met a vCPU" if of else "no shootdown met a vCPU"
            never = "never seen" if None in met else never
            _empty_strip(ax, "too short a time for a rate" if events else never)
            continue
        _rate_axis(ax, min(peaks), max(peaks))
    longest = max((float(times[-1]) for times, _ in all_rates if len(times)), default=1.0)
    panels[-1].set_xlim(0, longest * 1.02)
    panels[-1].set_xlabel("seconds since the ordering started, warm-up included")


def _rate_axis(ax: Axes, lowest_peak: float, highest_peak: float) -> None:
    """Linear from 0; where orderings lie too far apart for that, logarithmic with a linear part at 0."""
    ax.yaxis.set_major_locator(MaxNLocator(3))
    if highest_peak > 50 * lowest_peak:
        low, high = (int(np.floor(np.log10(max(peak, 1.0)))) for peak in (lowest_peak, highest_peak))
        ax.set_yscale("symlog", linthresh=10.0**low)
        every = -(-(high - low) // 3)
        ax.yaxis.set_major_locator(FixedLocator([0.0, *(10.0**power for power in range(high, low, -every))]))
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: without_zeros(per_second(y))))


def _empty_strip(ax: Axes, text: str) -> None:
    """A panel of a shared time axis with nothing in it."""
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.grid(False)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=QUIET)


def _rates(arrays: Arrays, run: Run) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times (s) and rates (events a second, shape (n, outcomes)) between samples, thinned to what a panel can show."""
    times = arrays.get(f"{run['ordering']}/series/time_s", np.zeros(0))
    events = arrays.get(f"{run['ordering']}/series/outcomes", np.zeros((0, len(Outcome)), dtype=np.int64))
    if len(times) < 2:
        return np.zeros(0), np.zeros((0, len(Outcome)))
    every = -(-len(times) // MOST_POINTS)
    times, events = times[::every], events[::every]
    apart = np.diff(times)
    kept = apart > 0
    return ((times[1:] + times[:-1]) / 2)[kept], np.diff(events, axis=0)[kept] / apart[kept, None]


def stale_ages(ax: Axes, shown: Shown) -> None:
    """How many TD epochs old stale reads were."""
    ages = np.array([[run["stale_age_epochs"][str(age)] for age in range(AGE_BUCKETS)] for run in shown.runs])
    ax.set_title(f"Age of stale reads, n = {count(int(ages.sum()))}")
    if not ages.any():
        say(ax, "No stale read was seen.")
        return
    last = max(int(np.flatnonzero(ages.any(axis=0))[-1]), 2)
    groups = [(age, age) for age in range(last + 1)] if last < FEW_AGES else AGE_GROUPS
    bars = [(look, row) for look, row in zip(shown.looks, ages, strict=True) if row.any()]
    width = 0.86 / len(bars)
    highest = max(int(row[first : end + 1].sum()) for _, row in bars for first, end in groups)
    for place, (look, row) in enumerate(bars):
        at = np.arange(len(groups)) - 0.43 + width * (place + 0.5)
        reads = np.array([row[first : end + 1].sum() for first, end in groups])
        ax.bar(at, reads, width * 0.94, color=look.colour, hatch=look.hatch, edgecolor="white", linewidth=0.3)
        small = {**MARKER, "markersize": 5, "linestyle": "", "clip_on": False, "zorder": 5}
        ax.plot(at[reads > 0], reads[reads > 0], color=look.colour, marker=look.marker, **small)
    ax.set_yscale("log")
    ax.set_ylim(0.7, 2.2 * highest)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: without_zeros(per_second(y))))
    names = [f"{a}+" if b == AGE_BUCKETS - 1 else f"{a}" if a == b else f"{a}-{b}" for a, b in groups]
    ax.set_xticks(range(len(groups)), names)
    ax.grid(False, axis="x")
    ax.set_xlabel("age: TD epochs since the page was blocked")
    ax.set_ylabel("reads (log)")


def window_curves(ax: Axes, shown: Shown) -> None:
    """How long an old translation may legally be used, by percentile."""
    ax.set_title("Legal stale window: from BLOCK to flush done")
    furthest = curves(ax, shown, "stale_window")
    if not furthest:
        say(ax, "No window was measured.")
        return
    ax.set_ylabel("length (log)")
    percentile_axes(ax, furthest)
