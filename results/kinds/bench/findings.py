"""What a bench's rounds say: comparisons with the first ordering, the A/A arm, growth along a sweep, caveats. Pure.

Corrections for asking more than one question: over all figures, points and orderings of the bench (Holm), so that of
benches which compare a thing with itself one in a hundred ranks it; for the A/A arm over all its figures at once, as
one alarm is enough to doubt a bench.

Growth is a power of the swept key, where the rounds bear that out: a line through logarithms, round by round, so that
what a round has in common falls out. It is shown with its check: at least five sizes, and at none of them do the rounds
lie off their own lines to one side (signed ranks, Holm over the sizes) by more than a figure is known to. Elsewhere no
power law holds, and the medians stand for themselves.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from results.caveats import Caveat, alone, caveat, caveats
from results.figures import BY_ID, Figure
from results.kinds.bench.record import (
    AA,
    AGAIN,
    REFERENCE,
    Arm,
    Bench,
    Comparison,
    Slope,
    by_round,
)
from results.kinds.bench.wording import aa_sentence, effect_text, figures_in
from results.machine.findings import HIGH_STEAL
from results.numbers.rounds import (
    LEAST_ROUNDS,
    RANKED,
    Effect,
    Met,
    Simultaneous,
    Three,
    Values,
    enough,
    holm,
    median_interval,
    paired_effect,
    paired_middle,
    place_p,
    sign_flip_p,
    together,
    too_few_met,
)
from results.numbers.statistics import LEVEL, off_ns, ratio_off, widened
from results.verdict import GRAVEST_FIRST, exit_code_of, is_thin, least_own, too_few
from results.words import plural

Pairs = Sequence[tuple[float, float]]


def found(bench: Bench) -> Bench:
    """The record with `comparisons`, `slopes` and `aa` made from its rounds."""
    against_itself, aa = _against_itself(bench)
    asked = [(figure, point, arm.arm) for point in bench.points for figure in figures_in(bench) for arm in bench.others]
    compared = _compared(bench, asked, bench.arms[0].ordering if aa is not None and aa.differs else "")
    return bench.model_copy(
        update={"comparisons": (*compared, *against_itself), "slopes": tuple(slopes(bench)), "aa": aa}
    )


def _threes(bench: Bench, point: str, arm: str, figure: str) -> tuple[list[Three], list[str]]:
    """(A, A2, this arm) of each round that measured the figure in all three, and the machine of each."""
    sides = (by_round(bench, point, one, figure) for one in (REFERENCE, AGAIN, arm))
    every = zip(*sides, bench.ran_on, strict=True)
    kept = [((a, again, b), machine) for a, again, b, machine in every if None not in (a, again, b)]
    return [three for three, _ in kept], [machine for _, machine in kept]  # type: ignore[misc]


def _compared(bench: Bench, asked: Sequence[tuple[Figure, str, str]], doubtful: str) -> list[Comparison]:
    """Every comparison asked for; `doubtful` is the first ordering where it differs from itself."""
    threes, ran_on = {}, {}
    for one in asked:
        threes[one], ran_on[one] = _threes(bench, one[1], one[2], one[0].id)
    refused = {}
    for one in asked:
        if enough(len(threes[one]), len(set(ran_on[one]))):
            reason = f"{doubtful} differs from itself" if doubtful else ""
            refused[one] = reason or without_ground(bench, one[0], one[1], (REFERENCE, AGAIN, one[2]))
    p_values = {one: place_p(threes[one]) for one, reason in refused.items() if not reason}
    corrected = holm(p_values)
    made, step_ns = [], bench.clock_step_ns
    for one in asked:
        figure, point, arm = one
        pairs, effect = [(a, b) for a, _, b in threes[one]], None
        if one in p_values and _all_above_zero(pairs):
            exact = paired_effect(_contrasts(pairs), len(p_values), RANKED, ran_on[one])
            effect = coarsened(exact, ratio_off(pairs, step_ns)) if figure.unit == "ns" else exact
        told: dict[str, Any] = {"level": RANKED, "refused": refused.get(one, ""), "machines": len(bench.machines)}
        p = p_values.get(one), corrected.get(one)
        made.append(comparison(figure, point, arm, _name(bench, arm), pairs, effect, *p, **told))
    return made


def without_ground(bench: Bench, figure: Figure, point: str, arms: Sequence[str]) -> str:
    """Why not all races of these arms at this point rank by this figure, "" where they do."""
    for race in (race for arm in arms for race in bench.races(point, arm)):
        where = f"in round {race.round} of {race.ordering} "
        if reason := too_few_met(figure.id, Met(race.met, race.measured), where):
            return reason
    return ""


def comparison(
    figure: Figure,
    point: str,
    arm: str,
    ordering: str,
    pairs: Pairs,
    effect: Effect | None,
    p: float | None,
    holm_p: float | None,
    *,
    level: float = LEVEL,
    refused: str = "",
    machines: int = 1,
) -> Comparison:
    """One comparison with its finding: a difference needs its corrected p and, where there is one, its interval.

    `refused` says why the two are not comparable, whatever their figures are. Of several machines, whose times are not
    put together, there are no medians.
    """
    differs = holm_p is not None and holm_p <= 1 - level and (effect is None or not effect.low <= 1 <= effect.high)
    middles = [float(np.median([pair[side] for pair in pairs])) if pairs else None for side in (0, 1)]
    bare = Comparison(
        figure=figure.id, point=point, arm=arm, ordering=ordering, rounds=len(pairs), reference=middles[0],
        value=middles[1], **{part.name: getattr(effect, part.name, None) for part in fields(Effect)}, p=p,
        holm_p=holm_p,
        finding="not_comparable" if refused else "too_few" if p is None else "differs" if differs else "no_difference",
        verdict_text=f"not comparable: {refused}",
    )  # fmt: skip
    if not refused:
        bare = bare.model_copy(update={"verdict_text": effect_text(bare, machines, level)})
    return bare if machines == 1 else bare.model_copy(update={"reference": None, "value": None})


def _all_above_zero(pairs: Sequence[tuple[float, float] | None]) -> bool:
    return all(value > 0 for pair in pairs for value in pair or ())


def _contrasts(pairs: Sequence[tuple[float, float] | None]) -> Values:
    """What the signs are of: log-ratios, or differences where a value is 0 and has no logarithm; NaN for no pair."""
    first, second = np.array([pair or (math.nan, math.nan) for pair in pairs], dtype=np.float64).T
    contrasts: Values = np.log(second / first) if _all_above_zero(pairs) else second - first
    return contrasts


def coarsened(effect: Effect, off: float) -> Effect:
    """No latency shows less than what it may be off by, a logarithm, and no interval is narrower."""
    low, high = widened(math.log(effect.ratio), math.log(effect.low), math.log(effect.high), off)
    return Effect(effect.ratio, math.exp(low), math.exp(high), max(effect.could_have_shown, math.exp(off)))


def _name(bench: Bench, arm: str) -> str:
    return next(known.ordering for known in bench.arms if known.arm == arm)


def _against_itself(bench: Bench) -> tuple[list[Comparison], AA | None]:
    """The A/A arm, all points and figures at once. Too few rounds say nothing."""
    every = {figure.id: _twice(bench, figure.id) for figure in figures_in(bench)}
    flat = {name: [pair for pair in pairs if pair is not None] for name, pairs in every.items()}
    usable = {name for name in flat if len(flat[name]) >= LEAST_ROUNDS}
    if bench.finished_rounds < LEAST_ROUNDS or not usable:
        return [], None
    tested = together({name: _contrasts(every[name]) for name in flat if name in usable})
    made = [_itself(bench, BY_ID[name], flat[name], tested.get(name)) for name in flat]
    differing = [one for one in made if one.finding == "differs"]
    p = min(one.p for one in tested.values())
    return made, AA(differs=bool(differing), p=p, sentence=aa_sentence(_name(bench, REFERENCE), differing, p))


def _twice(bench: Bench, figure: str) -> list[tuple[float, float] | None]:
    """What the first ordering and its copy had in every round of every point, None where one was not measured."""
    found: list[tuple[float, float] | None] = []
    for point in bench.points:
        for first, second in zip(*(by_round(bench, point, arm, figure) for arm in (REFERENCE, AGAIN)), strict=True):
            found.append(None if first is None or second is None else (first, second))
    return found


def _itself(bench: Bench, figure: Figure, pairs: Pairs, tested: Simultaneous | None) -> Comparison:
    effect = None
    if tested is not None and _all_above_zero(pairs) and tested.low is not None and tested.high is not None:
        ratio, low, high = (float(np.exp(value)) for value in (tested.middle, tested.low, tested.high))
        could = paired_effect(_contrasts(pairs), len(figures_in(bench))).could_have_shown
        effect = Effect(ratio, low, high, could)
        if figure.unit == "ns":
            effect = coarsened(effect, ratio_off(pairs, bench.clock_step_ns))
    p = tested.p if tested else None
    return comparison(figure, "", AGAIN, _name(bench, AGAIN), pairs, effect, p, p, machines=len(bench.machines))


def exit_code(bench: Bench) -> int:
    """1 where an ordering declared safe showed what is forbidden, 6 where A differs from A, there are too few rounds to
    tell, an ordering met too few vCPUs, or nothing is comparable, else 0. Crashes, interrupts and gates are the
    caller's."""
    safe = {arm.ordering for arm in bench.arms if arm.safe}
    verdicts = {entry["verdict"] for (_, ordering), entry in seen(bench).items() if ordering in safe}
    return exit_code_of({*verdicts, "inconclusive" if doubt(bench) else "passed"})


def doubt(bench: Bench) -> str:
    """Why no difference here is to be believed: the A/A arm says so, or nothing, or nothing is comparable; else ""."""
    if bench.aa is None:
        return untold(bench)
    return bench.aa.sentence if bench.aa.differs else ungrounded(bench)


def untold(bench: Bench) -> str:
    """Why the A/A arm says nothing, where it does not."""
    if bench.finished_rounds < LEAST_ROUNDS:
        return f"too few rounds ({bench.finished_rounds})"
    return f"no figure was measured in {LEAST_ROUNDS} rounds: too few shootdowns met a vCPU"


def ungrounded(bench: Bench) -> str:
    """Why nothing of this bench is comparable; "" where something is, or nothing was to be compared."""
    made = [one for one in bench.comparisons if one.arm != AGAIN]
    if any(one.finding in ("differs", "no_difference") for one in made):
        return ""
    return next((one.verdict_text for one in made if one.finding == "not_comparable"), "")


def seen(bench: Bench) -> dict[tuple[str, str], dict[str, Any]]:
    """By point and ordering: shootdowns in all, those that met a vCPU, those with a forbidden outcome, and the worst
    verdict of its races.
    """
    safe = {arm.ordering for arm in bench.arms if arm.safe}
    uncounted = set()
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for race in bench.rounds:
        none = {"all_shootdowns": 0, "met": 0, "forbidden": 0, "verdict": "passed", "reason": "", "seconds": 0.0}
        entry = totals.setdefault((race.point, race.ordering), {**none, "own": None, "outcomes": Counter[str]()})
        entry["all_shootdowns"] += race.all_shootdowns
        entry["met"] += race.met_shootdowns or 0
        if race.met_shootdowns is None:
            uncounted.add((race.point, race.ordering))
        entry["forbidden"] += race.forbidden_shootdowns
        entry["seconds"] += race.seconds
        entry["own"] = least_own((entry["own"], race.own_share))
        entry["outcomes"].update(race.outcomes)
        # Where too few of one race met a vCPU those of all races may suffice.
        thin = is_thin(race.reason, race.met_shootdowns, race.all_shootdowns)
        if not thin and GRAVEST_FIRST.index(race.verdict) < GRAVEST_FIRST.index(entry["verdict"]):
            entry["verdict"], entry["reason"] = race.verdict, f"round {race.round}: {race.reason}"
    for key, entry in totals.items():
        lacking = too_few(None if key in uncounted else entry["met"], entry["all_shootdowns"], entry["own"])
        if entry["verdict"] == "passed" and key[1] in safe and lacking:
            entry["verdict"], entry["reason"] = "inconclusive", lacking
        entry["reason"] = entry["reason"] or f"nothing forbidden in {entry['met']:,} shootdowns that met a vCPU"
    return totals


LEAST_SIZES = 5
TOO_FEW = "too few sizes, five are needed"
NO_LAW = "no power law holds here"
# A figure is known to a bucket of the histogram.
RESOLUTION = 1 + 1 / 128


def slopes(bench: Bench) -> Iterable[Slope]:
    """The growth of every figure and ordering that was measured along an axis of numbers, or why there is none."""
    axis = _axis(bench)
    if len(axis) < 2:
        return
    sizes, step_ns = np.log(np.array(axis, dtype=np.float64)), bench.clock_step_ns
    for arm in bench.once:
        for figure in figures_in(bench):
            columns = [by_round(bench, point, arm.arm, figure.id) for point in bench.points]
            every = zip(zip(*columns, strict=True), bench.ran_on, strict=True)
            kept = [(row, one) for row, one in every if all(value is not None and value > 0 for value in row)]
            ran_on = [one for _, one in kept]
            if enough(len(kept), len(set(ran_on))):
                rows = np.array([row for row, _ in kept], dtype=np.float64)
                yield _slope(figure.id, arm, sizes, rows, ran_on, step_ns if figure.unit == "ns" else None)


def _axis(bench: Bench) -> Sequence[float]:
    """The sizes, where all are numbers above 0."""
    axis = bench.sweep.numbers if bench.sweep is not None else ()
    return axis if all(size > 0 for size in axis) else ()


def _slope(
    figure: str, arm: Arm, sizes: Values, rows: Values, ran_on: Sequence[str] = (), step_ns: float | None = None
) -> Slope:
    """`rows` are the figure's values, shape (rounds, sizes), of a latency by a clock of this step; `sizes` are
    logarithms; a round has its machine.
    """
    off = np.zeros(len(sizes)) if step_ns is None else np.median(off_ns(rows, step_ns) / rows, axis=0)
    why = TOO_FEW if len(sizes) < LEAST_SIZES else ""
    powers = np.zeros(len(rows))
    if not why:
        powers, starts = np.polyfit(sizes, np.log(rows).T, 1)
        why = NO_LAW if _leans(np.log(rows) - starts[:, None] - powers[:, None] * sizes, off) else ""
    middle = paired_middle(powers, ran_on)
    medians = tuple(float(value) for value in np.median(rows, axis=0)) if len(set(ran_on)) < 2 else ()
    far = sizes - sizes.mean()
    reach = float((np.abs(far) * off).sum() / (far**2).sum())
    shown = (None, None, None) if why else (middle, *widened(middle, *median_interval(powers, ran_on), reach))
    return Slope(
        figure=figure, arm=arm.arm, ordering=arm.ordering, slope=shown[0], low=shown[1], high=shown[2],
        points=len(sizes), why_none=why, medians=medians,
    )  # fmt: skip


def _leans(residuals: Values, known: Values) -> bool:
    """Whether at some size the rounds lie off their lines to one side, shape (rounds, sizes), by more than a figure is
    known to.
    """
    corrected = holm({place: sign_flip_p(column) for place, column in enumerate(residuals.T)})
    off = np.abs(np.median(residuals, axis=0)) > np.maximum(known, math.log(RESOLUTION))
    return any(off[place] and p <= 1 - LEVEL for place, p in corrected.items())


def bench_caveats(bench: Bench) -> tuple[Caveat, ...]:
    """All caveats of a bench; of those that every point has, the last point's wording stands."""
    scenarios = [at(bench, point) for point in bench.points]
    if bench.sweep is not None and bench.sweep.unit:  # a cost, which decides nothing but what is said of it
        scenarios = [bench.sweep.over(bench.scenario, f"{bench.sweep.values[0]} to {bench.sweep.values[-1]}")]
    hosts = [bench.hosts.get(one, bench.host) for one in bench.machines]
    machine = {
        one["id"]: one for host in hosts for scenario in scenarios for one in caveats(host, scenario, [], in_turns=True)
    }
    single = all(at(bench, point).get("zappers") == 1 for point in bench.points)
    raced = [{**arm.its, "expect": arm.expect, "zappers": 1} for arm in bench.arms if single]
    return (*machine.values(), *_of_the_rounds(bench), *alone(raced, lambda _: "--zappers 2"))


def at(bench: Bench, point: str) -> dict[str, Any]:
    """The scenario of a point."""
    if bench.sweep is None:
        return bench.scenario
    return bench.sweep.over(bench.scenario, bench.sweep.value(point))


def _of_the_rounds(bench: Bench) -> Iterator[Caveat]:
    if bench.finished_rounds < LEAST_ROUNDS:
        yield caveat(
            "too_few_rounds",
            f"{bench.finished_rounds} of at least {LEAST_ROUNDS} rounds",
            "identical runs differ too much for an interval from so few: no ratio is given",
            "going on with --resume",
        )
    if bench.aa is not None and bench.aa.differs:
        yield caveat(
            "a_differs_from_a",
            f"{bench.arms[0].ordering} differs from itself",
            "something besides the ordering changed between races: no difference of this bench can be believed",
            "an idle machine, longer races, or more --rounds; chance alone does this in 1 of 20 benches",
        )
    if (many := len(bench.machines)) > 1:
        yield caveat(
            "several_machines",
            f"{many} machines ran the rounds, each of them whole",
            "a ratio is the mean of the machines' medians, resampled within each; no times of two are put together",
            "the picture of the machines side by side, or one machine",
        )
    if stolen := [share for race in bench.rounds if (share := race.steal_share or 0.0) > HIGH_STEAL]:
        yield caveat(
            "high_steal",
            f"the hypervisor took more than {100 * HIGH_STEAL:.0f} % of the CPUs' time in {len(stolen)} of "
            f"{plural(len(bench.rounds), 'race')}, {100 * max(stolen):.1f} % at worst",
            "actors stood still without knowing: tails are the machine's, and intervals wider",
            "another hour or another machine",
        )
    if any(arm.perturbed for arm in bench.arms):
        yield caveat(
            "perturbed",
            "declared yields, delays or start offsets",
            "races are provoked on purpose: latency says nothing of an undisturbed run",
            "a scenario without `yields`",
        )
    if unsafe := [arm.ordering for arm in bench.arms if not arm.safe]:
        yield caveat(
            "unsafe_raced",
            f"known to be wrong and raced all the same: {', '.join(dict.fromkeys(unsafe))}",
            "a fast wrong order is no result",
            "leaving out --include-unsafe",
        )
