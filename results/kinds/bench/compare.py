"""Two results held against each other, B over A: the statistics of a bench, but for rounds that do not belong together.

The rounds of a result are those of a bench, or the one that a run is. Rounds of two moments are not pairs: what the
machine did in between counts as a difference. Between two runs there is one round each, and the interval is only the
one within the runs.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from results.caveats import Caveat, caveat
from results.figures import FIGURES, Figure, figures_of, latencies_of
from results.kinds.bench.directory import read_bench
from results.kinds.bench.findings import coarsened, comparison, without_ground
from results.kinds.bench.record import BENCH, MACHINE, Bench, Comparison
from results.kinds.bench.wording import ratio_text, span, value_text, with_span
from results.kinds.run.record import read_result
from results.machine.comparable import Kind, differing
from results.numbers.rounds import LEAST_ROUNDS, PERCENTILES, RANKED, Effect, holm, unpaired_effect
from results.numbers.statistics import clock_step_ns, off_ns
from results.table import Table
from results.verdict import is_safe, named, whole
from results.words import MARK, changes, with_changes

Interval = tuple[float, float]


class Told(NamedTuple):
    """What a result has of a figure of an ordering at a point: a value for each round that measured it; of a run the
    interval within it, by order statistics; of a bench why not all rounds rank by it.
    """

    values: list[float]
    ends: Interval | None = None
    ungrounded: str = ""


@dataclass(frozen=True, slots=True)
class Rounds:
    """One result as rounds. `told` is by ordering, point and figure. `safe` says which orderings are, `changed` what of
    one is not as its file has it; `step_ns` is the step of the clock; where machines stand `apart` each has points of
    its own; `swept` is the key of a sweep."""

    path: Path
    is_bench: bool
    host: Mapping[str, Any]
    scenario: Mapping[str, Any]
    version: str
    commit: str | None
    told: dict[tuple[str, str, str], Told]
    safe: dict[str, bool]
    points: tuple[str, ...]
    changed: Mapping[str, Sequence[str]]
    doubts: tuple[str, ...]
    step_ns: float
    apart: bool
    swept: str = ""

    @property
    def orderings(self) -> tuple[str, ...]:
        return tuple(self.safe)


def read_rounds(directory: Path, *, apart: bool = False) -> Rounds:
    """The rounds of a directory of a bench or a run, of each machine apart where it holds those of several. Raises
    StoreError.
    """
    if (directory / BENCH).exists():
        bench = read_bench(directory)
        return _of_bench(directory, bench, apart=apart or len(bench.machines) > 1)
    return _of_run(directory, read_result(directory).result, apart=apart)


def read_both(first: Path, second: Path) -> tuple[Rounds, Rounds]:
    """The same of two, alike: no times of two machines are held against each other where one holds several."""
    one, other = read_rounds(first), read_rounds(second)
    if one.apart == other.apart:
        return one, other
    return read_rounds(first, apart=True), read_rounds(second, apart=True)


def _at(point: str, machine: object, apart: bool) -> str:
    return " ".join(filter(None, (point, f"{MACHINE}={machine}" * apart)))


def _of_bench(path: Path, bench: Bench, *, apart: bool) -> Rounds:
    arms = {arm.ordering: arm for arm in bench.once}
    told = {}
    doubtful = f"{bench.arms[0].ordering} differs from itself" if bench.aa and bench.aa.differs else ""
    points = []
    for part, point in ((bench.on(machine), point) for machine in bench.machines for point in bench.points):
        points.append(at := _at(point, part.machines[0] or bench.host.get("id"), apart))
        for name, arm in arms.items():
            for figure in FIGURES:
                ungrounded = doubtful or without_ground(part, figure, point, (arm.arm,))
                told[name, at, figure.id] = Told(part.values(point, arm.arm, figure.id), ungrounded=ungrounded)
    return Rounds(
        path, True, bench.host, bench.scenario, bench.version, bench.commit, told,
        {name: arm.safe for name, arm in arms.items()}, tuple(points),
        changed={name: changes(arm.its) for name, arm in arms.items()},
        doubts=(f"{doubtful} there",) if doubtful else (), step_ns=bench.clock_step_ns,
        apart=apart, swept=bench.sweep.key if bench.sweep else "",
    )  # fmt: skip


def _of_run(path: Path, result: Mapping[str, Any], *, apart: bool) -> Rounds:
    at = _at("", result["host"].get("id"), apart)
    told = {}
    doubts = {
        words: [run["ordering"] for run in result["runs"] if run.get(key)]
        for key, words in (("perturbed", "perturbed on purpose"), ("trace", "traced"))
    }
    for run in result["runs"]:
        for name, value in figures_of(run).items():
            ends = whole(run)["ci95"][PERCENTILES[name]] if name in PERCENTILES else None
            interval = (float(ends[0]), float(ends[1])) if ends else None
            told[run["ordering"], at, name] = Told([] if value is None else [float(value)], interval)
    return Rounds(
        path, False, result["host"], result["scenario"], result.get("version", "unknown"), result.get("commit"), told,
        {run["ordering"]: is_safe(run) for run in result["runs"]}, (at,),
        changed={run["ordering"]: changes(run) for run in result["runs"]},
        doubts=tuple(f"{words}: {', '.join(marked)}" for words, marked in doubts.items() if marked), apart=apart,
        step_ns=clock_step_ns(one for run in result["runs"] for one in latencies_of(run)),
    )  # fmt: skip


# What to try where the machines are not alike.
REMEDIES = {
    Kind.machine: "both on one machine",
    Kind.measure: "both on one machine, idle, on the same CPUs",
    Kind.moment: "again on an idle machine",
}
# What of a scenario changes nothing that is compared, and what only makes it longer.
NEVER = ("name", "title", "shows", "orderings", "seed", "watchdog_s", "shootdowns", "changed", "own")
LENGTHS = ("duration_s", "warmup_s")
# Keys that a result of an earlier version does not have, and what they were then.
LATER = {
    "flow": "shootdown", "module": "tdx", "batch": 1, "resched": False, "shared_pages": 0, "shared_flush": "request",
    "sept_ve_disable": False, "storm_us": 0, "start_offset": "", "yields": {}, "delays": {}, "placement": "mixed",
    "memslot_zap": "none", "lps": 2, "epf_threshold": 6, "hp_lock_timeout": 100, "kick_by": "word", "costs": {},
    "aging": False, "ioctls": "init_vcpu+init_mem_region+finalize+punch_hole+delete_slot",
}  # fmt: skip
MOST_TOLD = 4
FEW = "too few rounds to rank"


def unlike(first: Rounds, second: Rounds) -> str:
    """What keeps two results from being held against each other, in one line; "" where they are of one scenario.

    Every key of either scenario counts but NEVER, LENGTHS, and one that both sweep.
    """
    if first.swept != second.swept:
        plain = {True: "a bench without a sweep", False: "a run without a sweep"}
        sides = (("A", first), ("B", second))
        told = [f"{side} is {f'a sweep of {one.swept}' if one.swept else plain[one.is_bench]}" for side, one in sides]
        return f"not comparable: {told[0]}, {told[1]}; give two runs, or two benches with one sweep"
    known = dict.fromkeys((*first.scenario, *second.scenario))
    differing = _changed(first, second, [key for key in known if key not in (*NEVER, *LENGTHS, first.swept)])
    if differing:
        more = f" and {len(differing) - MOST_TOLD} more" if len(differing) > MOST_TOLD else ""
        return f"not comparable: {'; '.join(differing[:MOST_TOLD])}{more}; give two results of one scenario"
    both = [name for name in first.changed if name in second.changed]
    if other := [name for name in both if first.changed[name] != second.changed[name]]:
        told = [
            f"{with_changes(name, first.changed[name])} in A, {with_changes(name, second.changed[name])} in B"
            for name in other
        ]
        return f"not comparable: {'; '.join(told)}; give two results of the same orderings"
    if not set(first.points) & set(second.points):
        return f"not comparable: {', '.join(first.points)} in A, {', '.join(second.points)} in B; no point is in both"
    return ""


def _changed(first: Rounds, second: Rounds, keys: Sequence[str]) -> list[str]:
    sides = ([_said(one, key) for one in (first, second)] for key in keys)
    return [f"{key} {_value(a)} in A, {_value(b)} in B" for key, (a, b) in zip(keys, sides, strict=True) if a != b]


def _said(one: Rounds, key: str) -> Any:
    """What it had, parts in one order: an earlier version told them in another."""
    found = one.scenario.get(key, LATER.get(key, "not told"))
    return "+".join(sorted(str(found).split("+"))) if key == "flow" else found


def _value(value: object) -> str:
    return "none" if value in ("", {}, []) else str(value)


def compared(first: Rounds, second: Rounds) -> list[Comparison]:
    """Every figure of every ordering and point that both have, B over A; Holm over all of them, as in a bench."""
    asked = [
        (figure, name, point)
        for point in first.points
        for figure in FIGURES
        for name in first.orderings
        if all((its := one.told.get((name, point, figure.id))) and its.values for one in (first, second))
    ]
    sides = {one: [side.told[one[1], one[2], one[0].id].values for side in (first, second)] for one in asked}
    enough = [one for one in asked if min(map(len, sides[one])) >= LEAST_ROUNDS]
    refused = {one: _without_ground(first, second, one) for one in enough}
    p_values = {one: _p(*sides[one]) for one in enough if not refused[one]}
    corrected = holm(p_values)
    made = []
    for one in asked:
        figure, name, point = one
        if one not in refused:
            made.append(_single(first, second, figure, point, name))
            continue
        before, after = sides[one]
        effect: Effect | None = None
        if one in p_values and min(*before, *after) > 0:
            effect = unpaired_effect(np.log(before), np.log(after), len(p_values), RANKED)
            effect = coarsened(effect, _off(first, second, figure, before, after))
        # As many pairs as the smaller side has; only their medians count, and these are of all rounds.
        pairs = [(float(np.median(before)), float(np.median(after)))] * min(len(before), len(after))
        p = p_values.get(one), corrected.get(one)
        made.append(comparison(figure, point, "B", name, pairs, effect, *p, level=RANKED, refused=refused[one]))
    return made


def _without_ground(first: Rounds, second: Rounds, asked: tuple[Figure, str, str]) -> str:
    """Why one of the two does not rank by this figure; "" where both do."""
    figure, name, point = asked
    found = ((side, one.told[name, point, figure.id].ungrounded) for side, one in (("A", first), ("B", second)))
    return next((f"in {side} {reason}" for side, reason in found if reason), "")


def _off(first: Rounds, second: Rounds, figure: Figure, before: Sequence[float], after: Sequence[float]) -> float:
    """How far the ratio of the two medians may be off by what their latencies can be told by, as a logarithm."""
    if figure.unit != "ns":
        return 0.0
    sides = (before, first.step_ns), (after, second.step_ns)
    return math.fsum(float(np.median(off_ns(values, step) / np.array(values))) for values, step in sides)


def _p(before: Sequence[float], after: Sequence[float]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(before, after).pvalue) if set(before) | set(after) != {before[0]} else 1.0


def _single(first: Rounds, second: Rounds, figure: Figure, point: str, name: str) -> Comparison:
    """Too few rounds for an interval over them: the ratio of medians, with the interval within two runs if there is."""
    sides = first.told[name, point, figure.id], second.told[name, point, figure.id]
    before, after = (float(np.median(side.values)) for side in sides)
    ratio = after / before if before > 0 and after > 0 else None
    ends = sides[0].ends, sides[1].ends
    low = high = None
    if ends[0] and ends[1] and ratio and ends[0][0] > 0 and ends[0][1] > 0:
        off = math.exp(_off(first, second, figure, [before], [after]))
        low, high = min(ends[1][0] / ends[0][1], ratio / off), max(ends[1][1] / ends[0][0], ratio * off)
    differs = before != after if low is None or high is None else not low <= 1 <= high  # within the runs alone
    return Comparison(
        figure=figure.id, point=point, arm="B", ordering=name, reference=before, value=after, ratio=ratio,
        rounds=min(len(side.values) for side in sides), low=low, high=high, p=None, holm_p=None, could_have_shown=None,
        finding="too_few" if differs else "no_difference", verdict_text=_single_text(ratio, low, high, before, after),
    )  # fmt: skip


def _single_text(ratio: float | None, low: float | None, high: float | None, before: float, after: float) -> str:
    if before == after:
        return "the same"
    if ratio is None:
        return f"no ratio: one is 0; {FEW}"
    if low is None or high is None:
        return f"{ratio_text(ratio)}, {FEW}"
    if low <= 1 <= high:
        return f"no difference shown ({span(low, high)} within the runs)"
    return f"{with_span(ratio, low, high, ' within the runs')}, {FEW}"


def compare_caveats(first: Rounds, second: Rounds) -> list[Caveat]:
    """What keeps the two from being comparable, as caveats."""
    return list(_caveats(first, second))


def _caveats(first: Rounds, second: Rounds) -> Iterable[Caveat]:
    for difference in differing(first.host, second.host):
        kind = difference.kind
        yield caveat(f"other_{kind}", difference.seen, difference.means, REMEDIES[kind])
    if changed := _changed(first, second, LENGTHS):
        yield caveat(
            "other_length", f"not as long: {'; '.join(changed)}",
            "a longer race meets rarer things: tails and max differ", "one scenario for both",
        )  # fmt: skip
    for side, one in (("A", first), ("B", second)):
        for doubt in one.doubts:
            yield caveat(
                "doubtful", f"{side} ({one.path}): {doubt}", "its figures hold more than the ordering", "again"
            )
    most = {side: max(len(its.values) for its in one.told.values()) for side, one in (("A", first), ("B", second))}
    few = [side for side, rounds in most.items() if rounds < LEAST_ROUNDS]
    if few:
        yield caveat(
            "single_runs", f"fewer than {LEAST_ROUNDS} rounds in {' and '.join(few)}",
            "intervals are of one moment: identical runs on a shared machine differ by more (up to 5x at the median)",
            "comparing directories of `tdx-stress bench`",
        )  # fmt: skip
    else:
        yield caveat(
            "not_paired", "rounds of two moments", "what the machine did in between counts as a difference",
            "both orderings in one `tdx-stress bench`, where they can be",
        )  # fmt: skip


def compare_table(first: Rounds, second: Rounds, comparisons: Sequence[Comparison]) -> Table:
    """B over A: every ordering and point that both have, the effect first."""
    rows: list[tuple[str, ...]] = []
    marked: set[int] = set()
    for figure in FIGURES:
        for one in (one for one in comparisons if one.figure == figure.id):
            safe = first.safe[one.ordering] and second.safe[one.ordering]
            if not safe:
                marked.add(len(rows))
            name = named(one.ordering, safe) + MARK * bool(first.changed.get(one.ordering))
            who = f"{name}{f' {one.point}' if one.point else ''}"
            values = (value_text(figure, one.reference), value_text(figure, one.value))
            rows.append((figure.words, who, one.verdict_text, *values))
    head = ("figure", "ordering", "effect, B over A", "A", "B")
    return Table(f"A: {first.path}\nB: {second.path}", head, tuple(rows), frozenset({3, 4}), frozenset(marked))
