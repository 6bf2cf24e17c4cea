"""Safe orders raced in rounds: each round's median latency an order, and over the rounds a median with its interval.

Rounds are compared, not samples: identical races differ far more than the samples within one. A ratio is taken within a
round, to the median of all that raced in it, so that what a round has in common falls out.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from results.met import is_thin, met_shootdowns, too_few, whole

REFERENCE = "v18"


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

    `orders` are the steps by name; `known` the names of orderings that race beside the orders.
    """
    entries = []
    middles = [median([value for run in one.values() if (value := _p50(run))] or [0]) for one in rounds]
    for name, steps in orders.items():
        p50s = [_p50(one.get(name)) for one in rounds]
        ratios = [mine / middle for mine, middle in zip(p50s, middles, strict=True) if mine is not None and middle]
        runs = [one[name] for one in rounds if name in one]
        whole, ratio = spread([value for value in p50s if value is not None]), spread(ratios)
        entries.append(
            {
                "name": name,
                "order": list(steps),
                "known": name in known,
                "verdicts": sorted(_verdicts(runs)),
                "shootdowns": sum(met_shootdowns(run) or 0 for run in runs),
                "rounds_p50_ns": p50s,
                "p50_ns": _as_dict(whole),
                "ratio": _as_dict(ratio),
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


def _p50(run: Mapping[str, Any] | None) -> float | None:
    return whole(run)["p50"] if run is not None else None


def _as_dict(found: Spread | None) -> dict[str, float] | None:
    return None if found is None else {key: round(value, 6) for key, value in found._asdict().items()}


def differs(entry: Mapping[str, Any]) -> bool:
    """Whether its rounds show it faster or slower than what raced beside it: the ratio's interval leaves 1 out."""
    ratio = entry["ratio"]
    return ratio is not None and not ratio["low"] <= 1 <= ratio["high"]


def same_order_twice(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The entry whose steps are the reference's own, raced under another name: what identical orders differ by."""
    reference = next((one for one in entries if one["name"] == REFERENCE), None)
    if reference is None:
        return None
    return next((one for one in entries if not one["known"] and one["order"] == reference["order"]), None)
