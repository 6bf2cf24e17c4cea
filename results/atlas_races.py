"""Safe orders raced in rounds: each round's median latency an order, and over the rounds a median with its interval.

Rounds are compared, not samples: identical races differ far more than the samples within one. A ratio is taken within a
round, to the median of all that raced in it, so that what a round has in common falls out.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from results.comparison import LEVEL, holm, sign_flip_p
from results.met import is_thin, met_shootdowns, too_few, whole
from results.ranking import RANKED, met_of, place_p, too_few_met

# The first is raced twice, under two names.
REFERENCE, AGAIN = "spec", "spec again"


class Spread(NamedTuple):
    """A median over rounds and its interval."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float], level: float = 0.95) -> Spread | None:
    """The median of these rounds with its interval by order statistics, which needs no more than independence.

    None below 6 rounds: fewer give the median no interval of 95 %.
    """
    n, ordered = len(values), sorted(values)
    tail, rank, below = (1 - level) / 2, 0, 0.0
    while rank < n // 2 and below + math.comb(n, rank) / 2**n <= tail:
        below += math.comb(n, rank) / 2**n
        rank += 1
    return Spread(median(ordered), ordered[rank - 1], ordered[n - rank]) if rank else None


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
    for name, steps in orders.items():
        ratios = [mine / median(row.values()) for row in complete if (mine := row.get(name))]
        runs = [one[name] for one in rounds if name in one]
        entries.append(
            {
                "name": name,
                "order": list(steps),
                "known": name in known,
                "verdicts": sorted(_verdicts(runs)),
                "shootdowns": sum(met_shootdowns(run) or 0 for run in runs),
                "rounds_p50_ns": p50s[name],
                "p50_ns": _as_dict(spread([value for value in p50s[name] if value is not None])),
                "ratio": None if name not in places else _as_dict(spread(ratios)),
                "holm_p": corrected.get(name),
                "refused": few[name] or doubt,
            }
        )
    return sorted(entries, key=lambda it: it["p50_ns"]["median"] if it["p50_ns"] else math.inf)


def _verdicts(runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """What its races come to: those that met too few vCPUs count together."""
    told = {str(run["verdict"]) for run in runs if not _thin(run)}
    met = sum(met_shootdowns(run) or 0 for run in runs)
    return told | {"passed" if too_few(met, 0) is None else "inconclusive"} if told <= {"passed"} else told


def _thin(run: Mapping[str, Any]) -> bool:
    return is_thin(run["reason"], met_shootdowns(run), run["all_shootdowns"])


def _too_few(name: str, rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> str:
    """Why the races of one ordering are not comparable, "" where they are."""
    for number, one in enumerate(rounds, start=1):
        if name in one and (reason := too_few_met("p50_ns", met_of(one[name]))):
            return reason if met_of(one[name]).met is None else f"in round {number} {reason}"
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


def _as_dict(found: Spread | None) -> dict[str, float] | None:
    return None if found is None else {key: round(value, 6) for key, value in found._asdict().items()}


def differs(entry: Mapping[str, Any]) -> bool:
    """Whether its rounds show it faster or slower than what raced beside it: by its places in them, and as the ratio's
    interval leaves 1 out."""
    ratio, p = entry["ratio"], entry["holm_p"]
    return ratio is not None and p is not None and p <= 1 - RANKED and not ratio["low"] <= 1 <= ratio["high"]
