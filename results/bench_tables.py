"""A bench on a terminal of 80 columns: one table, the effect first; the A/A arm beneath every figure."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from results.bench_axis import swept, words
from results.bench_batches import batches_table
from results.bench_findings import seen, ungrounded
from results.bench_growth import TOO_FEW
from results.bench_medians import medians_table
from results.bench_record import AGAIN, Arm, Bench, Comparison
from results.bench_wording import slope_text, value_text
from results.figures import BY_ID, FIGURES
from results.gate import Outcome
from results.ranking import RANKED
from results.rounds import Rounds
from results.wording import plural

STYLES = {"differs": "bold", "no_difference": "", "too_few": "dim", "not_comparable": "yellow"}


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
    return Group(*parts, *(Padding(Text(note, style="dim"), (0, 0, 0, 2)) for note in notes))


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


def _comparisons(bench: Bench) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    table.add_column("FIGURE / ordering", no_wrap=True)
    table.add_column(f"EFFECT against {arm_name(bench.arms[0])}")
    if bench.sweep is None:
        table.add_column("MEDIAN", justify="right", no_wrap=True)
    for figure in FIGURES:
        if bench.sweep and figure.id not in swept(bench):
            continue
        rows = [one for one in bench.comparisons if one.figure == figure.id and one.rounds]
        if not rows:
            continue
        median = [value_text(figure, rows[0].reference)] if bench.sweep is None else []
        table.add_row(Text(words(bench, figure.id), style="bold"), "", *median)
        for one in rows:
            median = [_value(one)] if bench.sweep is None else []
            table.add_row(_who(bench, one), Text(one.verdict_text, style=STYLES[one.finding]), *median)
    return table


def _value(one: Comparison) -> str:
    return value_text(BY_ID[one.figure], one.value)


def _who(bench: Bench, one: Comparison) -> Text:
    if one.arm == AGAIN:
        return Text(f" {arm_name(bench.arms[0])} again ({'all points' if bench.sweep else 'A/A'})", style="dim")
    arm = next(arm for arm in bench.arms if arm.arm == one.arm)
    point = f" {one.point}" if one.point else ""
    return Text(f" {arm_name(arm)}{point}", style="" if arm.safe else "red")


def arm_name(arm: Arm) -> str:
    """The ordering's name, marked where it is not safe."""
    return arm.ordering if arm.safe else f"{arm.ordering} (unsafe)"


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


def compare_table(first: Rounds, second: Rounds, comparisons: Sequence[Comparison]) -> RenderableType:
    """B over A: every ordering and point that both have, the effect first."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    table.add_column("FIGURE / ordering", no_wrap=True)
    table.add_column("EFFECT, B over A")
    table.add_column("A", justify="right", no_wrap=True)
    table.add_column("B", justify="right", no_wrap=True)
    for figure in FIGURES:
        rows = [one for one in comparisons if one.figure == figure.id]
        if rows:
            table.add_row(Text(figure.words, style="bold"), "", "", "")
        for one in rows:
            safe = first.safe[one.ordering] and second.safe[one.ordering]
            who = f" {one.ordering}{'' if safe else ' (unsafe)'}{f' {one.point}' if one.point else ''}"
            values = (value_text(figure, one.reference), value_text(figure, one.value))
            effect = Text(one.verdict_text, style=STYLES[one.finding])
            table.add_row(Text(who, style="" if safe else "red"), effect, *values)
    return Group(Text(f"A: {first.path}\nB: {second.path}"), table)


def gate_lines(outcomes: Sequence[Outcome]) -> Iterable[Text]:
    """A line a gate: what it says and why."""
    words = {"held": ("held", "green"), "failed": ("FAILED", "bold red"), "undecided": ("undecided", "yellow")}
    for outcome in outcomes:
        yield Text.assemble(f"gate {outcome.gate.text} ", words[outcome.state], f": {outcome.why}")


def observation_lines(bench: Bench) -> Iterable[str]:
    """The lines to grep, one an ordering and point: `Observation v18@vcpus=8 Never 0 812345`."""
    for (point, ordering), entry in sorted(seen(bench).items(), key=lambda item: _turn(bench, *item[0])):
        forbidden, other = entry["forbidden"], max(entry["met"] - entry["forbidden"], 0)
        often = "Never" if not forbidden else "Sometimes" if other else "Always"
        yield f"Observation {ordering}{'@' + point if point else ''} {often} {forbidden} {other}"


def _turn(bench: Bench, point: str, ordering: str) -> tuple[int, int]:
    names = [arm.ordering for arm in bench.arms]
    return bench.points.index(point), names.index(ordering)
