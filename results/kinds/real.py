"""A real race: real.json, and that as tables and lines; in the form of a run where it is the same thing."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from rich.console import RenderableType
from rich.text import Text

from results.caveats import Caveat, caveat, caveats, of_several_machines
from results.kinds.run.record import PhaseShape, RacedShape, Stored, with_arrays
from results.kinds.run.tables import percentile_text, seen_table, unseen_lines
from results.kinds.shape import ActorsShape, CaveatShape, Count, DocumentShape, HostShape, Shape
from results.store import read_document
from results.table import Table, caveat_lines
from results.verdict import MET, word_of
from results.words import count, machine_size, nanoseconds, per_second, plural, share

SCHEMA, FILE = "tdx-stress/real/1", "real.json"
EMULATED_READS_PER_S = 1e6  # measured: 22,000 where each is emulated, 3e8 where none is
HELD = "held_by_"  # the name of a latency: of the shootdowns of pages that so many vCPUs held


class _Met(Shape):
    shootdowns: Count


class _Run(RacedShape):
    expect: Literal["safe"]
    faults: list[str]
    vcpus_entered: Count
    met: _Met
    latency_ns: dict[Annotated[str, Field(pattern=rf"^({MET}|{HELD}[0-9]+)$")], PhaseShape]
    vcpu_ns: dict[str, PhaseShape] = Field(default_factory=dict)
    interrupts: dict[str, int]
    kvm: dict[str, Count] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _latency_of_those_that_met_a_vcpu(self) -> "_Run":
        if MET not in self.latency_ns:
            raise ValueError(f"expected {MET} in latency_ns, found none")
        return self


class _Scenario(ActorsShape):
    name: str
    title: str
    pages: Count
    arms: list[str] = Field(default_factory=list)


class RealShape(DocumentShape):
    """The whole of real.json."""

    host: HostShape
    caveats: list[CaveatShape]
    scenario: _Scenario
    runs: list[_Run]


def read_real(directory: Path) -> Stored:
    """The dict of real.json and the histograms beside it, sound. Raises StoreError."""
    what = "a real run"
    return with_arrays(directory, read_document(directory / FILE, what, {SCHEMA: RealShape}), what)


def real_caveats(host: dict[str, Any], scenario: dict[str, Any], runs: list[dict[str, Any]]) -> list[Caveat]:
    """What to know before believing the numbers: of the machine, and of who shares CPUs and interrupts."""
    return [*caveats(host, {}, []), *of_several_machines(runs), *_of_a_real_race(host, scenario["vcpus"], runs)]


def _of_a_real_race(host: dict[str, Any], vcpus: int, runs: list[dict[str, Any]]) -> Iterator[Caveat]:
    cpus = host.get("cpus_allowed") or 1
    if vcpus + 1 > cpus > 1:
        yield caveat(
            "oversubscribed",
            f"{plural(vcpus, 'vCPU')} on {plural(cpus - 1, 'CPU')}, beside the zapper's",
            "those that do not run hold no TLB entry to be flushed at once, and get no IPI",
            f"--vcpus {cpus - 1}",
        )
    guests = [run for run in runs if run["ordering"] in ("kvm", "guest_memfd")]
    if slow := [run for run in guests if 0 < run["reads_per_s"] < EMULATED_READS_PER_S]:
        yield caveat(
            "emulated_guest",
            f"no hardware TLB, as {per_second(slow[0]['reads_per_s'])} guest reads a second are emulated: says "
            "nothing about flushes",
            "a hypervisor without hardware paging: no TLB of a CPU holds what the guest reads",
            "another hypervisor, or `run memfd`",
        )
    if any(run["interrupts"] for run in runs):
        yield caveat(
            "others_interrupts",
            "interrupts are counted over the whole machine",
            "those of other processes are among them; a vCPU that does not run just then gets none",
            "an idle machine",
        )


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
