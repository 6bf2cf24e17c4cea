"""A report as one HTML file that needs nothing else: no network, no script, no font, no picture beside it.

What a page says is a `Page` of plain values, made where its kind is; how it looks is `report.html.j2`.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from results.table import Table

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
    """One ordering's verdict."""

    name: str
    verdict: str
    reason: str
    title: str
    sample: str = ""

    @property
    def why(self) -> str:
        """The reason, without the verdict where it begins with that."""
        return self.reason.removeprefix(f"{self.verdict}: ")

    @property
    def level(self) -> str:
        return {"passed": "good", "caught": "good", "inconclusive": "unsure"}.get(self.verdict, "bad")


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page says, in the order in which it says it; `result` is the record that it is of."""

    title: str
    subtitle: str
    level: str
    headline: str
    cards: tuple[Card, ...]
    answer: tuple[str, ...]
    sections: tuple[Section, ...]
    facts: tuple[Table, ...]
    result: Mapping[str, Any]
    reading: tuple[tuple[str, str], ...]

    @property
    def caveats(self) -> Sequence[Mapping[str, str]]:
        """What to know before believing it."""
        caveats: Sequence[Mapping[str, str]] = self.result["caveats"]
        return caveats

    @property
    def command(self) -> str:
        """What was typed, so that a shell takes it again."""
        return shlex.join(map(str, self.result.get("command") or ())) or "not recorded"

    @property
    def origin(self) -> str:
        """When, by which version, from which commit, with which seed."""
        result = self.result
        parts = [
            f"Started {result['started']}" if result.get("started") else "Start not recorded",
            f"tdx-stress {result.get('version') or 'of unknown version'}",
            f"commit {result['commit']}" if result.get("commit") else "",
            f"seed {result['seed']}" if result.get("seed") is not None else "",
        ]
        return "; ".join(filter(None, parts)) + "."


def render(page: Page) -> str:
    from results.draw.svg import dark_properties

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


HOST_WORDS = {
    "cpu_model": "CPU",
    "machine": "architecture",
    "cpus": "CPUs",
    "cpus_allowed": "CPUs allowed",
    "cpus_used": "CPUs raced on",
    "cpu_quota": "CPU quota of the control group",
    "smt": "two threads a core (SMT)",
    "governor": "frequency governor",
    "memory_bytes": "memory",
    "hypervisor": "hypervisor",
    "constant_tsc": "constant timestamp counter",
    "clocksource": "clock source of Linux",
    "kernel": "kernel",
    "python": "Python",
    "numba": "numba",
    "numpy": "numpy",
    "load_1m": "load average, 1 minute",
    "busy": "share of CPU time taken just before",
    "ticks_per_us": "clock, ticks a microsecond",
    "clock_error_ppm": "error of that rate, ppm",
    "timer_ns": "reading of the clock, ns",
    "timer_step_ns": "least time that it can tell, ns",
    "empty_shootdown_ns": "empty shootdown (nobody in the guest), ns",
    "round_trip_cpus": "round trip of a line: between CPUs",
    "round_trip_ns": "round trip of a line, median, ns",
    "round_trip_trouble": "round trip of a line: why it was not measured",
    "round_trip_after_trouble": "the same when all had raced",
    "round_trip_range_ns": "round trip, middle eight tenths, ns",
    "round_trip_after_ns": "round trip when all had raced, ns",
}
READING: tuple[tuple[str, str], ...] = (
    (
        "A model",
        "Real processes race a model of the protocol with real atomics. No figure is the cost of a SEAMCALL, a TD exit "
        "or a real IPI; orders can be compared, silicon cannot be predicted.",
    ),
    (
        "Verdict",
        "passed: every expectation met, and an ordering known to be wrong showed what it is known for. One forbidden "
        "outcome fails an ordering declared safe, whatever its rate. inconclusive never counts as a pass.",
    ),
    (
        "Grades",
        "acceptable: part of the protocol. interesting: legal, worth a look. forbidden: a bug of the order, of KVM or "
        "of the module. unknown: a status that nobody declared, and unknown fails.",
    ),
    (
        "Rates and zeros",
        "Rates are of shootdowns with exact (Clopper-Pearson) 95 % intervals, as reads of one window are not "
        "independent. 0 (<p) means that anything as frequent as p would have shown itself with 95 %.",
    ),
    (
        "Percentiles",
        "p99 = 8 us: 99 of 100 shootdowns took 8 us or less. In parentheses the 95 % interval by order statistics. It "
        "holds within this run and says nothing of the next one; where n is too small for it, no number is printed.",
    ),
    (
        "One run ranks nothing",
        "Identical runs on a shared machine differed by up to 5x at the median. To compare orders, use tdx-stress "
        "bench: interleaved rounds in fresh processes, ratios with intervals, and the first ordering against itself.",
    ),
    (
        "Stale window, ages",
        "From BLOCK until the flush is declared done an old translation may still be used: REMOVE is refused till "
        "then. An age counts the TRACKs since the page was blocked; a right order shows 0 and 1.",
    ),
    ("Unsafe", "Marked orderings are known to be wrong. A fast wrong order is not a result."),
)


def host_table(host: Mapping[str, Any]) -> Table:
    """The machine's facts: those that are known by name first, then whatever else a newer run found out."""
    # Of trouble there is nothing to know where there was none.
    host = {key: value for key, value in host.items() if value is not None or not key.endswith("_trouble")}
    known = [(words, _text(key, host[key])) for key, words in HOST_WORDS.items() if key in host]
    rest = [(key.replace("_", " "), text) for key, text in _flat(host) if key.split(".")[0] not in HOST_WORDS]
    return Table("The machine", (), (*known, *rest))


def mapping_table(caption: str, values: Mapping[str, Any], *, folded: bool = False) -> Table:
    """Keys and values, nested keys with a dot."""
    return Table(caption, (), tuple(_flat(values)), folded=folded)


def _text(key: str, value: object) -> str:
    if value is None:
        return "not known" if key not in ("cpu_quota", "hypervisor") else "none"
    if isinstance(value, list | tuple):
        return " to ".join(map(str, value)) if key == "round_trip_range_ns" else ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "memory_bytes" and isinstance(value, int):
        return f"{value / 2**30:.1f} GiB"
    if key == "busy" and isinstance(value, int | float):
        return f"{100 * value:.0f} %"
    return str(value)


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{before}{key}.")
        else:
            rows.append((f"{before}{key}", _text(key, value)))
    return rows


def orderings_table(rows: Iterable[tuple[str, Sequence[str], str, str]], *, folded: bool = False) -> Table:
    """The orderings: the name of each, its steps, its title and its source."""
    cells = tuple((name, ", ".join(steps), title, source or "-") for name, steps, title, source in rows)
    return Table("The orderings", ("ordering", "steps of a shootdown", "what it is", "source"), cells, folded=folded)
