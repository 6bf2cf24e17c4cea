"""Panels about time: percentile curves, shares of shootdowns done by a time, and where the time goes.

A panel draws one thing of a result into one pair of axes; pictures and pages are made of them. With nothing to show it
says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from kernels.layout import HIST_WORDS
from results.histogram import HIGHS_NS, Counts
from results.met import MET, whole
from results.plot_style import (
    BAND,
    MARKER,
    PHASES,
    Style,
    percentile_axes,
    percentile_band,
    percentile_curve,
    say,
    time_axis,
    time_text,
)
from results.statistics import ENOUGH, share_margin

Arrays = Mapping[str, NDArray[Any]]
Run = Mapping[str, Any]

# A step of an ordering and the phases that it is measured in; the lock comes before all of them.
STEP_PHASES = {"block": ("block",), "kick": ("kick_send", "kick_ack"), "track": ("track",), "remove": ("remove",)}
MARKED = (2, 10, 100, 1000, 10_000, 100_000)
CUT = 8.0
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
        """Every run with its style."""
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
        ax.plot(xs, ys, color=look.colour, linestyle=look.dash, marker=look.marker, markevery=marked, **MARKER)
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
    """Why there is no curve."""
    endings = {run["ending"] for run in runs} - {"finished"}
    said = f" ({', '.join(sorted(endings))})" if endings else ""
    return f"In no ordering {ENOUGH['p50']} shootdowns met a vCPU,\nwhich a median needs{said}."


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
        line = {**MARKER, "drawstyle": "steps-post", "markevery": every}
        ax.plot(times, shares, color=look.colour, linestyle=look.dash, marker=look.marker, **line)
        longest = max(longest, float(times[np.searchsorted(shares, 0.999)]))
    ax.set_xscale("log")
    ax.set_xlim(right=longest * 1.5)
    time_axis(ax, "x")
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0%}".replace("%", " %")))
    ax.set_ylabel("share of shootdowns that met a vCPU")
    ax.set_xlabel("time of a shootdown (log), to the 99.9th percentile")


def _distribution(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times in ns and the share of samples up to each, thinned to steps that an eye can tell apart."""
    filled = np.flatnonzero(counts)
    shares = np.cumsum(counts[filled]) / counts.sum()
    last_of_step = np.append(np.diff(np.floor(shares * STEPS)) > 0, True)
    return np.maximum(HIGHS_NS[filled][last_of_step], 1), shares[last_of_step]


def phase_bars(ax: Axes, shown: Shown) -> None:
    """The median of each phase, one bar an ordering, with a stroke at the median of the whole."""
    ax.set_title("Where the time goes, at the median")
    runs = shown.runs
    ends = [max(sum(median for _, median in _medians(run)), _whole(run) or 0) for run in runs]
    if not any(ends):
        say(ax, "No phase was measured.")
        return
    # One ordering that is far slower than most would leave the others no width: its bar is cut, its number stands.
    limit = min(max(ends), CUT * float(np.median([end for end in ends if end])))
    for place, ((run, look), end) in enumerate(zip(shown.each(), ends, strict=True)):
        _phase_bar(ax, place, run, look, limit)
        missing = "whole: n too small" if whole(run)["n"] else "no shootdown met a vCPU"
        took = _whole(run)
        said = missing if took is None else time_text(took)
        cut = f", bar cut at {time_text(limit)} of {time_text(end)}" if end > limit else ""
        ax.text(min(end, limit) + 0.015 * limit, place, said + cut, va="center", fontsize=8.5)
    ax.set_yticks(range(len(runs)), [look.name for look in shown.looks], fontsize=9 if len(runs) > 6 else 9.5)
    room = 0.6 + max(0.0, 3 - len(runs)) * 0.4
    ax.set_ylim(len(runs) - 1 + room, -room)
    ax.set_xlim(0, limit * (2.1 if max(ends) > limit else 1.2))
    ax.grid(False, axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: time_text(x) if x else "0"))
    ax.set_xlabel("time, steps in the order in which they run\n(medians of parts do not add up exactly to the whole's)")


def _phases_in_order(run: Run) -> list[str]:
    steps = [step for step in run["shootdown"] if step in STEP_PHASES] or list(STEP_PHASES)
    return list(dict.fromkeys(["lock", *(phase for step in steps for phase in STEP_PHASES[step])]))


def _medians(run: Run) -> list[tuple[str, int]]:
    """The phases that have a median, in the order in which this ordering takes them."""
    medians = ((phase, run["latency_ns"].get(phase, {}).get("p50")) for phase in _phases_in_order(run))
    return [(phase, median) for phase, median in medians if median]


def _whole(run: Run) -> int | None:
    median: int | None = whole(run)["p50"]
    return median


def _phase_bar(ax: Axes, place: int, run: Run, look: Style, limit: float) -> None:
    """One ordering's bar, cut at the limit, with its marker at the start and a stroke at the whole's median."""
    end = 0.0
    for phase, median in _medians(run):
        _, colour, hatch = PHASES[phase]
        width = min(float(median), limit - end)
        if width > 0:
            ax.barh(place, width, left=end, height=0.62, color=colour, hatch=hatch, edgecolor="white", linewidth=0.8)
            end += width
    took = _whole(run)
    if took is not None and took <= limit:
        ax.plot([took, took], [place - 0.41, place + 0.41], color="black", linewidth=2.2, solid_capstyle="butt")
    if end or took:
        dot = {**MARKER, "markersize": 8, "clip_on": False, "zorder": 5, "linestyle": ""}
        ax.plot([0], [place], marker=look.marker, color=look.colour, **dot)
