"""One figure of many runs over time: a panel for each scenario and size, a mark a run, in its ordering's look. Machines
stand apart, each with a line of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from results import figures
from results.draw.sheet import MODEL
from results.draw.style import Style, look_of, places_of, say, shortened, time_axis
from results.words import machine_size, per_second, plural

# Column and words by what a user calls it; a time is called without its unit.
FIGURES = {
    **{
        one.also[0] if one.unit == "ns" else one.id: (one.id, one.over_time) for one in figures.FIGURES if one.over_time
    },
    "forbidden": ("forbidden", "forbidden shootdowns"),
}
MOST_PANELS = 6
# The axis is never shorter; orderings of one run stand this share of it beside each other.
SHORTEST, BESIDE = timedelta(hours=1), 0.012
WIDTH_IN, PANEL_IN = 9.0, 3.2
Row = Mapping[str, Any]


def history_picture(rows: Sequence[Row], figure: str) -> Figure:
    """This figure of the rows over time. Rows are those of `results.history`, oldest first."""
    column, title = FIGURES[figure]
    ordered = sorted((row for row in rows if row[column] is not None and row["started"]), key=_setting)
    settings = [(setting, list(group)) for setting, group in groupby(ordered, key=_setting)]
    shown = sorted(settings, key=lambda one: len(one[1]), reverse=True)[:MOST_PANELS]
    drawing = Figure(figsize=(WIDTH_IN, PANEL_IN * max(len(shown), 1) + 1.2), layout="constrained")
    left_out = f"; {plural(len(settings) - len(shown), 'setting')} left out" if len(settings) > len(shown) else ""
    drawing.suptitle(f"{title} over time{left_out}", fontsize=14, fontweight="bold", x=0.01, ha="left")
    drawing.supxlabel(f"{MODEL} A hollow mark did not pass. Bars: 95 % within the run.", fontsize=8.5)
    panels = drawing.subplots(max(len(shown), 1), 1, squeeze=False)[:, 0]
    if not shown:
        say(panels[0], "No run has this figure.")
    for ax, (setting, found) in zip(panels, shown, strict=False):
        _panel(ax, setting, found, figure)
    return drawing


def _setting(row: Row) -> tuple[str, int, int, str]:
    at = row.get("point") or ""
    beside = "" if at.startswith(("vcpus=", "zappers=", "machine=")) else f" {at}" * bool(at)
    return f"{row['scenario'] or '?'}{beside}", row["vcpus"] or 0, row["zappers"] or 0, row["host"] or "unknown CPU"


def _panel(ax: Axes, setting: tuple[str, int, int, str], rows: Sequence[Row], figure: str) -> None:
    scenario, vcpus, zappers, host = setting
    size = ", ".join(machine_size({"vcpus": vcpus, "zappers": zappers}))
    ax.set_title(shortened(f"{scenario}, {size}; {host}", 90), fontsize=10)
    names = list(dict.fromkeys(row["ordering"] for row in rows))
    places = places_of(names)
    first, last = min(row["started"] for row in rows), max(row["started"] for row in rows)
    apart = max((last - first) * BESIDE, SHORTEST * BESIDE)
    for place, name in enumerate(names):
        own = [row for row in rows if row["ordering"] == name]
        look = look_of(places[name], name, safe=all(row["safe"] for row in own))
        # One run's orderings began together: side by side they are all seen.
        beside = apart * (place - (len(names) - 1) / 2)
        machines = list(dict.fromkeys(row["machine"] for row in own))
        for number, machine in enumerate(machines):
            its = replace(look, name=f"{look.name}, {machine}") if len(machines) > 1 and machine else look
            _series(ax, [row for row in own if row["machine"] == machine], figure, its, beside + apart / 8 * number)
    column, _ = FIGURES[figure]
    if column.endswith("_ns"):
        ax.set_yscale("log")
        time_axis(ax)
    else:
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: per_second(value) if value >= 10 else f"{value:g}"))
    margin = max((last - first) * 0.08, SHORTEST / 2)
    ax.set_xlim(date2num(first - margin), date2num(last + margin))
    locator = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def _series(ax: Axes, rows: Sequence[Row], figure: str, look: Style, beside: timedelta) -> None:
    """One ordering's runs: a line through their marks, an interval where the run gave one."""
    column, low, high = FIGURES[figure][0], f"{figure}_low_ns", f"{figure}_high_ns"
    times = [date2num(row["started"] + beside) for row in rows]
    values = [max(row[column], 1e-9) for row in rows]
    ax.plot(times, values, label=look.name, **look.line)
    hollow: dict[str, Any] = {"linestyle": "", "markersize": 6, "markerfacecolor": "white", "zorder": 4}
    for time, value, row in zip(times, values, rows, strict=True):
        if row["verdict"] != "passed":
            ax.plot([time], [value], marker=look.marker, markeredgecolor=look.colour, **hollow)
        if row.get(low) and row.get(high):
            ax.plot([time, time], [row[low], row[high]], color=look.colour, linewidth=1.2, alpha=0.6)
