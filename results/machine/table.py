"""Findings as a table for a terminal of 80 columns or more, readable without colour, and round trips between CPUs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from results.machine.findings import Finding, Limits
from results.table import Table
from results.words import plural

MARKS = {
    Limits.nothing: ("+", "green"),
    Limits.absolute: ("~", "yellow"),
    Limits.latency: ("!", "bold yellow"),
    Limits.verdicts: ("!", "bold red"),
    Limits.everything: ("x", "bold red"),
}
LEGEND = "+ nothing in the way   ~ no absolute latency   ! less than that   x no result"
RELATION_WORDS = {
    "core": "on one core (SMT)",
    "cache": "with one last-level cache",
    "package": "in one package",
    "machine": "in different packages",
}


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    """What, found, and under that what it means and what to try."""
    grid = Grid.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for one in findings:
        grid.add_row(Text(*MARKS[one.limits]), Text(one.what, style="bold"), Text(one.found, style="bold"))
        grid.add_row("", "", Text(one.means))
        if one.try_:
            grid.add_row("", "", Text(f"Try: {one.try_}"))
    return Group(grid, Text(LEGEND, style="dim"))


def round_trip_tables(trips: Mapping[str, Any] | None, width: int) -> list[RenderableType]:
    """Nothing for two CPUs; else a line for each kind of pair, and the matrix where the width has room for it."""
    if not trips or len(trips["cpus"]) == 2:
        return []
    parts: list[RenderableType] = [Text("Round trip of one line between two CPUs, ns", style="bold")]
    kinds = Grid.grid(padding=(0, 2))
    for name, found in trips["by_relation"].items():
        spread = f"{found['median_ns']:.0f} ({found['least_ns']:.0f}-{found['most_ns']:.0f})"
        kinds.add_row(f"  {RELATION_WORDS[name]}", spread, plural(found["pairs"], "pair"))
    parts.append(kinds)
    if _width(trips) <= width:
        head = ("", *map(str, trips["cpus"][:-1]))
        parts.append(Table("", head, tuple(map(tuple, _cells(trips))), frozenset(range(1, len(head)))))
    else:
        parts.append(Text("  All pairs stand in `doctor --json`, under round_trips.", style="dim"))
    return [*parts, ""]


def _cells(trips: Mapping[str, Any]) -> list[list[str]]:
    """The lower half: the upper one is the same."""
    rows = trips["matrix_ns"]
    texts = [["-" if value is None else f"{value:.0f}" for value in row[:place]] for place, row in enumerate(rows)]
    return [[f"  CPU {cpu}", *row] for cpu, row in zip(trips["cpus"], texts, strict=True)][1:]


def _width(trips: Mapping[str, Any]) -> int:
    widest = max(len(cell) for row in _cells(trips) for cell in row[1:])
    return 10 + (len(trips["cpus"]) - 1) * (max(widest, 3) + 1)
