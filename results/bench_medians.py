"""Every figure along a sweep, in its unit: a row an ordering, a column a value of the swept key."""

from collections.abc import Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.bench_axis import words
from results.bench_record import AGAIN, Arm, Bench
from results.bench_wording import value_text
from results.figures import BY_ID, FIGURES, Figure


def medians_table(bench: Bench) -> RenderableType | None:
    """Medians of the rounds; a figure measured nowhere is left out. None without a sweep or without rounds."""
    if bench.sweep is None or not bench.rounds:
        return None
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    table.add_column(f"by {bench.sweep.key}", no_wrap=True)
    for value in bench.sweep.values:
        table.add_column(str(value), justify="right", no_wrap=True)
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
