"""The atlas: every order of an ordering's steps with its verdict, and the races of the safe ones. Pure.

An order is a dict of the JSON: `verdict`, the `statuses` that refuse it, and `witness_steps`: by variant of module and
host, the length of a shortest schedule to each forbidden outcome.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from kernels.tdx.outcomes import Outcome
from results.verdict import is_safe
from results.wording import plural

SCHEMA = "tdx-stress/atlas/1"
AS_IS, CHECK_OFF, HOST_FREES = "as_is", "remove_without_tracking", "free_page"
VARIANTS = {
    AS_IS: "the module as it is; the host stops at an error",
    CHECK_OFF: "TDH.MEM.PAGE.REMOVE does not look at TLB tracking",
    HOST_FREES: "the host frees the page although REMOVE failed",
}
# A page that is refused is read through an old translation as well; with nobody to refuse it, it is someone else's.
AFTER_DONE, STALE = Outcome.stale_after_done.name, Outcome.use_after_remove.name
# KVM_BUG_ON: the statuses that refuse an order.
STATUSES = tuple(
    outcome.name
    for outcome in (
        Outcome.previous_epoch_busy,
        Outcome.tracking_not_done,
        Outcome.not_blocked,
        Outcome.already_blocked,
        Outcome.entry_state_incorrect,
        Outcome.busy_given_up,
    )
)


class OrderVerdict(StrEnum):
    """What is said of one order of steps. `open`: not looked at to the end."""

    safe = "safe"
    refused = "refused"
    stale = "stale"
    deadlock = "deadlock"
    broken = "broken"
    open = "open"


class Tier(NamedTuple):
    """A machine on which orders are looked at; `shootdowns` of each zapper. `liveness`: livelocks are looked for."""

    vcpus: int
    zappers: int
    pages: int
    shootdowns: int
    liveness: bool
    tlb_entries: int = 1

    @property
    def words(self) -> str:
        """`1 vCPU, 2 zappers, 2 pages, 1 shootdown each`."""
        parts = (plural(self.vcpus, "vCPU"), plural(self.zappers, "zapper"), plural(self.pages, "page"))
        each = " each" if self.zappers > 1 else ""
        return ", ".join((*parts, plural(self.shootdowns, "shootdown") + each))


@dataclass(frozen=True, slots=True)
class Order:
    """One order and what was found. `found`: by variant, forbidden outcomes with the steps to each; `unsettled`:
    variants not looked at to the end; `tier` is where it was decided, None while it is open.
    """

    steps: tuple[str, ...]
    found: Mapping[str, Mapping[str, int]]
    unsettled: tuple[str, ...]
    tier: Tier | None
    states: int

    @property
    def verdict(self) -> OrderVerdict:
        """On the module as it is."""
        return OrderVerdict.open if self.tier is None else verdict_of(self.found[AS_IS])

    def entry(self) -> dict[str, Any]:
        """As it stands in the JSON."""
        as_is = self.found.get(AS_IS, {})
        decided = None
        if self.tier is not None:
            decided = {key: value for key, value in self.tier._asdict().items() if key != "liveness"}
        return {
            "order": list(self.steps),
            "verdict": self.verdict.value,
            "statuses": [name for name in STATUSES if name in as_is],
            "stale_in": [variant for variant in VARIANTS if STALE in self.found.get(variant, {})],
            "stale_open_in": list(self.unsettled),
            "witness_steps": {variant: dict(found) for variant, found in self.found.items()},
            "decided": decided,
            "states": self.states,
        }


def verdict_of(forbidden: Mapping[str, int]) -> OrderVerdict:
    """The verdict on the forbidden outcomes that an order shows with the module as it is.

    A status ends the zapper: an order that is refused is not called stale, even where a vCPU can read through its old
    translation until then.
    """
    if any(name in forbidden for name in STATUSES):
        return OrderVerdict.refused
    if STALE in forbidden or AFTER_DONE in forbidden:
        return OrderVerdict.stale
    if Outcome.no_progress.name in forbidden:
        return OrderVerdict.deadlock
    return OrderVerdict.broken if forbidden else OrderVerdict.safe


def base_of(atlas: Mapping[str, Any]) -> str:
    """The ordering whose steps these are, marked where it is unsafe."""
    return str(atlas["ordering"]) + ("" if is_safe(atlas["parameters"]) else " (unsafe)")


def kind_of(entry: Mapping[str, Any]) -> str:
    """The verdict, and for a refused order the statuses: `refused: tracking_not_done`."""
    verdict = str(entry["verdict"])
    return f"{verdict}: {', '.join(entry['statuses'])}" if entry["statuses"] else verdict


def shortest(entry: Mapping[str, Any], variant: str, names: Iterable[str] | None = None) -> int | None:
    """The steps of the shortest witness in this variant, of these outcomes only where they are given."""
    found = entry["witness_steps"].get(variant, {})
    return min((steps for name, steps in found.items() if names is None or name in names), default=None)


class Kind(NamedTuple):
    """All orders of one kind: how many, how many of them are stale by variant and of how many that is open, and the
    range of their witnesses.
    """

    kind: str
    orders: int
    stale: Mapping[str, int]
    open: Mapping[str, int]
    witness: tuple[int, int] | None
    machines: tuple[str, ...]


def kinds(entries: Sequence[Mapping[str, Any]]) -> list[Kind]:
    """The orders by kind: the safe first, then by number."""
    counts = Counter(map(kind_of, entries))
    return [
        _kind(kind, [one for one in entries if kind_of(one) == kind])
        for kind, _ in sorted(counts.items(), key=lambda it: (it[0] != OrderVerdict.safe, -it[1], it[0]))
    ]


def _kind(kind: str, entries: Sequence[Mapping[str, Any]]) -> Kind:
    lengths = [steps for one in entries if (steps := shortest(one, AS_IS)) is not None]
    stale = Counter(variant for one in entries for variant in one["stale_in"])
    unsettled = Counter(variant for one in entries for variant in one["stale_open_in"])
    machines = {Tier(**one["decided"], liveness=False): None for one in entries if one["decided"]}
    return Kind(
        kind,
        len(entries),
        {variant: stale[variant] for variant in VARIANTS},
        {variant: unsettled[variant] for variant in VARIANTS},
        (min(lengths), max(lengths)) if lengths else None,
        tuple(machine.words for machine in sorted(machines)),
    )


def atlas_document(
    header: Mapping[str, Any],
    subject: Mapping[str, Any],
    explored: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    races: Mapping[str, Any] | None,
    caveats: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """What goes into atlas.json. `subject`: the ordering, its steps and the machines; `explored`: how it went."""
    return {
        "schema": SCHEMA,
        **header,
        "caveats": list(caveats),
        **subject,
        "variants": VARIANTS,
        "explored": dict(explored),
        "summary": dict(Counter(map(kind_of, entries))),
        "orders": list(entries),
        "races": races,
    }
