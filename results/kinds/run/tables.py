"""A run as tables, as lines and as test cases.

Everything here takes dicts as they stand in result.json. `run_screen` is what a terminal shows: orderings side by side,
rows where something was seen. `run_tables` are the long tables, for whoever asks, and for the page.
"""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from kernels.tdx.counters import PHASES_EVERY
from kernels.tdx.outcomes import Grade
from kernels.tdx.rules import Flow, has_part
from results.caveats import dead_early
from results.exchange.cases import Case, unreached, why_of, without_options
from results.figures import PHASES, phase_shares
from results.kinds.run.answer import yardstick
from results.numbers.statistics import ENOUGH
from results.table import Table, caveat_lines
from results.verdict import (
    FAILING,
    MET,
    Ending,
    Verdict,
    is_safe,
    met_shootdowns,
    name_of,
    observation,
    said,
    seen,
    times_longer,
    whole,
    why,
    word_of,
)
from results.words import (
    PHASE_WORDS,
    broken_name,
    conditions,
    count,
    machine_size,
    mean,
    nanoseconds,
    nanoseconds_with_interval,
    plural,
    rate_with_interval,
    share,
    silent_words,
    title_of,
)

Run = Mapping[str, Any]
PERCENTILES = ("p50", "p90", "p99", "p999")
# Where it goes, in the order in which most orderings take it; the last two at the vCPUs.
PLACES = {
    "lock": "mmu_lock", "block": "BLOCK", "kick": "kick", "track": "TRACK", "remove": "REMOVE",
    "gate_wait": "vCPU: gate", "out_of_guest": "out of guest",
}  # fmt: skip
OF_FLOWS = ("response", "move", "mmio_ve", "mmio_trip")
SIDE_BY_SIDE = 4
OF_READS = ("fresh", "fault")
STAMPED = (
    f"Shares of the phases' sum, medians of the shootdowns that are stamped between phases, one of {PHASES_EVERY}. "
    "Each phase holds one reading of the clock."
)


def run_screen(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The question and the verdicts, what was seen, how long it took and where that went, and the caveats."""
    runs, scenario = result["runs"], result["scenario"]
    yield Text(f"{scenario.get('name', 'run')}: {scenario.get('title') or 'a scenario without a title'}", "bold")
    size = machine_size({"vcpus": 0, "zappers": 0, "pages": 0, **scenario}, "pages")
    rate = f", open loop at {scenario['rate']:,.10g} shootdowns/s" if scenario.get("rate") else ""
    seconds = max((run["seconds"] for run in runs), default=0.0)
    each = "at most" if dead_early(scenario, runs) else "each"
    told = "".join(f"; {one}" for one in conditions(scenario, runs, ("pages", "rate")))
    yield f"{', '.join(size)}; {plural(len(runs), 'ordering')}, {seconds:.3g} s {each}{rate}{told}"
    head = ("", "", "SHOOTDOWNS", "MET A VCPU", "")
    yield Table("", head, tuple(map(_verdict_row, runs)), frozenset({2, 3}), _unsafe(runs), least=(4,))
    yield ""
    yield seen_table(runs)
    yield from unseen_lines(runs)
    yield ""
    told = MET if any(MET in run["latency_ns"] for run in runs) else "shootdown"  # else of an earlier version
    latency = percentiles_table(runs, (told, *OF_FLOWS), "", intervals=False)
    one = "MET A VCPU, " if told == MET else "A SHOOTDOWN, "
    first = f"{'' if latency.head[0] == 'phase' else one}AFTER WARM-UP"
    latency = replace(latency, head=(first, *latency.head[1:]))
    yield latency if latency.rows else "No latency: no shootdown was measured."
    yield from _notes(result)
    yield from filter(None, [yardstick(result["host"])])
    yield ""
    if (places := places_table(runs)).rows:
        yield from (places, "")
    if result["caveats"]:
        yield from (*caveat_lines(result["caveats"]), "")


def run_tables(result: Mapping[str, Any]) -> Iterator[Table]:
    """Every outcome, lock, phase and share, ordering by ordering."""
    runs = result["runs"]
    for run in runs:
        yield outcomes_table(run)
        if found := run.get("lock_contention"):
            yield contention_table(found, run["ordering"])
    yield percentiles_table(runs, PHASE_WORDS, "Every phase, with 95 % intervals")
    yield shares_table(runs)


def _unsafe(runs: Sequence[Run]) -> frozenset[int]:
    return frozenset(place for place, run in enumerate(runs) if not is_safe(run))


def _verdict_row(run: Run) -> tuple[str, ...]:
    """The title up to its first semicolon: `list`, the page and -v have the whole."""
    met, shootdowns = met_shootdowns(run), run["all_shootdowns"]
    how_many = "-" if met is None else share(met / max(shootdowns, met, 1))
    return word_of(run).upper(), name_of(run), count(shootdowns), how_many, title_of(run).partition(";")[0]


def seen_table(runs: Sequence[Run]) -> Table:
    """A row for each outcome that any ordering showed, a column an ordering; beyond four a row an ordering with the
    worst that it showed."""
    ids = [o["id"] for o in _all_outcomes(runs)]
    if len(runs) > SIDE_BY_SIDE:
        rows = []
        for run in runs:
            worst = max((o for o in run["outcomes"] if o["count"]), key=lambda o: ids.index(o["id"]), default=None)
            of_met = " of those met" * bool(worst and worst["rate"])
            rate = "-" if worst is None else rate_text(worst, run) + of_met
            told = ("nothing", "-", rate) if worst is None else (worst["id"], _graded(worst), rate)
            rows.append((name_of(run), *told))
        return Table("", ("WHAT WAS SEEN, AT WORST", "outcome", "grade", "rate"), tuple(rows), marked=_unsafe(runs))
    shown = []
    for outcome in ids:
        seen_in = [(_of(run, outcome), run) for run in runs]
        cells = [rate_text(o, run).removesuffix(" of reads") if o and o["count"] else "-" for o, run in seen_in]
        of = ", of reads" if outcome in OF_READS else ", of those met" * any(o and o["rate"] for o, _ in seen_in)
        if set(cells) != {"-"}:
            grade = next(_graded(o) for o, _ in seen_in if o and o["count"])
            shown.append((outcome + of, grade, *cells))
    head = ("WHAT WAS SEEN", "grade", *(broken_name(name_of(run)) for run in runs))
    bad = frozenset(place for place, row in enumerate(shown) if row[1].endswith("!"))
    return Table("", head, tuple(shown), frozenset(range(2, len(head))), bad, least=(1,))


def unseen_lines(runs: Sequence[Run]) -> Iterator[str]:
    """How many outcomes nobody showed, and from which rate on one of them would have been seen, with each n."""
    silent = [o for o in _all_outcomes(runs) if not any((one := _of(run, o["id"])) and one["count"] for run in runs)]
    bad = sum(o["grade"] in FAILING for o in silent)
    if not silent:
        return
    line = f"Not seen: {silent_words(bad, len(silent) - bad)}."
    bounds = [
        f"{name_of(run)} {share(p)} (n {count(met_shootdowns(run) or 0)})" for run in runs if (p := caught_rate(run))
    ]
    if bounds and len(runs) <= SIDE_BY_SIDE:
        line += f" One would have been, from this rate on (95 %): {', '.join(bounds)}."
    elif bounds:
        line += f" One would have been from a rate of {share(max(filter(None, map(caught_rate, runs))))} on (95 %)."
    yield line


def _all_outcomes(runs: Sequence[Run]) -> list[Run]:
    """Every outcome that any run has, once, the mildest first."""
    found = {o["id"]: o for run in runs for o in run["outcomes"]}
    return sorted(found.values(), key=lambda o: list(Grade).index(Grade(o["grade"])))


def _of(run: Run, outcome: str) -> Run | None:
    return next((o for o in run["outcomes"] if o["id"] == outcome), None)


def _graded(outcome: Run) -> str:
    return str(outcome["grade"]) + "!" * (outcome["count"] > 0 and outcome["grade"] in FAILING)


def rate_text(outcome: Mapping[str, Any], run: Run) -> str:
    """The rate of an outcome with its interval, of shootdowns or else of reads."""
    if outcome["rate"] is not None:
        return rate_with_interval(outcome)
    if outcome["id"] in OF_READS and run["all_reads"]:
        return f"{share(outcome['count'] / run['all_reads'])} of reads"
    return f"{count(outcome['count'])} times"


def caught_rate(run: Run) -> float | None:
    """The rate from which on a forbidden outcome that did not show would have; None where nobody can say."""
    zeros = [o for o in run["outcomes"] if o["grade"] in FAILING and o["would_have_caught"] is not None]
    return zeros[0]["would_have_caught"] if zeros and met_shootdowns(run) is not None else None


def outcomes_table(run: Run) -> Table:
    """One ordering: every declared outcome with its events, rate, grade and why; what was seen first."""
    order = {name: place for place, name in enumerate(("forbidden", "unknown", "interesting", "acceptable"))}
    found = sorted(run["outcomes"], key=lambda o: (o["count"] == 0, order[o["grade"]]))
    rows = tuple((o["id"], count(o["count"]), rate_text(o, run), o["grade"], why(o["id"])) for o in found)
    bad = frozenset(i for i, o in enumerate(found) if o["count"] and o["grade"] in FAILING)
    name = run["ordering"] + ("" if is_safe(run) else f" (unsafe, known for {', '.join(run['expect'])})")
    head = ("outcome", "events", "rate, 95 %", "grade", "why")
    retries = run["track_retries"]
    tried = f"TRACK tried again {mean(retries['mean'])} times on average, {retries['max']:,} at most"
    return Table(f"{name}: {said(run)}, which rates are of; {tried}", head, rows, frozenset({1, 2}), bad)


def percentiles_table(
    runs: Sequence[Run], names: Iterable[str], caption: str, *, intervals: bool = True, folded: bool = False
) -> Table:
    """A row for each phase and ordering that measured it; the phase stands in a row only where there are several."""
    measured = [(name, run, phase) for name in names for run in runs if (phase := phase_of(run, name)) and phase["n"]]
    several = len({name for name, _, _ in measured}) > 1
    rows: list[tuple[str, ...]] = []
    for name, run, phase in measured:
        cells = (percentile_text(phase, percentile, intervals=intervals) for percentile in PERCENTILES)
        first = (PHASE_WORDS.get(name, name),) if several else ()
        rows.append((*first, name_of(run), count(phase["n"]), *cells, nanoseconds(phase["max"])))
    head = (*(("phase",) if several else ()), "ordering", "n", "p50", "p90", "p99", "p99.9", "max")
    marked = frozenset(place for place, (_, run, _) in enumerate(measured) if not is_safe(run))
    return Table(caption, head, tuple(rows), frozenset(range(1 + several, len(head))), marked, folded)


def phase_of(run: Run, name: str) -> Mapping[str, Any] | None:
    """The latency of a phase, at the zapper or at the vCPUs; None where nobody measured it."""
    found: Mapping[str, Any] | None = run["latency_ns"].get(name) or run["vcpu_ns"].get(name)
    return found


def percentile_text(phase: Mapping[str, Any], name: str, *, intervals: bool = True) -> str:
    """A percentile with its interval, or why there is none."""
    if phase[name] is None:
        return f"n<{ENOUGH[name]}" if phase["n"] < ENOUGH.get(name, 0) else "-"
    interval = phase["ci95"].get(name) if intervals else None
    return nanoseconds_with_interval(phase[name], *interval) if interval else nanoseconds(phase[name])


def _notes(result: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the times must know."""
    runs, scenario = result["runs"], result["scenario"]
    if perturbed := [run["ordering"] for run in runs if run["perturbed"]]:
        yield f"Perturbed on purpose, latency not to be compared: {', '.join(perturbed)}."
    if traced := [run["ordering"] for run in runs if run.get("trace")]:
        yield f"Traced, latency not to be compared with that of other runs: {', '.join(traced)}."
    if has_part(scenario.get("flow", "shootdown"), Flow.BATCH):
        yield f"Times are of whole batches of {plural(scenario.get('batch', 1), 'page')}; all else is of pages."


def places_table(runs: Sequence[Run]) -> Table:
    """A row an ordering, a column a phase that any ordering measured, with its median."""
    medians = {name: [(phase_of(run, name) or {}).get("p50") for run in runs] for name in PLACES}
    shown = [name for name, found in medians.items() if any(median is not None for median in found)]
    rows = tuple(
        (name_of(run), *(nanoseconds(medians[name][place]) for name in shown)) for place, run in enumerate(runs)
    )
    head = ("WHERE IT GOES, p50", *(PLACES[name] for name in shown))
    return Table("", head, rows if shown else (), frozenset(range(1, len(head))), _unsafe(runs))


def shares_table(runs: Sequence[Run]) -> Table:
    """A row an ordering that measured any phase, a column a phase."""
    rows = tuple((name_of(run), *share_cells(run)) for run in runs if phase_shares(run))
    head = ("ordering", *(label for label, _, _ in PHASES.values()))
    return Table("Shares of the phases' sum", head, rows, frozenset(range(1, len(head))))


def share_cells(run: Run) -> list[str]:
    """A cell a phase, in the order of PHASES: `12 %`, or a dash."""
    shares = phase_shares(run)
    return [f"{100 * shares[name]:.0f} %" if name in shares else "-" for name in PHASES]


def forbidden_shootdowns(run: Run) -> int:
    """Shootdowns of the forbidden or unknown outcome that was seen in most; what belongs to none counts as one."""
    bad = [o for o in run["outcomes"] if o["grade"] in FAILING and o["count"] > 0]
    return max((o["shootdowns"] or 1 for o in bad), default=0)


def observation_line(run: Run) -> str:
    """Of shootdowns: forbidden ones, and others that met a vCPU."""
    forbidden = forbidden_shootdowns(run)
    return observation(run["ordering"], forbidden, max((met_shootdowns(run) or 0) - forbidden, 0))


def history_row(run: Run) -> dict[str, Any]:
    """What a history has of a race, of the model or of the kernel."""
    met = whole(run)
    found = {f"{name}_ns": met[name] for name in ("p50", "p90", "p99", "max")}
    for name in ("p50", "p90", "p99"):
        low, high = met["ci95"][name] or (None, None)
        found |= {f"{name}_low_ns": low, f"{name}_high_ns": high}
    rates = {key: run[key] for key in ("reads_per_s", "shootdowns_per_s")}
    return {**found, **rates, "shootdowns": run["all_shootdowns"], "forbidden": forbidden_shootdowns(run)}


def model_row(run: Run) -> dict[str, Any]:
    """The same of the model, with what the model alone has."""
    return {
        **history_row(run),
        "rounds": 1,
        "perturbed": run["perturbed"],
        "out_of_guest_p50_ns": run["vcpu_ns"]["out_of_guest"]["p50"],
        "stale_window_p50_ns": run["latency_ns"].get("stale_window", {}).get("p50"),
        "track_retries": run["track_retries"]["mean"],
    }


def contention_table(contention: Sequence[Run], ordering: str) -> Table:
    """A row for each lock, SEAMCALL that failed and SEAMCALL that held, the most frequent holder first."""
    rows = []
    for entry in contention:
        holders = sorted(entry["held_by"].items(), key=lambda held: -held[1])
        for place, (holder, times) in enumerate(holders):
            waits = _waits(entry) if not place else ("", "")
            rows.append((entry["lock"], entry["seamcall"], holder, count(times), *waits))
    head = ("lock", "failed", "held by", "times", "tries, most", "got after, most")
    return Table(f"{ordering}: tries of a module lock that failed", head, tuple(rows), frozenset({3, 4, 5}))


def _waits(entry: Run) -> tuple[str, str]:
    """How many tries a wait took that ended with the lock, and how long."""
    tries, after = entry["tries"], entry["got_after_ns"]
    if tries is None:
        return "never got", "-"
    return f"{mean(tries['mean'])}, {tries['max']:,}", f"{nanoseconds(after['mean'])}, {nanoseconds(after['max'])}"


def run_cases(result: Mapping[str, Any]) -> list[Case]:
    """A case an ordering, with the counts of what is forbidden and who stood where, and the command that tells more;
    one too for each whose turn never came. Of a real run a case an arm.
    """
    runs, scenario = result["runs"], result["scenario"]
    arms, command = scenario.get("arms"), result.get("command") or ["tdx-stress", "run"]
    longer = max((times_longer(run) for run in runs if run["verdict"] == Verdict.inconclusive), default=1.0)
    seconds = math.ceil(longer * scenario.get("duration_s", 5.0))
    cases = [_case(run, _more(run, command, seconds, traces=arms is None)) for run in runs]
    return cases + unreached(arms or scenario.get("orderings", ()), cases, command)


STUCK = (Verdict.failed, Verdict.hung)


def _more(run: Run, command: Sequence[str], seconds: int, *, traces: bool) -> list[str]:
    """The same command with what tells more; of so many seconds where the time was too short."""
    if run["verdict"] != Verdict.inconclusive:
        more = "--trace" if traces and run["verdict"] in STUCK and "--trace" not in command else "-v"
        return [*command, *([more] if {more, "--verbose"}.isdisjoint(command) else [])]
    if run["ending"] == Ending.interrupted:
        return list(command)
    return [*without_options(command, ("--duration",)), "--duration", f"{seconds}s"]


def _case(run: Run, more: Sequence[str]) -> Case:
    counts = [f"{name}: {count}" for name, count in seen(run, *FAILING).items()]
    details = [*counts, said(run), *run["notes"]]
    seconds = run["seconds"] + run.get("warmup_s", 0.0)
    return Case(run["ordering"], run["verdict"], why_of(run), seconds, details, word_of(run), shlex.join(more))
