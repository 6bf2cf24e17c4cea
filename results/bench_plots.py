"""The pictures of a bench, from its record alone, each as PNG and as SVG.

`ratios`: every figure's ratio to the first ordering with its interval, the A/A arm in grey beneath it; along a sweep,
the ratio at every point. `scaling`: the figures themselves along a sweep, with the growth that they come to.
"""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from results.bench_axis import swept
from results.bench_caveats import bench_caveats
from results.bench_panels import BAND, GREY, others, ratio_curves, ratio_rows, ratios_of, reference, scaling_curves
from results.bench_record import AGAIN, Bench
from results.bench_tables import heading
from results.figures import BY_ID, FIGURES
from results.plot_style import Sheet, Style, parameters, sheet, shortened, styles
from results.wording import plural

FORMATS = ("png", "svg")
ROW_IN = 0.2


def bench_pictures(bench: Bench) -> dict[str, bytes]:
    """Every picture by file name."""
    makers = {"ratios": ratio_sheet} | ({"scaling": scaling_sheet} if bench.sweep else {})
    drawn: dict[str, bytes] = {}
    for name, make in makers.items():
        with parameters():
            page = make(bench)
            for kind in FORMATS:
                content = io.BytesIO()
                page.save(content, kind)
                drawn[f"{name}.{kind}"] = content.getvalue()
    return drawn


def ratio_sheet(bench: Bench) -> Sheet:
    """The ratios of every figure, or along a sweep those of the chief ones. Call within `parameters()`."""
    name = reference(bench)
    title = f"Against {name}: ratios, with what {name} differs from itself by"
    looks = arm_styles(bench)
    handles: list[Any] = [_sample(looks[arm.arm]) for arm in others(bench)]
    if bench.sweep is not None:
        handles.append(Patch(facecolor=BAND, label=f"{name} against itself, all points (A/A)"))
        page = _sheet(bench, title, 6.4, handles)
        panels: Any = page.body.subplots(2, 2)
        for ax, name in zip(panels.flat, swept(bench), strict=True):
            ratio_curves(ax, bench, BY_ID[name], looks)
        return page
    handles.append(_again_handle(bench))
    rows = sum(len(ratios_of(bench, figure)) + 1 for figure in FIGURES)
    page = _sheet(bench, title, max(2.6, ROW_IN * rows + 0.8), handles)
    ratio_rows(page.body.subplots(), bench, looks)
    return page


def scaling_sheet(bench: Bench) -> Sheet:
    """The chief figures along the sweep, medians with intervals. Call within `parameters()`."""
    assert bench.sweep is not None
    looks = arm_styles(bench)
    arms = [arm for arm in bench.arms if arm.arm != AGAIN]
    page = _sheet(bench, f"How it grows with {bench.sweep.key}", 7.0, [_sample(looks[a.arm]) for a in arms])
    panels: Any = page.body.subplots(2, 2)
    for ax, name in zip(panels.flat, swept(bench), strict=True):
        scaling_curves(ax, bench, BY_ID[name], looks)
    return page


def _sheet(bench: Bench, title: str, body_in: float, handles: Sequence[Any]) -> Sheet:
    caveats = bench.caveats or bench_caveats(bench)
    about = {"scenario": bench.scenario, "host": bench.host, "caveats": caveats}
    return sheet(about, title, body_in, handles, head_text=_head(bench))


def _head(bench: Bench) -> str:
    return shortened(f"{heading(bench)}; {setting(bench)}", 150)


def setting(bench: Bench) -> str:
    """What was raced where; a key that is swept stands with its values."""
    scenario, axis = bench.scenario, bench.sweep.key if bench.sweep else ""
    actors = {"vcpus": "vCPU", "zappers": "zapper"}
    parts = [plural(scenario[key], word) for key, word in actors.items() if key != axis]
    if bench.sweep:
        parts.append(f"{axis} {', '.join(map(str, bench.sweep.values))}")
    host = f"{bench.host.get('cpu_model') or 'unknown CPU'}, {plural(bench.host.get('cpus_allowed') or 1, 'CPU')}"
    return "; ".join([*parts, host])


def arm_styles(bench: Bench) -> dict[str, Style]:
    """The look of each arm, that of its ordering."""
    orderings = {arm.ordering: arm for arm in bench.arms}
    runs = [{"ordering": a.ordering, "expect": a.expect, "perturbed": a.perturbed} for a in orderings.values()]
    looks = dict(zip(orderings, styles(runs), strict=True))
    return {arm.arm: looks[arm.ordering] for arm in bench.arms}


def _sample(look: Style) -> Line2D:
    return look.handle(look.name)


def _again_handle(bench: Bench) -> Line2D:
    label = f"{reference(bench)} against itself (A/A)"
    return Line2D([], [], color=GREY, marker="o", markerfacecolor="white", markeredgecolor=GREY, label=label)
