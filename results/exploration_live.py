"""What the live view shows of a search that goes on: how far it is and how fast."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from results.tables import marked, plain_table
from results.wording import count, nanoseconds


@dataclass(frozen=True, slots=True)
class SearchView:
    """One moment of one search. `states` are distinct states, or schedules where `sampled`; rates are of the time since
    the last look. `memory_bytes` is this process's.
    """

    ordering: str
    safe: bool
    place: str
    sampled: bool
    states: int
    states_per_s: float
    frontier: int
    depth: int
    seconds: float
    memory_bytes: int


def search_table(view: SearchView) -> RenderableType:
    """The search as a table of one line."""
    what = "SCHEDULES" if view.sampled else "STATES"
    names = (what, f"{what}/s", *(() if view.sampled else ("FRONTIER",)), "DEPTH", "MEMORY", "TIME")
    table = plain_table(("ORDERING", "left"), *((name, "right") for name in names))
    table.add_row(marked(view.ordering, view.safe), *_cells(view))
    return Group(Text(view.place, style="dim"), table)


def search_line(view: SearchView) -> str:
    """The same as one line, for where there is no terminal."""
    what = "schedules" if view.sampled else "states"
    states, rate, *frontier, depth, memory, seconds = _cells(view)
    left = f", {frontier[0]} still to expand" if frontier else ""
    mark = "" if view.safe else " (unsafe)"
    return f"{view.ordering}{mark}: {states} {what} in {seconds}, {rate} {what}/s{left}, depth {depth}, {memory}"


def _cells(view: SearchView) -> list[str]:
    frontier = [] if view.sampled else [count(view.frontier)]
    return [
        count(view.states),
        count(view.states_per_s),
        *frontier,
        f"{view.depth:,}",
        f"{view.memory_bytes / 2**20:,.0f} MiB",
        nanoseconds(view.seconds * 1e9),
    ]
