"""A bench on a terminal of 80 columns, the effect first, and as test cases."""

from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table as TextTable
from rich.text import Text

from results.exchange.cases import Case
from results.figures import BY_ID, FIGURES, Figure
from results.grades import FAILING, grade_of
from results.kinds.bench.findings import TOO_FEW, seen, ungrounded
from results.kinds.bench.gate import Outcome
from results.kinds.bench.record import AGAIN, Arm, Bench, Comparison
from results.kinds.bench.wording import STYLES, arm_name, of_batches, slope_text, swept, value_text, words
from results.numbers.rounds import RANKED, median_interval
from results.table import indented, plain_table
from results.words import nanoseconds_with_interval, plural


def bench_table(bench: Bench) -> RenderableType:
    """Every comparison, then the growth along a sweep, then what the A/A arm says."""
    failed = [Text(line, style="bold red") for line in failures(bench)]
    parts: list[RenderableType] = [Text(heading(bench), style="bold"), *failed, _comparisons(bench)]
    if bench.slopes:
        parts += [Text(""), _growth(bench)]
    for table in (medians_table(bench), batches_table(bench)):
        if table is not None:
            parts += [Text(""), table]
    if bench.aa is not None:
        nothing = ungrounded(bench)
        style = "bold red" if bench.aa.differs else "yellow" if nothing else "green"
        parts += [Text(""), Text.assemble(("A/A ", style), bench.aa.sentence)]
        parts += [Text.assemble(("NO RANKING ", "bold red"), nothing)] if nothing else []
    notes = [f"Ratios are to {arm_name(bench.arms[0])}: medians of the rounds' ratios, 95 % bootstrap intervals."]
    notes.append(f"Of benches that compare a thing with itself at most {1 - RANKED:.0%} show any difference.")
    if bench.sweep:
        notes.append("Ratios of the other figures stand in bench.json and report.html.")
    return Group(*parts, *indented(notes, "dim"))


def heading(bench: Bench) -> str:
    """What was compared, and how much of it: `review: 20 rounds of 4 races, each 1 s after 0.25 s of warm-up`."""
    races = len(bench.arms) * len(bench.points)
    design = bench.design
    return (
        f"{bench.scenario['name']}: {plural(bench.finished_rounds, 'round')} of {plural(races, 'race')}, each "
        f"{design.duration_s:g} s after {design.warmup_s:g} s of warm-up"
    )


def failures(bench: Bench) -> Iterable[str]:
    """A line for every ordering declared safe that showed what is forbidden: its figures are no result."""
    safe = {arm.ordering for arm in bench.arms if arm.safe}
    for (point, ordering), entry in seen(bench).items():
        if ordering in safe and entry["verdict"] == "failed":
            yield f"FAILED: {ordering}{f' at {point}' if point else ''}, {entry['reason']}; its figures are no result"


def _comparisons(bench: Bench) -> TextTable:
    """The median stands beside only where there is one point."""
    single = bench.sweep is None
    heads = ("FIGURE / ordering", "left"), (f"EFFECT against {arm_name(bench.arms[0])}", "wrap"), ("MEDIAN", "right")
    table = plain_table(*heads[: 2 + single])
    for figure in [one for one in FIGURES if single or one.id in swept(bench)]:
        rows = [one for one in bench.comparisons if one.figure == figure.id and one.rounds]
        if rows:
            name = Text(words(bench, figure.id), style="bold")
            table.add_row(name, "", *[value_text(figure, rows[0].reference)] * single)
        for one in rows:
            effect = Text(one.verdict_text, style=STYLES[one.finding])
            table.add_row(_who(bench, one), effect, *[value_text(figure, one.value)] * single)
    return table


def _who(bench: Bench, one: Comparison) -> Text:
    if one.arm == AGAIN:
        return Text(f" {arm_name(bench.arms[0])} again ({'all points' if bench.sweep else 'A/A'})", style="dim")
    arm = next(arm for arm in bench.arms if arm.arm == one.arm)
    point = f" {one.point}" if one.point else ""
    return Text(f" {arm_name(arm)}{point}", style="" if arm.safe else "red")


def _growth(bench: Bench) -> RenderableType:
    assert bench.sweep is not None
    if all(slope.why_none == TOO_FEW for slope in bench.slopes):
        return Text(f"Growth with {bench.sweep.key}: {TOO_FEW} for a power law.", style="bold")
    lines = [Text(f"Growth with {bench.sweep.key}, to the power of", style="bold")]
    for name in swept(bench):
        slopes = [slope for slope in bench.slopes if slope.figure == name]
        if slopes:
            told = ", ".join(f"{slope.ordering} {slope_text(slope)}" for slope in slopes)
            lines.append(Text(f"  {words(bench, name)}: {told}"))
    return Group(*lines)


def observation_lines(bench: Bench) -> Iterable[str]:
    """The lines to grep, one an ordering and point: `Observation v18@vcpus=8 Never 0 812345`."""
    for (point, ordering), entry in sorted(seen(bench).items(), key=lambda item: _turn(bench, *item[0])):
        forbidden, other = entry["forbidden"], max(entry["met"] - entry["forbidden"], 0)
        often = "Never" if not forbidden else "Sometimes" if other else "Always"
        yield f"Observation {ordering}{'@' + point if point else ''} {often} {forbidden} {other}"


def _turn(bench: Bench, point: str, ordering: str) -> tuple[int, int]:
    names = [arm.ordering for arm in bench.arms]
    return bench.points.index(point), names.index(ordering)


def medians_table(bench: Bench) -> RenderableType | None:
    """Medians of the rounds; a figure measured nowhere is left out. None without a sweep or without rounds."""
    if bench.sweep is None or not bench.rounds:
        return None
    table = plain_table((f"by {bench.sweep.key}", "left"), *((str(value), "right") for value in bench.sweep.values))
    for figure in FIGURES:
        if any(_values(bench, arm, point, figure) for arm in bench.arms for point in bench.points):
            table.add_row(Text(words(bench, figure.id), style="bold"))
            for arm in bench.arms:
                if arm.arm != AGAIN:
                    row = (median_text(bench, arm, point, figure.id) for point in bench.points)
                    table.add_row(Text(f" {arm.ordering}", style="" if arm.safe else "red"), *row)
    return Group(Text("Medians of the rounds", "bold"), table)


def median_text(bench: Bench, arm: Arm, point: str, figure: str) -> str:
    """The median over the rounds of this figure's values, in its unit; `-` where there are none."""
    values = _values(bench, arm, point, BY_ID[figure])
    return value_text(BY_ID[figure], float(np.median(values))) if values else "-"


def _values(bench: Bench, arm: Arm, point: str, figure: Figure) -> Sequence[float]:
    return [value for race in bench.races(point, arm.arm) if (value := race.figures[figure.id]) is not None]


SHARE, PAGES, READS = "out_of_guest_share", "shootdowns_per_s", "reads_per_s"


def batches_table(bench: Bench) -> RenderableType | None:
    """Batch by batch: the time of a page, pages a second, what a page takes of a batch of the first size, and what the
    vCPUs lose. None where the bench sweeps no batch sizes, or has no rounds.
    """
    if bench.sweep is None or bench.sweep.key != "batch" or not of_batches(bench) or not bench.rounds:
        return None
    heads = ("TIME A PAGE, p50", f"OF BATCH {bench.sweep.values[0]}", "PAGES/s", "OUT OF GUEST", "READS/s")
    table = plain_table(("BATCH / ordering", "left"), *((head, "right") for head in heads))
    for value, point in zip(bench.sweep.values, bench.points, strict=True):
        table.add_row(Text(str(value), style="bold"))
        for arm in bench.arms:
            if arm.arm != AGAIN:
                table.add_row(f" {arm.ordering}", *_row(bench, arm, point))
    return Group(Text("What a batch saves, and what it costs: medians of the rounds, 95 % intervals", "bold"), table)


def page_times_ns(bench: Bench, arm: str, point: str) -> list[float | None]:
    """The median time of a batch of each round, divided by its pages; None where n was too small."""
    assert bench.sweep is not None
    size = float(bench.sweep.values[bench.points.index(point)])
    return [None if (p50 := race.figures["p50_ns"]) is None else p50 / size for race in bench.races(point, arm)]


def _row(bench: Bench, arm: Arm, point: str) -> tuple[str, ...]:
    times = page_times_ns(bench, arm.arm, point)
    first = page_times_ns(bench, arm.arm, bench.points[0])
    ratios = [now / then for now, then in zip(times, first, strict=True) if now is not None and then]
    measured = np.array([time for time in times if time is not None], dtype=np.float64)
    time = nanoseconds_with_interval(float(np.median(measured)), *median_interval(measured)) if len(measured) else "-"
    saved = f"{float(np.median(ratios)):.2g}x" if ratios else "-"
    return time, saved, *(median_text(bench, arm, point, name) for name in (PAGES, SHARE, READS))


STATES = {"held": "passed", "failed": "failed", "undecided": "inconclusive"}


def bench_cases(bench: Bench, outcomes: Sequence[Outcome] = ()) -> list[Case]:
    """The cases of a bench; an unsafe ordering raced on purpose has none of its own, as nothing is expected of it."""
    totals = seen(bench)
    orderings = [
        _ordering(point, arm.ordering, totals[point, arm.ordering])
        for point in bench.points
        for arm in bench.arms
        if arm.safe and arm.arm != AGAIN and (point, arm.ordering) in totals
    ]
    return [*orderings, _against_itself(bench), *(_gate(outcome) for outcome in outcomes)]


def _ordering(point: str, ordering: str, entry: dict[str, object]) -> Case:
    outcomes = entry["outcomes"]
    assert isinstance(outcomes, dict)
    bad = [f"{name}: {count}" for name, count in outcomes.items() if grade_of(name) in FAILING]
    name = f"{ordering} {point}" if point else ordering
    shootdowns = f"shootdowns: {entry['all_shootdowns']}, met a vCPU: {entry['met']}"
    seconds = float(str(entry["seconds"]))
    return Case(name, str(entry["verdict"]), str(entry["reason"]), seconds, (*bad, shootdowns))


def _against_itself(bench: Bench) -> Case:
    if bench.aa is None:
        return Case("A/A", "inconclusive", f"too few rounds: {bench.finished_rounds}")
    if bench.aa.differs:
        return Case("A/A", "inconclusive", bench.aa.sentence)
    nothing = ungrounded(bench)
    return Case("A/A", "inconclusive" if nothing else "passed", nothing or bench.aa.sentence)


def _gate(outcome: Outcome) -> Case:
    return Case(f"gate {outcome.gate.text}", STATES[outcome.state], outcome.why)
