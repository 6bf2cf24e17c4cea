"""How much a setting amplifies a race: rates with intervals, and how many times as often. Pure.

A measurement is a dict of the JSON: `shootdowns` that met a vCPU, `hits`, those that showed the outcome, and `seconds`;
beside them `failing`, the events of every forbidden or unknown outcome, the one that is looked for or not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from results.grades import FAILING
from results.met import met_shootdowns
from results.statistics import clopper_pearson
from results.verdict import seen

SCHEMA = "tdx-stress/amplification/1"
Measured = Mapping[str, Any]


def measured(run: Mapping[str, Any], outcome: str) -> dict[str, Any]:
    """What one race says of an outcome. Where that belongs to no shootdown its events count, each as one."""
    found = next((one for one in run["outcomes"] if one["id"] == outcome), None)
    hits = 0 if found is None else found["count"] if found["met"] is None else found["met"]
    rate = judged(met_shootdowns(run) or 0, hits, run["seconds"])
    return {**rate, "failing": seen(run, *FAILING), "ending": str(run["ending"])}


def not_raced() -> dict[str, Any]:
    """The measurement of a setting whose race did nothing, or never began."""
    return {**judged(0, 0, 0.0), "failing": {}, "ending": None}


def with_catches(one: Measured, catches: Sequence[tuple[float | None, Mapping[str, int]]]) -> dict[str, Any]:
    """The measurement with the seconds to the first catch of some more races, and with what else failed in these."""
    seconds = [caught for caught, _ in catches]
    failing: Counter[str] = Counter(one["failing"])
    for _, more in catches:
        failing.update(more)
    return {**one, "failing": dict(failing), "catches_s": seconds, "first_catch_s": median_catch(seconds)}


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


def shown_at_all(entry: Mapping[str, Any]) -> bool:
    """Whether any race showed the outcome, amplified or not."""
    raced = (entry["without"], *entry["best"], *entry["tried"])
    return any(one["hits"] or any(catch is not None for catch in one.get("catches_s", ())) for one in raced)
