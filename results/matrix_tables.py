"""The matrix for a terminal: a row a fault, a column an ordering, and what follows from it in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.atlas import Tier
from results.matrix import NO_FAULT, PairVerdict, heads_of, rows_of, unsafe_of
from results.tables import plain_table
from results.wording import count, nanoseconds, plural

Document = Mapping[str, Any]
STYLES = {
    "stale": "bold red", "refused": "yellow", "stuck": "magenta", "broken": "red", "safe": "green", "unread": "dim",
    "open": "dim",
}  # fmt: skip
COLUMNS = 5  # orderings side by side: what 112 columns hold


def matrix_tables(matrix: Document) -> RenderableType:
    """The whole matrix, several columns at a time, then what it says."""
    cells, heads = matrix["pairs"], heads_of(matrix)
    names = list(heads)
    parts: list[RenderableType] = [Text("Every ordering with every fault", style="bold")]
    for first in range(0, len(names), COLUMNS):
        parts += [_table(cells, {name: heads[name] for name in names[first : first + COLUMNS]}), Text("")]
    return Group(*parts, *_how(matrix), *_findings(matrix))


def pair_lines(matrix: Document) -> list[str]:
    """The lines to grep, `Pair shootdown no_kick entry_unchecked refused`: flow, ordering, fault, verdict."""
    return [f"Pair {one['flow']} {one['ordering']} {one['fault']} {one['verdict']}" for one in matrix["pairs"]]


def _table(cells: Sequence[Mapping[str, Any]], heads: Mapping[str, str]) -> Table:
    """`heads`: by ordering, what stands above its column."""
    table = plain_table(("FAULT / ordering", "left"), *((head, "left") for head in heads.values()))
    for flow, fault in rows_of(cells):
        found = {one["ordering"]: one for one in cells if (one["flow"], one["fault"]) == (flow, fault)}
        table.add_row(_row(flow, fault), *(_cell(found[name]) for name in heads))
    return table


def _row(flow: str, fault: str) -> Text:
    """A fault beside others below them, so that the column stays narrow."""
    if fault == NO_FAULT:
        return Text(f"flow {flow}", style="bold")
    return Text(" " + fault.replace("+", "\n   + "))


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
    yield Text("  Each pair on all machines of its flow, or up to the first read of what is someone else's:")
    for flow, machines in matrix["machines"].items():
        for number, machine in enumerate(machines, start=1):
            lively = "; livelocks too" if machine["liveness"] else ""
            more = "".join(f", {setting}" for setting in machine["set"])
            its = Tier(**{key: machine[key] for key in Tier._fields})
            yield Text(f"    {flow} {number}: {its.words}{more}{lively}", style="dim")


def _findings(matrix: Document) -> Iterator[Text]:
    unsafe = unsafe_of(matrix)

    def named(ordering: str) -> str:
        return f"{ordering} (unsafe)" if ordering in unsafe else ordering

    broken = {fault: its for fault, its in matrix["breaks_a_right_order"].items() if its}
    for title, several in (("Faults that break a right order alone:", False), ("Beside another fault:", True)):
        shown = {fault: its for fault, its in broken.items() if ("+" in fault) == several}
        if shown:
            yield Text(title, style="bold")
            yield from (Text(f"  {fault}: {', '.join(map(named, its))}") for fault, its in shown.items())
    if matrix["hidden"]:
        yield Text(
            "Faults that every right order hides, and the wrong orders to which they add something:", style="bold"
        )
        for fault, its in matrix["hidden"].items():
            yield Text(f"  {fault}: {', '.join(map(named, its)) or 'none'}")
    for one in matrix["heals"]:
        yield Text(f"  {named(one['ordering'])} shows nothing any more with {one['fault']}")
    if PairVerdict.open in matrix["summary"]:
        yield Text("  open: the search was ended, or ran out of memory: see --memory; nothing stale until then")
