"""What all tables share: how one is laid out on a terminal, on a page and in Markdown, and which words have a colour.

What an unsafe ordering did is marked "unsafe" wherever a number of it stands.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as TextTable
from rich.text import Text

from kernels.tdx.outcomes import Grade
from results.verdict import is_safe, word_of
from results.words import MARK, changes, title_of

Run = Mapping[str, Any]
GRADE_STYLES = {
    Grade.acceptable: "green",
    Grade.interesting: "yellow",
    Grade.forbidden: "red",
    Grade.unknown: "magenta",
}
VERDICT_STYLES = {
    "passed": "green", "caught": "green", "failed": "bold red", "inconclusive": "yellow", "crashed": "bold red",
    "hung": "bold red",
}  # fmt: skip
# The words that begin a cell: grades, verdicts, and those of pairs of an ordering and a fault.
WORD_STYLES = {
    **VERDICT_STYLES, **{grade.value: style for grade, style in GRADE_STYLES.items()}, "stale": "bold red",
    "refused": "yellow", "stuck": "magenta", "broken": "red", "safe": "green",
}  # fmt: skip
LEGIBLE = 24  # letters
INTERVAL = re.compile(r" \([<\d](?:(?!, )[^()])*\)(?: (?=e-\d))?")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts under a head; the first cell of a row names it. `marked` rows are drawn as bad, the columns in
    `numbers` stand to the right, a `folded` table opens on a click.

    A terminal draws it as it is. Where that is too narrow, texts wrap between words, numbers and names do not; then
    intervals go. A table with columns to spare drops those in `least` before it wraps anything, and those in `legible`
    where they would be narrower than a few words.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()
    folded: bool = False
    least: tuple[int, ...] = ()
    legible: tuple[int, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.caption:
            yield Text(self.caption, style="bold")
        bare = [tuple(INTERVAL.sub("", cell) for cell in row) for row in self.rows]
        spared = bool(self.least)
        tried = [(self.rows, (), spared), *((bare, self.least[:some], spared) for some in range(len(self.least) + 1))]
        tried.append((bare, self.least, False))
        made = [(rows, self._widths(rows, dropped, options.max_width, whole)) for rows, dropped, whole in tried]
        rows, (_, widths) = next((one for one in made if one[1][0]), made[-1])
        cramped = [at for at in self.legible if widths.get(at, LEGIBLE) < LEGIBLE]
        if cramped:
            dropped = [at for at in range(len(self.head)) if at not in widths or at in cramped]
            _, widths = self._widths(rows, dropped, options.max_width, False)
        table = TextTable(
            box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_header=bool(self.head)
        )
        for at, width in widths.items():
            justify: Any = "right" if at in self.numbers else "left"
            table.add_column(self.head[at] if self.head else "", justify=justify, width=width, overflow="fold")
        for place, row in enumerate(rows):
            marked = "red" if place in self.marked else ""
            cells = [row[at] for at in widths if at < len(row)]
            firsts = (cell.partition(" ")[0].rstrip("!").lower() for cell in cells)
            table.add_row(*map(Text, cells, (WORD_STYLES.get(first, marked) for first in firsts)))
        yield table

    def _widths(
        self, rows: Sequence[Sequence[str]], dropped: Collection[int], room: int, unwrapped: bool
    ) -> tuple[bool, dict[int, int]]:
        """Whether the columns but for these fit, and how wide each is: its longest word at least, then, the narrowest
        first, whatever is left of the room.
        """
        least, most = {}, {}
        for at in range(max(map(len, (self.head, *rows)))):
            cells = [row[at] for row in rows if at < len(row)]
            head = self.head[at] if self.head else ""
            # Numbers are not wrapped, nor what has no blanks, nor anything where columns can go instead.
            whole = unwrapped or at in self.numbers or not any(" " in cell for cell in cells)
            parts = [part for cell in cells for part in (cell.split("\n") if whole else cell.split())]
            least[at] = max(map(len, [*parts, *head.split()]), default=0)
            most[at] = max(map(len, [line for cell in (head, *cells) for line in cell.split("\n")]))
        widths = {at: width for at, width in least.items() if at not in dropped}
        spare = room - sum(widths.values()) - len(widths) + 1
        fits = spare >= 0
        for at in sorted(widths, key=most.__getitem__):
            grown = min(most[at] - least[at], max(spare, 0))
            widths[at] += grown
            spare -= grown
        return fits, widths


def markdown(table: Table) -> str:
    """The table as Markdown, its caption before it."""
    width = max(map(len, (table.head, *table.rows)))
    rules = ("---:" if at in table.numbers else "---" for at in range(width))
    lines = (table.head or ("",) * width, rules, *table.rows)
    drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"**{table.caption}**", ""] * bool(table.caption) + drawn) + "\n"


def heading(run: Run) -> Text:
    mark = "" if is_safe(run) else f" [unsafe, known for {', '.join(run['expect'])}]"
    changed = MARK * bool(changes(run))
    return Text.assemble((run["ordering"], "bold"), (mark, "red"), changed, f": {title_of(run)}")


def caveat_lines(caveats: Sequence[Mapping[str, str]], *, whole: bool = False) -> list[RenderableType]:
    """Every caveat: what was seen and what to try; what it means where the whole is asked for."""
    return [
        Text.assemble(("! ", "yellow"), (one["seen"], "bold"), f": {one['means']}" * whole, f". Try: {one['try']}.")
        for one in caveats
    ]


def verdict_line(one: Mapping[str, Any], name: str = "") -> Text:
    """`PASSED: nothing forbidden in 4,321 shootdowns`; with a name before the reason where several stand together."""
    reason = one["reason"].removeprefix("caught: ")
    said = f": {name}: {reason}" if name else f": {reason}"
    return Text.assemble((word_of(one).upper(), VERDICT_STYLES[word_of(one)]), said)
