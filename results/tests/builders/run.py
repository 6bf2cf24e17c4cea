"""What the tests of this room start from: a run and a result as they stand in result.json, and a machine's words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.layout import HIST_WORDS, Layout
from kernels.tdx.counters import HEAD_WORDS, VCPU_HISTS, ZAPPER_HISTS
from kernels.tdx.outcomes import Outcome
from kernels.tdx.words import plan, vcpu_actor, zapper_actor
from results.collect.race import Run, RunFacts, run_record
from results.collect.tally import Series, Snapshot, snapshot
from results.numbers.statistics import HIGHEST_NS, HIGHS_NS


def counted(*values_ns: int) -> NDArray[np.int64]:
    """A histogram of these values; one out of range counts in the first or the last bucket."""
    within = np.clip(np.array(values_ns, dtype=np.int64), 0, HIGHEST_NS)
    return np.bincount(np.searchsorted(HIGHS_NS, within), minlength=HIST_WORDS).astype(np.int64)


MET = {"kicks": 7_654, "shootdowns": 4_321}
PHASE = {"n": 5000, "min": 400, "p50": 667, "p90": 871, "p99": 6847, "p999": 45823, "max": 112000}
INTERVALS = {"p50": [663, 671], "p90": [863, 879], "p99": [5855, 8831], "p999": [30000, 112000]}
# Whole shootdowns: those that met a vCPU, those that met nobody, and all.
WHOLES: dict[str, dict[str, Any]] = {
    "shootdown_met": {**PHASE, "n": 4_111, "ci95": INTERVALS},
    "shootdown_empty": {
        "n": 389, "min": 211, "p50": 391, "p90": 503, "p99": 1_119, "p999": 2_303, "max": 2_815,
        "ci95": {"p50": [389, 393], "p90": [499, 507], "p99": [1_095, 1_143], "p999": None},
    },
    "shootdown": {
        "n": 4_500, "min": 211, "p50": 512, "p90": 805, "p99": 6_399, "p999": 43_007, "max": 112_000,
        "ci95": {"p50": [508, 516], "p90": [797, 813], "p99": [5_503, 8_191], "p999": [28_671, 112_000]},
    },
}  # fmt: skip
HOST = {
    "cpu_model": "Some CPU", "cpus_allowed": 4, "hypervisor": None, "constant_tsc": True, "cpu_quota": None,
    "load_1m": 0.1, "busy": 0.01, "governor": None,
}  # fmt: skip
SCENARIO = {
    "name": "review", "vcpus": 2, "zappers": 1, "pages": 64, "rate": 0.0, "workers": "process", "placement": "apart",
}  # fmt: skip


def outcome(
    name: str, count: int = 0, shootdowns: int | None = 0, of: int = 4_321, met: int | None = None
) -> dict[str, Any]:
    """One entry of `outcomes`, all of whose shootdowns met a vCPU unless `met` says otherwise; its interval is a
    stand-in.
    """
    met = shootdowns if met is None else met
    return {
        "id": name, "grade": Outcome[name].grade.value, "count": count, "shootdowns": shootdowns, "met": met, "of": of,
        "rate": None if met is None else met / of, "ci95": None if met is None else [0.0, 0.0007 if met else 0.0006],
        "would_have_caught": 0.0006 if shootdowns == 0 else None,
    }  # fmt: skip


def a_run(ordering: str = "v18", seen: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """A safe run that finished and showed nothing but what `seen` says: events by outcome, each in a shootdown."""
    counts = {"fresh": 1_000_000} | (seen or {})
    entries = [
        outcome(o.name, counts.get(o.name, 0), None if o.name in ("fresh", "fault") else counts.get(o.name, 0))
        for o in Outcome
    ]
    run: dict[str, Any] = {
        "ordering": ordering, "title": "A title", "source": "", "shootdown": ["block", "kick", "track", "remove"],
        "expect": "safe", "verdict": "passed", "reason": "nothing forbidden in 4,321 shootdowns that met a vCPU",
        "ending": "finished", "notes": [], "perturbed": False, "vcpus": 2, "zappers": 1, "vcpus_entered": 2,
        "shootdowns": 4500, "reads": 900_000, "seconds": 5.0, "warmup_s": 0.5, "reads_per_s": 180_000.0,
        "shootdowns_per_s": 900.0, "all_shootdowns": 5000, "all_reads": 1_000_000, "met": MET, "outcomes": entries,
        "lock_contention": [], "stale_age_epochs": {str(age): 0 for age in range(16)},
        "latency_ns": WHOLES
        | {n: {**PHASE, "ci95": INTERVALS} for n in ZAPPER_HISTS if n not in ("response", *WHOLES)},
        "vcpu_ns": {n: {**PHASE, "ci95": INTERVALS} for n in VCPU_HISTS}, "track_retries": {"max": 3, "mean": 0.02},
        "steal_share": 0.0,
    }  # fmt: skip
    return run | changes


def distinct(number: int) -> dict[str, Any]:
    """Changes to `a_run` after which no two of its numbers are alike, nor one of them and one of another `number`'s.

    A column that shows another's figure is then seen.
    """
    whole = ("shootdown_met", "shootdown_empty", "shootdown", "response")
    names = (*whole, *(name for name in ZAPPER_HISTS if name not in whole), *VCPU_HISTS)
    phases = {name: _distinct_phase(293 + 61 * place + 1_709 * number) for place, name in enumerate(names)}
    zapper = {name: phases[name] for name in (*whole, *ZAPPER_HISTS) if name in phases}
    return {
        "latency_ns": zapper, "vcpu_ns": {name: phases[name] for name in VCPU_HISTS}, "vcpus": 2 + number,
        "reads_per_s": 183_011.0 + 7_001 * number, "shootdowns_per_s": 907.0 + 11 * number,
        "all_shootdowns": 5_101 + 13 * number, "all_reads": 1_000_003 + 17 * number,
        "met": {"kicks": 7_654 + 19 * number, "shootdowns": 4_337 + 23 * number},
        "track_retries": {"max": 3 + number, "mean": 0.021 + 0.003 * number}, "seconds": 5.0 + 0.25 * number,
        "warmup_s": 0.5 + 0.125 * number,
    }  # fmt: skip


def _distinct_phase(p50: int) -> dict[str, Any]:
    found = {"p50": p50, "p90": 2 * p50 + 13, "p99": 11 * p50 + 7, "p999": 97 * p50 + 3}
    ends = {name: [value - value // 31, value + value // 23] for name, value in found.items()}
    return {"n": 4_001 + p50, "min": p50 // 3, **found, "max": 1_009 * p50 + 1, "ci95": ends}


def of_an_earlier_version(run: dict[str, Any]) -> dict[str, Any]:
    """The same before anybody counted the shootdowns that met a vCPU."""
    latency = {name: phase for name, phase in run["latency_ns"].items() if name not in list(WHOLES)[:2]}
    return {key: value for key, value in run.items() if key not in ("met", "placement")} | {"latency_ns": latency}


def a_result(*runs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A result of these runs, without caveats."""
    result: dict[str, Any] = {
        "schema": "tdx-stress/result/1", "version": "0.1.0", "commit": None, "started": "2026-11-22T14:41:49Z",
        "seed": 1, "host": HOST, "scenario": SCENARIO, "caveats": [], "runs": list(runs),
    }  # fmt: skip
    return result | changes


def phase(n: int, **values: Any) -> dict[str, Any]:
    """A latency summary with only these percentiles."""
    none = dict.fromkeys(("min", "p50", "p90", "p99", "p999", "max"))
    return {"n": n, **none, **values, "ci95": {"p50": None, "p90": None, "p99": None, "p999": None}}


class Machine:
    """The words of 2 vCPUs and 1 zapper, and how a test writes into their tally what kernels would."""

    def __init__(self, vcpus: int = 2, zappers: int = 1, pages: int = 64) -> None:
        self.lay: Layout = plan(vcpus, zappers, pages, 64)
        self.words: NDArray[np.int64] = np.zeros(self.lay.total_words, dtype=np.int64)

    def vcpu(self, index: int, more: Mapping[int, int]) -> None:
        """Add to counters of a vCPU's head, by their offsets."""
        self._add(vcpu_actor(self.lay, index).tally, more)

    def zapper(self, index: int, more: Mapping[int, int]) -> None:
        """Add to counters of a zapper's head."""
        self._add(zapper_actor(self.lay, index).tally, more)

    def _add(self, start: int, more: Mapping[int, int]) -> None:
        for offset, count in more.items():
            self.words[start + offset] += count

    def record(self, name: str, *values_ns: int, index: int = 0) -> None:
        """Count durations in a histogram of a zapper or a vCPU, whichever has one of this name."""
        actor, names = (zapper_actor, ZAPPER_HISTS) if name in ZAPPER_HISTS else (vcpu_actor, VCPU_HISTS)
        start = actor(self.lay, index).tally + HEAD_WORDS + names.index(name) * HIST_WORDS
        self.words[start : start + HIST_WORDS] += counted(*values_ns)

    def snapshot(self) -> Snapshot:
        """The tally now."""
        return snapshot(self.words, self.lay)


def recorded(machine: Machine, warm: Snapshot | None = None, series: Series | None = None, **facts: Any) -> Run:
    """The record of a machine as it stands; all of it measured unless `warm` says otherwise."""
    start = warm if warm is not None else Machine(machine.lay.vcpus, machine.lay.zappers, machine.lay.pages).snapshot()
    known: dict[str, Any] = {"ordering": "v18", "title": "A title", "expect": "safe", "seconds": 2.0} | facts
    return run_record(RunFacts(**known), start, machine.snapshot(), series or Series())
