"""A selftest as a table and lines for a terminal of 80 columns or more: one row a claim, faults and safe ones apart."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from results.selftest import expected, judge_explored
from results.tables import VERDICT_STYLES, ByWidth, plain_table
from results.verdict import Verdict, is_safe
from results.wording import count, nanoseconds, share

Claim = Mapping[str, Any]
Column = tuple[str, Any, Callable[[Claim], str | Text]]


def selftest_table(claims: Sequence[Claim]) -> RenderableType:
    """One row a claim; on a narrow terminal one row in each of two tables. Then what the columns mean, and reasons."""
    wide = _table(claims, (*EXPLORED, *RACED, VERDICT))
    narrow = Group(_table(claims, (*EXPLORED, VERDICT)), "", _table(claims, (*RACED, VERDICT)))
    below = (Padding(line, (0, 0, 0, 2)) for line in _below(claims))
    return Group(ByWidth(narrow, wide), *below)


def selftest_lines(claims: Sequence[Claim]) -> list[str]:
    """The lines to grep, `Selftest kick_then_track tracking_not_done passed`."""
    return [f"Selftest {one['ordering']} {expected(one)} {one['verdict']}" for one in claims]


def _table(claims: Sequence[Claim], columns: Sequence[Column]) -> Table:
    table = plain_table(("WHAT / expected", "left"), *((name, justify) for name, justify, _ in columns))
    for title, group in _groups(claims):
        if group:
            table.add_row(Text(title, style="bold"))
        for one in group:
            table.add_row(_what(one), *(cell(one) for _, _, cell in columns))
    return table


def _groups(claims: Sequence[Claim]) -> Iterator[tuple[str, list[Claim]]]:
    yield "known-wrong orderings", [one for one in claims if not is_safe(one) and not one["faults"]]
    yield "faults of the module and of KVM", [one for one in claims if not is_safe(one) and one["faults"]]
    yield "safe orderings", [one for one in claims if is_safe(one)]


def _what(one: Claim) -> str:
    return f" {one['ordering']}" if is_safe(one) else f" {one['ordering']}: {expected(one)}"


def _machine(one: Claim) -> str:
    tried = one["explored"]
    if is_safe(one):
        return "-" if not tried else _size(tried[0]) if len(tried) == 1 else f"{len(tried)} sizes"
    return _size(tried[-1]) if tried else "-"


def _size(explored: Mapping[str, Any]) -> str:
    size = f"{explored['vcpus']}x{explored['zappers']}"
    return size if explored["shootdowns"] == 1 else f"{size}x{explored['shootdowns']}"


def _steps(one: Claim) -> str:
    shown = [
        steps for tried in one["explored"][-1:] for name, steps in tried["failing"].items() if name in one["expect"]
    ]
    return count(shown[0]) if shown and not is_safe(one) else "-"


def _states(one: Claim) -> str:
    return count(sum(tried["states"] for tried in one["explored"]))


def _explored_for(one: Claim) -> str:
    return nanoseconds(sum(tried["seconds"] for tried in one["explored"]) * 1e9)


def _raced_for(one: Claim) -> str:
    return "-" if one["race"] is None else nanoseconds(one["race"]["seconds"] * 1e9)


def _shootdowns(one: Claim) -> str:
    return "-" if one["race"] is None else count(one["race"]["shootdowns"])


def _met(one: Claim) -> str:
    return "-" if one["race"] is None else count(one["race"]["met"])


def _power(one: Claim) -> str:
    power = None if one["race"] is None else one["race"]["would_have_caught"]
    return "-" if power is None else share(power)


def _verdict(one: Claim) -> Text:
    return Text(one["verdict"], style=VERDICT_STYLES[one["verdict"]])


EXPLORED: tuple[Column, ...] = (
    ("MACHINE", "right", _machine),
    ("STEPS", "right", _steps),
    ("STATES", "right", _states),
    ("EXPLORED", "right", _explored_for),
)
RACED: tuple[Column, ...] = (
    ("RACED", "right", _raced_for),
    ("SHOOTDOWNS", "right", _shootdowns),
    ("MET", "right", _met),
    ("POWER", "right", _power),
)
VERDICT: Column = ("VERDICT", "left", _verdict)


def _below(claims: Sequence[Claim]) -> Iterator[Text]:
    sizes = dict.fromkeys(_size(tried) for one in claims if is_safe(one) for tried in one["explored"])
    safe = f"; the safe ones to the end on {', '.join(sizes)}" if sizes else ""
    yield Text(f"MACHINE: vCPUs x zappers, a page and a shootdown to each zapper, or x so many{safe}.")
    yield Text("EXPLORED, RACED: the time to the first catch, or all of it; a race is looked at every 10 ms.")
    if beside := {one["ordering"]: one["faults"][1:] for one in claims if len(one["faults"]) > 1}:
        pairs = "; ".join(f"{name} beside {' and '.join(others)}" for name, others in beside.items())
        yield Text(f"Hidden alone, and so shown with another fault: {pairs}.")
    if any(not one["to_race"] for one in claims):
        yield Text("Explored alone: faults of flows that a short selftest does not compile; the whole one races them.")
    if again := [one for one in claims if one["race"] is not None and one["race"]["tries"] > 1]:
        tries = ", ".join(f"{one['ordering']} {one['race']['tries']}" for one in again)
        yield Text(f"Begun anew after another error, and all tries counted: {tries}.")
    yield Text("MET: those that met a vCPU. POWER: a rate of these that would have been caught (95 %).")
    for one in claims:
        if one["verdict"] != Verdict.passed:
            verdict = Text(one["verdict"].upper(), style=VERDICT_STYLES[one["verdict"]])
            yield Text.assemble(verdict, f": {one['ordering']}: {one['reason']}")
    yield Text(_summary(claims))


def _summary(claims: Sequence[Claim]) -> str:
    wrong, safe = [one for one in claims if not is_safe(one)], [one for one in claims if is_safe(one)]
    explored = sum(judge_explored(one).verdict == Verdict.passed for one in wrong)
    raced = sum(one["race"] is not None and one["race"]["caught"] for one in wrong)
    unraced = sum(not one["to_race"] for one in claims)
    rare = f" ({unraced} not raced)" if unraced else ""
    clean = sum(one["verdict"] == Verdict.passed for one in safe)
    return (
        f"Of {len(wrong)} known wrong {explored} caught by exploring, {raced} by racing{rare}; "
        f"of {len(safe)} safe {clean} showed nothing."
    )
