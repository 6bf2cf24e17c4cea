"""The picture and the page of a real race."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from results.draw.panels import Shown, curves
from results.draw.sheet import sheet
from results.draw.style import Style, percentile_axes, say, styles, time_axis
from results.draw.svg import panel, sample
from results.kinds.real import HELD, KERNEL, calls_table, work_table
from results.kinds.run.page import HEADLINES, sentence
from results.kinds.run.tables import seen_table, unseen_lines
from results.numbers.statistics import ENOUGH
from results.page import (
    READING,
    Card,
    Figure,
    Key,
    Page,
    Section,
    host_table,
    mapping_table,
)
from results.verdict import MET, Exit, exit_code, word_of
from results.words import machine_size

LEAST_DRAWN = ENOUGH["p90"]  # a median of fewer calls says little
Run = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]


def by_holders(ax: Axes, runs: Sequence[Run], looks: Sequence[Style]) -> None:
    """p50 and p99 of the host's call by how many vCPUs held the page."""
    ax.set_title("The host's call, by vCPUs that held the page")
    drawn_any = False
    for run, look in zip(runs, looks, strict=True):
        for percentile, dash in (("p50", "-"), ("p99", ":")):
            points = [
                (int(name.removeprefix(HELD)), phase)
                for name, phase in run["latency_ns"].items()
                if name.startswith(HELD) and phase["n"] >= LEAST_DRAWN and phase["ci95"][percentile]
            ]
            if not points:
                continue
            drawn_any = True
            xs, ys = [at for at, _ in points], [phase[percentile] for _, phase in points]
            low, high = zip(*(phase["ci95"][percentile] for _, phase in points), strict=True)
            ends = [[y - a for y, a in zip(ys, low, strict=True)], [b - y for y, b in zip(ys, high, strict=True)]]
            ax.errorbar(xs, ys, ends, capsize=3, **look.line | {"linestyle": dash})
    if not drawn_any:
        say(ax, f"Nowhere {LEAST_DRAWN} shootdowns of pages that so many held.")
        return
    ax.set_yscale("log")
    time_axis(ax)
    ax.set_xlim(-0.5, max(run["vcpus"] for run in runs) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("vCPUs that had read the page since it was mapped")
    ax.set_ylabel("time of the call (log); p50, dotted p99")


def _curves(ax: Axes, shown: Shown) -> None:
    ax.set_title("The host's call, by percentile")
    if furthest := curves(ax, shown, MET):
        ax.set_ylabel("time of the call (log)")
        percentile_axes(ax, furthest)
    else:
        say(ax, f"In no arm {ENOUGH['p50']} shootdowns met a vCPU, which a median needs.")


def latency_sheet(result: Mapping[str, Any], arrays: Arrays) -> Drawing:
    """latency.png: by percentile, and by who held the page."""
    shown = Shown(result["runs"], styles(result["runs"]), arrays)
    handles = [look.handle(look.name) for look in shown.looks]
    made, body = sheet(result, "Real TLB shootdowns", 4.2, handles, model=f"{KERNEL[0].upper()}{KERNEL[1:]}.")
    left, right = body.subplots(1, 2)
    _curves(left, shown)
    by_holders(right, shown.runs, shown.looks)
    return made


def real_page(result: Mapping[str, Any], arrays: Arrays) -> Page:
    runs, scenario = result["runs"], result["scenario"]
    shown = Shown(runs, styles(runs), arrays)
    level, headline = HEADLINES[Exit(exit_code(runs))]
    figures = (
        Figure(panel("curve", "Percentile curves of the host's call", lambda ax: _curves(ax, shown))),
        Figure(panel("holders", "The host's call by holders", lambda ax: by_holders(ax, runs, shown.looks))),
    )
    cards = tuple(Card(run["ordering"], word_of(run), run["reason"], "", sample(look)) for run, look in shown.each())
    calls, seen = calls_table(runs, intervals=True), (seen_table(runs), work_table(runs))
    legend = tuple(Key(sample(look), f"{look.name}, n = {run['latency_ns'][MET]['n']:,}") for run, look in shown.each())
    return Page(
        title=f"{scenario['name']}: {scenario['title']}",
        subtitle=", ".join(machine_size(scenario, "pages")),
        level=level,
        headline=headline,
        cards=cards,
        answer=tuple(map(sentence, runs)),
        sections=(
            Section("latency", "How long the host's call takes", (), legend, figures, (calls,)),
            Section("outcomes", "What was seen", tuple(unseen_lines(runs)), tables=seen),
        ),
        facts=(host_table(result["host"]), mapping_table("The scenario", scenario, folded=True)),
        result=result,
        reading=tuple(one for one in READING if one[0] in ("Verdict", "Grades", "Rates and zeros", "Percentiles")),
    )
