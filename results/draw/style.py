"""How every picture looks: one style an ordering, percentile axes, and axes of time.

Colours are Okabe and Ito's, told apart by the colour-blind; markers and dashes tell the lines apart in grey. A shipped
ordering looks the same in every panel of every picture of every result; a user's own has the look that its name comes
to, or the next one that is free beside the others.
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from results.numbers.statistics import Counts, quantile_intervals, quantiles
from results.verdict import is_safe
from results.words import MARK, changes, nanoseconds, without_zeros

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
Dash = Literal["-"] | tuple[float, tuple[float, ...]]
# Shipped orderings by the place of their look.
KNOWN = (
    "spec", "v18", "v6_16", "flag_gate", "kick_then_track", "no_kick", "spec_unserialized", "track_then_block",
    "no_block", "kick_without_wait", "flag_gate_unserialized", "gate_lowered_early", "free_despite_error",
    "no_flush_at_entry", "remove_without_tracking", "v6_16_entry_unchecked", "exact_busy",
    "track_then_block_unserialized", "v18_literal", "parallel_kick", "parallel_kick_ungated", "request_then_track",
    "v6_19", "read_locked", "read_locked_untracked", "dirty_log", "dirty_log_elided", "v6_18",
    "wbinvd_before_kick",
)  # fmt: skip
BAD, QUIET = "#B00020", "#555555"
SAFE_DASHES: tuple[Dash, ...] = ("-", (0, (9, 1.5)))
UNSAFE_DASHES: tuple[Dash, ...] = ((0, (4, 2)), (0, (1.5, 1.5)))
PARAMETERS: Any = {
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # or matplotlib looks for ticks in their way, again and again
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "savefig.facecolor": "white",
    # Glyphs as outlines, so that an SVG needs no font of the reader's.
    "svg.fonttype": "path",
    "svg.hashsalt": "tdx-stress",
}
# 1 - q where n = this / (1 - q) is the fewest samples for an interval: ln(0.025) = -3.689.
SAMPLES_PER_TAIL = -math.log(0.025)


@dataclass(frozen=True, slots=True)
class Style:
    """How one ordering is drawn, and what it is called where it is drawn."""

    name: str
    colour: str
    dash: Dash
    marker: str
    hatch: str

    @property
    def line(self) -> dict[str, Any]:
        """What matplotlib takes for a line with its markers."""
        return {"color": self.colour, "linestyle": self.dash, "marker": self.marker, **MARKER}

    def handle(self, label: str) -> Line2D:
        return Line2D([], [], label=label, **self.line)


MARKER: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.7, "linewidth": 1.8}
BAND: dict[str, Any] = {"alpha": 0.22, "linewidth": 0}


def styles(runs: Sequence[Mapping[str, Any]]) -> list[Style]:
    places = places_of([run["ordering"] for run in runs])
    looks = []
    for run in runs:
        # What makes its latency none of a right order in an undisturbed race stands behind its name.
        marks = (
            " (failed)" * (run.get("verdict") == "failed")
            + MARK * bool(changes(run))
            + " (perturbed)" * run["perturbed"]
            + " (traced)" * bool(run.get("trace"))
        )
        looks.append(look_of(places[run["ordering"]], run["ordering"], safe=is_safe(run), marks=marks))
    return looks


def places_of(orderings: Sequence[str]) -> dict[str, int]:
    """The place of each ordering's look: fixed for a shipped one; for another the place that its name comes to, or the
    next free one, so that no two of up to 14 look the same."""
    places = {name: KNOWN.index(name) for name in orderings if name in KNOWN}
    for name in dict.fromkeys(name for name in orderings if name not in KNOWN):
        first = zlib.crc32(name.encode()) % len(COLOURS)
        tries = [(first + step) % len(COLOURS) for step in range(len(COLOURS))]
        later = range(len(COLOURS), len(MARKERS) + len(orderings))
        # A colour that nobody has, before a look that nobody has.
        taken = {place % len(COLOURS) for place in places.values()}
        free = [place for place in tries if place not in taken] or [
            place for place in (*tries, *later) if place not in places.values()
        ]
        places[name] = free[0]
    return places


def look_of(place: int, ordering: str, *, safe: bool, marks: str = "") -> Style:
    """The look of this place: what is unsafe has broken lines and hatched bars, and says so in its name."""
    cycle, colour = divmod(place, len(COLOURS))
    dashes = SAFE_DASHES if safe else UNSAFE_DASHES
    name = shortened(ordering, 28) + ("" if safe else " (unsafe)") + marks
    marker = MARKERS[place % len(MARKERS)]
    return Style(name, COLOURS[colour], dashes[cycle % len(dashes)], marker, "" if safe else "////")


def shortened(name: str, most: int = 38) -> str:
    """The name, cut in its middle where a user's own is too long for a picture."""
    half = most // 2 - 1
    # A dollar sign would start a formula.
    text = name if len(name) <= most else f"{name[:half]}...{name[-half:]}"
    return text.replace("$", r"\$")


def parameters() -> Any:
    """The context in which a sheet is made and saved, whatever a user's matplotlibrc says."""
    return style.context(["default", PARAMETERS])


def percentile_curve(counts: Counts, points: int = 240) -> tuple[list[float], list[int]]:
    """x = 1 / (1 - q) and the quantile in ns, only as far as n supports it; empty where n is too small for a median."""
    end = float(counts.sum()) / SAMPLES_PER_TAIL
    if end < 2:
        return [], []
    xs = end ** np.linspace(0, 1, points)
    return xs.tolist(), np.maximum(quantiles(counts, 1 - 1 / xs), 1).tolist()


def percentile_band(counts: Counts, points: int = 60) -> tuple[list[float], list[int], list[int]]:
    """x = 1 / (1 - q) and the ends in ns of the quantile's 95 % interval by order statistics, as far as it has one."""
    end = float(counts.sum()) / SAMPLES_PER_TAIL
    if end < 2:
        return [], [], []
    xs = 2 * (end / 2) ** np.linspace(0, 1, points)
    low, high = (np.maximum(ends, 1).tolist() for ends in quantile_intervals(counts, 1 - 1 / xs))
    return xs.tolist(), low, high


def percentile_axes(ax: Axes, furthest: float) -> None:
    """A log axis of 1 / (1 - q) that reads in percent, and a log axis of time that reads in units."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = [1.0, 2.0, *(10.0**power for power in range(1, 9))]
    # Where the axis is long, 0 % and 50 % are too close for both.
    shown = [tick for tick in ticks[furthest > 1000 :] if tick <= max(furthest, 10.0) * 1.01]
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 - 100 / x:.10g} %" if x > 1 else "0 %"))
    ax.set_xlim(1.0, max(furthest, 10.0) * 1.25)
    ax.set_xlabel("percentile")
    time_axis(ax)


def time_axis(ax: Axes, which: Literal["x", "y"] = "y", text: Callable[[float], str] | None = None) -> None:
    """Units on a log axis of nanoseconds, or `text`; ticks between the decades where there are few of these."""
    axis = ax.yaxis if which == "y" else ax.xaxis
    limits, set_limits = (ax.get_ylim, ax.set_ylim) if which == "y" else (ax.get_xlim, ax.set_xlim)
    low, high = limits()
    if high < 5 * low:
        low, high = low / 2, high * 2
        set_limits(low, high)
    apart = high / max(low, 1e-9)
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if apart < 10 else (1.0, 2.0, 5.0) if apart < 100 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=20))
    axis.set_minor_locator(NullLocator())  # each minor tick costs as much as a line of data
    axis.set_major_formatter(FuncFormatter(lambda value, _: (text or time_text)(value)))


def time_text(value_ns: float) -> str:
    """A tick's text: `200 ns`, `1 µs`, `50 ms`."""
    return without_zeros(nanoseconds(value_ns)).replace("us", "µs")


def say(ax: Axes, text: str) -> None:
    """An empty panel that says why it is empty."""
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=QUIET, wrap=True)
