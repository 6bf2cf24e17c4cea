"""The two pictures of a run, from what stands in result.json and raw.npz alone, each as PNG and as SVG.

`latency`: how long a shootdown takes, and where the time goes. `stale`: stale reads over time, their age, and the
window in which they are legal. A panel with nothing to show says so.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from results.draw.sheet import Sheet, drawn, sheet
from results.draw.stale import STALE, stale_ages, stale_over_time, strip_heights, total, window_curves
from results.draw.style import styles
from results.draw.time import Arrays, Shown, phase_bars, shootdown_curves
from results.figures import PHASES
from results.verdict import whole


def pictures(result: Mapping[str, Any], arrays: Arrays) -> dict[str, bytes]:
    """Both pictures in both formats, by file name: `latency.png`, `latency.svg`, `stale.png`, `stale.svg`."""
    makers = {"latency": latency_sheet, "stale": stale_sheet}
    return drawn({name: partial(make, result, arrays) for name, make in makers.items()})


def latency_sheet(result: Mapping[str, Any], arrays: Arrays) -> Sheet:
    """The percentile curve of whole shootdowns, one line an ordering, beside the shares of the phases.

    A curve goes only as far as n gives its percentile a 95 % interval, which is the band around it. Call within
    `parameters()`.
    """
    runs, looks = result["runs"], styles(result["runs"])
    handles = [look.handle(f"{look.name}, n = {whole(run)['n']:,}") for look, run in zip(looks, runs, strict=True)]
    if any("response" in run["latency_ns"] for run in runs):
        handles.append(Line2D([], [], color="#555555", linewidth=1, linestyle=":", label="from the intended start"))
    page = sheet(
        result,
        "How long a shootdown takes",
        max(4.6, 1.5 + 0.36 * len(runs)),
        handles,
        phase_keys(),
        "Share of each phase",
    )
    curve, bars = page.body.subplots(1, 2, width_ratios=[1.15, 1])
    shown = Shown(runs, looks, arrays)
    shootdown_curves(curve, shown)
    phase_bars(bars, shown)
    return page


def phase_keys() -> list[Any]:
    """The legend of the phases."""
    return [Patch(facecolor=c, hatch=h, edgecolor="white", label=label) for label, c, h in PHASES.values()]


def stale_sheet(result: Mapping[str, Any], arrays: Arrays) -> Sheet:
    """Stale reads over time by outcome, their age in epochs, and how long they are legal.

    Call within `parameters()`.
    """
    runs, looks = result["runs"], styles(result["runs"])
    page = sheet(result, "Stale reads: when, how old, for how long", 7.2, [look.handle(look.name) for look in looks])
    halves: Any = page.body.subfigures(1, 2, width_ratios=[1.25, 1])
    left, right = halves
    panels = left.subplots(len(STALE), 1, sharex=True, height_ratios=strip_heights(runs))
    if any(total(runs, outcome) for outcome in STALE):
        left.supylabel("stale reads a second, all vCPUs", fontsize=9.5)
    shown = Shown(runs, looks, arrays)
    stale_over_time(panels, shown)
    ages, window = right.subplots(2, 1)
    stale_ages(ages, shown)
    window_curves(window, shown)
    return page
