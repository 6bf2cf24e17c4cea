"""From the tally's snapshots to one entry of `runs` in result.json, and the arrays of raw.npz.

What is measured (latency, throughput, `shootdowns`, `reads`) is the part after the warm-up. What is evidence (outcomes,
statuses, ages, and the shootdowns they are counted over) is the whole run with its warm-up. Lock contention is told as
KVM and TDX developers write it by hand: which SEAMCALL failed at which lock, and which held it; how the holder is known
says `kernels/tdx/lock_contention.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.layout import DELAYED, HIST_WORDS, SLEPT_NS, SPUN_TICKS, YIELDED
from kernels.race.ticks import NS_SHIFT
from kernels.tdx import counters as tally
from kernels.tdx.counters import ModuleLock
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Flow
from kernels.tdx.statuses import LEAF_NAMES, NAMES, Leaf, Status
from results.collect.last_steps import LastSteps
from results.collect.tally import Series, Snapshot, Words
from results.machine.host import steal_share
from results.numbers.statistics import Counts, clopper_pearson, summary, would_have_caught
from results.verdict import Ending, Verdict, declared, judge

# The histograms of a zapper, with what is left of all shootdowns without those that met a vCPU.
ZAPPER_NAMES = (*tally.ZAPPER_HISTS[:2], "shootdown_empty", *tally.ZAPPER_HISTS[2:])
# Counted by the read, not by the shootdown: they belong to none.
BY_READ = frozenset({
    Outcome.fresh, Outcome.fault, Outcome.mmio_installed, Outcome.ve_in_guest, Outcome.mmio_emulated,
    Outcome.vcpu_not_associated, Outcome.flushvp_not_done,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the harness knows of one ordering's race and the tally does not.

    `seconds` is the measured time: from the end of the warm-up to the moment the zappers were told to stop. `notes` say
    who stood where, or who died. `perturbed` marks declared yields and delays, and `declared` says which, by label,
    `never_struck` which delays held nobody up. `references_left`: what the epoch's reference counts held once every
    vCPU had ended outside the guest. `own_share`: of the CPUs' time that actors wanted the share that they got, 0 to 1.
    """

    ordering: str
    title: str
    expect: str | tuple[str, ...]
    ending: str = Ending.finished
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    warmup_s: float = 0.0
    perturbed: bool = False
    declared: Mapping[str, str] = field(default_factory=dict)
    never_struck: tuple[str, ...] = ()
    ticks_to_ns: int = 1 << NS_SHIFT
    last_steps: LastSteps | None = None  # of a traced race
    source: str = ""
    shootdown: tuple[str, ...] = ()
    flow: int = Flow.SHOOTDOWN
    placement: str = "own"
    otherwise_safe: bool = False  # a right order: `expect` is what the machine shows whatever the order
    references_left: int = 0
    own_share: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One ordering's entry of result.json, and its arrays for raw.npz under `<ordering>/...`."""

    json: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    last_steps: LastSteps | None = None


def run_record(facts: RunFacts, warm: Snapshot | None, end: Snapshot, series: Series) -> Run:
    """One ordering's record from the snapshots at the end of the warm-up and at the end.

    `warm` is None where the warm-up did not end: then nothing was measured, and the evidence still stands.
    """
    start = warm if warm is not None else end
    measured = _measured(start, end, facts.flow)
    seconds = facts.seconds if warm is not None else 0.0
    shootdowns, reads = end.shootdowns - start.shootdowns, end.reads - start.reads
    retries, most = end.zapper_heads[:, tally.TRACK_RETRIES].sum(), end.zapper_heads[:, tally.TRACK_RETRIES_MAX].max()
    ages = end.both(tally.AGES, tally.AGE_BUCKETS)
    record: dict[str, Any] = {
        "ordering": facts.ordering,
        "title": facts.title,
        "source": facts.source,
        "shootdown": list(facts.shootdown),
        "expect": facts.expect if isinstance(facts.expect, str) else list(facts.expect),
        "otherwise_safe": facts.otherwise_safe,
        "verdict": Verdict.inconclusive.value,
        "reason": "",
        "ending": str(facts.ending),
        "notes": list(facts.notes),
        "perturbed": facts.perturbed,
        "perturbation": _perturbation(facts, end) if facts.perturbed else None,
        "trace": facts.last_steps and facts.last_steps.json,
        "vcpus": len(end.vcpu_heads),
        "zappers": len(end.zapper_heads),
        "placement": facts.placement,
        "vcpus_entered": end.vcpus_entered,
        "shootdowns": shootdowns,
        "reads": reads,
        "seconds": round(seconds, 6),
        "warmup_s": round(facts.warmup_s, 6),
        "reads_per_s": per_second(reads, seconds),
        "shootdowns_per_s": per_second(shootdowns, seconds),
        "out_of_guest_share": _out_of_guest(start, end, seconds),
        "all_shootdowns": end.shootdowns,
        "all_reads": end.reads,
        "met": {"kicks": int(end.both(tally.KICKS_MET)[0]), "shootdowns": end.met_shootdowns},
        "outcomes": _outcomes(facts, end),
        "lock_contention": lock_contention(np.concatenate((end.vcpu_heads, end.zapper_heads))),
        "status": _named(end.statuses.sum(axis=0), all_declared=True),
        "seamcalls": {LEAF_NAMES[leaf]: _named(end.statuses[leaf], all_declared=False) for leaf in Leaf},
        "stale_age_epochs": {str(age): int(count) for age, count in enumerate(ages)},
        "latency_ns": _summaries(measured, ZAPPER_NAMES),
        "vcpu_ns": _summaries(measured, tally.vcpu_hists(facts.flow)),
        "track_retries": {"max": int(most), "mean": round(int(retries) / max(end.shootdowns, 1), 6)},
        "bug_on": int(end.both(tally.BUG_ON)[0]),
        "steal_share": steal_share(start.cpu, end.cpu),
        "own_share": facts.own_share,
        "repairs": int(end.both(tally.REPAIRS)[0]),
        "ipis": int(end.both(tally.IPIS)[0]),
        "guest": {
            name: int(end.vcpu_heads[:, offset].sum())
            for name, offset in (
                ("entries", tally.ENTRIES),
                ("exits", tally.EXITS),
                ("flushes", tally.FLUSHES),
                ("fault_exits", tally.FAULT_EXITS),
                ("ticks", tally.TICKS),
                ("moves", tally.MOVES),
            )
        },
    }
    record |= judge(record).fields
    arrays: dict[str, NDArray[Any]] = {f"{facts.ordering}/hist/{name}": counts for name, counts in measured.items()}
    arrays |= {f"{facts.ordering}/series/{name}": values for name, values in series.arrays().items()}
    arrays[f"{facts.ordering}/ages"] = ages
    return Run(record, arrays, facts.last_steps)


def _perturbation(facts: RunFacts, end: Snapshot) -> dict[str, Any]:
    """How strong the perturbation was: what was declared, how often it struck, and how long actors were held up."""
    spun_ns = int(end.both(SPUN_TICKS)[0]) * facts.ticks_to_ns >> NS_SHIFT
    return {
        "declared": dict(facts.declared), "never_struck": list(facts.never_struck), "yields": int(end.both(YIELDED)[0]),
        "delays": int(end.both(DELAYED)[0]), "delayed_ns": spun_ns + int(end.both(SLEPT_NS)[0]),
    }  # fmt: skip


def _measured(start: Snapshot, end: Snapshot, flow: int) -> dict[str, Counts]:
    none = np.zeros(HIST_WORDS, dtype=np.int64)
    names = tally.ZAPPER_HISTS + tally.vcpu_hists(flow)
    found = {n: np.maximum(end.histograms.get(n, none) - start.histograms.get(n, none), 0) for n in names}
    return found | {"shootdown_empty": np.maximum(found["shootdown"] - found["shootdown_met"], 0)}


def _summaries(measured: Mapping[str, Counts], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """By phase; `response` stands only where it was measured, that is, with an open loop."""
    measured_names = [name for name in names if name != "response" or measured[name].any()]
    return {name: summary(measured[name]) for name in measured_names}


def per_second(count: int, seconds: float) -> float:
    """Over so many seconds; 0 where there were none."""
    return round(count / seconds, 3) if seconds > 0 else 0.0


def _out_of_guest(start: Snapshot, end: Snapshot, seconds: float) -> float:
    """The share (0 to 1) of the measured time that a vCPU spent outside the guest, for whatever reason; mean of all."""
    outside_s = int((end.vcpu_heads - start.vcpu_heads)[:, tally.OUT_OF_GUEST_NS].sum()) / 1e9
    return round(min(outside_s / (seconds * len(end.vcpu_heads)), 1.0), 6) if seconds > 0 else 0.0


def _named(counts: Words, *, all_declared: bool) -> dict[str, int]:
    """Counts by the status's name; a slot that no status has is named by its number, so that it is not lost."""
    slots = {slot: Status(slot) if slot in Status.__members__.values() else None for slot in range(tally.STATUSES)}
    names = {slot: NAMES[status] if status is not None else f"UNDECLARED_{slot}" for slot, status in slots.items()}
    keep = [s for s in slots if counts[s] or (slots[s] is not None and (all_declared or s == Status.SUCCESS))]
    return {names[slot]: int(counts[slot]) for slot in keep}


def _outcomes(facts: RunFacts, end: Snapshot) -> list[dict[str, Any]]:
    """Every outcome that the flow declares, even at 0, and what was seen beside them.

    `count` is events (reads or statuses), `shootdowns` how many distinct shootdowns showed it. `met` of `of` are those
    that met a vCPU, which is what `rate` and `ci95` are of. An outcome that was seen but belongs to no shootdown has
    None there, not a rate of 0.
    """
    counts, by_shootdown = end.outcomes, end.outcome_shootdowns
    if facts.ending == Ending.hung and counts[Outcome.no_progress] == 0:
        counts[Outcome.no_progress] = 1
    counts[Outcome.refcount_broken] += facts.references_left
    undeclared = [s for s in range(tally.STATUSES) if s not in Status.__members__.values() or s == Status.OTHER]
    counts[Outcome.unknown_status] = max(counts[Outcome.unknown_status], end.statuses[:, undeclared].sum())
    told = declared(facts.flow)
    met, of = end.outcome_met, end.met_shootdowns
    return [
        outcome_entry(o, int(counts[o]), int(by_shootdown[o]), int(met[o]), of)
        for o in Outcome
        if o in told or counts[o]
    ]


def rate_of(outcome: Outcome) -> str:
    """What its rate is of; "" where it has none, as it is counted by events."""
    if outcome in (Outcome.fresh, Outcome.fault):
        return "reads"
    return "" if outcome in BY_READ else "shootdowns that met a vCPU"


def outcome_entry(outcome: Outcome, count: int, shootdowns: int, met: int, of: int) -> dict[str, Any]:
    """One outcome: see `_outcomes`."""
    grade = outcome.grade
    by_shootdown = outcome not in BY_READ and (count == 0 or shootdowns > 0)
    caught = would_have_caught(of) if by_shootdown and shootdowns == 0 else None
    return {
        "id": outcome.name, "grade": grade.value, "count": count, "shootdowns": shootdowns if by_shootdown else None,
        "met": met if by_shootdown else None, "of": of, "rate": (met / of if of else 0.0) if by_shootdown else None,
        "ci95": list(clopper_pearson(met, of)) if by_shootdown else None, "would_have_caught": caught,
    }  # fmt: skip


LOCK_NAMES = {
    ModuleLock.EPOCH: "epoch",
    ModuleLock.TREE: "S-EPT tree",
    ModuleLock.ENTRY: "S-EPT entry",
    ModuleLock.TDR: "TDR",
}
# Who held the lock, where it was not one SEAMCALL.
OTHERS = {tally.SEVERAL: "several", tally.GONE: "gone", tally.HOST_PRIORITY: "host priority"}


def lock_contention(heads: NDArray[np.int64]) -> list[dict[str, Any]]:
    """An entry for each lock and SEAMCALL that failed to get it; `heads` is of all actors, shape (actors, HEAD_WORDS).

    `failed` tries by `held_by`; of the waits that ended with the lock how many, the failed tries of one and how long it
    took from the first of them, on average and at most.
    """
    rows, of_a_wait = (len(ModuleLock), tally.LEAVES), (len(ModuleLock), tally.LEAVES, tally.WAIT_FIELDS)
    counts = heads[:, tally.CONTENTION : tally.WAITING].sum(axis=0).reshape(*rows, tally.COLUMNS)
    waits = heads[:, tally.WAITING :][:, : math.prod(of_a_wait)].reshape(-1, *of_a_wait)
    return [
        _entry(lock, leaf, counts[lock, leaf], waits[:, lock, leaf])
        for lock in ModuleLock
        for leaf in Leaf
        if counts[lock, leaf].any()
    ]


def _entry(lock: ModuleLock, leaf: Leaf, columns: NDArray[np.int64], waits: NDArray[np.int64]) -> dict[str, Any]:
    names: dict[int, str] = {**{int(one): name for one, name in LEAF_NAMES.items()}, **OTHERS}
    summed, most = waits.sum(axis=0), waits.max(axis=0)
    times = int(summed[tally.TIMES])
    return {
        "lock": LOCK_NAMES[lock],
        "seamcall": LEAF_NAMES[leaf],
        "failed": int(columns.sum()),
        "held_by": {names[column]: int(columns[column]) for column in names if columns[column]},
        "got_at_last": times,
        "tries": {"mean": round(int(summed[tally.TRIES]) / times, 3), "max": int(most[tally.MOST_TRIES])}
        if times
        else None,
        "got_after_ns": {"mean": round(int(summed[tally.WAITED_NS]) / times), "max": int(most[tally.LONGEST_NS])}
        if times
        else None,
    }
