"""The matrix: every ordering with every fault, one at a time, and what came of each pair. Pure.

A pair is a dict of the JSON: its `verdict`, the `outcome` that decides it with the steps of a shortest witness, what
else was `found`, and what of that the ordering does not show without the fault (`added`) or no longer shows (`lost`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from results.atlas import AFTER_DONE, STALE, OrderVerdict, Tier, verdict_of

SCHEMA = "tdx-stress/matrix/1"
NO_FAULT = "none"


class PairVerdict(StrEnum):
    """What is said of one pair, the gravest that can happen; `open`: not looked at to the end."""

    stale = "stale"
    refused = "refused"
    stuck = "stuck"
    broken = "broken"
    safe = "safe"
    open = "open"


MEANING = {
    PairVerdict.safe: "nothing forbidden in any interleaving",
    PairVerdict.refused: "KVM_BUG_ON: a status that stops the host",
    PairVerdict.stale: "a vCPU reads a page that is someone else's",
    PairVerdict.stuck: "a deadlock or a livelock",
    PairVerdict.broken: "an invariant of the module",
    PairVerdict.open: "not looked at to the end",
}
OF_ORDER = {
    OrderVerdict.safe: PairVerdict.safe,
    OrderVerdict.refused: PairVerdict.refused,
    OrderVerdict.stale: PairVerdict.stale,
    OrderVerdict.deadlock: PairVerdict.stuck,
    OrderVerdict.broken: PairVerdict.broken,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One ordering with one fault. `found`: forbidden outcomes with the steps to each, the least over all machines."""

    ordering: str
    fault: str
    found: Mapping[str, int]
    complete: bool
    states: int
    machine: Tier | None  # where the deciding outcome takes the fewest steps

    @property
    def verdict(self) -> PairVerdict:
        """The gravest: someone else's page, though a status refuses it in other schedules."""
        if STALE in self.found:
            return PairVerdict.stale
        if not self.complete:
            return PairVerdict.open
        return OF_ORDER[verdict_of(self.found)]

    @property
    def outcome(self) -> str | None:
        """The outcome that decides, the one in the fewest steps where there are several of the kind."""
        return deciding(self.found)


def deciding(found: Mapping[str, int]) -> str | None:
    """Of these outcomes with their steps the one that the verdict goes by; None where there is none."""
    if STALE in found:
        return STALE
    kinds = {name: verdict_of({name: steps}) for name, steps in found.items()}
    whole = verdict_of(found)
    return min((name for name in found if kinds[name] == whole), key=lambda name: found[name], default=None)


def entries(
    pairs: Sequence[Pair], witnesses: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """As they stand in the JSON; `witnesses` are told, by ordering and fault."""
    bare = {pair.ordering: pair for pair in pairs if pair.fault == NO_FAULT}
    return [_entry(pair, bare.get(pair.ordering), witnesses.get((pair.ordering, pair.fault), ())) for pair in pairs]


def _entry(pair: Pair, bare: Pair | None, witness: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    without = set(bare.found) if bare is not None else set()
    outcome = pair.outcome
    return {
        "ordering": pair.ordering,
        "fault": pair.fault,
        "verdict": pair.verdict.value,
        "outcome": outcome,
        "steps": None if outcome is None else pair.found[outcome],
        "machine": None
        if pair.machine is None
        else {k: v for k, v in pair.machine._asdict().items() if k != "liveness"},
        "found": dict(pair.found),
        "added": sorted(set(pair.found) - without),
        "lost": sorted(without - set(pair.found)),
        "complete": pair.complete,
        "states": pair.states,
        "witness": list(witness),
    }


def breaks_a_right_order(cells: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By fault, the orderings that are safe without it and not with it."""
    right = {one["ordering"] for one in cells if one["fault"] == NO_FAULT and one["verdict"] == PairVerdict.safe}
    return {
        fault: [
            one["ordering"]
            for one in cells
            if one["fault"] == fault and one["ordering"] in right and one["verdict"] not in ("safe", "open")
        ]
        for fault in faults_of(cells)
    }


def hidden(cells: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The faults that break no right order, each with the wrong orderings to which it adds a stale read or more."""
    broken = breaks_a_right_order(cells)
    return {
        fault: [one["ordering"] for one in cells if one["fault"] == fault and set(one["added"]) - {AFTER_DONE}]
        for fault, its in broken.items()
        if not its
    }


def heals(cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Fault and ordering, where a wrong ordering shows nothing any more."""
    wrong = {one["ordering"] for one in cells if one["fault"] == NO_FAULT and one["verdict"] not in ("safe", "open")}
    return [(one["fault"], one["ordering"]) for one in cells if one["verdict"] == "safe" and one["ordering"] in wrong]


def faults_of(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The faults, in their order."""
    return list(dict.fromkeys(one["fault"] for one in cells if one["fault"] != NO_FAULT))


def orderings_of(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The orderings, in their order."""
    return list(dict.fromkeys(one["ordering"] for one in cells))


def broken_name(name: str) -> str:
    """An ordering's name over several lines, broken where it has underscores, as columns are narrow."""
    lines = [""]
    for word in name.split("_"):
        joined = f"{lines[-1]}_{word}" if lines[-1] else word
        lines[-1:] = [joined] if len(joined) <= 12 else [lines[-1] + "_", word]
    return "\n".join(lines)


def matrix_document(
    header: Mapping[str, Any],
    subject: Mapping[str, Any],
    explored: Mapping[str, Any],
    cells: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What goes into matrix.json. `subject`: orderings, faults in words, machines; `explored`: how it went."""
    return {
        "schema": SCHEMA,
        **header,
        **subject,
        "verdicts": {verdict.value: text for verdict, text in MEANING.items()},
        "explored": dict(explored),
        "summary": dict(Counter(str(one["verdict"]) for one in cells)),
        "breaks_a_right_order": breaks_a_right_order(cells),
        "hidden": hidden(cells),
        "heals": [{"fault": fault, "ordering": ordering} for fault, ordering in heals(cells)],
        "pairs": list(cells),
    }
