"""A bench on a terminal of 80 columns, the effect first, and as test cases; of each machine that ran rounds apart."""

import math
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from results.exchange.cases import Case, without_options
from results.figures import BY_ID
from results.kinds.bench.findings import TOO_FEW, at, doubt, found, seen, ungrounded
from results.kinds.bench.gate import Outcome, gate_lines
from results.kinds.bench.record import AGAIN, MACHINE, MOST_ROUNDS, Arm, Bench, Comparison, Sweep, by_round
from results.kinds.bench.wording import (
    HOPELESS,
    arm_name,
    crossing_lines,
    figures_in,
    of_batches,
    ratio_text,
    slope_text,
    swept,
    value_text,
    words,
)
from results.numbers.rounds import LEAST_ROUNDS, latency_interval
from results.table import Table, caveat_lines
from results.verdict import FAILING, grade_of, least_met, observation
from results.words import conditions, count, faults_of, keys_set, nanoseconds_with_interval, plural


def bench_screen(bench: Bench, outcomes: Sequence[Outcome] = ()) -> Iterator[RenderableType]:
    """The A/A arm first where it fails; then what differs, and in one line what was not shown to."""
    yield Text(heading(bench), style="bold")
    doubtful = bool(doubt(bench))
    if doubtful:
        yield from _against_itself_lines(bench)
    reference = arm_name(bench.arms[0])
    yield f"Ratios are to {reference}: medians of the rounds' ratios, 95 % bootstrap intervals."
    yield ""
    differing = [one for one in bench.comparisons if one.finding == "differs" and one.arm != AGAIN]
    if differing:
        yield comparisons_table(bench, differing)
    elif any(one.finding == "no_difference" for one in bench.comparisons if one.arm != AGAIN):
        yield f"Nothing was shown to differ from {reference}."
    yield from _alike(bench, differing)
    yield ""
    yield from _medians(bench)
    if crossings := list(crossing_lines(bench)):
        yield from (*crossings, "")
    if not doubtful:
        yield from _against_itself_lines(bench)
        yield ""
    if bench.caveats:
        yield from (*caveat_lines(bench.caveats), "")
    yield from gate_lines(outcomes)


def _medians(bench: Bench) -> Iterator[RenderableType]:
    """Along a sweep, of batches, of real arms: what is told of each machine apart."""
    several = len(bench.machines) > 1
    for part in apart(bench):
        told: list[RenderableType] = [growth_table(part, swept(bench)), ""] if part.sweep is not None else []
        if (batches := batches_table(part)) is not None:
            told += [batches, ""]
        if (machine := machine_table(part)) is not None:
            told += [machine, *machine_lines(part), ""]
        if told and several and part.sweep is not None and part.sweep.key != MACHINE:
            yield Text(f"Machine {part.machines[0]}", style="bold")
        yield from told


def bench_tables(bench: Bench) -> Iterator[Table]:
    """Every comparison, and along a sweep, or along machines, every figure's medians and growth."""
    yield comparisons_table(bench, bench.comparisons)
    for part in apart(bench):
        if part.sweep is not None:
            yield growth_table(part, [figure.id for figure in figures_in(bench)])
    yield events_table(bench)


def _against_itself_lines(bench: Bench) -> Iterator[Text]:
    if bench.aa is not None:
        if not bench.aa.differs and (nothing := ungrounded(bench)):
            yield Text.assemble(("NO RANKING ", "bold red"), nothing)
        yield Text.assemble(("A/A ", "bold red" if bench.aa.differs else "green"), bench.aa.sentence)


def parts(bench: Bench) -> list[Bench]:
    """What each machine ran, as no times of two are put together; the bench itself where it is one."""
    return [found(bench.on(one)) for one in bench.machines] if len(bench.machines) > 1 else [bench]


def apart(bench: Bench) -> list[Bench]:
    """The same where there is a sweep, or real arms; else the machines side by side."""
    return parts(bench) if bench.sweep or bench.is_real or len(bench.machines) == 1 else [along_machines(bench)]


def along_machines(bench: Bench) -> Bench:
    """The machines side by side, at the last point: as along a sweep."""
    point, names = bench.points[-1], {one: f"{MACHINE}={one}" for one in bench.machines}
    races = [
        race.model_copy(update={"point": names[race.machine], "machine": ""})
        for race in bench.rounds
        if race.point == point
    ]
    axis = Sweep(key=MACHINE, values=tuple(names), points=tuple(names.values()))
    return found(bench.model_copy(update={"rounds": tuple(races), "sweep": axis, "scenario": at(bench, point)}))


ALIKE = {
    "no_difference": "no difference shown",
    "too_few": "measured in too few rounds",
    "not_comparable": "not comparable",
}


def _alike(bench: Bench, differing: Sequence[Comparison]) -> Iterator[str]:
    """The arms' figures that were not shown to differ, each with the ratio that would have been."""
    alike: dict[str, list[str]] = {}
    for arm in bench.others:
        for point in bench.points:
            its = [one for one in bench.comparisons if (one.arm, one.point) == (arm.arm, point) and one.rounds]
            rest = [one for one in its if one not in differing and (not bench.sweep or one.figure in swept(bench))]
            for finding, said in ALIKE.items():
                of_it = [one for one in rest if one.finding == finding]
                told = "; ".join(f"{words(bench, one.figure)}{_would(one, len(bench.machines))}" for one in of_it)
                if of_it:
                    alike.setdefault(f"{said}: {told}", []).append(f"{arm_name(arm)}{f' {point}' if point else ''}")
    yield from (f"{', '.join(whose)}, {what}." for what, whose in alike.items())


def _would(one: Comparison, machines: int) -> str:
    if one.finding == "too_few":
        return f" ({one.rounds} of {LEAST_ROUNDS + machines - 1})"
    least = one.could_have_shown
    return "" if least is None else f" ({ratio_text(least)} would have)" if least <= HOPELESS else " (too noisy)"


def heading(bench: Bench) -> str:
    """What was compared, and how much of it: `review: 20 rounds of 4 races, each 1 s after 0.25 s of warm-up`."""
    races = len(bench.arms) * len(bench.points)
    design = bench.design
    return (
        f"{bench.scenario['name']}: {plural(bench.finished_rounds, 'round')} of {plural(races, 'race')}, each "
        f"{design.duration_s:g} s after {design.warmup_s:g} s of warm-up"
        f"{''.join(f'; {one}' for one in conditions(bench.scenario, (arm.its for arm in bench.once)))}"
    )


def comparisons_table(bench: Bench, comparisons: Sequence[Comparison]) -> Table:
    """A row a comparison, the effect beside both medians; along a sweep folded, as there are many."""
    by_arm = {arm.arm: arm for arm in bench.arms}
    reference = arm_name(bench.arms[0])
    at = ("point",) if bench.sweep else ()
    head = ("figure", "ordering", *at, f"effect against {reference}", "median", reference)
    order = {figure.id: place for place, figure in enumerate(figures_in(bench))}
    shown = sorted(comparisons, key=lambda one: order[one.figure])
    rows: list[tuple[str, ...]] = []
    for one in shown:
        arm = by_arm[one.arm]
        name = f"{arm_name(arm)} again (A/A)" if one.arm == AGAIN else arm_name(arm)
        point = (one.point or "all",) if bench.sweep else ()
        medians = (value_text(BY_ID[one.figure], value) for value in (one.value, one.reference))
        rows.append((words(bench, one.figure), name, *point, one.verdict_text, *medians))
    numbers = frozenset((len(head) - 2, len(head) - 1))
    marked = frozenset(place for place, one in enumerate(shown) if not by_arm[one.arm].safe)
    return Table("", head, tuple(rows), numbers, marked, folded=bench.sweep is not None)


def observation_lines(bench: Bench) -> Iterator[str]:
    """One an ordering and point: `Observation v18@vcpus=8 Never 0 812345`."""
    totals = seen(bench)
    turns = dict.fromkeys((point, arm.ordering) for point in bench.points for arm in bench.arms)
    for point, ordering in filter(totals.__contains__, turns):
        entry = totals[point, ordering]
        name = f"{ordering}{'@' + point if point else ''}"
        yield observation(name, entry["forbidden"], max(entry["met"] - entry["forbidden"], 0))


def growth_table(bench: Bench, figures: Collection[str]) -> Table:
    """Medians of the rounds along a sweep, and the power of its key by which they grow; what was measured nowhere is
    left out."""
    assert bench.sweep is not None
    key = bench.sweep.key
    powers = {(one.figure, one.ordering): slope_text(one) for one in bench.slopes if one.slope is not None}
    grows = (f"grows as {key} to the power of",) if powers else ()
    rows: list[tuple[str, ...]] = []
    for name in figures:
        for arm in bench.once:
            medians = [median_text(bench, arm, point, name) for point in bench.points]
            power = (powers.get((name, arm.ordering), "-"),) if powers else ()
            if set(medians) != {"-"}:
                rows.append((words(bench, name), arm_name(arm), *medians, *power))
    # Names of points that hold a key of a table leave the columns of six of them no room.
    long = bench.sweep.unit != ""
    points = map(str, bench.sweep.values) if long else bench.points
    head = ("medians of the rounds" + f", by {key}" * long, "ordering", *points, *grows)
    few = f"Growth with {key}: {TOO_FEW} for a power law." if any(s.why_none == TOO_FEW for s in bench.slopes) else ""
    return Table(few, head, tuple(rows), frozenset(range(2, 2 + len(bench.points))))


def median_text(bench: Bench, arm: Arm, point: str, figure: str) -> str:
    """The median over the rounds of this figure's values, in its unit; `-` where there are none."""
    return value_text(BY_ID[figure], bench.median(point, arm.arm, figure))


SHARE, PAGES, READS = "out_of_guest_share", "shootdowns_per_s", "reads_per_s"


def batches_table(bench: Bench) -> Table | None:
    """Batch by batch: the time of a page, pages a second, what a page takes of a batch of the first size, and what the
    vCPUs lose. None where the bench sweeps no batch sizes, or has no rounds.
    """
    if bench.sweep is None or bench.sweep.key != "batch" or not of_batches(bench) or not bench.rounds:
        return None
    saved = f"of batch {bench.sweep.values[0]}"
    head = ("batch", "ordering", "time a page, p50", saved, "pages/s", "out of guest", "reads/s")
    rows = tuple(
        (str(value), arm_name(arm), *_row(bench, arm, point, float(value)))
        for value, point in zip(bench.sweep.values, bench.points, strict=True)
        for arm in bench.once
    )
    caption = "What a batch saves, and what it costs: medians of the rounds, 95 % intervals"
    return Table(caption, head, rows, frozenset(range(2, 7)))


def page_times_ns(bench: Bench, arm: str, point: str) -> list[float | None]:
    """The median time of a batch of each round, divided by its pages; None where n was too small."""
    assert bench.sweep is not None
    size = float(bench.sweep.value(point))
    return [p50 and p50 / size for p50 in by_round(bench, point, arm, "p50_ns")]


def _row(bench: Bench, arm: Arm, point: str, size: float) -> tuple[str, ...]:
    times = page_times_ns(bench, arm.arm, point)
    first = page_times_ns(bench, arm.arm, bench.points[0])
    ratios = [now / then for now, then in zip(times, first, strict=True) if now is not None and then]
    p50s = np.array(bench.values(point, arm.arm, "p50_ns"), dtype=np.float64)
    told = [end / size for end in latency_interval(p50s, bench.clock_step_ns)] if len(p50s) else []
    time = nanoseconds_with_interval(*told) if told else "-"
    saved = f"{float(np.median(ratios)):.2g}x" if ratios else "-"
    return time, saved, *(median_text(bench, arm, point, name) for name in (PAGES, SHARE, READS))


READ = ("fresh", "fault", "stale_in_window", "stale_after_kick", "stale_after_done", "use_after_remove")
OLD = ("stale_after_done", "use_after_remove")


def machine_table(bench: Bench) -> Table | None:
    """Model against machine, an arm a row: whether an old page was read after the return, of how many reads; how long a
    shootdown takes where nobody holds the page and where vCPUs do; how many IPIs it costs. None where no arm is real.
    """
    if not bench.is_real or not bench.rounds:
        return None
    ends = list(dict.fromkeys((bench.points[0], bench.points[-1])))
    rows = []
    for arm in bench.once:
        alone, grown = bench.median(None, arm.arm, "alone_p50_ns"), []
        for point in ends:
            time = bench.median(point, arm.arm, "p50_ns")
            ratio = f", {ratio_text(time / alone)}" if time and alone else ""
            grown += [f"{value_text(BY_ID['p50_ns'], time)}{ratio}", median_text(bench, arm, point, "ipis")]
        name = f"{arm_name(arm)} (model)" if arm.shootdown else arm_name(arm)
        rows.append((name, _old(bench, arm), value_text(BY_ID["p50_ns"], alone), *grown))
    caption = (
        "Old pages that were read though their shootdown was done; how long one takes, p50, that meets nobody, and "
        "one that meets a vCPU, as a multiple too; IPIs a shootdown"
    )
    head = ("MODEL AND MACHINE", "old reads", "nobody", *(name for point in ends for name in (point or "met", "IPIs")))
    return Table(caption, head, tuple(rows), frozenset(range(1, len(head))))


def _old(bench: Bench, arm: Arm) -> str:
    outcomes = [race.outcomes for race in bench.rounds if race.arm == arm.arm]
    old, reads = (sum(one.get(name, 0) for one in outcomes for name in names) for names in (OLD, READ))
    return f"{count(old)} of {count(reads)}"


def machine_lines(bench: Bench) -> Iterator[str]:
    """Where the model and the machine agree, and where they do not."""
    old = [arm_name(arm) for arm in bench.once if not _old(bench, arm).startswith("0 of ")]
    yield f"NOT AGREED: old pages were read under {', '.join(old)}." if old else "Agreed: no old page was read."
    told = []
    for side in ("in the model", "on the machine"):
        its = [arm.arm for arm in bench.once if bool(arm.shootdown) == (side == "in the model")]
        times = [
            (bench.median(None, arm, "alone_p50_ns"), bench.median(at, arm, "p50_ns"))
            for arm in its
            for at in bench.points
        ]
        grown = sorted(time / alone for alone, time in times if alone and time)
        told += [f"{' to '.join(dict.fromkeys(map(ratio_text, (grown[0], grown[-1]))))} {side}"] if grown else []
    if told:
        yield f"Not alike: with a vCPU it takes {', '.join(told)}."


def events_table(bench: Bench) -> Table:
    """Over all races of an ordering, warm-ups included: its verdict, and every outcome's events."""
    entries = seen(bench)
    names = list(dict.fromkeys(name for entry in entries.values() for name in entry["outcomes"]))
    head = (
        "ordering", *(("point",) if bench.sweep else ()), "verdict", "shootdowns", "met a vCPU", "forbidden", *names,
    )  # fmt: skip
    raced = [(arm, at) for arm in bench.once for at in bench.points if (at, arm.ordering) in entries]
    rows = []
    for arm, point in raced:
        entry, at = entries[point, arm.ordering], (point,) if bench.sweep else ()
        numbers = (
            entry["all_shootdowns"],
            entry["met"],
            entry["forbidden"],
            *map(entry["outcomes"].__getitem__, names),
        )
        rows.append((arm_name(arm), *at, entry["verdict"], *map(count, numbers)))
    marked = frozenset(place for place, (arm, at) in enumerate(raced) if entries[at, arm.ordering]["forbidden"])
    first = len(head) - len(names) - 3
    return Table("Events over all rounds", head, tuple(rows), frozenset(range(first, len(head))), marked)


STATES = {"held": "passed", "failed": "failed", "undecided": "inconclusive"}


def bench_cases(bench: Bench, outcomes: Sequence[Outcome] = (), directory: Path | None = None) -> list[Case]:
    """The cases of a bench; an unsafe ordering raced on purpose has none of its own, as nothing is expected of it. What
    is inconclusive goes on in its directory, where that is known, or begins anew.
    """
    totals = seen(bench)
    longer = _more_rounds(bench, [*totals.values()], directory)
    orderings = [
        _ordering(bench, point, arm, totals[point, arm.ordering], longer)
        for point in bench.points
        for arm in bench.once
        if arm.safe and (point, arm.ordering) in totals
    ]
    gates = [Case(f"gate {one.gate.text}", STATES[one.state], one.why) for one in outcomes]
    return [*orderings, *_against_itself(bench, longer), *gates]


def _more_rounds(bench: Bench, entries: Sequence[Mapping[str, Any]], directory: Path | None) -> str:
    """The command that adds as many rounds as the ordering that met fewest vCPUs needs, twice as many at least, and as
    were planned; or has longer ones, where each has to tell something by itself.
    """
    short = [one for one in entries if one["verdict"] == "inconclusive"]
    told = bench.finished_rounds >= LEAST_ROUNDS and (bench.aa is None or (not bench.aa.differs and ungrounded(bench)))
    if told or any(one["reason"].startswith("round ") for one in short):
        if "--resume" in bench.command:
            return ""
        seconds = f"{2 * bench.design.duration_s:.3g}s"
        return shlex.join([*without_options(bench.command, ("--duration", "--out")), "--duration", seconds])
    needs = [
        1.5 * least_met(met, one["all_shootdowns"], one["own"]) / met if (met := one["met"]) else 12.0 for one in short
    ]
    rounds = max(math.ceil(max([2.0, *needs]) * bench.finished_rounds), bench.design.rounds, 2 * LEAST_ROUNDS)
    rounds = min(rounds, MOST_ROUNDS)
    if directory is not None:
        return shlex.join(["tdx-stress", "bench", "--resume", str(directory), "--rounds", str(rounds)])
    return shlex.join([*without_options(bench.command, ("--rounds", "--budget")), "--rounds", str(rounds)])


def _race_again(bench: Bench, point: str, arm: Arm) -> str:
    """The command that races this arm as it was raced at this point, and keeps its last steps."""
    if bench.is_real:
        return "tdx-stress run real -v"
    scenario = at(bench, point)
    name = [word for word in bench.command[2:3] if not word.startswith("-")]
    sizes = [word for key in ("vcpus", "zappers", "pages") for word in (f"--{key}", str(scenario[key]))]
    axis = {bench.sweep.key: bench.sweep.value(point)} if bench.sweep else {}
    keys = {**scenario.get("changed", {}), **arm.changed, **axis}
    told = keys_set({"changed": {key: keys[key] for key in keys if f"--{key}" not in sizes}})
    settings = [word for one in told for word in ("--set", one)]
    faults = [word for fault in faults_of(arm.its) for word in ("--fault", fault)]
    words = ["tdx-stress", "run", *name, "--ordering", arm.ordering, *sizes, *settings, *faults]
    return shlex.join([*words, "--trace"])


def _ordering(bench: Bench, point: str, arm: Arm, entry: dict[str, Any], longer: str) -> Case:
    bad = [f"{name}: {events}" for name, events in entry["outcomes"].items() if grade_of(name) in FAILING]
    name = f"{arm.ordering} {point}" if point else arm.ordering
    shootdowns = f"shootdowns: {entry['all_shootdowns']}, met a vCPU: {entry['met']}"
    more = longer if entry["verdict"] == "inconclusive" else _race_again(bench, point, arm)
    return Case(name, entry["verdict"], entry["reason"], entry["seconds"], (*bad, shootdowns), more=more)


def _against_itself(bench: Bench, longer: str) -> list[Case]:
    """The first ordering against its copy; and a ranking, where all is well with that and nothing is comparable."""
    if bench.aa is None or bench.aa.differs:
        return [Case("A/A", "inconclusive", doubt(bench), more=longer)]
    alike = Case("A/A", "passed", bench.aa.sentence)
    return [alike, Case("ranking", "inconclusive", why, more=longer)] if (why := ungrounded(bench)) else [alike]
