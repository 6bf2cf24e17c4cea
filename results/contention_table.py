"""Lock contention as a table, on a terminal of 80 columns and on the page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table as TextTable

from results.page import Table
from results.wording import count, nanoseconds

Entry = Mapping[str, Any]
HEAD = ("lock", "failed", "held by", "times", "tries, most", "got after, most")
NUMBERS = frozenset({3, 4, 5})


def contention_table(contention: Sequence[Entry]) -> TextTable:
    """A row for each lock, SEAMCALL that failed and SEAMCALL that held."""
    table = TextTable(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    for place, name in enumerate(HEAD):
        table.add_column(name.upper(), justify="right" if place in NUMBERS else "left", no_wrap=True)
    for first, row in _rows(contention):
        lock, failed, held_by, *numbers = row
        named = (lock.removeprefix("S-EPT "), _short(failed)) if first else ("", "")
        table.add_row(*named, _short(held_by), *numbers)
    return table


def contention_page_table(contention: Sequence[Entry], ordering: str) -> Table:
    """The same with whole names, for the page."""
    rows = tuple(row for _, row in _rows(contention))
    return Table(f"{ordering}: tries of a module lock that failed", HEAD, rows, NUMBERS)


def _rows(contention: Sequence[Entry]) -> Iterator[tuple[bool, tuple[str, ...]]]:
    """Whether it is the first of its lock and SEAMCALL, and the cells; the most frequent holder first."""
    for entry in contention:
        holders = sorted(entry["held_by"].items(), key=lambda held: -held[1])
        for place, (holder, times) in enumerate(holders):
            waits = _waits(entry) if not place else ("", "")
            yield not place, (entry["lock"], entry["seamcall"], holder, count(times), *waits)


def _short(leaf: str) -> str:
    return leaf.removeprefix("TDH.").removeprefix("TDG.")


def _waits(entry: Entry) -> tuple[str, str]:
    """How many tries a wait took that ended with the lock, and how long."""
    tries, after = entry["tries"], entry["got_after_ns"]
    if tries is None:
        return "never got", "-"
    return f"{tries['mean']:.3g}, {tries['max']:,}", f"{nanoseconds(after['mean'])}, {nanoseconds(after['max'])}"
