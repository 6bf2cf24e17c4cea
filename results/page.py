"""A report as one HTML file that needs nothing else: no network, no script, no font, no picture beside it.

What a page says is a `Page` of plain values, made by `run_page` and `bench_page`; how it looks is `report.html.j2`.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TEMPLATE = "report.html.j2"


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn panel: an SVG element, and what to see in it. A tall one has two others beside it, a wide one
    stands alone; `narrow` is drawn instead on a phone.
    """

    svg: str
    caption: str = ""
    tall: bool = False
    wide: bool = False
    narrow: str = ""


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


@dataclass(frozen=True, slots=True)
class Key:
    """One line of a legend: a sample of the line, and whose it is."""

    sample: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a title of its own."""

    id: str
    title: str
    intro: tuple[str, ...] = ()
    legend: tuple[Key, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """One ordering's verdict: `level` is good, bad or unsure."""

    level: str
    name: str
    verdict: str
    reason: str
    title: str
    sample: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page says, in the order in which it says it."""

    title: str
    subtitle: str
    level: str
    headline: str
    cards: tuple[Card, ...]
    answer: tuple[str, ...]
    sections: tuple[Section, ...]
    facts: tuple[Table, ...]
    caveats: tuple[dict[str, str], ...]
    command: str
    origin: str
    reading: tuple[tuple[str, str], ...]


def render(page: Page) -> str:
    """The page as HTML."""
    from results.inline_svg import dark_properties

    text: str = _template().render(page=page, dark=dark_properties())
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).resolve().parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(TEMPLATE)
