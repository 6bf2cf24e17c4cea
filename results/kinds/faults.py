"""The matrix: every ordering with every fault, what came of each pair, and what follows from it, for a terminal.

A pair is a dict of the JSON: its flow and `verdict`, the `outcome` that decides it with the steps of a shortest
witness, what else was `found`, and what of that the ordering does not show without the fault (`added`) or no longer
shows (`lost`). A row is a fault, or several at once by their names with a `+` between.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from kernels.tdx.outcomes import Harm, Outcome
from results.exchange.cases import Case, state_unless_open
from results.kinds.orders import Tier
from results.table import Table
from results.verdict import Exit, is_safe, named
from results.words import broken_name, count, nanoseconds, plural

SCHEMA = "tdx-stress/matrix/1"
NO_FAULT = "none"


class PairVerdict(StrEnum):
    """What is said of one pair, the gravest that can happen. `unread`: the fault changes nothing of the ordering, which
    says nothing of the fault; `open`: not looked at to the end.
    """

    stale = "stale"
    refused = "refused"
    stuck = "stuck"
    broken = "broken"
    safe = "safe"
    unread = "unread"
    open = "open"


MEANING = {
    PairVerdict.safe: "nothing forbidden in any interleaving",
    PairVerdict.refused: "KVM_BUG_ON: a status that stops the host",
    PairVerdict.stale: "what is someone else's is read, or written over",
    PairVerdict.stuck: "a deadlock or a livelock; #VE or an HKID for ever",
    PairVerdict.broken: "an invariant of the module",
    PairVerdict.unread: "no step looks for the fault under this ordering",
    PairVerdict.open: "not looked at to the end",
}
# What a pair is by the gravest that it shows: what is read that is someone else's, though a status refuses it in other
# schedules; then the rest in this order. A status ends the zapper: what is refused is not called stale, even where a
# vCPU can read through its old translation until then.
BY_HARM = {
    Harm.reused: PairVerdict.stale, Harm.refused: PairVerdict.refused, Harm.stale: PairVerdict.stale,
    Harm.stuck: PairVerdict.stuck, Harm.broken: PairVerdict.broken,
}  # fmt: skip
_WRONG = ("stale", "refused", "stuck", "broken")
OTHERS = {outcome.name for outcome in Outcome if outcome.harm == Harm.reused}


@dataclass(frozen=True, slots=True)
class Pair:
    """One ordering with one row. `found`: forbidden outcomes with the steps to each, the least over all machines."""

    flow: str
    ordering: str
    fault: str
    found: Mapping[str, int]
    complete: bool
    states: int
    machine: Mapping[str, Any] | None  # where the deciding outcome takes the fewest steps
    unread: bool = False

    @property
    def verdict(self) -> PairVerdict:
        """The gravest that was found."""
        if self.unread:
            return PairVerdict.unread
        if not self.complete and not OTHERS & set(self.found):
            return PairVerdict.open
        return judged(self.found)[0]

    @property
    def outcome(self) -> str | None:
        """The outcome that decides, the one in the fewest steps where there are several of the kind."""
        return judged(self.found)[1]


def judged(found: Mapping[str, int]) -> tuple[PairVerdict, str | None]:
    """Of these outcomes with their steps the verdict, and the outcome that it goes by; None where there is none."""
    for harm, verdict in BY_HARM.items():
        if shown := [name for name in found if _harm_of(name) == harm]:
            return verdict, min(shown, key=lambda name: found[name])
    return PairVerdict.safe, None


def _harm_of(outcome: str) -> Harm:
    return (Outcome[outcome].harm if outcome in Outcome.__members__ else None) or Harm.broken


def entries(
    pairs: Sequence[Pair], witnesses: Mapping[tuple[str, str, str], Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """As they stand in the JSON; `witnesses` are told, by flow, ordering and fault."""
    bare = {(pair.flow, pair.ordering): set(pair.found) for pair in pairs if pair.fault == NO_FAULT}
    made: list[dict[str, Any]] = []
    for pair in pairs:
        found, outcome = set(pair.found), pair.outcome
        without = set() if pair.unread else bare.get((pair.flow, pair.ordering), set())
        made.append({
            "flow": pair.flow, "ordering": pair.ordering, "fault": pair.fault, "verdict": pair.verdict.value,
            "outcome": outcome, "steps": None if outcome is None else pair.found[outcome],
            "machine": None if pair.machine is None else {k: v for k, v in pair.machine.items() if k != "liveness"},
            "found": dict(pair.found), "added": sorted(found - without), "lost": sorted(without - found),
            "complete": pair.complete, "states": pair.states,
            "witness": list(witnesses.get((pair.flow, pair.ordering, pair.fault), ())),
        })  # fmt: skip
    return made


def breaks_a_right_order(cells: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By fault that any ordering looks for, the orderings that are safe without it and not with it.

    A fault of which that is not known is not there: beside it no ordering is safe without it, or one was not looked at
    to the end and none is broken.
    """
    right = _bare(cells, ("safe",))
    read = {one["fault"] for one in cells if one["verdict"] != PairVerdict.unread}
    found: dict[str, list[str]] = {}
    for fault in _faults(cells):
        beside = [one for one in cells if one["fault"] == fault and _order(one) in right]
        broken = [one["ordering"] for one in beside if one["verdict"] not in ("safe", "unread", "open")]
        if broken or (fault in read and beside and all(one["verdict"] != PairVerdict.open for one in beside)):
            found[fault] = broken
    return found


def hidden(cells: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The faults that break no right order, each with the wrong orderings to which it adds a stale read or more."""
    return _adding(cells, [fault for fault, its in breaks_a_right_order(cells).items() if not its])


def beside_no_right_order(cells: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The same of those of which it is not known whether they break one."""
    read = {one["fault"] for one in cells if one["verdict"] not in (PairVerdict.unread, PairVerdict.open)}
    known = breaks_a_right_order(cells)
    return _adding(cells, [fault for fault in _faults(cells) if fault in read and fault not in known])


def _adding(cells: Sequence[Mapping[str, Any]], faults: Sequence[str]) -> dict[str, list[str]]:
    wrong = _bare(cells, _WRONG)
    found: dict[str, list[str]] = {fault: [] for fault in faults}
    for one in cells:
        if one["fault"] in found and _order(one) in wrong and set(one["added"]) - {Outcome.stale_after_done.name}:
            found[one["fault"]].append(one["ordering"])
    return found


def _faults(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    return [fault for fault in dict.fromkeys(one["fault"] for one in cells) if fault != NO_FAULT]


def heals(cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Fault and ordering, where a wrong ordering shows nothing any more."""
    wrong = _bare(cells, _WRONG)
    return [(one["fault"], one["ordering"]) for one in cells if one["verdict"] == "safe" and _order(one) in wrong]


def _bare(cells: Sequence[Mapping[str, Any]], verdicts: Sequence[str]) -> set[tuple[str, str]]:
    """The orderings that have one of these verdicts without a fault, in the flow where they have it."""
    return {_order(one) for one in cells if one["fault"] == NO_FAULT and one["verdict"] in verdicts}


def _order(cell: Mapping[str, Any]) -> tuple[str, str]:
    return cell["flow"], cell["ordering"]


def rows_of(cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Flow and fault of each row; each flow begins with its orderings as they are."""
    return list(dict.fromkeys((one["flow"], one["fault"]) for one in cells))


def heads_of(matrix: Mapping[str, Any]) -> dict[str, str]:
    """The orderings by their names, each with what stands above its column: those that are declared for something
    forbidden are marked; in some flows they may be right.
    """
    return {one["name"]: broken_name(one["name"], safe=is_safe(one)) for one in matrix["orderings"]}


def matrix_document(
    header: Mapping[str, Any],
    subject: Mapping[str, Any],
    explored: Mapping[str, Any],
    cells: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What goes into matrix.json. `subject`: orderings, faults in words, machines; `explored`: how it went."""
    return {
        "schema": SCHEMA, **header, **subject, "verdicts": {verdict.value: text for verdict, text in MEANING.items()},
        "explored": dict(explored), "summary": dict(Counter(str(one["verdict"]) for one in cells)),
        "breaks_a_right_order": breaks_a_right_order(cells), "hidden": hidden(cells),
        "heals": [{"fault": fault, "ordering": ordering} for fault, ordering in heals(cells)], "pairs": list(cells),
    }  # fmt: skip


Document = Mapping[str, Any]
COLUMNS = 4  # orderings side by side: what 80 columns hold


def matrix_screen(matrix: Document) -> Iterator[RenderableType]:
    """What was crossed and what it came to, verdict by verdict; then what that says of faults and of orders."""
    yield Text("Every ordering with every fault", style="bold")
    yield from _how(matrix)
    yield from _findings(matrix)
    yield ""


def matrix_tables(matrix: Document) -> Iterator[Table]:
    """The whole matrix, several columns at a time, and the machines."""
    cells, heads = matrix["pairs"], heads_of(matrix)
    for first in range(0, len(heads), COLUMNS):
        told = "" if first else "Steps of the shortest schedule; + the fault adds an outcome, - it takes one away"
        yield replace(_table(cells, dict(list(heads.items())[first : first + COLUMNS])), caption=told)
    rows = tuple(
        (f"{flow} {number}", "; ".join(filter(None, (size_of(machine), "livelocks too" * machine["liveness"]))))
        for flow, machines in matrix["machines"].items()
        for number, machine in enumerate(machines, start=1)
    )
    yield Table("The machines of each flow", (), rows)


def pair_lines(matrix: Document) -> list[str]:
    """The lines to grep, `Pair shootdown no_kick entry_unchecked refused`: flow, ordering, fault, verdict."""
    return [f"Pair {one['flow']} {one['ordering']} {one['fault']} {one['verdict']}" for one in matrix["pairs"]]


def _table(cells: Sequence[Mapping[str, Any]], heads: Mapping[str, str]) -> Table:
    """`heads`: by ordering, what stands above its column."""
    rows = []
    for flow, fault in rows_of(cells):
        found = {one["ordering"]: one for one in cells if (one["flow"], one["fault"]) == (flow, fault)}
        rows.append((_row(flow, fault), *(_cell(found[name]) for name in heads)))
    return Table("", ("fault / ordering", *heads.values()), tuple(rows))


def _row(flow: str, fault: str) -> str:
    """A fault beside others below them, so that the column stays narrow."""
    return f"flow {flow}" if fault == NO_FAULT else " " + fault.replace("+", "\n   + ")


def _cell(cell: Mapping[str, Any]) -> str:
    """`refused 38`, with a `+` where the fault adds something and a `-` where it takes something away."""
    steps = "" if cell["steps"] is None else f" {cell['steps']}"
    changed = ("+" if cell["added"] else "") + ("-" if cell["lost"] else "")
    return f"{cell['verdict']}{steps}{changed}"


def size_of(machine: Mapping[str, Any]) -> str:
    """Its actors and pages, and what is set."""
    return ", ".join((Tier(**{key: machine[key] for key in Tier._fields}).words, *machine["set"]))


def _how(matrix: Document) -> Iterator[RenderableType]:
    explored = matrix["explored"]
    done = "" if explored["complete"] else ", not all of them to the end"
    yield (
        f"{plural(explored['pairs'], 'pair')}{done}: {plural(explored['states'], 'state')}, "
        f"{count(explored['transitions'])} transitions in {nanoseconds(explored['seconds'] * 1e9)} on "
        f"{plural(explored['threads'], 'thread')}"
    )
    summary = matrix["summary"]
    rows = tuple((v, str(summary[v]), text) for v, text in matrix["verdicts"].items() if v in summary)
    yield Table("", ("VERDICT", "pairs", ""), rows, frozenset({1}))
    yield "Each pair on all machines of its flow, or up to the first read of what is someone else's; -v has all of it."
    if PairVerdict.open in summary:
        yield "Open: the search was ended, or ran out of memory: see --memory; nothing stale until then."
    yield ""


def _findings(matrix: Document) -> Iterator[RenderableType]:
    names = {one["name"]: named(one["name"], is_safe(one)) for one in matrix["orderings"]}

    def rows(found: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
        """Faults with the same orderings stand together."""
        faults: dict[str, list[str]] = {}
        for fault, its in found.items():
            faults.setdefault(", ".join(map(names.__getitem__, its)), []).append(fault)
        return tuple((",\n".join(several), its) for its, several in faults.items() if its)

    cells = matrix["pairs"]
    broken = {fault: its for fault, its in breaks_a_right_order(cells).items() if its}
    adding = (hidden(cells), beside_no_right_order(cells))
    several = {fault: broken.pop(fault) for fault in list(broken) if "+" in fault}
    for title, found in (
        ("Faults that break a right order alone", broken),
        ("Beside another fault", several),
        ("Faults that break no right order searched, and the wrong orders to which they add something", adding[0]),
        ("Faults searched through with no right order, and the wrong orders to which they add something", adding[1]),
    ):
        if any(found.values()):
            yield Table(title, (), rows(found))
    left = {one["fault"] for one in cells if one["verdict"] == PairVerdict.open}
    if none := [fault for found in adding for fault, its in found.items() if not its and fault not in left]:
        yield f"Nothing worse in any order searched: {', '.join(none)}."
    for one in matrix["heals"]:
        yield f"{names[one['ordering']]} shows nothing any more with {one['fault']}"


def pair_cases(matrix: Mapping[str, Any]) -> list[Case]:
    return [
        Case(
            f"{one['flow']} {one['ordering']} {one['fault']}",
            state_unless_open(one["verdict"] == PairVerdict.open),
            _why(one),
            word=one["verdict"],
        )
        for one in matrix["pairs"]
    ]


def _why(pair: Mapping[str, Any]) -> str:
    return str(pair["verdict"]) if pair["outcome"] is None else f"{pair['verdict']}: {pair['outcome']}"


def matrix_exit_code(matrix: Mapping[str, Any]) -> int:
    """0 where every pair was looked at to the end."""
    return (Exit.MET if matrix["explored"]["complete"] else Exit.INCONCLUSIVE).value
