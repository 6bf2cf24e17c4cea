"""The pictures of a bench, from its record alone, each as PNG and as SVG.

`ratios`: every figure's ratio to the first ordering with its interval, the A/A arm in grey beneath it; along a sweep,
the ratio at every point. `scaling`: the figures themselves along a sweep, with the growth that they come to. Where
several machines ran rounds, `machines` has the ratios of each beside one another, and `scaling` a line for each.
"""

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from results.draw.sheet import MODEL, drawn, sheet
from results.draw.style import MARKER, Style, say, shortened, styles, time_axis
from results.figures import BY_ID, Figure
from results.kinds.bench.findings import bench_caveats, doubt
from results.kinds.bench.record import AGAIN, Bench, Comparison
from results.kinds.bench.tables import along_machines, heading
from results.kinds.bench.wording import (
    arm_name,
    figures_in,
    ratio_text,
    slope_text,
    sweep_title,
    swept,
    value_text,
    with_span,
    words,
)
from results.numbers.rounds import latency_interval, median_interval
from results.words import plural

ROW_IN = 0.2
# What stands to the right of a panel.
NOTE: dict[str, Any] = {
    "xycoords": "axes fraction", "xytext": (9, 0), "textcoords": "offset points", "fontsize": 8.5,
}  # fmt: skip


def bench_pictures(bench: Bench) -> dict[str, bytes]:
    makers = {"ratios": partial(ratio_sheet, bench)}
    beside = along_machines(bench) if len(bench.machines) > 1 else bench
    if beside is not bench:
        makers["machines"] = partial(ratio_sheet, beside)
    if beside.sweep:
        makers["scaling"] = partial(scaling_sheet, bench if bench.sweep else beside)
    return drawn(makers)


def ratio_sheet(bench: Bench) -> Drawing:
    """The ratios of every figure, or along a sweep those of the chief ones."""
    name = reference(bench)
    said = "no ranking" if doubt(bench) else f"ratios, with what {name} differs from itself by"
    title = f"Against {name}: {said}"
    looks = arm_styles(bench)
    handles: list[Any] = [(look := looks[arm.arm]).handle(look.name) for arm in bench.others]
    if bench.sweep is not None:
        handles.append(Patch(facecolor=BAND, label=f"{name} against itself, all points (A/A)"))
        page, body = _sheet(bench, title, 6.4, handles)
        panels: Any = body.subplots(2, 2)
        for ax, name in zip(panels.flat, swept(bench), strict=True):
            ratio_curves(ax, bench, BY_ID[name], looks)
        return page
    grey: Any = {"color": GREY, "marker": "o", "markerfacecolor": "white", "markeredgecolor": GREY}
    handles.append(Line2D([], [], label=f"{name} against itself (A/A)", **grey))
    rows = sum(len(_rows_of(bench, figure)) + 1 for figure in figures_in(bench))
    page, body = _sheet(bench, title, max(2.6, ROW_IN * rows + 0.8), handles)
    ratio_rows(body.subplots(), bench, looks)
    return page


def scaling_sheet(bench: Bench) -> Drawing:
    """The chief figures along the sweep, medians with intervals."""
    assert bench.sweep is not None
    looks = arm_styles(bench)
    handles = [(look := looks[arm.arm]).handle(look.name) for arm in bench.once]
    page, body = _sheet(bench, sweep_title(bench.sweep), 7.0, handles)
    panels: Any = body.subplots(2, 2)
    for ax, name in zip(panels.flat, swept(bench), strict=True):
        scaling_curves(ax, bench, BY_ID[name], looks)
    return page


def _sheet(bench: Bench, title: str, body_in: float, handles: Sequence[Any]) -> tuple[Drawing, SubFigure]:
    doubtful = [{"seen": f"no ranking, {why}"}] if (why := doubt(bench)) else []
    caveats = [*doubtful, *(bench.caveats or bench_caveats(bench))]
    about = {"scenario": bench.scenario, "host": bench.host, "caveats": caveats}
    model = "This kernel's own shootdowns beside a model of the protocol, no TDX." if bench.is_real else MODEL
    head = shortened(f"{heading(bench)}; {setting(bench)}", 175)
    return sheet(about, title, body_in, handles, head_text=head, model=model)


def setting(bench: Bench) -> str:
    """What was raced where; a key that is swept stands with its values."""
    scenario, axis = bench.scenario, bench.sweep.key if bench.sweep else ""
    actors = {"vcpus": "vCPU", "zappers": "zapper"}
    parts = [plural(scenario[key], word) for key, word in actors.items() if key != axis]
    if bench.sweep:
        parts.append(f"{axis} {', '.join(map(str, bench.sweep.values))}")
    host = f"{bench.host.get('cpu_model') or 'unknown CPU'}, {plural(bench.host.get('cpus_allowed') or 1, 'CPU')}"
    if (many := len(bench.machines)) > 1:
        host = plural(many, "machine")
    return "; ".join([*parts, host])


def arm_styles(bench: Bench) -> dict[str, Style]:
    """The look of each arm, that of its ordering."""
    orderings = {arm.ordering: arm for arm in bench.arms}
    runs = [{**a.its, "expect": a.expect, "perturbed": a.perturbed} for a in orderings.values()]
    looks = dict(zip(orderings, styles(runs), strict=True))
    return {arm.arm: looks[arm.ordering] for arm in bench.arms}


GREY, BAND = "#777777", "#E4E4E4"
# An interval that leaves this range is cut, with an arrow, unless a ratio lies out there.
WIDEST = 8.0


def reference(bench: Bench) -> str:
    """The first ordering as a picture names it."""
    return shortened(arm_name(bench.arms[0]))


def ratios_of(bench: Bench, figure: Figure) -> list[Comparison]:
    """The comparisons of a figure that have a ratio, the A/A arm last."""
    return [one for one in bench.comparisons if one.figure == figure.id and one.ratio is not None]


def _rows_of(bench: Bench, figure: Figure) -> list[Comparison]:
    """Those that a figure has a row for: its ratios, and the arms that have none."""
    return [
        one
        for one in bench.comparisons
        if one.figure == figure.id and (one.ratio is not None or (one.rounds and one.arm != AGAIN))
    ]


def ratio_rows(ax: Axes, bench: Bench, looks: dict[str, Style]) -> None:
    """A group of rows a figure: a marker at the ratio, a line over its interval, the numbers at the right."""
    groups = [(figure, rows) for figure in figures_in(bench) if (rows := _rows_of(bench, figure))]
    if all(row.ratio is None for _, rows in groups for row in rows):
        say(ax, "No ratio: too few rounds, or nothing was measured.")
        return
    low, high = _limits([row for _, rows in groups for row in rows])
    place, ticks = 0.0, []
    for number, (figure, rows) in enumerate(groups):
        first = place
        for row in rows:
            _ratio_row(ax, place, row, looks[row.arm], low, high)
            place += 1
        ticks.append(((first + place - 1) / 2, words(bench, figure.id)))
        if number % 2 == 0:
            ax.axhspan(first - 0.75, place - 0.25, color="#F5F5F5", zorder=0)
        place += 0.5
    ax.axvline(1.0, color="black", linewidth=1)
    ax.set_yticks([at for at, _ in ticks], [words for _, words in ticks])
    ax.set_ylim(place - 0.75, -0.75)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    _ratio_axis(ax, "x", low, high)
    ax.set_xlabel(f"ratio to {reference(bench)} (log); 1 is no difference; higher is more or longer")


def _ratio_row(ax: Axes, place: float, row: Comparison, look: Style, low: float, high: float) -> None:
    beside: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"), "xytext": (9, 0), "textcoords": "offset points", "va": "center",
        "fontsize": 8.5, "color": "black" if row.finding == "differs" else "#555555",
    }  # fmt: skip
    if row.ratio is None or row.low is None or row.high is None:
        why = {"too_few": "too few rounds", "not_comparable": "not comparable"}.get(row.finding, "no ratio")
        ax.annotate(f"{look.name}: {why}", (1.0, place), **beside)
        return
    again = row.arm == AGAIN
    colour = GREY if again else look.colour
    ends = max(row.low, low), min(row.high, high)
    ax.plot(ends, (place, place), color=colour, linewidth=1.8, linestyle="-" if again else look.dash)
    for cut, at, marker in ((row.low < low, low, "<"), (row.high > high, high, ">")):
        if cut:
            ax.plot([at], [place], marker=marker, color=colour, markersize=6, clip_on=False)
    inner = {"markerfacecolor": "white", "markeredgecolor": colour} if again else {}
    ax.plot([row.ratio], [place], marker="o" if again else look.marker, color=colour, **{**MARKER, **inner}, zorder=5)
    mark = "" if row.finding == "differs" else ", no difference shown"
    ax.annotate(f"{with_span(row.ratio, row.low, row.high)}{mark}", (1.0, place), **beside)


def _limits(rows: Sequence[Comparison]) -> tuple[float, float]:
    """The range of ratios to show: every ratio, and intervals up to `WIDEST`."""
    ratios = [row.ratio for row in rows if row.ratio is not None]
    ends = [min(max(end, 1 / WIDEST), WIDEST) for row in rows for end in (row.low, row.high) if end is not None]
    low, high = min([*ratios, *ends, 0.9]), max([*ratios, *ends, 1.11])
    return low / 1.08, high * 1.08


def _ratio_axis(ax: Axes, which: str, low: float, high: float) -> None:
    axis = ax.xaxis if which == "x" else ax.yaxis
    near = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0]
    far = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    ticks = [tick for tick in (near if high / low < 4 else far) if low <= tick <= high]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))


def ratio_curves(ax: Axes, bench: Bench, figure: Figure, looks: dict[str, Style]) -> None:
    """One figure's ratio at every point, with intervals, over the band of the A/A arm."""
    ax.set_title(words(bench, figure.id))
    rows = ratios_of(bench, figure)
    if not rows:
        say(ax, "No ratio: too few rounds, or nothing was measured.")
        return
    xs = _axis_values(bench)
    if all(row.arm == AGAIN for row in rows):
        ax.text(0.5, 0.8, "no ratio at any point", transform=ax.transAxes, ha="center", color=GREY)
    for row in rows:
        if row.arm == AGAIN and row.low is not None and row.high is not None:
            ax.axhspan(row.low, row.high, color=BAND, zorder=0)
    ax.axhline(1.0, color="black", linewidth=1)
    for number, arm in enumerate(bench.others):
        mine = {row.point: row for row in rows if row.arm == arm.arm}
        there = [(x, mine[point]) for x, point in zip(xs, bench.points, strict=True) if point in mine]
        _error_curve(
            ax,
            _beside(bench, [x for x, _ in there], number - (len(bench.others) - 1) / 2),
            [(row.ratio or 1.0, row.low or 1.0, row.high or 1.0) for _, row in there],
            looks[arm.arm],
        )
    ax.set_yscale("log")
    low, high = _limits(rows)
    ax.set_ylim(low, high)
    _ratio_axis(ax, "y", low, high)
    _point_axis(ax, bench)
    ax.set_ylabel(f"ratio to {reference(bench)} (log)")


def scaling_curves(ax: Axes, bench: Bench, figure: Figure, looks: dict[str, Style]) -> None:
    """One figure at every point, medians over the rounds with intervals, and the power that it grows with."""
    ax.set_title(words(bench, figure.id))
    xs = _axis_values(bench)
    drawn = False
    for number, arm in enumerate(bench.once):
        for its in map(bench.on, bench.machines):
            values = [
                np.array([v for r in its.races(p, arm.arm) if (v := r.figures.get(figure.id))], dtype=np.float64)
                for p in bench.points
            ]
            there = [(x, row) for x, row in zip(xs, values, strict=True) if len(row)]
            drawn = drawn or bool(there)
            medians = [
                latency_interval(row, its.clock_step_ns)
                if figure.unit == "ns"
                else (float(np.median(row)), *median_interval(row))
                for _, row in there
            ]
            xs_there = _beside(bench, [x for x, _ in there], number - (len(bench.once) - 1) / 2)
            _error_curve(ax, xs_there, medians, looks[arm.arm])
    if not drawn:
        say(ax, "Nothing was measured.")
        return
    ax.set_yscale("linear" if figure.unit == "share" else "log")
    if figure.unit == "share":
        ax.set_ylim(0, 1.02)
        ax.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    else:
        time_axis(ax, text=None if figure.unit == "ns" else partial(value_text, figure))
    _point_axis(ax, bench)
    ax.set_ylabel("median of the rounds" + ("" if figure.unit == "share" else " (log)"))
    _growth_note(ax, bench, figure)
    _ratio_note(ax, bench, figure)


def _ratio_note(ax: Axes, bench: Bench, figure: Figure) -> None:
    """The ratios of two orderings, which are taken within a round: on a machine of two speeds medians of all rounds may
    lie elsewhere."""
    rows = [row for row in ratios_of(bench, figure) if row.arm != AGAIN]
    if len(bench.once) == 2 and rows and bench.sweep is not None:
        told = [
            f"{bench.sweep.value(r.point)}: {ratio_text(r.ratio or 1.0) if r.finding == 'differs' else 'none shown'}"
            for r in rows
        ]
        lines = [f"{arm_name(bench.once[1])} to {reference(bench)}", "within rounds:", *told]
        ax.annotate("\n".join(lines), (1, 0), va="bottom", **NOTE)


def _growth_note(ax: Axes, bench: Bench, figure: Figure) -> None:
    slopes = [slope for slope in bench.slopes if slope.figure == figure.id]
    if slopes and bench.sweep is not None:
        lines = [f"{slope.ordering} {slope_text(slope).replace(' (', chr(10) + '  (')}" for slope in slopes]
        lines = [f"{bench.sweep.key} to the", "power of", *lines]
        if len(why := {slope.why_none for slope in slopes}) == 1 and (reason := why.pop()):
            lines = ["no growth fitted:", *textwrap.wrap(reason, 16)]
        ax.annotate("\n".join(lines), (1, 1), va="top", **NOTE)


def _beside(bench: Bench, xs: Sequence[float], steps: float) -> list[float]:
    """The places moved by so many small steps, so that one ordering's interval does not hide another's."""
    every = _axis_values(bench)
    if not _logarithmic(bench):
        return [x + 0.012 * steps * (max(every) - min(every) or 1.0) for x in xs]
    least = min(x for x in every if x > 0)
    return [x * 1.03**steps if x else 0.05 * steps * least for x in xs]


def _error_curve(ax: Axes, xs: Sequence[float], values: Sequence[tuple[float, float, float]], look: Style) -> None:
    if not values:
        return
    middles, lows, highs = zip(*values, strict=True)
    ax.vlines(xs, lows, highs, color=look.colour, linewidth=1.4, alpha=0.75)
    ax.plot(xs, middles, **look.line)


def _axis_values(bench: Bench) -> list[float]:
    """Where the points stand: at their values, or side by side where these are words."""
    assert bench.sweep is not None
    return list(bench.sweep.numbers or map(float, range(len(bench.sweep.values))))


def _logarithmic(bench: Bench) -> bool:
    """Whether the axis is; 0 stands on a straight piece of it, a step before the least of the others."""
    above = [x for x in (bench.sweep.numbers if bench.sweep else ()) if x > 0]
    return bool(above) and max(above) >= 4 * min(above)


def _point_axis(ax: Axes, bench: Bench) -> None:
    """A tick at every point, the whole axis even where a point has no value."""
    assert bench.sweep is not None
    xs = _axis_values(bench)
    if _logarithmic(bench) and min(xs) > 0:
        margin = max((max(xs) / min(xs)) ** 0.06, 1.03 ** (len(bench.arms) / 2 + 1))
        ax.set_xscale("log", base=2)
        ax.set_xlim(min(xs) / margin, max(xs) * margin)
    elif _logarithmic(bench):
        least = min(x for x in xs if x > 0)
        ax.set_xscale("symlog", base=2, linthresh=least, linscale=1)
        ax.set_xlim(-0.3 * least, max(xs) * (max(xs) / least) ** 0.06)
    else:
        margin = 0.06 * (max(xs) - min(xs) or 1.0)
        ax.set_xlim(min(xs) - margin, max(xs) + margin)
    ax.xaxis.set_major_locator(FixedLocator(xs))
    ax.xaxis.set_minor_locator(NullLocator())
    unit = bench.sweep.unit
    texts = [f"{x:g}" for x in xs] if unit else map(str, bench.sweep.values)
    names = dict(zip(xs, texts, strict=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: names.get(x, "")))
    ax.set_xlabel(bench.sweep.key + (f" ({unit})" if unit else ""))
