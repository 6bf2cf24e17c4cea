"""One figure of many runs over time: a panel for each scenario and size, a mark a run, in its ordering's look."""

import io
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from results.draw.sheet import DPI, MODEL
from results.draw.style import MARKER, Style, look_of, parameters, places_of, say, shortened, time_axis
from results.words import count, plural

FIGURES = {
    "p50": "p50_ns",
    "p90": "p90_ns",
    "p99": "p99_ns",
    "max": "max_ns",
    "shootdowns_per_s": "shootdowns_per_s",
    "reads_per_s": "reads_per_s",
    "out_of_guest": "out_of_guest_p50_ns",
    "stale_window": "stale_window_p50_ns",
    "track_retries": "track_retries",
    "forbidden": "forbidden",
}
WORDS = {
    "p50": "time of a shootdown, p50",
    "p90": "time of a shootdown, p90",
    "p99": "time of a shootdown, p99",
    "max": "longest shootdown",
    "shootdowns_per_s": "shootdowns/s",
    "reads_per_s": "guest reads/s",
    "out_of_guest": "vCPU out of guest, p50",
    "stale_window": "legal stale window, p50",
    "track_retries": "TRACK retries a shootdown",
    "forbidden": "forbidden shootdowns",
}
MOST_PANELS = 6
# The axis is never shorter; orderings of one run stand this share of it beside each other.
SHORTEST, BESIDE = timedelta(hours=1), 0.012
WIDTH_IN, PANEL_IN = 9.0, 3.2
Row = Mapping[str, Any]


def history_picture(rows: Sequence[Row], figure: str, kind: str) -> bytes:
    """This figure of the rows over time, as png, svg or pdf. Rows are those of `results.history`, oldest first."""
    column = FIGURES[figure]
    ordered = sorted((row for row in rows if row[column] is not None and row["started"]), key=_setting)
    settings = [(setting, list(group)) for setting, group in groupby(ordered, key=_setting)]
    shown = sorted(settings, key=lambda one: len(one[1]), reverse=True)[:MOST_PANELS]
    with parameters():
        drawing = Figure(figsize=(WIDTH_IN, PANEL_IN * max(len(shown), 1) + 1.2), layout="constrained")
        FigureCanvasAgg(drawing)
        left_out = f"; {plural(len(settings) - len(shown), 'setting')} left out" if len(settings) > len(shown) else ""
        drawing.suptitle(f"{WORDS[figure]} over time{left_out}", fontsize=14, fontweight="bold", x=0.01, ha="left")
        drawing.supxlabel(f"{MODEL} A hollow mark did not pass. Bars: 95 % within the run.", fontsize=8.5)
        panels = drawing.subplots(max(len(shown), 1), 1, squeeze=False)[:, 0]
        if not shown:
            say(panels[0], "No run has this figure.")
        for ax, (setting, found) in zip(panels, shown, strict=False):
            _panel(ax, setting, found, figure)
        content = io.BytesIO()
        drawing.savefig(content, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()


def _setting(row: Row) -> tuple[str, int, int, str]:
    return row["scenario"] or "?", row["vcpus"] or 0, row["zappers"] or 0, row["host"] or "unknown CPU"


def _panel(ax: Axes, setting: tuple[str, int, int, str], rows: Sequence[Row], figure: str) -> None:
    scenario, vcpus, zappers, host = setting
    size = f"{plural(vcpus, 'vCPU')}, {plural(zappers, 'zapper')}"
    ax.set_title(shortened(f"{scenario}, {size}; {host}", 90), fontsize=10)
    names = list(dict.fromkeys(row["ordering"] for row in rows))
    places = places_of(names)
    first, last = min(row["started"] for row in rows), max(row["started"] for row in rows)
    apart = max((last - first) * BESIDE, SHORTEST * BESIDE)
    for place, name in enumerate(names):
        own = [row for row in rows if row["ordering"] == name]
        look = look_of(places[name], name, safe=all(row["safe"] for row in own))
        # One run's orderings began together: side by side they are all seen.
        _series(ax, own, figure, look, apart * (place - (len(names) - 1) / 2))
    column = FIGURES[figure]
    if column.endswith("_ns"):
        ax.set_yscale("log")
        time_axis(ax)
    else:
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value) if value >= 10 else f"{value:g}"))
    margin = max((last - first) * 0.08, SHORTEST / 2)
    ax.set_xlim(date2num(first - margin), date2num(last + margin))
    locator = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def _series(ax: Axes, rows: Sequence[Row], figure: str, look: Style, beside: timedelta) -> None:
    """One ordering's runs: a line through their marks, an interval where the run gave one."""
    column, low, high = FIGURES[figure], f"{figure}_low_ns", f"{figure}_high_ns"
    times = [date2num(row["started"] + beside) for row in rows]
    values = [max(row[column], 1e-9) for row in rows]
    ax.plot(times, values, color=look.colour, linestyle=look.dash, marker=look.marker, label=look.name, **MARKER)
    hollow: dict[str, Any] = {"linestyle": "", "markersize": 6, "markerfacecolor": "white", "zorder": 4}
    for time, value, row in zip(times, values, rows, strict=True):
        if row["verdict"] != "passed":
            ax.plot([time], [value], marker=look.marker, markeredgecolor=look.colour, **hollow)
        if row.get(low) and row.get(high):
            ax.plot([time, time], [row[low], row[high]], color=look.colour, linewidth=1.2, alpha=0.6)
