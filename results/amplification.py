"""How much a setting amplifies a race: rates with intervals, and how many times as often. Pure.

A measurement is a dict of the JSON: `shootdowns` that were raced, `hits`, those that showed the outcome, and `seconds`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from results.statistics import clopper_pearson
from results.verdict import Exit

SCHEMA = "tdx-stress/amplification/1"
Measured = Mapping[str, Any]


def measured(run: Mapping[str, Any], outcome: str) -> dict[str, Any]:
    """What one race says of an outcome. Where that belongs to no shootdown its events count, each as one."""
    found = next((one for one in run["outcomes"] if one["id"] == outcome), None)
    hits = 0 if found is None else found["count"] if found["shootdowns"] is None else found["shootdowns"]
    return judged(run["all_shootdowns"], hits, run["seconds"])


def judged(shootdowns: int, hits: int, seconds: float) -> dict[str, Any]:
    """The measurement with its rate and 95 % interval, and how many shootdowns showed it a second."""
    hits = min(hits, shootdowns)
    low, high = clopper_pearson(hits, shootdowns) if shootdowns else (0.0, 1.0)
    return {
        "shootdowns": shootdowns,
        "hits": hits,
        "seconds": round(seconds, 3),
        "rate": hits / shootdowns if shootdowns else 0.0,
        "ci95": [low, high],
        "per_s": round(hits / seconds, 3) if seconds > 0 else 0.0,
    }


def score(one: Measured) -> float:
    """What settings are ranked by: the least that it is shown a second, with 97.5 %; 0 where it is not."""
    often = one["ci95"][0] * one["shootdowns"] / one["seconds"] if one["seconds"] > 0 else 0.0
    return float(often)


def factor(base: Measured, amplified: Measured) -> tuple[float | None, float, float | None]:
    """The ratio of two rates with an interval from the ends of theirs, wider than 95 %: (ratio, least, most).

    Ratio and most are None where the base showed nothing: then only the least is known.
    """
    least = amplified["ci95"][0] / base["ci95"][1]
    if not base["hits"]:
        return None, least, None
    return amplified["rate"] / base["rate"], least, amplified["ci95"][1] / base["ci95"][0]


def median_catch(catches: Sequence[float | None]) -> float | None:
    """The median of the seconds to the first catch, None counting as later than all; None where that is the median."""
    ranked = sorted(catches, key=lambda one: float("inf") if one is None else one)
    return ranked[len(ranked) // 2] if ranked else None


def amplification_exit_code(entries: Sequence[Mapping[str, Any]], *, interrupted: bool) -> int:
    """1 where a safe ordering showed what is forbidden, 6 where an outcome was never shown, else 0."""
    if interrupted:
        return Exit.INTERRUPTED.value
    if any(one["forbidden"] and one["expect"] == "safe" and shown_at_all(one) for one in entries):
        return Exit.FAILED.value
    if not entries:
        return Exit.NOTHING_RAN.value
    return (Exit.MET if all(map(shown_at_all, entries)) else Exit.INCONCLUSIVE).value


def shown_at_all(entry: Mapping[str, Any]) -> bool:
    """Whether any race showed the outcome, amplified or not."""
    raced = (entry["without"], *entry["best"], *entry["tried"])
    return any(one["hits"] or any(catch is not None for catch in one.get("catches_s", ())) for one in raced)
