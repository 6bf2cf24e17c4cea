"""What a bench's rounds say: comparisons with the first ordering, the A/A arm, the growth along a sweep. Pure.

Corrections for asking more than one question: for each figure and point over the other orderings (Holm); for the A/A
arm over all its figures at once, as one alarm is enough to doubt a bench.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from results.bench_record import AA, AGAIN, REFERENCE, Bench, Comparison, Slope
from results.bench_wording import aa_sentence, effect_text
from results.comparison import (
    LEAST_ROUNDS,
    LEVEL,
    Effect,
    Simultaneous,
    Values,
    holm,
    median_interval,
    paired_effect,
    sign_flip_p,
    together,
)
from results.figures import BY_ID, FIGURES, Figure
from results.met import too_few

# A latency is known to a bucket of the histogram.
RESOLUTION = 1 + 1 / 128
Pairs = Sequence[tuple[float, float]]


def found(bench: Bench) -> Bench:
    """The record with `comparisons`, `slopes` and `aa` made from its rounds."""
    others = [arm.arm for arm in bench.arms if arm.arm not in (REFERENCE, AGAIN)]
    comparisons: list[Comparison] = []
    for point in bench.points:
        for figure in FIGURES:
            pairs = {arm: _pairs(bench, point, arm, figure.id) for arm in others}
            comparisons += _compared(bench, figure, point, pairs)
    against_itself, aa = _against_itself(bench)
    return bench.model_copy(
        update={"comparisons": (*comparisons, *against_itself), "slopes": tuple(_slopes(bench)), "aa": aa}
    )


def _pairs(bench: Bench, point: str, arm: str, figure: str) -> list[tuple[float, float]]:
    """(reference, value) of each round that measured the figure in both arms."""
    both = zip(_by_round(bench, point, REFERENCE, figure), _by_round(bench, point, arm, figure), strict=True)
    return [(first, second) for first, second in both if first is not None and second is not None]


def _by_round(bench: Bench, point: str, arm: str, figure: str) -> list[float | None]:
    """The figure in every finished round; None where it could not be measured."""
    values: dict[int, float | None] = {race.round: race.figures.get(figure) for race in bench.races(point, arm)}
    return [values.get(number) for number in range(1, bench.finished_rounds + 1)]


def _compared(bench: Bench, figure: Figure, point: str, by_arm: Mapping[str, Pairs]) -> Iterable[Comparison]:
    p_values = {arm: sign_flip_p(_contrasts(pairs)) for arm, pairs in by_arm.items() if len(pairs) >= LEAST_ROUNDS}
    corrected = holm(p_values)
    for arm, pairs in by_arm.items():
        effect = None
        if arm in p_values and _all_above_zero(pairs):
            effect = _coarsened(figure, paired_effect(_contrasts(pairs), len(by_arm)))
        yield comparison(figure, point, arm, _name(bench, arm), pairs, effect, p_values.get(arm), corrected.get(arm))


def comparison(
    figure: Figure,
    point: str,
    arm: str,
    ordering: str,
    pairs: Pairs,
    effect: Effect | None,
    p: float | None,
    holm_p: float | None,
) -> Comparison:
    """One comparison with its finding: a difference needs its corrected p and, where there is one, its interval."""
    differs = holm_p is not None and holm_p <= 1 - LEVEL and (effect is None or not effect.low <= 1 <= effect.high)
    middles = [float(np.median([pair[side] for pair in pairs])) if pairs else None for side in (0, 1)]
    bare = Comparison(
        figure=figure.id,
        point=point,
        arm=arm,
        ordering=ordering,
        rounds=len(pairs),
        reference=middles[0],
        value=middles[1],
        ratio=effect.ratio if effect else None,
        low=effect.low if effect else None,
        high=effect.high if effect else None,
        p=p,
        holm_p=holm_p,
        could_have_shown=effect.could_have_shown if effect else None,
        finding="too_few" if p is None else "differs" if differs else "no_difference",
        verdict_text="",
    )
    return bare.model_copy(update={"verdict_text": effect_text(bare)})


def _all_above_zero(pairs: Pairs) -> bool:
    return all(first > 0 and second > 0 for first, second in pairs)


def _contrasts(pairs: Pairs) -> Values:
    """What the signs are of: log-ratios, or differences where a value is 0 and has no logarithm."""
    first, second = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    return np.log(second / first) if _all_above_zero(pairs) else second - first


def _coarsened(figure: Figure, effect: Effect) -> Effect:
    """No latency shows less than a bucket of its histogram."""
    if figure.unit != "ns":
        return effect
    return Effect(effect.ratio, effect.low, effect.high, max(effect.could_have_shown, RESOLUTION))


def _name(bench: Bench, arm: str) -> str:
    return next(known.ordering for known in bench.arms if known.arm == arm)


def _against_itself(bench: Bench) -> tuple[list[Comparison], AA | None]:
    """The A/A arm, all points and figures at once. Too few rounds say nothing."""
    pairs = {f.id: [_pairs(bench, point, AGAIN, f.id) for point in bench.points] for f in FIGURES}
    flat = {name: [pair for of_point in of_figure for pair in of_point] for name, of_figure in pairs.items()}
    usable = {name for name in flat if len(flat[name]) >= LEAST_ROUNDS}
    if bench.finished_rounds < LEAST_ROUNDS or not usable:
        return [], None
    tested = together({name: _rows(bench, name, _all_above_zero(flat[name])) for name in flat if name in usable})
    made = [_itself(bench, BY_ID[name], flat[name], tested.get(name)) for name in flat]
    differing = [one for one in made if one.finding == "differs"]
    p = min(one.p for one in tested.values())
    return made, AA(differs=bool(differing), p=p, sentence=aa_sentence(_name(bench, REFERENCE), differing, p))


def _rows(bench: Bench, figure: str, logarithms: bool) -> list[float | None]:
    """The contrast of every round of every point, None where it was not measured: rounds keep their places."""
    rows: list[float | None] = []
    for point in bench.points:
        sides = (_by_round(bench, point, arm, figure) for arm in (REFERENCE, AGAIN))
        for first, second in zip(*sides, strict=True):
            if first is None or second is None:
                rows.append(None)
            else:
                rows.append(float(np.log(second / first)) if logarithms else second - first)
    return rows


def _itself(bench: Bench, figure: Figure, pairs: Pairs, tested: Simultaneous | None) -> Comparison:
    effect = None
    if tested is not None and _all_above_zero(pairs) and tested.low is not None and tested.high is not None:
        ratio, low, high = (float(np.exp(value)) for value in (tested.middle, tested.low, tested.high))
        could = _coarsened(figure, paired_effect(_contrasts(pairs), len(FIGURES))).could_have_shown
        effect = Effect(ratio, low, high, could)
    p = tested.p if tested else None
    return comparison(figure, "", AGAIN, _name(bench, AGAIN), pairs, effect, p, p)


def _slopes(bench: Bench) -> Iterable[Slope]:
    """The growth of every figure and ordering along an axis of numbers: a line through logarithms, round by round."""
    if bench.sweep is None or bench.finished_rounds < LEAST_ROUNDS:
        return
    axis = [v for v in bench.sweep.values if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    if len(axis) < 3 or len(axis) != len(bench.sweep.values):
        return
    for arm in bench.arms:
        if arm.arm == AGAIN:
            continue
        for figure in FIGURES:
            columns = [_by_round(bench, point, arm.arm, figure.id) for point in bench.points]
            rows = [row for row in zip(*columns, strict=True) if all(value is not None and value > 0 for value in row)]
            if len(rows) >= LEAST_ROUNDS:
                slopes = np.polyfit(np.log(np.array(axis, dtype=np.float64)), np.log(np.array(rows, float)).T, 1)[0]
                low, high = median_interval(slopes)
                yield Slope(
                    figure=figure.id,
                    arm=arm.arm,
                    ordering=arm.ordering,
                    slope=float(np.median(slopes)),
                    low=low,
                    high=high,
                    points=len(axis),
                )


def exit_code(bench: Bench) -> int:
    """1 where an ordering declared safe showed what is forbidden, 6 where A differs from A, there are too few rounds to
    tell, or an ordering met too few vCPUs, else 0. Crashes, interrupts and gates are the caller's."""
    safe = {arm.ordering for arm in bench.arms if arm.safe}
    verdicts = {entry["verdict"] for (_, ordering), entry in seen(bench).items() if ordering in safe}
    if "failed" in verdicts:
        return 1
    told = bench.aa is not None and not bench.aa.differs
    return 0 if told and "inconclusive" not in verdicts else 6


def seen(bench: Bench) -> dict[tuple[str, str], dict[str, Any]]:
    """By point and ordering: shootdowns in all, those that met a vCPU, those with a forbidden outcome, and the worst
    verdict of its races.
    """
    gravest = ("failed", "inconclusive", "passed")
    safe = {arm.ordering for arm in bench.arms if arm.safe}
    uncounted = set()
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for race in bench.rounds:
        entry = totals.setdefault(
            (race.point, race.ordering),
            {
                "all_shootdowns": 0,
                "met": 0,
                "forbidden": 0,
                "verdict": "passed",
                "reason": "",
                "seconds": 0.0,
                "outcomes": {},
            },
        )
        entry["all_shootdowns"] += race.all_shootdowns
        entry["met"] += race.met_shootdowns or 0
        if race.met_shootdowns is None:
            uncounted.add((race.point, race.ordering))
        entry["forbidden"] += race.forbidden_shootdowns
        entry["seconds"] += race.seconds
        for name, count in race.outcomes.items():
            entry["outcomes"][name] = entry["outcomes"].get(name, 0) + count
        # Where too few of one race met a vCPU those of all races may suffice.
        thin = race.met_shootdowns is not None and race.reason == too_few(race.met_shootdowns, race.all_shootdowns)
        if not thin and gravest.index(race.verdict) < gravest.index(entry["verdict"]):
            entry["verdict"], entry["reason"] = race.verdict, f"round {race.round}: {race.reason}"
    for key, entry in totals.items():
        lacking = too_few(None if key in uncounted else entry["met"], entry["all_shootdowns"])
        if entry["verdict"] == "passed" and key[1] in safe and lacking:
            entry["verdict"], entry["reason"] = "inconclusive", lacking
        entry["reason"] = entry["reason"] or f"nothing forbidden in {entry['met']:,} shootdowns that met a vCPU"
    return totals
