"""Results as tables and lines for a terminal of 80 columns or more, readable without colour.

Everything here takes dicts as they stand in result.json and gives rich renderables or plain text. What an unsafe
ordering did is marked "unsafe" wherever a number of it stands.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kernels.story.events import Held
from results.contention_table import contention_table
from results.grades import FAILING, Grade, grade_of, why
from results.live import Live
from results.met import MET, met_shootdowns, said
from results.statistics import ENOUGH
from results.verdict import is_safe
from results.wording import PHASE_WORDS, count, nanoseconds, plural, rate_with_interval, share

Run = Mapping[str, Any]

GRADE_STYLES = {
    Grade.acceptable: "green",
    Grade.interesting: "yellow",
    Grade.forbidden: "red",
    Grade.unknown: "magenta",
}
VERDICT_STYLES = {
    "passed": "green",
    "failed": "bold red",
    "inconclusive": "yellow",
    "crashed": "bold red",
    "hung": "bold red",
}
COLUMNS = ("p50", "p90", "p99", "p999", "max")
# For WHY where a terminal is too narrow for the sentences of `grades`.
WIDE = 104
SHORT_WHY = {
    "fresh": "current translation",
    "fault": "KVM's fault path ran",
    "stale_in_window": "legal until done",
    "stale_after_kick": "acked, not yet done",
    "stale_after_done": "used after the flush",
    "use_after_remove": "someone else's page",
    "operand_busy": "a try-lock was taken",
    "previous_epoch_busy": "TRACK: KVM_BUG_ON",
    "tracking_not_done": "REMOVE: KVM_BUG_ON",
    "not_blocked": "REMOVE: KVM_BUG_ON",
    "already_blocked": "BLOCK: KVM_BUG_ON",
    "entry_state_incorrect": "S-EPT: KVM_BUG_ON",
    "page_already_accepted": "guest only, no error",
    "refcount_broken": "not the vCPUs inside",
    "busy_given_up": "as error: KVM_BUG_ON",
    "fault_retried": "RET_PF_RETRY",
    "ept_walk_failed": "AUG: KVM_BUG_ON",
    "mirror_disagrees": "mirror, not S-EPT",
    "two_owners": "S-EPT and another",
    "not_zeroed": "last owner's data",
    "no_progress": "livelock or deadlock",
    "mmio_installed": "no memslot there",
    "ve_in_guest": "MMIO or pending",
    "mmio_emulated": "by #VE, VMCALL",
    "ve_on_memory": "#VE for ever",
    "access_before_accept": "the VM is killed",
    "vcpu_associated": "with another LP",
    "vcpu_not_associated": "never entered there",
    "flushvp_not_done": "asked again later",
    "sept_use_after_free": "walk in freed page",
    "ept_page_not_free": "KVM_BUG_ON",
    "td_state_incorrect": "KVM_BUG_ON",
    "hkid_leaked": "never given back",
    "zero_step_busy": "VP.ENTER refused",
    "zero_step_fault": "exit without entry",
    "host_priority_timeout": "TD exit of ACCEPT",
    "unknown_status": "undeclared: fails",
}
FEW, MANY_ORDERINGS = (MET, "response", "kick", "track"), 4


@dataclass(frozen=True, slots=True)
class ByWidth:
    """What to print on a narrow terminal, and on one of at least WIDE columns."""

    narrow: RenderableType
    wide: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.wide if options.max_width >= WIDE else self.narrow


def outcome_table(run: Run) -> RenderableType:
    """One ordering: every declared outcome with its count, rate, grade and why; who held the locks that others failed
    to get; then the verdict and its reason.
    """
    table = ByWidth(_outcomes(run, wide=False), _outcomes(run, wide=True))
    locks: list[RenderableType] = [contention_table(found), ""] if (found := run.get("lock_contention")) else []
    return Group(heading(run), table, *locks, *(Padding(line, (0, 0, 0, 2)) for line in _below(run)))


def _outcomes(run: Run, *, wide: bool) -> Table:
    table = plain_table(("OUTCOME", "left"), ("COUNT", "right"), ("RATE", "left"), ("GRADE", "left"), ("WHY", "left"))
    order = list(Grade)
    for outcome in sorted(run["outcomes"], key=lambda o: order.index(o["grade"])):
        bad = outcome["count"] > 0 and outcome["grade"] in FAILING
        style = GRADE_STYLES[Grade(outcome["grade"])] if outcome["count"] else "dim"
        reason = why(outcome["id"]) if wide else SHORT_WHY.get(outcome["id"], "undeclared: fails")
        table.add_row(
            Text(outcome["id"], style="bold" if bad else ""),
            count(outcome["count"]),
            _rate(outcome, run),
            Text(outcome["grade"] + ("!" if bad else ""), style=style),
            Text(reason, style="" if outcome["count"] else "dim"),
        )
    return table


def heading(run: Run) -> Text:
    mark = "" if is_safe(run) else f" [unsafe, known for {', '.join(run['expect'])}]"
    return Text.assemble((run["ordering"], "bold"), (mark, "red"), f": {run['title']}")


def _rate(outcome: Mapping[str, Any], run: Run) -> str:
    if outcome["rate"] is not None:
        return rate_with_interval(outcome)
    if outcome["id"] in ("fresh", "fault") and run["all_reads"]:
        return f"{share(outcome['count'] / run['all_reads'])} of reads"
    return "not by shootdown"


def _below(run: Run) -> Iterable[Text]:
    retries = run["track_retries"]
    yield Text(f"TRACK tried again {retries['mean']:.3g} times on average, {retries['max']:,} at most")
    yield Text(f"{said(run)}; rates and 95 % intervals are of these, warm-up included. Counts: of events.")
    if sentence := caught_sentence(run):
        yield Text(sentence)
    yield Text.assemble((run["verdict"].upper(), VERDICT_STYLES[run["verdict"]]), f": {run['reason']}")


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
    names = (
        FEW if len(runs) > MANY_ORDERINGS else tuple(name for name in PHASE_WORDS if name != "shootdown" or not told)
    )
    table = plain_table(
        ("PHASE / ordering", "left"), ("n", "right"), *((("p99.9" if c == "p999" else c), "right") for c in COLUMNS)
    )
    for name in names:
        rows = [(run, phase) for run in runs if (phase := _phase(run, name)) and phase["n"]]
        if rows:
            table.add_row(Text(PHASE_WORDS[name], style="bold"))
        for run, phase in rows:
            table.add_row(
                Text(
                    " " + run["ordering"] + ("" if is_safe(run) else " (unsafe)"), style="" if is_safe(run) else "red"
                ),
                count(phase["n"]),
                *(_cell(phase, column) for column in COLUMNS),
            )
    if not table.row_count:
        return Text("No latency: no shootdown was measured.")
    notes = []
    if any((phase := _phase(run, name)) and 0 < phase["n"] < ENOUGH["p999"] for run in runs for name in names):
        notes.append("n<3688: n is too small for this percentile to have a 95 % interval, so it is not printed.")
    if marked := [run["ordering"] for run in runs if run["perturbed"]]:
        notes.append(f"Perturbed on purpose, latency not to be compared: {', '.join(marked)}.")
    if traced := [run["ordering"] for run in runs if run.get("trace")]:
        notes.append(f"Traced, latency not to be compared with that of other runs: {', '.join(traced)}.")
    if len(runs) > MANY_ORDERINGS:
        notes.append("All phases stand in result.json under latency_ns and vcpu_ns.")
    return Group(
        Text("Latency after the warm-up", style="bold"),
        table,
        *(Padding(Text(n, style="dim"), (0, 0, 0, 2)) for n in notes),
    )


def unit_lines(scenario: Mapping[str, Any]) -> list[RenderableType]:
    """What a shootdown is where it is not a page's alone."""
    if scenario.get("flow") != "batch":
        return []
    pages = plural(scenario["batch"], "page")
    return [Text(f"Times are of whole batches of {pages}; shootdowns, their rates and outcomes are of pages.")]


def _phase(run: Run, name: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = run["latency_ns"].get(name) or run["vcpu_ns"].get(name)
    return found


def _cell(phase: Mapping[str, Any], column: str) -> str:
    if phase[column] is None and phase["n"] < ENOUGH.get(column, 0):
        return f"n<{ENOUGH[column]}"
    return nanoseconds(phase[column])


def verdict_table(runs: Sequence[Run]) -> RenderableType:
    """One line an ordering: verdict, shootdowns in all and with a forbidden outcome, throughput."""
    table = plain_table(
        ("ORDERING", "left"),
        ("VERDICT", "left"),
        ("SHOOTDOWNS", "right"),
        ("MET", "right"),
        ("FORBIDDEN", "right"),
        ("READS/s", "right"),
    )
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


def caveat_lines(caveats: Sequence[Mapping[str, str]]) -> RenderableType:
    """Every caveat: what was seen, what it means, what to try."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for caveat in caveats:
        text = Text.assemble((caveat["seen"], "bold"), f": {caveat['means']}. Try: {caveat['try']}.")
        grid.add_row(Text("!", style="yellow"), text)
    return Group(Text("Caveats", style="bold"), grid) if caveats else Group()


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


def held_table(words: Sequence[Held]) -> RenderableType:
    """Every word of the state by name: its value, what it means, and a star where it differs from the start."""
    table = plain_table(("WORD", "left"), ("", "left"), ("VALUE", "right"), ("MEANING", "left"))
    for held in words:
        style = "bold" if held.changed else "dim"
        number = str(held.value) if abs(held.value) < 1 << 20 else f"{held.value & (1 << 64) - 1:#018x}"
        meaning = held.reading if held.reading != str(held.value) else ""
        table.add_row(Text(held.word, style=style), "*" if held.changed else "", number, Text(meaning, style=style))
    return Group(table, Text("* differs from the start", style="dim"))


def live_table(live: Live) -> RenderableType:
    """The ordering that runs now, a second's worth: throughput, latency, the outcomes that matter, the time left."""
    numbers = ("LEFT", "SHOOTDOWNS/s", "READS/s", "p50", "p99")
    table = plain_table(("ORDERING", "left"), *((name, "right") for name in numbers))
    table.add_row(
        marked(live.ordering, live.safe),
        live.left,
        count(live.shootdowns_per_s),
        count(live.reads_per_s),
        nanoseconds(live.p50_ns),
        nanoseconds(live.p99_ns),
    )
    seen = Text("  ").join(
        Text(f"{name} {count(events)}", style=GRADE_STYLES[grade_of(name)] if events else "dim")
        for name, events in live.outcomes.items()
    )
    return Group(Text(live.place, style="dim"), table, Padding(seen, (0, 0, 0, 2)))


def marked(ordering: str, safe: bool) -> Text:
    """An ordering's name beside a number of it."""
    return Text(ordering) if safe else Text(f"{ordering} (unsafe)", style="red")


def plain_table(*columns: tuple[str, Any]) -> Table:
    """A table without a box, one space between columns; only a last column of free text may wrap."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True)
    return table
