"""The atlas: every order of an ordering's steps with its verdict, and the races of the safe ones. Pure.

An order is a dict of the JSON: `verdict`, the `statuses` that refuse it, and `witness_steps`: by variant of module and
host, the length of a shortest schedule to each forbidden outcome.

Safe orders race in rounds: each round's median latency an order, and over the rounds a median with its interval. Rounds
are compared, not samples: identical races differ far more than the samples within one. A ratio is taken within a round,
to the median of all that raced in it, so that what a round has in common falls out.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from kernels.tdx.outcomes import Harm, Outcome
from results.caveats import Caveat, caveat
from results.figures import latencies_of
from results.numbers.rounds import RANKED, holm, met_of, place_p, sign_flip_p, too_few_met
from results.numbers.statistics import ENOUGH, LEVEL, clock_step_ns, interval_ranks, off_ns, ratio_off, widened
from results.verdict import Verdict, exit_code_of, is_safe, is_thin, least_own, met_shootdowns, named, too_few, whole
from results.words import machine_size, plural

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
STATUSES = tuple(outcome.name for outcome in Outcome if outcome.harm == Harm.refused)


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
    liveness: bool = False
    tlb_entries: int = 1

    @property
    def words(self) -> str:
        """`1 vCPU, 2 zappers, 2 pages, 1 shootdown each`."""
        return ", ".join(machine_size(self._asdict(), "pages", "shootdowns"))


def order_entry(
    steps: Sequence[str],
    found: Mapping[str, Mapping[str, int]],
    unsettled: Sequence[str] = (),
    tier: Tier | None = None,
    states: int = 0,
) -> dict[str, Any]:
    """One order and what was found, as it stands in the JSON. `found`: by variant, forbidden outcomes with the steps to
    each; `unsettled`: variants not looked at to the end; `tier` is where it was decided, None while it is open.
    """
    as_is = found.get(AS_IS, {})
    return {
        "order": list(steps),
        "verdict": (OrderVerdict.open if tier is None else verdict_of(as_is)).value,
        "statuses": [name for name in STATUSES if name in as_is],
        "stale_in": [variant for variant in VARIANTS if STALE in found.get(variant, {})],
        "stale_open_in": list(unsettled),
        "witness_steps": {variant: dict(its) for variant, its in found.items()},
        "decided": tier and {key: value for key, value in tier._asdict().items() if key != "liveness"},
        "states": states,
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
    return named(atlas["ordering"], is_safe(atlas["parameters"]))


def kind_of(entry: Mapping[str, Any]) -> str:
    """The verdict, and for a refused order the statuses: `refused: tracking_not_done`."""
    verdict = str(entry["verdict"])
    return f"{verdict}: {', '.join(entry['statuses'])}" if entry["statuses"] else verdict


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
    found = [_kind(kind, [one for one in entries if kind_of(one) == kind]) for kind in {*map(kind_of, entries)}]
    return sorted(found, key=lambda it: (it.kind != OrderVerdict.safe, -it.orders, it.kind))


def _kind(kind: str, entries: Sequence[Mapping[str, Any]]) -> Kind:
    lengths = [min(found.values()) for one in entries if (found := one["witness_steps"].get(AS_IS))]
    stale = Counter(variant for one in entries for variant in one["stale_in"])
    unsettled = Counter(variant for one in entries for variant in one["stale_open_in"])
    machines = {Tier(**one["decided"]) for one in entries if one["decided"]}
    return Kind(
        kind, len(entries), {variant: stale[variant] for variant in VARIANTS},
        {variant: unsettled[variant] for variant in VARIANTS}, (min(lengths), max(lengths)) if lengths else None,
        tuple(machine.words for machine in sorted(machines)),
    )  # fmt: skip


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
        "schema": SCHEMA, **header, "caveats": list(caveats), **subject, "variants": VARIANTS,
        "explored": dict(explored), "summary": dict(Counter(map(kind_of, entries))), "orders": list(entries),
        "races": races,
    }  # fmt: skip


# The first is raced twice, under two names.
REFERENCE, AGAIN = "spec", "spec again"


def spread(values: Sequence[float], step_ns: float = 0.0, off: float = 0.0) -> dict[str, float] | None:
    """The median of these rounds with its interval by order statistics, which needs no more than independence; as they
    stand in the JSON. It is no narrower than what the median may be off by: of latencies by a clock of this step, of
    ratios by `off`, a logarithm.

    None below 6 rounds: fewer give the median no interval of 95 %.
    """
    if len(values) < ENOUGH["p50"]:
        return None
    ordered = sorted(values)
    ends = (ordered[int(rank) - 1] for rank in interval_ranks(len(ordered), 0.5))
    middle, low, high = (round(value, 6) for value in (median(ordered), *ends))
    low, high = widened(middle, low, high, float(off_ns(middle, step_ns)) if step_ns else middle * math.expm1(off))
    return {"median": middle, "low": round(low, 6), "high": round(high, 6)}


def race_entries(
    rounds: Sequence[Mapping[str, Mapping[str, Any]]], orders: Mapping[str, Sequence[str]], known: Sequence[str]
) -> list[dict[str, Any]]:
    """One entry a raced ordering, the fastest first. `rounds`: by name, an entry of `runs` as result.json has it.

    `orders` are the steps by name; `known` the names of orderings that race beside the orders. `refused` says why one
    is not comparable: its races met too few vCPUs, or the reference differs from its copy. Else `holm_p` is of its
    places among all that are, in every round, corrected for all of them.
    """
    few = {name: _too_few(name, rounds) for name in orders}
    grounded = [name for name in orders if not few[name]]
    doubt = _against_itself(rounds, few)
    p50s = {name: [None if few[name] else _p50(one.get(name)) for one in rounds] for name in orders}
    together = [dict(zip(grounded, row, strict=True)) for row in zip(*(p50s[name] for name in grounded), strict=True)]
    complete = [row for row in together if None not in row.values()]
    places = {name: place_p([_last(row, name) for row in complete]) for name in grounded} if not doubt else {}
    corrected = holm(places)
    entries = []
    step_ns = clock_step_ns(one for row in rounds for run in row.values() for one in latencies_of(run))
    for name, steps in orders.items():
        pairs = [(mine, median(row.values())) for row in complete if name in places and (mine := row[name])]
        ratios = [mine / middle for mine, middle in pairs]
        runs = [one[name] for one in rounds if name in one]
        entries.append({
            "name": name, "order": list(steps), "known": name in known, "verdicts": sorted(_verdicts(runs)),
            "shootdowns": sum(met_shootdowns(run) or 0 for run in runs), "rounds_p50_ns": p50s[name],
            "p50_ns": spread([p50 for p50 in p50s[name] if p50 is not None], step_ns),
            "ratio": spread(ratios, off=ratio_off(pairs, step_ns)) if pairs else None,
            "holm_p": corrected.get(name),
            "refused": few[name] or doubt,
        })  # fmt: skip
    return sorted(entries, key=lambda it: it["p50_ns"]["median"] if it["p50_ns"] else math.inf)


def _verdicts(runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """What its races come to: those that met too few vCPUs count together."""
    told = {
        str(run["verdict"]) for run in runs if not is_thin(run["reason"], met_shootdowns(run), run["all_shootdowns"])
    }
    met = sum(met_shootdowns(run) or 0 for run in runs)
    own = least_own(run.get("own_share") for run in runs)
    return told | {"passed" if too_few(met, 0, own) is None else "inconclusive"} if told <= {"passed"} else told


def _too_few(name: str, rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> str:
    """Why the races of one ordering are not comparable, "" where they are."""
    for number, one in enumerate(rounds, start=1):
        if name in one and (reason := too_few_met("p50_ns", met_of(one[name]), f"in round {number} ")):
            return reason
    return ""


def _against_itself(rounds: Sequence[Mapping[str, Mapping[str, Any]]], few: Mapping[str, str]) -> str:
    """Why nothing of these rounds is comparable: the reference and its copy are not alike, or did not both race."""
    if reason := few.get(REFERENCE, "it did not race") or few.get(AGAIN, "it did not race twice"):
        return f"{REFERENCE} is not known against itself: {reason}"
    pairs = [(_p50(one.get(REFERENCE)), _p50(one.get(AGAIN))) for one in rounds]
    logs = [math.log(again / first) for first, again in pairs if first and again]
    return f"{REFERENCE} differs from itself" if logs and sign_flip_p(np.array(logs)) <= 1 - LEVEL else ""


def _last(row: Mapping[str, float | None], name: str) -> tuple[float, ...]:
    """The values of a round, that of this name last."""
    return tuple(float(value or 0) for value in (*(row[other] for other in row if other != name), row[name]))


def _p50(run: Mapping[str, Any] | None) -> float | None:
    return None if run is None else whole(run)["p50"]


def races_caveats(rounds: int, of: int, *, interrupted: bool) -> list[Caveat]:
    """Of races that did not come to their end: a signal ended them, or they took too long, or the program is gone."""
    if rounds >= of:
        return []
    seen = f"{'interrupted' if interrupted else 'ended'} after {rounds} of {plural(of, 'round')} of races"
    means = "fewer rounds show less, and where an order lacks one it is not compared by it"
    return [caveat("races_ended", seen, means, "again, to the end")]


def differs(entry: Mapping[str, Any]) -> bool:
    """Whether its rounds show it faster or slower than what raced beside it: by its places in them, and as the ratio's
    interval leaves 1 out."""
    ratio, p = entry["ratio"], entry["holm_p"]
    return ratio is not None and p is not None and p <= 1 - RANKED and not ratio["low"] <= 1 <= ratio["high"]


def atlas_exit_code(atlas: Mapping[str, Any]) -> int:
    """0 unless a race contradicts the search, or broke, or an order is open. A variant that is open is none of that."""
    verdicts = {verdict for one in (atlas["races"] or {}).get("orders", ()) for verdict in one["verdicts"]}
    rest = Verdict.passed if atlas["explored"]["complete"] else Verdict.inconclusive
    return exit_code_of({*verdicts - {"inconclusive"}, rest})
