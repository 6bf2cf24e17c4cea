"""Rounds in, ratios with intervals out: how two orderings compare, and when one may be called faster. Pure.

The unit is the round, not the shootdown: identical runs differ by far more than the shootdowns of one run do. A paired
comparison takes each round's ratio on its own, as a logarithm: a machine that slows down for a while slows both.
The effect is the median over the rounds: one bad round does not decide. Intervals are the percentile bootstrap's; for
the median they hold 93 to 98 % of the time from 10 rounds on, whatever the tails (the tests show it). Tests of "no
difference" are by signed ranks, exact because a round's order is shuffled: if two arms are the same thing, each round's
sign is a coin. Sources: Efron 1979 (the median's bootstrap without resampling); Hesterberg 2015, What Teachers Should
Know About the Bootstrap (small samples); Wilcoxon 1945; Holm 1979; Westfall and Young 1993 (several figures at once);
Hodges and Lehmann 1963 (the interval that belongs to signed ranks).

Where several machines ran the rounds, the machine is a factor: a ratio can be another on another machine. The effect is
then the mean of the machines' medians, each weighted by its rounds, and rounds are resampled within each machine alone.

A rank needs more. The first ordering races twice in every round, so a round has three races of a comparison: A, its
copy A2, and B. If B is the same thing as A, any of the three is as likely the fastest, as their turns were shuffled:
B's places among them are then those of a fair draw, whatever the rounds are like (heavy tails, two states of the
machine). Places alone count, and the p of their sum is exact. Source: Friedman 1937 (places within rounds).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from results.numbers.statistics import ENOUGH, LEVEL, off_ns, widened
from results.verdict import MET
from results.words import plural, share

LEAST_ROUNDS = 10
DRAWS, FLIPS = 9_999, 9_999
POWER = 0.8
# Enumerated up to this many signs, drawn above.
MOST_SIGNS = 12
Values = NDArray[np.float64]
Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class Effect:
    """A ratio (or a difference of logarithms turned into one), its interval, and what would have been shown."""

    ratio: float
    low: float
    high: float
    could_have_shown: float


@dataclass(frozen=True, slots=True)
class Simultaneous:
    """One of several figures tested together: p corrected for all of them, and an interval that agrees with it.

    The interval is of the pseudo-median, the median of all pairs' means; None where the rounds are too few to bound it.
    """

    p: float
    middle: float
    low: float | None
    high: float | None


def median_interval(values: Values, machines: Sequence[str] = ()) -> tuple[float, float]:
    """The 95 % interval of the median by the percentile bootstrap, expanded for few values; where these have several
    machines, told one by one, that of the mean of their medians.
    """
    many = len(set(machines)) or 1
    return _middle(*_resampled(values, machines)[1:], _tail(len(values), many))


def latency_interval(latencies: Values, step_ns: float) -> tuple[float, float, float]:
    """The median of these, one a round, with its interval: (median, low, high)."""
    middle = float(np.median(latencies))
    return middle, *widened(middle, *median_interval(latencies), float(off_ns(middle, step_ns)))


def paired_middle(values: Values, machines: Sequence[str] = ()) -> float:
    """What that interval is about."""
    return _resampled(values, machines)[0]


def _resampled(values: Values, machines: Sequence[str]) -> tuple[float, Values, Values]:
    """The middle, and as `bootstrapped_median` what it can be in resamples: within each machine."""
    names = sorted(set(machines))
    if len(names) < 2:
        return float(np.median(values)), *bootstrapped_median(values)
    rng, ran_on = np.random.default_rng(0), np.array(machines)
    parts = [values[ran_on == name] for name in names]
    middle = sum(len(part) * float(np.median(part)) for part in parts) / len(values)
    drawn = np.sum([len(part) * _drawn(rng, *bootstrapped_median(part)) for part in parts], axis=0) / len(values)
    return middle, np.sort(drawn), np.full(DRAWS, 1 / DRAWS)


def bootstrapped_median(values: Values) -> tuple[Values, Values]:
    """What the median of a resample can be, in order, and how likely each is: exactly, without drawing resamples."""
    first, second, weights = _median_weights(len(values))
    ordered = np.sort(values)
    medians = (ordered[first] + ordered[second]) / 2
    order = np.argsort(medians, kind="stable")
    return medians[order], weights[order]


@lru_cache(maxsize=64)
def _median_weights(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Values]:
    """The places (from 0) of the two middle values of a resample among the n values in order, and their odds.

    How many of n draws fall on the lowest i values is binomial; an odd n has one middle value, taken twice.
    """
    from scipy.stats import binom

    share = np.arange(n + 1) / n
    half = n // 2
    if n % 2:
        odds = np.diff(binom.sf(half, n, share))
        places = np.flatnonzero(odds > 1e-15)
        return places, places, odds[places]
    above, equal = binom.sf(half, n, share), binom.pmf(half, n, share)
    likely = np.flatnonzero(np.diff(above + equal) + np.diff(above) > 1e-15)
    at = np.arange(likely[0], likely[-1] + 2)
    i, j = np.minimum.outer(at, at), np.maximum(at[:, None], at)
    left = np.maximum(n - i, 1)
    # P(the lower middle is among the lowest i, the upper among the lowest j), for i <= j; else that of (j, j).
    both = above[i] + equal[i] * (1 - (1 - (j - i) / left) ** half)
    both = np.where(at[:, None] <= at, both, above[at][None, :])
    odds = both[1:, 1:] - both[:-1, 1:] - both[1:, :-1] + both[:-1, :-1]
    rows, columns = np.nonzero(odds > 1e-15)
    return at[rows], at[columns], odds[rows, columns]


def _tail(n: int, machines: int) -> float:
    """What is cut off at each end of a bootstrap distribution of n values' median: somewhat less than 2.5 %.

    Percentiles of few values lie too close together, by the factor that Student's t has over the normal distribution
    (Hesterberg 2015). Each machine takes a degree of freedom.
    """
    from scipy.special import ndtr, stdtrit

    free = max(n - machines, 1)
    return float(ndtr(math.sqrt(n / free) * stdtrit(free, (1 - LEVEL) / 2)))


def enough(rounds: int, machines: int = 1) -> bool:
    """Whether so many rounds of so many machines rank: as many as a bench on one machine has at least, and one more for
    each other machine.
    """
    return rounds - (machines - 1) >= LEAST_ROUNDS


def _middle(medians: Values, weights: Values, tail: float) -> tuple[float, float]:
    """The distribution, given in order, without its tails."""
    reached = np.cumsum(weights)
    low, high = np.searchsorted(reached, [tail, reached[-1] - tail])
    return float(medians[low]), float(medians[high])


def paired_effect(logs: Values, comparisons: int = 1, level: float = LEVEL, machines: Sequence[str] = ()) -> Effect:
    """The effect of paired log-ratios, one a round; `comparisons` are made at once (Holm), a difference being shown at
    `level`. The interval is a 95 % one whatever that is. `machines` says which ran each round, where several did.
    """
    many = len(set(machines)) or 1
    return _effect(*_resampled(logs, machines), _tail(len(logs), many), len(logs) - many + 1, (1 - level) / comparisons)


def unpaired_effect(reference: Values, values: Values, comparisons: int = 1, level: float = LEVEL) -> Effect:
    """The effect between two sets of logarithms of rounds that do not belong together; the rest as above."""
    rng = np.random.default_rng(0)
    first, second = (_drawn(rng, *bootstrapped_median(side)) for side in (reference, values))
    medians, weights = np.sort(second - first), np.full(DRAWS, 1 / DRAWS)
    middle, few = float(np.median(values) - np.median(reference)), min(len(values), len(reference))
    # The difference of two medians has no need of wider tails: its interval is wide enough (the tests show it).
    return _effect(middle, medians, weights, (1 - LEVEL) / 2, few, (1 - level) / comparisons)


def _drawn(rng: np.random.Generator, medians: Values, weights: Values) -> Values:
    return rng.choice(medians, DRAWS, p=weights)


def _effect(middle: float, medians: Values, weights: Values, tail: float, n: int, chance: float) -> Effect:
    from scipy.special import stdtrit

    low, high = _middle(medians, weights, tail)
    deviation = math.sqrt(np.average((medians - np.average(medians, weights=weights)) ** 2, weights=weights))
    quantiles = stdtrit(n - 1, 1 - chance / 2) + stdtrit(n - 1, POWER)
    return Effect(math.exp(middle), math.exp(low), math.exp(high), math.exp(float(quantiles) * deviation))


def signed_ranks(values: Values) -> Values:
    """Each value's rank by size with the value's sign; equal sizes share their mean rank, 0 has none."""
    from scipy.stats import rankdata

    ranks = np.zeros(len(values))
    some = values != 0
    if some.any():
        ranks[some] = np.sign(values[some]) * rankdata(np.abs(values[some]))
    return ranks


def sign_flip_p(values: Values) -> float:
    """The exact two-sided p of signed ranks: how often coins for signs give a sum at least as far from 0."""
    doubled = np.abs(2 * signed_ranks(values)).round().astype(np.int64)  # mean ranks end in .5
    total = int(doubled.sum())
    odds = np.zeros(2 * total + 1)
    odds[total] = 1.0
    for rank in doubled:
        odds = (np.roll(odds, rank) + np.roll(odds, -rank)) / 2
    seen = abs(int((2 * signed_ranks(values)).round().sum()))
    far = np.abs(np.arange(-total, total + 1)) >= seen
    return min(float(odds[far].sum()), 1.0)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Holm's correction: each p times the number of hypotheses not yet rejected, never below a smaller one's."""
    corrected: dict[Name, float] = {}
    most = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        most = max(most, min((len(p_values) - place) * p_values[name], 1.0))
        corrected[name] = most
    return corrected


def together(figures: Mapping[str, Values | Sequence[float | None]]) -> dict[str, Simultaneous]:
    """Several figures of the same rounds against 0 at once, by signed ranks whose signs are flipped a round at a time.

    Every figure has a value for each round, None or NaN where there is none, in the same order, and a value for some.
    The chance that any p falls to 0.05 or below when nothing differs is 5 %, however the figures hang together.
    """
    rows = {name: np.array(row, dtype=np.float64) for name, row in figures.items()}
    ranks = np.array([signed_ranks(np.nan_to_num(row)) for row in rows.values()])  # a value that is not there has none
    norms = np.sqrt((ranks**2).sum(axis=1))
    norms[norms == 0] = 1.0
    signs = _signs(ranks.shape[1])
    sums = np.abs(ranks @ signs.T) / norms[:, None]
    most = sums.max(axis=0)
    seen = np.abs(ranks.sum(axis=1)) / norms
    critical = _critical(most)
    found = {}
    for (name, row), size in zip(rows.items(), seen, strict=True):
        p = float((most >= size - 1e-9).mean())
        values = row[~np.isnan(row)]
        means = _walsh_means(values)
        found[name] = Simultaneous(
            p, float(np.median(means)), *_walsh_interval(means, len(values), critical, differs=p <= 1 - LEVEL)
        )
    return found


def _signs(count: int) -> Values:
    """Every way to flip `count` signs, or `FLIPS` ways drawn at random and the one as seen, shape (ways, count)."""
    if count <= MOST_SIGNS:
        ways = np.arange(1 << count)
        return np.asarray(1.0 - 2.0 * ((ways[:, None] >> np.arange(count)) & 1), dtype=np.float64)
    drawn = np.random.default_rng(3).integers(0, 2, (FLIPS, count))
    return np.vstack([np.ones((1, count)), 1.0 - 2.0 * drawn])


def _critical(most: Values) -> float:
    """The least sum that at most 5 % of the flips reach; infinite where even the largest is reached more often."""
    sizes, counts = np.unique(np.round(most, 9), return_counts=True)
    reached = np.cumsum(counts[::-1])[::-1] / len(most)
    rare = sizes[reached <= 1 - LEVEL]
    return float(rare[0]) if len(rare) else math.inf


def _walsh_means(values: Values) -> Values:
    """The means of all pairs of values, each with itself too, in order."""
    first, second = np.triu_indices(len(values))
    return np.sort((values[first] + values[second]) / 2)


def _walsh_interval(means: Values, n: int, critical: float, *, differs: bool) -> tuple[float | None, float | None]:
    """The shifts of n values that signed ranks would not reject at this critical sum."""
    norm = math.sqrt(n * (n + 1) * (2 * n + 1) / 6)
    cut = math.floor((len(means) - critical * norm) / 2 + 1e-6) if math.isfinite(critical) else -1
    if cut < 0:
        return None, None
    low, high = float(means[cut]), float(means[-1 - cut])
    # Where many values are 0 or equal, the shifts near 0 are rejected a little too early or too late.
    return (low, high) if differs else (min(low, 0.0), max(high, 0.0))


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
    measured = phases["shootdown"]["n"] if "shootdown" in phases else run["all_shootdowns"]
    return Met(phases[MET]["n"] if MET in phases else None, measured)


def too_few_met(figure: str, race: Met, where: str = "") -> str:
    """Why this race does not rank by this figure, and `where` that is; "" where it does.

    A percentile is of the shootdowns that met a vCPU, and needs as many as give it an interval; any other figure is
    over all shootdowns, and at least half of these have to have met one.
    """
    if race.met is None:
        return "it is not known how many shootdowns met a vCPU"
    if race.met < (least := ENOUGH[PERCENTILES.get(figure, "p50")]):
        return f"{where}{plural(race.met, 'shootdown')} met a vCPU, {least:,} are needed"
    if figure in PERCENTILES or race.met >= MET_SHARE * race.measured:
        return ""
    of = f"{plural(race.measured, 'shootdown')} ({share(race.met / race.measured)})"
    return f"{where}{race.met:,} of {of} met a vCPU, {100 * MET_SHARE:.0f} % are needed"


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
