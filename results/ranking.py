"""When a bench may say that one ordering is faster than another: what each race has to hold, and a test which a thing
against itself does not pass. Pure.

The first ordering races twice in every round, so a round has three races of a comparison: A, its copy A2, and B. If B
is the same thing as A, any of the three is as likely the fastest, as their turns were shuffled: B's places among them
are then those of a fair draw, whatever the rounds are like (heavy tails, two states of the machine). Places alone
count, and the p of their sum is exact. Sources: Friedman 1937 (places within rounds); Holm 1979 (many comparisons).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.met import MET
from results.statistics import ENOUGH
from results.wording import plural, share

# What is ranked is ranked wrongly in at most 1 bench of 100, over all figures, orderings and points of it.
RANKED = 0.99
# Of a race's shootdowns so many have to meet a vCPU, or what it says of all of them is about empty ones.
MET_SHARE = 0.5
# The percentile in result.json that a figure is.
PERCENTILES = {"p50_ns": "p50", "p90_ns": "p90", "p99_ns": "p99"}
Three = tuple[float, float, float]


class Met(NamedTuple):
    """Of one race the shootdowns that were measured, and those whose kick met a vCPU in the guest; None: not told."""

    met: int | None
    measured: int


def met_of(run: Any) -> Met:
    """The same of one entry of `runs` in result.json."""
    phases = run["latency_ns"]
    return Met(phases[MET]["n"] if MET in phases else None, phases["shootdown"]["n"])


def too_few_met(figure: str, race: Met) -> str:
    """Why this race does not rank by this figure, "" where it does.

    A percentile is of the shootdowns that met a vCPU, and needs as many as give it an interval; any other figure is
    over all shootdowns, and at least half of these have to have met one.
    """
    if race.met is None:
        return "it is not known how many shootdowns met a vCPU"
    if figure in PERCENTILES:
        least = ENOUGH[PERCENTILES[figure]]
        return f"{plural(race.met, 'shootdown')} met a vCPU, {least:,} are needed" if race.met < least else ""
    if race.met < ENOUGH["p50"] or race.met < MET_SHARE * race.measured:
        part = f" ({share(race.met / race.measured)})" if race.measured else ""
        return f"{race.met:,} of {plural(race.measured, 'shootdown')}{part} met a vCPU, {MET_SHARE:.0%} are needed"
    return ""


def place_p(rounds: Sequence[tuple[float, ...]]) -> float:
    """The exact two-sided p of the last one's places among all of each round, if all of them are the same thing.

    Rounds may have as many races as they like, each of them two or more.
    """
    places = [tuple(sum(int(np.sign(mine - other)) for other in one) for mine in one) for one in rounds]
    odds = _odds(tuple(sorted(tuple(sorted(one)) for one in places)))
    reach = len(odds) // 2
    far = np.abs(np.arange(-reach, reach + 1)) >= abs(sum(one[-1] for one in places))
    return min(math.fsum(odds[far]), 1.0)


@lru_cache(maxsize=256)
def _odds(rounds: tuple[tuple[int, ...], ...]) -> NDArray[np.float64]:
    """How likely each sum of places is, from the least to the most, if each round's are drawn fairly."""
    odds = np.ones(1)
    for places in rounds:
        most = len(places) - 1
        odds = np.convolve(odds, np.bincount([place + most for place in places], minlength=2 * most + 1) / len(places))
    return odds
