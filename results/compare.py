"""Two results held against each other, B over A: the statistics of a bench, but for rounds that do not belong together.

Rounds of two moments are not pairs: what the machine did in between counts as a difference. Between two runs there is
one round each, and the interval is only the one within the runs.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from results.bench_findings import comparison
from results.bench_record import Comparison
from results.bench_wording import direction, ratio_text, span
from results.caveats import Caveat
from results.comparable import Kind, differing
from results.comparison import LEAST_ROUNDS, Effect, holm, unpaired_effect
from results.figures import FIGURES, Figure
from results.rounds import Rounds

# What to try where the machines are not alike.
REMEDIES = {
    Kind.machine: "both on one machine",
    Kind.measure: "both on one machine, idle, on the same CPUs",
    Kind.moment: "again on an idle machine",
}
SCENARIO = (
    "vcpus", "zappers", "pages", "tlb_entries", "reads", "tick_us", "gap", "rate", "workers", "duration_s", "warmup_s",
)  # fmt: skip
# Keys that a result of an earlier version does not have, and what they were then.
LATER = {
    "flow": "shootdown", "module": "tdx", "batch": 1, "resched": False, "shared_pages": 0, "shared_flush": "request",
    "placement": "mixed",
}  # fmt: skip


def compared(first: Rounds, second: Rounds) -> list[Comparison]:
    """Every figure of every ordering and point that both have, B over A; Holm over the orderings of a figure."""
    orderings = [name for name in first.orderings if name in second.safe]
    points = [point for point in first.points if point in second.points]
    return [one for point in points for figure in FIGURES for one in _figure(first, second, orderings, point, figure)]


def _figure(
    first: Rounds, second: Rounds, orderings: Sequence[str], point: str, figure: Figure
) -> Iterable[Comparison]:
    sides = {name: tuple(one.values.get((name, point, figure.id), []) for one in (first, second)) for name in orderings}
    sides = {name: both for name, both in sides.items() if all(both)}
    p_values = {name: _p(*both) for name, both in sides.items() if min(map(len, both)) >= LEAST_ROUNDS}
    corrected = holm(p_values)
    for name, (before, after) in sides.items():
        if name in p_values:
            yield _rounds(figure, point, name, before, after, p_values[name], corrected[name], len(sides))
        else:
            yield _single(first, second, figure, point, name)


def _p(before: Sequence[float], after: Sequence[float]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(before, after).pvalue) if set(before) | set(after) != {before[0]} else 1.0


def _rounds(
    figure: Figure, point: str, name: str, before: list[float], after: list[float], p: float, holm_p: float, many: int
) -> Comparison:
    effect: Effect | None = None
    if min(*before, *after) > 0:
        effect = unpaired_effect(np.log(before), np.log(after), many)
    few = min(len(before), len(after))
    # As many pairs as the smaller side has; only their medians count, and these are of all rounds.
    middles = float(np.median(before)), float(np.median(after))
    return comparison(figure, point, "B", name, [middles] * few, effect, p, holm_p)


def _single(first: Rounds, second: Rounds, figure: Figure, point: str, name: str) -> Comparison:
    """Too few rounds for an interval over them: the ratio of medians, with the interval within two runs if there is."""
    key = (name, point, figure.id)
    before, after = float(np.median(first.values[key])), float(np.median(second.values[key]))
    ratio = after / before if before > 0 and after > 0 else None
    ends = first.intervals.get(key), second.intervals.get(key)
    low = high = None
    if ends[0] and ends[1] and ratio and ends[0][0] > 0 and ends[0][1] > 0:
        low, high = min(ends[1][0] / ends[0][1], ratio), max(ends[1][1] / ends[0][0], ratio)
    differs = before != after if low is None or high is None else not low <= 1 <= high
    rounds = min(len(first.values[key]), len(second.values[key]))
    return Comparison(
        figure=figure.id,
        point=point,
        arm="B",
        ordering=name,
        rounds=rounds,
        reference=before,
        value=after,
        ratio=ratio,
        low=low,
        high=high,
        p=None,
        holm_p=None,
        could_have_shown=None,
        finding="differs" if differs else "no_difference",
        verdict_text=_single_text(figure, ratio, low, high, before, after),
    )


def _single_text(
    figure: Figure, ratio: float | None, low: float | None, high: float | None, before: float, after: float
) -> str:
    if before == after:
        return "the same"
    if ratio is None:
        return f"{figure.more if after > before else figure.less}, no ratio: one is 0"
    if low is None or high is None:
        return f"{ratio_text(ratio)} (no interval), {direction(figure, ratio)}"
    if low <= 1 <= high:
        return f"no difference shown ({span(low, high)} within the runs)"
    return f"{ratio_text(ratio)} ({span(low, high)} within the runs), {direction(figure, ratio)}"


def compare_caveats(first: Rounds, second: Rounds) -> list[dict[str, str]]:
    """What keeps the two from being comparable, as caveats."""
    return [caveat.as_dict() for caveat in _caveats(first, second)]


def _caveats(first: Rounds, second: Rounds) -> Iterable[Caveat]:
    for difference in differing(first.host, second.host):
        kind = difference.kind
        yield Caveat(f"other_{kind}", difference.seen, difference.means, REMEDIES[kind])
    if changed := [
        f"{key} {before} and {after}"
        for key in (*SCENARIO, *LATER)
        if (before := first.scenario.get(key, LATER.get(key))) != (after := second.scenario.get(key, LATER.get(key)))
    ]:
        yield Caveat(
            "other_scenario", f"not the same parameters: {'; '.join(changed)}",
            "these make differences of their own", "one scenario for both",
        )  # fmt: skip
    for side, one in (("A", first), ("B", second)):
        for doubt in one.doubts:
            yield Caveat(
                "doubtful", f"{side} ({one.path}): {doubt}", "its figures hold more than the ordering", "again"
            )
    few = [side for side, one in (("A", first), ("B", second)) if _most_rounds(one) < LEAST_ROUNDS]
    if few:
        yield Caveat(
            "single_runs", f"fewer than {LEAST_ROUNDS} rounds in {' and '.join(few)}",
            "intervals are of one moment: identical runs on a shared machine differ by more (up to 5x at the median)",
            "comparing directories of `tdx-stress bench`",
        )  # fmt: skip
    else:
        yield Caveat(
            "not_paired", "rounds of two moments", "what the machine did in between counts as a difference",
            "both orderings in one `tdx-stress bench`, where they can be",
        )  # fmt: skip


def _most_rounds(one: Rounds) -> int:
    return max(map(len, one.values.values()), default=0)
