"""From the words of a real race to its entry in real.json: outcomes, latencies by who held the page, interrupts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.layout import HIST_WORDS, LINE_WORDS
from kernels.real.words import HOST_WORDS, KVM, MET, MET_IN, SEEN, SHOOTDOWNS, SHOWN_IN, Places
from kernels.tdx.outcomes import Outcome
from results.collect.race import Run, outcome_entry, per_second
from results.numbers.statistics import Counts, summary
from results.verdict import MET as MET_NAME
from results.verdict import Ending, judge

INTERRUPTS = Path("/proc/interrupts")
# Those that a shootdown sends, by their names in /proc/interrupts (RES: with a signal); there is no such line where
# hardware broadcasts it.
TOLD = ("TLB", "CAL", "RES")


@dataclass(frozen=True, slots=True)
class RealFacts:
    """What the words do not say. `interrupts`: how many of each kind the whole machine got meanwhile."""

    arm: str
    ending: Ending
    notes: tuple[str, ...]
    seconds: float
    faults: tuple[str, ...]
    interrupts: Mapping[str, int]
    steal_share: float | None


def interrupts_since(before: Mapping[str, int]) -> dict[str, int]:
    """How many of each kind came since `interrupts_now()` said this."""
    return {name: count - before.get(name, 0) for name, count in interrupts_now().items()}


def interrupts_now(path: Path = INTERRUPTS) -> dict[str, int]:
    """How many interrupts of each kind in TOLD all CPUs got so far; without those that the kernel does not tell."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    named = {words[0].rstrip(":"): words[1:] for words in lines if words}
    return {name: sum(int(word) for word in named[name] if word.isdigit()) for name in TOLD if name in named}


def real_record(facts: RealFacts, words: NDArray[np.int64], places: Places) -> Run:
    """One arm's record, in the form of a run's where it is the same thing; n is the shootdowns that met a vCPU."""
    host = words[places.host : places.host + HOST_WORDS]
    readers = words[places.reader :][: places.readers * LINE_WORDS].reshape(-1, LINE_WORDS)[:, : len(SEEN)]
    histograms: Counts = words[places.histograms :][: (places.readers + 1) * HIST_WORDS].reshape(-1, HIST_WORDS).copy()
    counts, reads, met = readers.sum(axis=0), int(readers.sum()), int(host[MET])
    held = {f"held_by_{holders}": each for holders, each in enumerate(histograms) if each.any()}
    timed = {MET_NAME: histograms[1:].sum(axis=0), **held}
    of_kvm = words[places.kvm :][: len(KVM)].tolist()
    shootdowns = int(host[SHOOTDOWNS])
    outcomes = [
        outcome_entry(Outcome[name], int(counts[at]), int(host[SHOWN_IN + at]), int(host[MET_IN + at]), met)
        for at, name in enumerate(SEEN)
    ]
    if facts.ending == Ending.hung:
        outcomes.append(outcome_entry(Outcome.no_progress, 1, 0, 0, met))
    record: dict[str, Any] = {
        "ordering": facts.arm,
        "expect": "safe",
        "verdict": "",
        "reason": "",
        "ending": str(facts.ending),
        "notes": list(facts.notes),
        "faults": list(facts.faults),
        "perturbed": False,
        "vcpus": places.readers,
        "zappers": 1,
        "vcpus_entered": int((readers.sum(axis=1) > 0).sum()),
        "seconds": round(facts.seconds, 6),
        "all_reads": reads,
        "reads_per_s": per_second(reads, facts.seconds),
        "all_shootdowns": shootdowns,
        "shootdowns_per_s": per_second(shootdowns, facts.seconds),
        "met": {"shootdowns": met},
        "outcomes": outcomes,
        "latency_ns": {name: summary(each) for name, each in timed.items()},
        "vcpu_ns": {},
        "interrupts": dict(facts.interrupts),
        "kvm": dict(zip(KVM, of_kvm, strict=True)) if any(of_kvm) else {},
        "steal_share": facts.steal_share,
    }
    record |= judge(record).fields
    return Run(record, {f"{facts.arm}/hist/{name}": each for name, each in timed.items()})
