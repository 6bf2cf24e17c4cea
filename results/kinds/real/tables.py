"""A real race as tables, lines and test cases; a run's own where they say the same."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from results.kinds.real.record import HELD
from results.kinds.run.tables import forbidden_shootdowns, percentile_text, seen_table, unseen_lines
from results.table import Table, caveat_lines
from results.verdict import MET, word_of
from results.words import count, machine_size, nanoseconds, per_second, share

KERNEL = "this kernel's own shootdowns, no TDX"
Run = Mapping[str, Any]


def real_screen(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The verdicts, what was seen, how long the host's call took by who held the page, and how many IPIs it cost."""
    runs, scenario = result["runs"], result["scenario"]
    yield Text(f"{scenario['name']}: {scenario['title']}", "bold")
    yield f"{', '.join(machine_size(scenario, 'pages'))}; {_readers(runs)}"
    yield Table("", (), tuple(map(_verdict_row, runs)), frozenset({2}))
    yield ""
    yield seen_table(runs)
    yield from unseen_lines(runs)
    yield ""
    yield calls_table(runs)
    yield ""
    yield work_table(runs)
    yield ""
    if any(run.get("kvm") for run in runs):
        yield from (kvm_table(runs), "")
    if result["caveats"]:
        yield from (*caveat_lines(result["caveats"]), "")


def _readers(runs: Sequence[Run]) -> str:
    """What a vCPU is in each arm."""
    words = {"memfd": "a process", "munmap": "a thread", "mprotect": "a thread"}
    arms = defaultdict[str, list[str]](list)
    for run in runs:
        arms[words.get(run["ordering"], "one of a guest")].append(run["ordering"])
    return "a vCPU is " + ", ".join(f"{word} ({', '.join(its)})" for word, its in arms.items())


def _verdict_row(run: Run) -> tuple[str, ...]:
    met = share(run["met"]["shootdowns"] / max(run["all_shootdowns"], 1))
    fault = f"with {', '.join(run['faults'])}" if run["faults"] else ""
    return word_of(run).upper(), run["ordering"], f"{count(run['all_shootdowns'])} shootdowns, {met} met a vCPU", fault


def calls_table(runs: Sequence[Run], *, intervals: bool = False) -> Table:
    """The latency of the host's call, a row for each number of vCPUs that held the page."""
    rows = [
        (
            run["ordering"],
            "1 or more" if name == MET else name.removeprefix(HELD),
            count(phase["n"]),
            *(percentile_text(phase, q, intervals=intervals) for q in ("p50", "p90", "p99")),
            nanoseconds(phase["max"]),
        )
        for run in runs
        for name, phase in run["latency_ns"].items()
    ]
    head = ("THE HOST'S CALL", "vCPUs that held it", "n", "p50", "p90", "p99", "max")
    return Table("", head, tuple(rows), frozenset(range(1, 7)))


def work_table(runs: Sequence[Run]) -> Table:
    """The interrupts that the whole machine got meanwhile, in all and for each shootdown, and how much was read."""
    rows = []
    for run in runs:
        told, calls = [run["interrupts"].get(name) for name in ("TLB", "CAL")], max(run["all_shootdowns"], 1)
        sent = ["not told" if number is None else f"{count(number)} ({number / calls:.2f})" for number in told]
        rows.append((run["ordering"], *sent, count(run["all_reads"]), per_second(run["reads_per_s"])))
    head = ("INTERRUPTS (a shootdown)", "TLB shootdowns", "all function calls", "reads", "reads/s")
    return Table("", head, tuple(rows), frozenset(range(1, 5)))


def kvm_table(runs: Sequence[Run]) -> Table:
    """What KVM's own statistics say of its virtual machine, in all and for each shootdown."""
    told = [(run, run["kvm"]) for run in runs if run.get("kvm")]
    rows = [
        (run["ordering"], *(f"{count(many)} ({many / max(run['all_shootdowns'], 1):.2f})" for many in its.values()))
        for run, its in told
    ]
    head = ("KVM SAYS", *dict.fromkeys(name for _, its in told for name in its))
    return Table("", head, tuple(rows), frozenset(range(1, len(head))))


def real_tables(result: Mapping[str, Any]) -> Iterator[Table]:
    """The same, and latency with its intervals."""
    yield seen_table(result["runs"])
    yield calls_table(result["runs"], intervals=True)
    yield work_table(result["runs"])
    if any(run.get("kvm") for run in result["runs"]):
        yield kvm_table(result["runs"])


def figures(run: Run) -> dict[str, Any]:
    """What a history has of a run, too."""
    met = run["latency_ns"][MET]
    found = {f"{name}_ns": met[name] for name in ("p50", "p90", "p99", "max")}
    for name in ("p50", "p90", "p99"):
        low, high = met["ci95"][name] or (None, None)
        found |= {f"{name}_low_ns": low, f"{name}_high_ns": high}
    rates = {key: run[key] for key in ("reads_per_s", "shootdowns_per_s")}
    return {**found, **rates, "shootdowns": run["all_shootdowns"], "forbidden": forbidden_shootdowns(run)}
