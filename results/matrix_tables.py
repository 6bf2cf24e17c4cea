"""The matrix for a terminal: a row a fault, a column an ordering, and what follows from it in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.atlas import Tier
from results.matrix import NO_FAULT, PairVerdict, broken_name, faults_of, orderings_of
from results.tables import plain_table
from results.wording import count, nanoseconds, plural

Document = Mapping[str, Any]
STYLES = {"stale": "bold red", "refused": "yellow", "stuck": "magenta", "broken": "red", "safe": "green", "open": "dim"}
COLUMNS = 5  # orderings side by side: what 112 columns hold


def matrix_tables(matrix: Document) -> RenderableType:
    """The whole matrix, several columns at a time, then what it says."""
    cells, names = matrix["pairs"], orderings_of(matrix["pairs"])
    parts: list[RenderableType] = [Text("Every ordering with every fault, one at a time", style="bold")]
    for first in range(0, len(names), COLUMNS):
        parts += [_table(cells, names[first : first + COLUMNS]), Text("")]
    return Group(*parts, *_how(matrix), *_findings(matrix))


def _table(cells: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    table = plain_table(("FAULT / ordering", "left"), *((broken_name(name), "left") for name in names))
    for fault in (NO_FAULT, *faults_of(cells)):
        found = {one["ordering"]: one for one in cells if one["fault"] == fault}
        table.add_row(Text(fault, style="bold" * (fault == NO_FAULT)), *(_cell(found[name]) for name in names))
    return table


def _cell(cell: Mapping[str, Any]) -> Text:
    """`refused 38`, with a `+` where the fault adds something and a `-` where it takes something away."""
    steps = "" if cell["steps"] is None else f" {cell['steps']}"
    changed = ("+" if cell["added"] else "") + ("-" if cell["lost"] else "")
    return Text(f"{cell['verdict']}{steps}{changed}", style=STYLES[cell["verdict"]])


def _how(matrix: Document) -> Iterator[Text]:
    explored = matrix["explored"]
    done = "" if explored["complete"] else ", not all of them to the end"
    yield Text(
        f"  {plural(explored['pairs'], 'pair')}{done}: {plural(explored['states'], 'state')}, "
        f"{count(explored['transitions'])} transitions in {nanoseconds(explored['seconds'] * 1e9)} on "
        f"{plural(explored['threads'], 'thread')}"
    )
    yield Text(
        "  A number: the steps of the shortest schedule to it. + the fault adds an outcome, - it takes one away."
    )
    for verdict, text in matrix["verdicts"].items():
        if verdict in matrix["summary"]:
            yield Text(f"    {verdict:<8}{matrix['summary'][verdict]:>4}  {text}", style="dim")
    yield Text("  Each pair on all of these machines, or up to its first stale read:")
    for number, machine in enumerate(matrix["machines"], start=1):
        lively = "; livelocks too" if machine["liveness"] else ""
        yield Text(f"    {number}  {Tier(**machine).words}{lively}", style="dim")


def _findings(matrix: Document) -> Iterator[Text]:
    broken = {fault: its for fault, its in matrix["breaks_a_right_order"].items() if its}
    if broken:
        yield Text("Faults that break a right order alone:", style="bold")
        for fault, its in broken.items():
            yield Text(f"  {fault}: {', '.join(its)}")
    if matrix["hidden"]:
        yield Text(
            "Faults that every right order hides, and the wrong orders to which they add something:", style="bold"
        )
        for fault, its in matrix["hidden"].items():
            yield Text(f"  {fault}: {', '.join(its) or 'none'}")
    for one in matrix["heals"]:
        yield Text(f"  {one['ordering']} shows nothing any more with {one['fault']}")
    if PairVerdict.open in matrix["summary"]:
        yield Text("  open: the search was ended, or ran out of memory; nothing stale until then")
