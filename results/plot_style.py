"""How every picture looks: one style an ordering, percentile axes, and a sheet with a head and a foot.

Colours are Okabe and Ito's, told apart by the colour-blind; markers and dashes tell the lines apart in grey. An
ordering has its style by its place in the result, so that it looks the same in every panel of every picture.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from results.histogram import Counts
from results.statistics import percentile
from results.verdict import is_safe
from results.wording import nanoseconds, plural

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
Dash = Literal["-"] | tuple[float, tuple[float, ...]]
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


def styles(runs: Sequence[Mapping[str, Any]]) -> list[Style]:
    """A style for each run, in their order."""
    return [_style(place, run) for place, run in enumerate(runs)]


def _style(place: int, run: Mapping[str, Any]) -> Style:
    cycle, colour = divmod(place, len(COLOURS))
    safe = is_safe(run)
    dashes = SAFE_DASHES if safe else UNSAFE_DASHES
    name = run["ordering"] + ("" if safe else " (unsafe)") + (" (perturbed)" if run["perturbed"] else "")
    name += " (traced)" if run.get("trace") else ""
    marker = MARKERS[place % len(MARKERS)]
    return Style(shortened(name), COLOURS[colour], dashes[cycle % len(dashes)], marker, "" if safe else "////")


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

    def save(self, target: Any) -> None:
        """Write a PNG to a path or an open binary file."""
        FigureCanvasAgg(self.figure)
        self.figure.savefig(target, format="png", dpi=DPI)


Target = Any | IO[bytes]


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
) -> Sheet:
    """An empty sheet with its head, and a foot with a legend of orderings, one of `keys`, and the caveats."""
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
    head.text(left, 0.34, subtitle(result), fontsize=10, color="#444444", va="top")
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
    if scenario.get("rate"):
        parts.append(f"open loop at {scenario['rate']:g} shootdowns/s")
    cpus = host.get("cpus_allowed")
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


def percentile_axes(ax: Axes, furthest: float) -> None:
    """A log axis of 1 / (1 - q) that reads in percent, and a log axis of time that reads in units."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = [1.0, 2.0, *(10.0**power for power in range(1, 9))]
    shown = [tick for tick in ticks if tick <= max(furthest, 10.0) * 1.01]
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 - 100 / x:.10g} %" if x > 1 else "0 %"))
    ax.set_xlim(1.0, max(furthest, 10.0) * 1.25)
    ax.set_xlabel("percentile")
    time_axis(ax)


def time_axis(ax: Axes) -> None:
    """Units on a log y axis of nanoseconds; ticks between the decades where there are few of these."""
    low, high = ax.get_ylim()
    if high < 5 * low:
        low, high = low / 2, high * 2
        ax.set_ylim(low, high)
    close = high / max(low, 1e-9) < 100
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if close else (1.0,), numticks=20))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: time_text(y)))


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
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#555555", wrap=True)
