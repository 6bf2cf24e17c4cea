"""The page of a bench: the ratios first, the first ordering against itself beside them, then what they are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.text import Annotation

from results.draw.panels import Shown, done_by, shootdown_curves, window_curves
from results.draw.style import Style
from results.draw.svg import coloured, panel, sample
from results.figures import BY_ID
from results.kinds.bench.directory import Hists
from results.kinds.bench.findings import bench_caveats, exit_code, seen, untold
from results.kinds.bench.pictures import arm_styles, ratio_curves, ratio_rows, scaling_curves, setting
from results.kinds.bench.record import MACHINE, Arm, Bench
from results.kinds.bench.tables import (
    along_machines,
    apart,
    batches_table,
    comparisons_table,
    events_table,
    growth_table,
    heading,
    machine_table,
    parts,
)
from results.kinds.bench.wording import arm_name, crossing_lines, figures_in, slope_text, sweep_title, swept, words
from results.kinds.run.page import HEADLINES as OF_A_RUN
from results.page import (
    READING,
    Card,
    Figure,
    Key,
    Page,
    Section,
    host_table,
    mapping_table,
    orderings_table,
)
from results.verdict import GRAVEST_FIRST, Exit
from results.words import described, plural

HEADLINES = {
    **OF_A_RUN,
    Exit.MET: ("good", "Compared: the first ordering does not differ from itself"),
    Exit.INCONCLUSIVE: ("unsure", "Inconclusive: no difference here is to be believed"),
}
COMPARISONS = "Every comparison: median of the rounds' ratios, 95 % bootstrap interval"
BENCH_READING = (
    (
        "Ratio",
        "The median over the rounds of this ordering's figure over the first ordering's, in the same round, with its "
        "95 % bootstrap interval: 1.18x (1.11-1.26) is 18 % more, between 11 and 26 %. No difference shown: the "
        "interval spans 1, or chance does this too often after Holm's correction: of benches that compare a thing with "
        "itself at most 1 in 100 shows any difference. Not comparable: the first ordering differs from itself, or too "
        "few shootdowns of a race met a vCPU in the guest.",
    ),
    (
        "A/A arm",
        "The first ordering races twice in every round. Where it differs from itself, something besides the ordering "
        "changed between races, and nothing here is to be believed. It happens by chance in 1 of 20 benches.",
    ),
    (
        "would have shown",
        "The smallest ratio that a bench like this one shows 4 times in 5: what 'no difference shown' leaves open.",
    ),
)


def bench_page(bench: Bench, *hists: Hists) -> Page:
    """The page of this bench; `hists` are those of `pooled`, of each machine apart."""
    level, headline = HEADLINES[Exit(exit_code(bench))]
    looks = arm_styles(bench)
    sections, beside = [_ratios(bench, looks)], [along_machines(bench)] if len(bench.machines) > 1 else []
    sections += [_ratios(its, looks, MACHINE) for its in beside]
    sections += [_scaling(its, looks) for its in ([bench] if bench.sweep else beside)]
    sections += [_latency(its, looks, hist) for its, hist in zip(parts(bench), hists, strict=True)]
    tables = (*filter(None, map(machine_table, parts(bench))), events_table(bench))
    sections.append(Section("outcomes", "Outcomes", ("Over all races, warm-ups included.",), tables=tables))
    record = bench.model_dump(mode="json", by_alias=True)
    return Page(
        title=heading(bench),
        subtitle=setting(bench),
        level=level,
        headline=headline,
        cards=tuple(_card(bench, arm, looks) for arm in bench.once),
        answer=_answer(bench),
        sections=tuple(sections),
        facts=(
            *(host_table(part.host) for part in parts(bench)),
            mapping_table("How it was laid out", record["design"]),
            mapping_table("The scenario", bench.scenario, folded=True),
            orderings_table((arm_name(a), a.shootdown, described(a.its), a.source) for a in bench.once),
        ),
        result={**record, "caveats": bench.caveats or bench_caveats(bench)},
        reading=(*BENCH_READING, *READING),
    )


def _card(bench: Bench, arm: Arm, looks: Mapping[str, Style]) -> Card:
    entries = [entry for (_, ordering), entry in seen(bench).items() if ordering == arm.ordering]
    worst = min((entry["verdict"] for entry in entries), key=GRAVEST_FIRST.index)
    met = sum(entry["met"] for entry in entries)
    forbidden = sum(entry["forbidden"] for entry in entries)
    said = f"{forbidden:,} forbidden in {met:,} shootdowns that met a vCPU, in {plural(bench.finished_rounds, 'round')}"
    return Card(arm_name(arm), worst, said, described(arm.its), sample(looks[arm.arm]))


def _answer(bench: Bench) -> tuple[str, ...]:
    """What differs, what was not shown to differ, and what the A/A arm says of both."""
    lines = [bench.aa.sentence] if bench.aa else [f"The A/A arm says nothing: {untold(bench)}."]
    reference = bench.arms[0].ordering
    points = [bench.points[0], bench.points[-1]] if len(bench.points) > 1 else [""]
    for arm in bench.others:
        for point in points:
            here = [c for c in bench.comparisons if c.arm == arm.arm and c.point == point]
            chosen = [c for c in here if c.figure in swept(bench)]
            told = "; ".join(f"{words(bench, c.figure)} {c.verdict_text}" for c in chosen)
            at = f" at {point}" if point else ""
            lines.append(f"{arm_name(arm)} against {reference}{at}: {told}." if told else f"{arm_name(arm)}: nothing.")
    for slope in bench.slopes:
        if slope.figure == swept(bench)[0] and bench.sweep is not None and slope.slope is not None:
            grows = f"{bench.sweep.key} to the power of {slope_text(slope)}"
            lines.append(f"{slope.ordering}: {words(bench, slope.figure)} grows as {grows}.")
    return (*lines, *crossing_lines(bench))


def _legend(arms: Sequence[Arm], looks: Mapping[str, Style]) -> tuple[Key, ...]:
    return tuple(Key(sample(looks[arm.arm]), looks[arm.arm].name) for arm in arms)


def _ratios(bench: Bench, looks: dict[str, Style], of: str = "") -> Section:
    reference = bench.arms[0].ordering
    if bench.sweep is not None:
        figures = []
        for name in swept(bench):
            draw = partial(ratio_curves, bench=bench, figure=BY_ID[name], looks=looks)
            figures.append(Figure(panel(f"ratio{of}-{name}", f"Ratio of {words(bench, name)} along the sweep", draw)))
    else:
        figures = [_rows_figure(bench, looks)]
    every = ", all points" * bool(bench.sweep)
    grey = Key(_grey(band=bool(bench.sweep)), f"{reference} against itself{every} (A/A)")
    return Section(
        f"ratios{of}",
        f"Against {reference}{', machine by machine' * bool(of)}",
        (
            f"1 is no difference; above 1 is more or longer than {reference}. Grey is what {reference} differs from "
            "itself by.",
        ),
        (*_legend(bench.others, looks), grey),
        tuple(figures),
        (replace(comparisons_table(bench, bench.comparisons), caption=COMPARISONS),),
    )


def _rows_figure(bench: Bench, looks: dict[str, Style]) -> Figure:
    """Wide with the numbers at the right; on a phone without them, as the table beneath has them."""
    rows = sum(1 for one in bench.comparisons if one.ratio is not None)
    height = max(2.6, 0.2 * (rows + len(figures_in(bench))) + 1.2)
    title, draw = "Ratios of every figure with intervals", partial(ratio_rows, bench=bench, looks=looks)
    wide = panel("ratios", title, draw, width_in=9.2, height_in=height, left_in=1.75, right_in=2.75)
    narrow = panel("ratios-narrow", title, partial(_without_notes, draw), height_in=height, left_in=1.75)
    return Figure(wide, narrow=narrow)


def _without_notes(draw: Callable[[Axes], None], ax: Axes) -> None:
    """Numbers beside the axes have no room in a narrow panel, and stand in a table."""
    draw(ax)
    for note in [text for text in ax.texts if isinstance(text, Annotation)]:
        note.remove()


def _grey(*, band: bool) -> str:
    """What stands for the A/A arm in a legend: a band, or a line with a ring."""
    drawn = f'<path d="M0 0H40V14H0Z" style="fill: {coloured("#e4e4e4")}"/>'
    if not band:
        line = f'<path d="M1 7H39" style="stroke: {coloured("#777777")}; stroke-width: 2"/>'
        ring = f'<circle cx="20" cy="7" r="4" style="fill: {coloured("#ffffff")}; stroke: {coloured("#777777")}"/>'
        drawn = line + ring
    return f'<svg class="sample" viewBox="0 0 40 14" aria-hidden="true">{drawn}</svg>'


def _scaling(bench: Bench, looks: dict[str, Style]) -> Section:
    assert bench.sweep is not None
    figures = []
    for name in swept(bench):
        draw = partial(scaling_curves, bench=bench, figure=BY_ID[name], looks=looks)
        title = f"{words(bench, name)} along the sweep"
        figures.append(Figure(panel(f"scaling-{name}", title, partial(_without_notes, draw))))
    several = apart(bench)
    growth = [growth_table(part, [figure.id for figure in figures_in(bench)]) for part in several]
    batches = filter(None, map(batches_table, several))
    return Section(
        "scaling",
        sweep_title(bench.sweep),
        ("Medians of the rounds with 95 % intervals.",),
        _legend(bench.once, looks),
        tuple(figures),
        (*growth, *batches),
    )


def _latency(bench: Bench, looks: Mapping[str, Style], hists: Hists) -> Section:
    point, arms = bench.points[-1], bench.once
    # The arms as panels know runs.
    runs = [{"ordering": arm.ordering, "ending": "finished", "perturbed": arm.perturbed} for arm in arms]
    arrays = {f"{arm.ordering}/hist/{name}": counts for arm in arms for name, counts in hists[point, arm.arm].items()}
    shown = Shown(runs, [looks[arm.arm] for arm in arms], arrays)
    where = f" at {point}" if point else ""
    one = bench.machines[0] if len(bench.hosts) > 1 else ""
    whose = f" on machine {one}" if one else ""
    panels = (
        ("curve", "Percentile curves of whole shootdowns", shootdown_curves),
        ("ecdf", "Share of shootdowns done by a time", done_by),
        ("window", "Length of the legal stale window by percentile", window_curves),
    )
    return Section(
        f"latency{one}",
        f"All rounds together{where}{whose}",
        ("Bands are 95 % within what was measured; how far rounds differ from one another is what the ratios hold.",),
        _legend(bench.once, looks),
        tuple(Figure(panel(f"{name}{one}", title, partial(draw, shown=shown))) for name, title, draw in panels),
    )
