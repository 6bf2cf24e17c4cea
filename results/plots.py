"""The two pictures of a run, from what stands in result.json and raw.npz alone.

`latency.png`: how long a shootdown takes, and where the time goes. `stale.png`: stale reads over time, their age, and
the window in which they are legal. A panel with nothing to show says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from kernels.layout import AGE_BUCKETS, HIST_WORDS
from kernels.outcomes import Outcome
from results.grades import FAILING, GRADES
from results.histogram import Counts
from results.plot_style import (
    MARKER,
    Style,
    Target,
    parameters,
    percentile_axes,
    percentile_curve,
    say,
    sheet,
    styles,
    time_text,
)
from results.statistics import ENOUGH
from results.wording import count

Arrays = Mapping[str, NDArray[Any]]
Run = Mapping[str, Any]

# A step of an ordering and the phases that it is measured in; the lock comes before all of them.
STEP_PHASES = {"block": ("block",), "kick": ("kick_send", "kick_ack"), "track": ("track",), "remove": ("remove",)}
PHASES = {
    "lock": ("wait for mmu_lock", "#D9D9D9", ""),
    "block": ("BLOCK", "#22325F", ""),
    "kick_send": ("kick: send", "#F2C76E", ""),
    "kick_ack": ("kick: last ack", "#E39A2D", "..."),
    "track": ("TRACK", "#6FB7C9", "\\\\\\"),
    "remove": ("REMOVE", "#7A5B8E", ""),
}
STALE = (Outcome.stale_in_window, Outcome.stale_after_kick, Outcome.stale_after_done, Outcome.use_after_remove)
MOST_POINTS = 150
CUT = 8.0
# Above this many, ages share bars.
FEW_AGES = 6
AGE_GROUPS = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 7), (8, AGE_BUCKETS - 2), (AGE_BUCKETS - 1, AGE_BUCKETS - 1)]


def latency_png(result: Mapping[str, Any], arrays: Arrays, path: Target) -> None:
    """The percentile curve of whole shootdowns, one line an ordering, beside the medians of the phases.

    `path` is a path or an open binary file. A curve goes only as far as n gives its percentile a 95 % interval.
    """
    runs = result["runs"]
    looks = styles(runs)
    with parameters():
        handles = [
            look.handle(f"{look.name}, n = {run['latency_ns']['shootdown']['n']:,}")
            for look, run in zip(looks, runs, strict=True)
        ]
        open_loop = any("response" in run["latency_ns"] for run in runs)
        if open_loop:
            handles.append(Line2D([], [], color="#555555", linewidth=1, linestyle=":", label="from the intended start"))
        keys: list[Any] = [
            Patch(facecolor=c, hatch=h, edgecolor="white", label=label) for label, c, h in PHASES.values()
        ]
        keys.append(
            Line2D([], [], color="black", marker="|", markersize=11, markeredgewidth=2, linestyle="", label="whole")
        )
        page = sheet(
            result,
            "How long a shootdown takes",
            max(4.6, 1.5 + 0.36 * len(runs)),
            handles,
            keys,
            "Median of each phase",
        )
        curve, bars = page.body.subplots(1, 2, width_ratios=[1.15, 1])
        _shootdown_curves(curve, runs, looks, arrays)
        _phase_bars(bars, runs, looks)
        page.save(path)


def stale_png(result: Mapping[str, Any], arrays: Arrays, path: Target) -> None:
    """Stale reads over time by outcome, their age in epochs, and how long they are legal.

    `path` is a path or an open binary file.
    """
    runs = result["runs"]
    looks = styles(runs)
    with parameters():
        page = sheet(
            result, "Stale reads: when, how old, for how long", 7.2, [look.handle(look.name) for look in looks]
        )
        halves: Any = page.body.subfigures(1, 2, width_ratios=[1.25, 1])
        left, right = halves
        heights = [1.0 if _total(runs, outcome) else 0.4 for outcome in STALE]
        panels = left.subplots(len(STALE), 1, sharex=True, height_ratios=heights)
        if any(_total(runs, outcome) for outcome in STALE):
            left.supylabel("stale reads a second, all vCPUs", fontsize=9.5)
        _stale_over_time(panels, runs, looks, arrays)
        ages, window = right.subplots(2, 1)
        _stale_ages(ages, runs, looks)
        _window_curves(window, runs, looks, arrays)
        page.save(path)


def _histogram(arrays: Arrays, run: Run, name: str) -> Counts:
    found = arrays.get(f"{run['ordering']}/hist/{name}")
    return found if found is not None else np.zeros(HIST_WORDS, dtype=np.int64)


def _curves(
    ax: Axes, runs: Sequence[Run], looks: Sequence[Style], arrays: Arrays, name: str, plain: bool = False
) -> float:
    """Draw a percentile curve for each ordering that has one; returns how far the furthest goes."""
    furthest = 0.0
    for run, look in zip(runs, looks, strict=True):
        xs, ys = percentile_curve(_histogram(arrays, run, name))
        if not xs:
            continue
        furthest = max(furthest, xs[-1])
        if plain:
            ax.plot(xs, ys, color=look.colour, linewidth=1, linestyle=":")
            continue
        marked = [int(np.searchsorted(xs, x)) for x in (2, 10, 100, 1000, 10_000, 100_000) if x <= xs[-1]]
        ax.plot(xs, ys, color=look.colour, linestyle=look.dash, marker=look.marker, markevery=marked, **MARKER)
    return furthest


def _shootdown_curves(ax: Axes, runs: Sequence[Run], looks: Sequence[Style], arrays: Arrays) -> None:
    ax.set_title("Whole shootdown, by percentile")
    furthest = max(
        _curves(ax, runs, looks, arrays, "shootdown"), _curves(ax, runs, looks, arrays, "response", plain=True)
    )
    if not furthest:
        say(ax, _why_nothing(runs))
        return
    ax.set_ylabel("time of a shootdown (log)")
    percentile_axes(ax, furthest)


def _why_nothing(runs: Sequence[Run]) -> str:
    endings = {run["ending"] for run in runs} - {"finished"}
    said = f" ({', '.join(sorted(endings))})" if endings else ""
    return f"No ordering completed the {ENOUGH['p50']} shootdowns\nthat a median needs{said}."


def _phases_in_order(run: Run) -> list[str]:
    steps = [step for step in run["shootdown"] if step in STEP_PHASES] or list(STEP_PHASES)
    return list(dict.fromkeys(["lock", *(phase for step in steps for phase in STEP_PHASES[step])]))


def _phase_bars(ax: Axes, runs: Sequence[Run], looks: Sequence[Style]) -> None:
    ax.set_title("Where the time goes, at the median")
    ends = [max(sum(median for _, median in _medians(run)), _whole(run) or 0) for run in runs]
    if not any(ends):
        say(ax, "No phase was measured.")
        return
    # One ordering that is far slower than most would leave the others no width: its bar is cut, its number stands.
    limit = min(max(ends), CUT * float(np.median([end for end in ends if end])))
    for place, (run, look, end) in enumerate(zip(runs, looks, ends, strict=True)):
        _phase_bar(ax, place, run, look, limit)
        missing = "whole: n too small" if run["latency_ns"]["shootdown"]["n"] else "no whole shootdown"
        whole = _whole(run)
        said = missing if whole is None else time_text(whole)
        cut = f", bar cut at {time_text(limit)} of {time_text(end)}" if end > limit else ""
        ax.text(min(end, limit) + 0.015 * limit, place, said + cut, va="center", fontsize=8.5)
    ax.set_yticks(range(len(runs)), [look.name for look in looks], fontsize=9 if len(runs) > 6 else 9.5)
    room = 0.6 + max(0.0, 3 - len(runs)) * 0.4
    ax.set_ylim(len(runs) - 1 + room, -room)
    ax.set_xlim(0, limit * (1.8 if max(ends) > limit else 1.2))
    ax.grid(False, axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: time_text(x) if x else "0"))
    ax.set_xlabel("time, steps in the order in which they run\n(medians of parts do not add up exactly to the whole's)")


def _medians(run: Run) -> list[tuple[str, int]]:
    """The phases that have a median, in the order in which this ordering takes them."""
    medians = ((phase, run["latency_ns"].get(phase, {}).get("p50")) for phase in _phases_in_order(run))
    return [(phase, median) for phase, median in medians if median]


def _whole(run: Run) -> int | None:
    median: int | None = run["latency_ns"]["shootdown"]["p50"]
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
    whole = _whole(run)
    if whole is not None and whole <= limit:
        ax.plot([whole, whole], [place - 0.41, place + 0.41], color="black", linewidth=2.2, solid_capstyle="butt")
    if end or whole:
        ax.plot([0], [place], clip_on=False, zorder=5, linestyle="", marker=look.marker, color=look.colour, **_dot())


def _dot() -> dict[str, Any]:
    return {**MARKER, "markersize": 8}


def _stale_over_time(panels: Sequence[Axes], runs: Sequence[Run], looks: Sequence[Style], arrays: Arrays) -> None:
    all_rates = [_rates(arrays, run) for run in runs]
    for ax, outcome in zip(panels, STALE, strict=True):
        grade = GRADES[outcome][0]
        total = _total(runs, outcome)
        colour = "#B00020" if grade in FAILING and total else "black"
        ax.set_title(f"{outcome.name}: {grade.value}, {count(total)} in all", fontsize=10, color=colour)
        peaks = []
        for (times, rates), look in zip(all_rates, looks, strict=True):
            rate = rates[:, outcome]
            if rate.any():
                every = max(1, len(times) // 8)
                ax.plot(
                    times, rate, color=look.colour, linestyle=look.dash, marker=look.marker, markevery=every, **MARKER
                )
                peaks.append(float(rate.max()))
        if not peaks:
            of = sum(run["all_shootdowns"] for run in runs)
            never = f"never seen in {of:,} shootdowns" if of else "no shootdown was completed"
            seen = "too short a time for a rate" if total else never
            _empty_strip(ax, seen)
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
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _short(y)))


def _total(runs: Sequence[Run], outcome: Outcome) -> int:
    """Events of this outcome over all orderings."""
    return sum(o["count"] for run in runs for o in run["outcomes"] if o["id"] == outcome.name)


def _empty_strip(ax: Axes, text: str) -> None:
    """A panel of a shared time axis with nothing in it."""
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.grid(False)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#555555")


def _short(value: float) -> str:
    text = count(value)
    number, space, prefix = text.partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + space + prefix


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


def _stale_ages(ax: Axes, runs: Sequence[Run], looks: Sequence[Style]) -> None:
    ages = np.array([[run["stale_age_epochs"][str(age)] for age in range(AGE_BUCKETS)] for run in runs])
    ax.set_title(f"Age of stale reads, n = {count(int(ages.sum()))}")
    if not ages.any():
        say(ax, "No stale read was seen.")
        return
    last = max(int(np.flatnonzero(ages.any(axis=0))[-1]), 2)
    groups = [(age, age) for age in range(last + 1)] if last < FEW_AGES else AGE_GROUPS
    bars = [(look, row) for look, row in zip(looks, ages, strict=True) if row.any()]
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
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _short(y)))
    ax.set_xticks(range(len(groups)), [_age_name(first, end) for first, end in groups])
    ax.grid(False, axis="x")
    ax.set_xlabel("age: TD epochs since the page was blocked")
    ax.set_ylabel("reads (log)")


def _age_name(first: int, end: int) -> str:
    if end == AGE_BUCKETS - 1:
        return f"{first}+"
    return f"{first}" if first == end else f"{first}-{end}"


def _window_curves(ax: Axes, runs: Sequence[Run], looks: Sequence[Style], arrays: Arrays) -> None:
    ax.set_title("Legal stale window: from BLOCK to flush done")
    furthest = _curves(ax, runs, looks, arrays, "stale_window")
    if not furthest:
        say(ax, "No window was measured.")
        return
    ax.set_ylabel("length (log)")
    percentile_axes(ax, furthest)
