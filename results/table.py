"""What all tables share: how one is laid out on a terminal and on a page, and which words have a colour.

What an unsafe ordering did is marked "unsafe" wherever a number of it stands.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as TextTable
from rich.text import Text

from results.grades import Grade
from results.verdict import is_safe, named

Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts under a head; the first cell of a row names it. `marked` rows are drawn as bad, the columns in
    `numbers` stand to the right, a `folded` table opens on a click."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()
    folded: bool = False


GRADE_STYLES = {
    Grade.acceptable: "green",
    Grade.interesting: "yellow",
    Grade.forbidden: "red",
    Grade.unknown: "magenta",
}
VERDICT_STYLES = {
    "passed": "green",
    "failed": "bold red",
    "inconclusive": "yellow",
    "crashed": "bold red",
    "hung": "bold red",
}
# For WHY where a terminal is too narrow for the sentences of `grades`.
WIDE = 104


@dataclass(frozen=True, slots=True)
class ByWidth:
    """What to print on a narrow terminal, and on one of at least WIDE columns."""

    narrow: RenderableType
    wide: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.wide if options.max_width >= WIDE else self.narrow


def heading(run: Run) -> Text:
    mark = "" if is_safe(run) else f" [unsafe, known for {', '.join(run['expect'])}]"
    return Text.assemble((run["ordering"], "bold"), (mark, "red"), f": {run['title']}")


def caveat_lines(caveats: Sequence[Mapping[str, str]]) -> RenderableType:
    """Every caveat: what was seen, what it means, what to try."""
    grid = TextTable.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for caveat in caveats:
        text = Text.assemble((caveat["seen"], "bold"), f": {caveat['means']}. Try: {caveat['try']}.")
        grid.add_row(Text("!", style="yellow"), text)
    return Group(Text("Caveats", style="bold"), grid) if caveats else Group()


def marked(ordering: str, safe: bool) -> Text:
    """An ordering's name beside a number of it."""
    return Text(named(ordering, safe), style="" if safe else "red")


def verdict_line(one: Mapping[str, Any], name: str = "") -> Text:
    """`PASSED: nothing forbidden in 4,321 shootdowns`; with a name before the reason where several stand together."""
    said = f": {name}: {one['reason']}" if name else f": {one['reason']}"
    return Text.assemble((one["verdict"].upper(), VERDICT_STYLES[one["verdict"]]), said)


def indented(lines: Iterable[Text | str], style: str = "") -> list[RenderableType]:
    """What stands below a table, two columns in."""
    return [Padding(Text(line, style=style) if isinstance(line, str) else line, (0, 0, 0, 2)) for line in lines]


def plain_table(*columns: tuple[str, Any]) -> TextTable:
    """A table without a box, one space between columns, each `left`, `right`, or `wrap`: to the left, and may wrap."""
    table = TextTable(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    for name, justify in columns:
        wraps = justify == "wrap"
        table.add_column(name, justify="left" if wraps else justify, no_wrap=not wraps)
    return table


@dataclass(frozen=True, slots=True)
class Fitting:
    """A table that drops columns where a terminal is too narrow for all, and cuts no number. `least`: the names of the
    columns that may go, the first to go first.
    """

    columns: Sequence[tuple[str, Any]]
    rows: Sequence[Sequence[str | Text]]
    least: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        without = (self._table(set(self.least[:dropped])) for dropped in range(len(self.least) + 1))
        wide = options.update(width=1_000)
        fitting = (table for table in without if Measurement.get(console, wide, table).maximum <= options.max_width)
        yield next(fitting, self._table(set(self.least)))

    def _table(self, dropped: Collection[str]) -> TextTable:
        kept = [place for place, (name, _) in enumerate(self.columns) if name not in dropped]
        table = plain_table(*(self.columns[place] for place in kept))
        for row in self.rows:
            table.add_row(*(row[place] for place in kept))
        return table
