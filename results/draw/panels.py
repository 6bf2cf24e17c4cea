"""Panels about time: percentile curves, shares of shootdowns done by a time, and where the time goes. And about stale
reads: when they were seen, how old they were, and how long they are legal.

A panel draws one thing of a result into one pair of axes; pictures and pages are made of them. With nothing to show it
says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from kernels.layout import HIST_WORDS
from kernels.tdx.counters import AGE_BUCKETS
from kernels.tdx.outcomes import Outcome
from results.draw.style import (
    BAD,
    BAND,
    QUIET,
    Style,
    percentile_axes,
    percentile_band,
    percentile_curve,
    say,
    time_axis,
)
from results.figures import PHASES, phase_shares
from results.numbers.statistics import ENOUGH, HIGHS_NS, Counts, share_margin
from results.verdict import FAILING, MET, met_shootdowns
from results.words import count, per_second, plural, without_zeros

Arrays = Mapping[str, NDArray[Any]]
Run = Mapping[str, Any]
MARKED = (2, 10, 100, 1000, 10_000, 100_000)
# A smaller share of a bar has no room for its number.
LEAST_TOLD = 0.06
# A band for each of more orderings than this hides what it is to show.
MOST_BANDS = 6
# Of a distribution from 0 to 1.
STEPS = 400


class Shown(NamedTuple):
    """What panels show: runs, how each of them is drawn, and their arrays."""

    runs: Sequence[Run]
    looks: Sequence[Style]
    arrays: Arrays

    def each(self) -> Iterable[tuple[Run, Style]]:
        return zip(self.runs, self.looks, strict=True)

    def counts(self, run: Run, name: str) -> Counts:
        """A run's histogram of this name, empty where it has none."""
        found = self.arrays.get(f"{run['ordering']}/hist/{name}")
        if found is None and name == MET:  # of a result of an earlier version
            found = self.arrays.get(f"{run['ordering']}/hist/shootdown")
        return found if found is not None else np.zeros(HIST_WORDS, dtype=np.int64)


def shootdown_curves(ax: Axes, shown: Shown) -> None:
    """The percentile curve of whole shootdowns with its interval, as far as n gives one."""
    ax.set_title("A shootdown that met a vCPU, by percentile")
    furthest = max(curves(ax, shown, MET), _response_curves(ax, shown))
    if not furthest:
        say(ax, why_nothing(shown.runs))
        return
    ax.set_ylabel("time of a shootdown (log)")
    percentile_axes(ax, furthest)


def curves(ax: Axes, shown: Shown, name: str) -> float:
    """Draw a percentile curve in its band for each ordering that has one; returns how far the furthest goes."""
    furthest = 0.0
    for run, look in shown.each():
        xs, ys = percentile_curve(shown.counts(run, name))
        if not xs:
            continue
        furthest = max(furthest, xs[-1])
        if len(shown.runs) <= MOST_BANDS:
            at, low, high = percentile_band(shown.counts(run, name))
            ax.fill_between(at, low, high, color=look.colour, **BAND)
        marked = [int(np.searchsorted(xs, x)) for x in MARKED if x <= xs[-1]]
        ax.plot(xs, ys, markevery=marked, **look.line)
    return furthest


def _response_curves(ax: Axes, shown: Shown) -> float:
    """With an open loop: the time from the intended start, dotted."""
    furthest = 0.0
    for run, look in shown.each():
        xs, ys = percentile_curve(shown.counts(run, "response"))
        ax.plot(xs, ys, color=look.colour, linewidth=1, linestyle=":")
        furthest = max(furthest, xs[-1] if xs else 0.0)
    return furthest


def why_nothing(runs: Sequence[Run]) -> str:
    endings = {run["ending"] for run in runs} - {"finished"}
    said = f" ({', '.join(sorted(endings))})" if endings else ""
    return f"No ordering has {ENOUGH['p50']} shootdowns that met a vCPU,\nas a median needs{said}."


def done_by(ax: Axes, shown: Shown) -> None:
    """The empirical distribution: which share of shootdowns was done by a time, with its 95 % band for the whole."""
    ax.set_title("Share of shootdowns done by a time")
    measured = [(look, counts) for run, look in shown.each() if (counts := shown.counts(run, MET)).any()]
    if not measured:
        say(ax, why_nothing(shown.runs))
        return
    longest = 0.0
    for look, counts in measured:
        times, shares = _distribution(counts)
        margin = share_margin(int(counts.sum()))
        low, high = np.clip(shares - margin, 0, 1), np.clip(shares + margin, 0, 1)
        if len(measured) <= MOST_BANDS:
            ax.fill_between(times, low, high, step="post", color=look.colour, **BAND)
        every = [int(np.searchsorted(shares, share)) for share in (0.1, 0.5, 0.9)]
        ax.plot(times, shares, drawstyle="steps-post", markevery=every, **look.line)
        longest = max(longest, float(times[np.searchsorted(shares, 0.999)]))
    ax.set_xscale("log")
    ax.set_xlim(right=longest * 1.5)
    time_axis(ax, "x")
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
    ax.set_ylabel("share of shootdowns that met a vCPU")
    ax.set_xlabel("time of a shootdown (log), to the 99.9th percentile")


def _distribution(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times in ns and the share of samples up to each, thinned to steps that an eye can tell apart."""
    filled = np.flatnonzero(counts)
    shares = np.cumsum(counts[filled]) / counts.sum()
    last_of_step = np.append(np.diff(np.floor(shares * STEPS)) > 0, True)
    return np.maximum(HIGHS_NS[filled][last_of_step], 1), shares[last_of_step]


def phase_bars(ax: Axes, shown: Shown) -> None:
    """Each phase's share of the stamped shootdowns, one bar an ordering."""
    ax.set_title("Where the time goes, at the median")
    runs = shown.runs
    if not any(map(phase_shares, runs)):
        say(ax, "No phase was measured.")
        return
    for place, (run, look) in enumerate(shown.each()):
        _phase_bar(ax, place, run, look)
    ax.set_yticks(range(len(runs)), [look.name for look in shown.looks], fontsize=9 if len(runs) > 6 else 9.5)
    room = 0.6 + max(0.0, 3 - len(runs)) * 0.4
    ax.set_ylim(len(runs) - 1 + room, -room)
    ax.set_xlim(0, 1)
    ax.grid(False, axis="y")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f} %"))
    ax.set_xlabel("share of the phases' sum, steps in the order in which they run\n(each holds a reading of the clock)")


def _phase_bar(ax: Axes, place: int, run: Run, look: Style) -> None:
    end = 0.0
    for phase, width in phase_shares(run).items():
        _, colour, hatch = PHASES[phase]
        ax.barh(place, width, left=end, height=0.62, color=colour, hatch=hatch, edgecolor="white", linewidth=0.8)
        if width >= LEAST_TOLD:
            text = ax.text(end + width / 2, place, f"{100 * width:.0f}", va="center", ha="center", fontsize=8.5)
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0})
        end += width
    if end:
        ax.plot([0], [place], **look.line | {"markersize": 8, "clip_on": False, "zorder": 5, "linestyle": ""})


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
        peaks, left_out = [], 0
        for (times, rates), (run, look) in zip(all_rates, shown.each(), strict=True):
            rate = rates[:, outcome]
            if rate.any():
                ax.plot(times, rate, markevery=max(1, len(times) // 8), **look.line)
                peaks.append(float(rate.max()))
            else:
                left_out += total([run], outcome)
        more = f", {count(left_out)} of them in too short a time for a rate" if peaks and left_out else ""
        title = f"{outcome.name}: {grade.value}, {count(events)} in all{more}"
        ax.set_title(title, fontsize=10, color=colour)
        if not peaks:
            _empty_strip(ax, "too short a time for a rate" if events else _why_unseen(shown.runs, outcome))
            continue
        _rate_axis(ax, min(peaks), max(peaks))
    longest = max((float(times[-1]) for times, _ in all_rates if len(times)), default=1.0)
    panels[-1].set_xlim(0, longest * 1.02)
    ticks = [tick for tick in MaxNLocator(6).tick_values(0, longest) if tick <= longest]
    panels[-1].set_xticks(ticks)
    if ticks[-1] > 0.93 * longest:  # else the label of the tick at the very end would reach into the panel on the right
        panels[-1].get_xticklabels()[-1].set_horizontalalignment("right")
    panels[-1].set_xlabel("seconds since the ordering started, warm-up included")


def _why_unseen(runs: Sequence[Run], outcome: Outcome) -> str:
    """In how many shootdowns it was not seen; or what was seen in its place, which is worse."""
    worse = {other: total(runs, other) for other in STALE[STALE.index(outcome) + 1 :] if other.grade in FAILING}
    if outcome.grade in FAILING and any(worse.values()):
        told = ", ".join(f"{other.name} {count(events)} times" for other, events in worse.items() if events)
        return f"not seen: it was worse, {told}"
    met = [met_shootdowns(run) for run in runs]
    if None in met:
        return "never seen"
    of = sum(one or 0 for one in met)
    which = {1: "", 2: " of both orderings"}.get(len(runs), f" of all {len(runs)} orderings")
    return f"never seen in {plural(of, 'shootdown')}{which} that met a vCPU" if of else "no shootdown met a vCPU"


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
    if len(times) < 2 or len(events) != len(times):  # one of them was not kept
        return np.zeros(0), np.zeros((0, len(Outcome)))
    every = -(-len(times) // MOST_POINTS)
    times, events = times[::every], events[::every]
    apart = np.diff(times)
    kept = apart > np.median(apart) / 2  # the last sample follows the end of the race, however soon that is
    return ((times[1:] + times[:-1]) / 2)[kept], np.diff(events, axis=0)[kept] / apart[kept, None]


def stale_ages(ax: Axes, shown: Shown) -> None:
    """How many TD epochs old stale reads were."""
    ages = np.array([[run["stale_age_epochs"][str(age)] for age in range(AGE_BUCKETS)] for run in shown.runs])
    ax.set_title(f"Age of stale reads, {count(int(ages.sum()))} in all")
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
        small = {"markersize": 5, "linestyle": "", "clip_on": False, "zorder": 5}
        ax.plot(at[reads > 0], reads[reads > 0], **look.line | small)
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
