"""A run as tables, as lines, as an answer and as test cases: for a terminal of 80 columns, readable without colour.

Everything here takes dicts as they stand in result.json. The answer is to the reviewer's question, TRACK before the
kick or after it: one sentence of what both orders showed and what they cost. What the latencies have to be read
against, the machine's own costs, is told and never subtracted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as TextTable
from rich.text import Text

from kernels.tdx.counters import PHASES_EVERY
from results.exchange.cases import Case
from results.figures import PHASES, phase_shares
from results.grades import FAILING, Grade, meaning
from results.numbers.statistics import ENOUGH
from results.table import (
    GRADE_STYLES,
    VERDICT_STYLES,
    ByWidth,
    Table,
    heading,
    indented,
    marked,
    plain_table,
    verdict_line,
)
from results.verdict import MET, is_safe, met_shootdowns, name_of, said, seen, too_few, whole
from results.words import (
    PHASE_WORDS,
    count,
    machine_size,
    nanoseconds,
    nanoseconds_with_interval,
    plural,
    rate_with_interval,
    share,
    tenths,
)

TRACK_FIRST, KICK_FIRST = "spec", "v18"
Run = Mapping[str, Any]


def review_sentence(result: Mapping[str, Any]) -> str:
    """One sentence from a result: what both orders showed and what they cost.

    Intervals of percentiles are by order statistics: they hold within this run and say nothing of the next one.
    """
    runs = {run["ordering"]: run for run in result["runs"]}
    missing = [name for name in (TRACK_FIRST, KICK_FIRST) if name not in runs]
    if missing:
        return f"This run does not decide whether TRACK or the kick comes first: {' and '.join(missing)} did not run."
    track, kick = runs[TRACK_FIRST], runs[KICK_FIRST]
    bad = [f"{name} {why}" for name in runs if name in (TRACK_FIRST, KICK_FIRST) and (why := _not_passed(runs[name]))]
    if bad:
        return f"This run does not decide whether TRACK or the kick comes first: {'; '.join(bad)}."
    return f"{_setting(result)}, {_right(track, kick)}; {_costs(track, kick)}; {_ranking(track, kick)}."


def _not_passed(run: Run) -> str | None:
    if run["verdict"] != "passed":
        return f"{run['verdict']} ({run['reason']})"
    lacking = too_few(met_shootdowns(run), run["all_shootdowns"])
    return lacking and f"inconclusive ({lacking})"


def _setting(result: Mapping[str, Any]) -> str:
    run, cpus = result["runs"][0], result["host"].get("cpus_allowed")
    return f"On this machine, with {' and '.join(machine_size(run))}" + (f" on {plural(cpus, 'CPU')}" if cpus else "")


def _right(track: Run, kick: Run) -> str:
    bounds = [
        o["would_have_caught"] or 0.0 for run in (track, kick) for o in run["outcomes"] if o["grade"] == "forbidden"
    ]
    return (
        f"TRACK before the kick ({TRACK_FIRST}) and the kick before TRACK behind the gate ({KICK_FIRST}) both held: no "
        f"forbidden outcome in {met_shootdowns(track):,} and {met_shootdowns(kick):,} shootdowns that met a "
        f"vCPU (a rate of {share(max(bounds))} or more would have been caught)"
    )


def _costs(track: Run, kick: Run) -> str:
    took = whole(track), whole(kick)
    outside = track["vcpu_ns"]["out_of_guest"], kick["vcpu_ns"]["out_of_guest"]
    return (
        f"a shootdown that met a vCPU took at p50 {_value(took[0], 'p50')} with TRACK first against "
        f"{_value(took[1], 'p50')} with the kick first, at p99 {_value(took[0], 'p99')} against "
        f"{_value(took[1], 'p99')}, and vCPUs were out of the guest for {_value(outside[0], 'p50')} against "
        f"{_value(outside[1], 'p50')} a time at p50"
    )


def _value(phase: Mapping[str, Any], name: str) -> str:
    if phase[name] is None:
        return f"an unknown time (n = {phase['n']:,} is too small)"
    return nanoseconds_with_interval(phase[name], *phase["ci95"][name])


def _ranking(track: Run, kick: Run) -> str:
    """One run has no rounds and no arm that races against itself: it never ranks."""
    first, second = (whole(run)["p50"] for run in (track, kick))
    told = f" ({second / first:.2f}x at p50)" if first and second else ""
    return f"which is faster one run does not decide{told}: tdx-stress bench"


def in_round_trips(value_ns: float | None, round_trip_ns: float | None) -> str:
    """A latency as a multiple of the core-to-core round trip, `3.1`; a dash where one of them is not known."""
    if value_ns is None or not round_trip_ns:
        return "-"
    multiple = value_ns / round_trip_ns
    return f"{multiple:,.0f}" if multiple >= 99.5 else f"{multiple:.2g}"


def yardstick_lines(host: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the machine's own steps cost just before the race, and every median in round trips; nothing if unknown."""
    costs = []
    if host.get("round_trip_ns"):
        low, high = (nanoseconds(value) for value in host["round_trip_range_ns"])
        first, second = host["round_trip_cpus"]
        costs.append(
            f"a line from CPU {first} to CPU {second} and back {nanoseconds(host['round_trip_ns'])} ({low} to {high})"
        )
    if host.get("empty_shootdown_ns"):
        costs.append(f"a shootdown with nobody to kick {nanoseconds(host['empty_shootdown_ns'])}")
    if host.get("timer_ns"):
        costs.append(f"a reading of the clock {tenths(host['timer_ns'])}")
    if costs:
        yield f"Before the race: {', '.join(costs)}; contained in the figures above, not subtracted."
    medians = [
        f"{name_of(run)} {in_round_trips(median, host['round_trip_ns'])}"
        for run in runs
        if host.get("round_trip_ns") and (median := whole(run)["p50"]) is not None
    ]
    if medians:
        yield f"A shootdown that met a vCPU at p50, in such round trips: {', '.join(medians)}."


COLUMNS = ("p50", "p90", "p99", "p999", "max")
HEAD, NUMBERS = ("lock", "failed", "held by", "times", "tries, most", "got after, most"), frozenset({3, 4, 5})
FEW, MANY_ORDERINGS = (MET, "response", "kick", "track"), 4


def outcome_table(run: Run) -> RenderableType:
    """One ordering: every declared outcome with its count, rate, grade and why; who held the locks that others failed
    to get; then the verdict and its reason.
    """
    table = ByWidth(_outcomes(run, wide=False), _outcomes(run, wide=True))
    locks: list[RenderableType] = [contention_table(found), ""] if (found := run.get("lock_contention")) else []
    return Group(heading(run), table, *locks, *indented(_below(run)))


def _outcomes(run: Run, *, wide: bool) -> TextTable:
    table = plain_table(("OUTCOME", "left"), ("COUNT", "right"), ("RATE", "left"), ("GRADE", "left"), ("WHY", "left"))
    order = list(Grade)
    for outcome in sorted(run["outcomes"], key=lambda o: order.index(o["grade"])):
        bad = outcome["count"] > 0 and outcome["grade"] in FAILING
        style = GRADE_STYLES[Grade(outcome["grade"])] if outcome["count"] else "dim"
        told = meaning(outcome["id"])
        table.add_row(
            Text(outcome["id"], style="bold" if bad else ""),
            count(outcome["count"]),
            rate_text(outcome, run),
            Text(outcome["grade"] + ("!" if bad else ""), style=style),
            Text(told.why if wide else told.short, style="" if outcome["count"] else "dim"),
        )
    return table


def rate_text(outcome: Mapping[str, Any], run: Run) -> str:
    """The rate of an outcome with its interval, of shootdowns or else of reads."""
    if outcome["rate"] is not None:
        return rate_with_interval(outcome)
    if outcome["id"] in ("fresh", "fault") and run["all_reads"]:
        return f"{share(outcome['count'] / run['all_reads'])} of reads"
    return "not by shootdown"


def _below(run: Run) -> Iterable[Text | str]:
    retries = run["track_retries"]
    yield f"TRACK tried again {retries['mean']:.3g} times on average, {retries['max']:,} at most"
    yield f"{said(run)}; rates and 95 % intervals are of these, warm-up included. Counts: of events."
    if sentence := caught_sentence(run):
        yield sentence
    yield verdict_line(run)


def caught_sentence(run: Run) -> str:
    """What the zeros are worth: "a rate of p or more would have been caught". Empty without a zero, and where nobody
    counted the shootdowns that can say anything.
    """
    zeros = [o for o in run["outcomes"] if o["grade"] in FAILING and o["would_have_caught"] is not None]
    if not zeros or met_shootdowns(run) is None:
        return ""
    rate = share(zeros[0]["would_have_caught"])
    return f"Forbidden at 0: a rate of {rate} or more of those that met a vCPU would have been caught (95 %)."


def latency_table(runs: Sequence[Run]) -> RenderableType:
    """Percentiles by phase over all orderings. Above four orderings only the whole, the kick and TRACK."""
    told = any(MET in run["latency_ns"] for run in runs)  # else of an earlier version
    many = len(runs) > MANY_ORDERINGS
    names = FEW if many else [name for name in PHASE_WORDS if name != "shootdown" or not told]
    heads = ("n", *(column.replace("p999", "p99.9") for column in COLUMNS))
    table = plain_table(("PHASE / ordering", "left"), *((head, "right") for head in heads))
    shown = [(name, run, phase) for name in names for run in runs if (phase := phase_of(run, name)) and phase["n"]]
    for name, found in groupby(shown, key=lambda row: row[0]):
        table.add_row(Text(PHASE_WORDS[name], style="bold"))
        for _, run, phase in found:
            cells = (_cell(phase, column) for column in COLUMNS)
            who = Text(f" {name_of(run)}", style="" if is_safe(run) else "red")
            table.add_row(who, count(phase["n"]), *cells)
    if not shown:
        return Text("No latency: no shootdown was measured.")
    notes = []
    if any(phase["n"] < ENOUGH["p999"] for _, _, phase in shown):
        notes.append("n<3688: n is too small for this percentile to have a 95 % interval, so it is not printed.")
    if perturbed := [run["ordering"] for run in runs if run["perturbed"]]:
        notes.append(f"Perturbed on purpose, latency not to be compared: {', '.join(perturbed)}.")
    if traced := [run["ordering"] for run in runs if run.get("trace")]:
        notes.append(f"Traced, latency not to be compared with that of other runs: {', '.join(traced)}.")
    if many:
        notes.append("All phases stand in result.json under latency_ns and vcpu_ns.")
    return Group(Text("Latency after the warm-up", style="bold"), table, *indented(notes, "dim"))


def unit_lines(scenario: Mapping[str, Any]) -> list[RenderableType]:
    """What a shootdown is where it is not a page's alone."""
    if scenario.get("flow") != "batch":
        return []
    pages = plural(scenario["batch"], "page")
    return [Text(f"Times are of whole batches of {pages}; shootdowns, their rates and outcomes are of pages.")]


def phase_of(run: Run, name: str) -> Mapping[str, Any] | None:
    """The latency of a phase, at the zapper or at the vCPUs; None where nobody measured it."""
    found: Mapping[str, Any] | None = run["latency_ns"].get(name) or run["vcpu_ns"].get(name)
    return found


def _cell(phase: Mapping[str, Any], column: str) -> str:
    if phase[column] is None and phase["n"] < ENOUGH.get(column, 0):
        return f"n<{ENOUGH[column]}"
    return nanoseconds(phase[column])


def verdict_table(runs: Sequence[Run]) -> RenderableType:
    """One line an ordering: verdict, shootdowns in all and with a forbidden outcome, throughput."""
    numbers = ("SHOOTDOWNS", "MET", "FORBIDDEN", "READS/s")
    table = plain_table(("ORDERING", "left"), ("VERDICT", "left"), *((name, "right") for name in numbers))
    for run in runs:
        table.add_row(
            marked(run["ordering"], is_safe(run)),
            Text(run["verdict"], style=VERDICT_STYLES[run["verdict"]]),
            count(run["all_shootdowns"]),
            "-" if (met := met_shootdowns(run)) is None else share(met / max(run["all_shootdowns"], met, 1)),
            count(forbidden_shootdowns(run)),
            count(run["reads_per_s"]),
        )
    return table


def forbidden_shootdowns(run: Run) -> int:
    """Shootdowns of the forbidden or unknown outcome that was seen in most; what belongs to none counts as one."""
    bad = [o for o in run["outcomes"] if o["grade"] in FAILING and o["count"] > 0]
    return max((o["shootdowns"] or 1 for o in bad), default=0)


def observation_line(run: Run) -> str:
    """The line to grep, `Observation v18 Never 0 812345`: Never, Sometimes or Always; forbidden shootdowns; others that
    met a vCPU.
    """
    forbidden = forbidden_shootdowns(run)
    other = max((met_shootdowns(run) or 0) - forbidden, 0)
    often = "Never" if not forbidden else "Sometimes" if other else "Always"
    return f"Observation {run['ordering']} {often} {forbidden} {other}"


def contention_table(contention: Sequence[Run]) -> TextTable:
    """A row for each lock, SEAMCALL that failed and SEAMCALL that held."""
    table = plain_table(*((name.upper(), "right" if at in NUMBERS else "left") for at, name in enumerate(HEAD)))
    for first, row in _rows(contention):
        lock, failed, held_by, *numbers = row
        named = (lock.removeprefix("S-EPT "), _short(failed)) if first else ("", "")
        table.add_row(*named, _short(held_by), *numbers)
    return table


def contention_page_table(contention: Sequence[Run], ordering: str) -> Table:
    """The same with whole names, for the page."""
    rows = tuple(row for _, row in _rows(contention))
    return Table(f"{ordering}: tries of a module lock that failed", HEAD, rows, NUMBERS)


def _rows(contention: Sequence[Run]) -> Iterator[tuple[bool, tuple[str, ...]]]:
    """Whether it is the first of its lock and SEAMCALL, and the cells; the most frequent holder first."""
    for entry in contention:
        holders = sorted(entry["held_by"].items(), key=lambda held: -held[1])
        for place, (holder, times) in enumerate(holders):
            waits = _waits(entry) if not place else ("", "")
            yield not place, (entry["lock"], entry["seamcall"], holder, count(times), *waits)


def _short(leaf: str) -> str:
    return leaf.removeprefix("TDH.").removeprefix("TDG.")


def _waits(entry: Run) -> tuple[str, str]:
    """How many tries a wait took that ended with the lock, and how long."""
    tries, after = entry["tries"], entry["got_after_ns"]
    if tries is None:
        return "never got", "-"
    return f"{tries['mean']:.3g}, {tries['max']:,}", f"{nanoseconds(after['mean'])}, {nanoseconds(after['max'])}"


def suite_name(result: Mapping[str, Any]) -> str:
    """What the cases stand under."""
    return str(result["scenario"].get("name", "run"))


def run_cases(result: Mapping[str, Any]) -> list[Case]:
    """A case an ordering, with the counts of what is forbidden and who stood where."""
    return [_case(run) for run in result["runs"]]


def _case(run: Mapping[str, Any]) -> Case:
    counts = [f"{name}: {count}" for name, count in seen(run, *FAILING).items()]
    details = [*counts, said(run), *run["notes"]]
    return Case(run["ordering"], run["verdict"], run["reason"], run["seconds"] + run["warmup_s"], details)


STAMPED = (
    f"Shares of the phases' sum, medians of the shootdowns that are stamped between phases, one of {PHASES_EVERY}. "
    "Each phase holds one reading of the clock."
)


def share_cells(run: Run) -> list[str]:
    """A cell a phase, in the order of PHASES: `12 %`, or a dash."""
    shares = phase_shares(run)
    return [f"{100 * shares[name]:.0f} %" if name in shares else "-" for name in PHASES]


def phase_table(runs: Sequence[Run]) -> RenderableType:
    """A row an ordering that measured any phase, a column a phase."""
    measured = [run for run in runs if phase_shares(run)]
    if not measured:
        return Group()
    heads = (name.removeprefix("wait for ") for name, _, _ in PHASES.values())
    table = plain_table(("WHERE THE TIME GOES", "left"), *((head, "right") for head in heads))
    for run in measured:
        table.add_row(marked(run["ordering"], is_safe(run)), *share_cells(run))
    return Group(table, *indented([STAMPED], "dim"), "")
