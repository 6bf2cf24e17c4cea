"""How every picture looks: one style an ordering, percentile axes, and a sheet with a head and a foot.

Colours are Okabe and Ito's, told apart by the colour-blind; markers and dashes tell the lines apart in grey. A shipped
ordering looks the same in every panel of every picture of every result; a user's own has the look that its name comes
to, or the next one that is free beside the others.
"""

import math
import textwrap
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from results.histogram import Counts
from results.statistics import percentile, percentile_interval
from results.verdict import is_safe
from results.wording import nanoseconds, plural

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
Dash = Literal["-"] | tuple[float, tuple[float, ...]]
# Shipped orderings by the place of their look.
KNOWN = (
    "spec", "v18", "v6_16", "flag_gate", "kick_then_track", "no_kick", "spec_unserialized", "track_then_block",
    "no_block", "kick_without_wait", "flag_gate_unserialized", "gate_lowered_early", "free_despite_error",
    "no_flush_at_entry", "remove_without_tracking", "v6_16_entry_unchecked", "exact_busy",
    "track_then_block_unserialized", "v18_literal",
)  # fmt: skip
# What a phase is called, its colour and its hatch.
PHASES = {
    "lock": ("wait for mmu_lock", "#D9D9D9", ""),
    "block": ("BLOCK", "#22325F", ""),
    "kick_send": ("kick: send", "#F2C76E", ""),
    "kick_ack": ("kick: last ack", "#E39A2D", "///"),
    "track": ("TRACK", "#6FB7C9", "\\\\"),
    "remove": ("REMOVE", "#7A5B8E", ""),
}
BAD, QUIET = "#B00020", "#555555"
SAFE_DASHES: tuple[Dash, ...] = ("-", (0, (9, 1.5)))
UNSAFE_DASHES: tuple[Dash, ...] = ((0, (4, 2)), (0, (1.5, 1.5)))
PARAMETERS: Any = {
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
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
WIDTH_IN, DPI = 13.0, 110
LINE_IN, HEAD_IN = 0.21, 0.72
# 1 - q where n = this / (1 - q) is the fewest samples for an interval: ln(0.025) = -3.689.
SAMPLES_PER_TAIL = -math.log(0.025)
MODEL = "A model of the protocol, not Intel silicon."


@dataclass(frozen=True, slots=True)
class Style:
    """How one ordering is drawn, and what it is called where it is drawn."""

    name: str
    colour: str
    dash: Dash
    marker: str
    hatch: str

    def handle(self, label: str) -> Line2D:
        """A sample for a legend."""
        return Line2D([], [], color=self.colour, linestyle=self.dash, marker=self.marker, label=label, **MARKER)


MARKER: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.7, "linewidth": 1.8}


BAND: dict[str, Any] = {"alpha": 0.22, "linewidth": 0}


def styles(runs: Sequence[Mapping[str, Any]]) -> list[Style]:
    """A style for each run, in their order."""
    places = places_of([run["ordering"] for run in runs])
    return [_style(places[run["ordering"]], run) for run in runs]


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


def _style(place: int, run: Mapping[str, Any]) -> Style:
    return look_of(place, run["ordering"], safe=is_safe(run), marks=marks_of(run))


def marks_of(run: Mapping[str, Any]) -> str:
    """What makes a run's latency none of an undisturbed race, as it stands behind its name."""
    return (" (perturbed)" if run["perturbed"] else "") + (" (traced)" if run.get("trace") else "")


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


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A figure: `body` for panels; the head and the foot are done."""

    figure: Figure
    body: SubFigure

    def save(self, target: Any, kind: str = "png") -> None:
        """Write to a path or an open binary file: `png` for screens, `svg` or `pdf` for paper."""
        FigureCanvasAgg(self.figure)
        metadata = {"Date": None} if kind == "svg" else None
        self.figure.savefig(target, format=kind, dpi=DPI, metadata=metadata)
        # Laid out once: half of the time of a picture, and every format of it alike.
        self.figure.set_layout_engine("none")


def parameters() -> Any:
    """The context in which a sheet is made and saved, whatever a user's matplotlibrc says."""
    return style.context(["default", PARAMETERS])


def sheet(
    result: Mapping[str, Any],
    title: str,
    body_in: float,
    handles: Sequence[Any],
    keys: Sequence[Any] = (),
    key_title: str = "",
    head_text: str = "",
) -> Sheet:
    """An empty sheet with its head, and a foot with a legend of orderings, one of `keys`, and the caveats.

    The head says what ran where, or `head_text`.
    """
    columns = 3 if not keys else 1 if len(handles) <= 3 else 2
    rows = max(math.ceil(len(handles) / columns), math.ceil(len(keys) / 2) + 1 if keys else 0, 1)
    caveats = caveat_text(result)
    legend_in, foot_in = LINE_IN * rows + 0.22, LINE_IN * 0.86 * len(caveats) + 0.12
    height = HEAD_IN + body_in + legend_in + foot_in
    figure = Figure(figsize=(WIDTH_IN, height))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.05)
    parts: Any = figure.subfigures(4, 1, height_ratios=[HEAD_IN, body_in, legend_in, foot_in])
    head, body, legend, foot = parts
    left = 0.16 / WIDTH_IN
    head.text(left, 0.88, title, fontsize=15, fontweight="bold", va="top")
    head.text(left, 0.34, head_text or subtitle(result), fontsize=10, color="#444444", va="top")
    legend.legend(handles=list(handles), loc="upper left", ncols=columns, bbox_to_anchor=(0.005, 1.0), handlelength=3.2)
    if keys:
        second = legend.legend(
            handles=list(keys),
            loc="upper right",
            ncols=3,
            bbox_to_anchor=(0.995, 1.0),
            title=key_title,
            alignment="left",
        )
        second.get_title().set_fontsize(9)
    foot.text(left, 0.98, "\n".join(caveats), fontsize=8.5, color="#444444", va="top", linespacing=1.25)
    return Sheet(figure, body)


def subtitle(result: Mapping[str, Any]) -> str:
    """What ran where: scenario, actors, machine."""
    scenario, host = result["scenario"], result["host"]
    parts = [
        str(scenario.get("name", "run")),
        f"{plural(scenario.get('vcpus', 0), 'vCPU')}, {plural(scenario.get('zappers', 0), 'zapper')}",
        f"{plural(scenario.get('pages', 0), 'page')}",
    ]
    if scenario.get("flow") == "batch":
        parts.append(f"batches of {plural(scenario['batch'], 'page')}")
    if scenario.get("rate"):
        parts.append(f"open loop at {scenario['rate']:g} shootdowns/s")
    cpus = host.get("cpus_allowed")
    if scenario.get("vcpus", 0) + scenario.get("zappers", 0) > (cpus or 0):
        parts.append("placed apart" if scenario.get("placement") == "apart" else "mixed by Linux")
    where = f"{host.get('cpu_model') or 'unknown CPU'}" + (f", {plural(cpus, 'CPU')}" if cpus else "")
    return shortened("; ".join([*parts, where]), 150)


def caveat_text(result: Mapping[str, Any], most: int = 6) -> list[str]:
    """The caveat line, wrapped to the sheet: always that this is a model, then what was seen."""
    seen = [shortened(caveat["seen"], 120) for caveat in result["caveats"]]
    more = [f"{len(seen) - most} more in result.json"] if len(seen) > most else []
    said = f"{MODEL} Caveats: {'; '.join([*seen[:most], *more])}." if seen else MODEL
    return textwrap.wrap(said, 205)


def percentile_curve(counts: Counts, points: int = 240) -> tuple[list[float], list[int]]:
    """x = 1 / (1 - q) and the quantile in ns, only as far as n supports it; empty where n is too small for a median."""
    end = float(counts.sum()) / SAMPLES_PER_TAIL
    if end < 2:
        return [], []
    xs = [end ** (place / (points - 1)) for place in range(points)]
    values = [percentile(counts, 1 - 1 / x) for x in xs]
    return xs, [max(value, 1) for value in values if value is not None]


def percentile_band(counts: Counts, points: int = 60) -> tuple[list[float], list[int], list[int]]:
    """x = 1 / (1 - q) and the ends in ns of the quantile's 95 % interval by order statistics, as far as it has one."""
    end = float(counts.sum()) / SAMPLES_PER_TAIL
    if end < 2:
        return [], [], []
    xs = [2 * (end / 2) ** (place / (points - 1)) for place in range(points)]
    found = [(x, ends) for x in xs if (ends := percentile_interval(counts, 1 - 1 / x))]
    return [x for x, _ in found], [max(low, 1) for _, (low, _) in found], [max(high, 1) for _, (_, high) in found]


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


def time_axis(ax: Axes, which: Literal["x", "y"] = "y") -> None:
    """Units on a log axis of nanoseconds; ticks between the decades where there are few of these."""
    axis = ax.yaxis if which == "y" else ax.xaxis
    limits, set_limits = (ax.get_ylim, ax.set_ylim) if which == "y" else (ax.get_xlim, ax.set_xlim)
    low, high = limits()
    if high < 5 * low:
        low, high = low / 2, high * 2
        set_limits(low, high)
    close = high / max(low, 1e-9) < 100
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if close else (1.0,), numticks=20))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: time_text(value)))


def time_text(value_ns: float) -> str:
    """A tick's text: `200 ns`, `1 µs`, `50 ms`."""
    number, _, unit = nanoseconds(value_ns).partition(" ")
    plain = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{plain} {unit.replace('us', 'µs')}"


def say(ax: Axes, text: str) -> None:
    """An empty panel that says why it is empty."""
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=QUIET, wrap=True)
