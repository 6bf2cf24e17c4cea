"""The tally in shared memory, copied: snapshots, and counters over the time of one ordering.

The parent only reads: workers are never stopped for a snapshot, so that one taken in the middle of a race may be torn
between counters by a few events. Counters only grow, so differences of two snapshots are what happened between them.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.layout import HIST_WORDS, OUTCOME_COUNTS, Layout
from kernels.tdx import counters as tally
from kernels.tdx.counters import MET_OR_STALE
from kernels.tdx.outcomes import OUTCOMES
from results.machine.host import CpuTimes, cpu_times
from results.numbers.statistics import Counts

Words = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The tally at one moment, copied. `at_ns` is CLOCK_MONOTONIC; histograms are summed over actors, by name."""

    at_ns: int
    vcpu_heads: Words  # (vcpus, HEAD_WORDS)
    zapper_heads: Words  # (zappers, HEAD_WORDS)
    open_flags: Words  # (pages,): outcomes of each page's last shootdown, a bit each, that are not yet in the heads
    histograms: Mapping[str, Counts] = field(default_factory=dict)
    cpu: CpuTimes | None = None

    @property
    def shootdowns(self) -> int:
        """Shootdowns completed or refused, over all zappers."""
        return int(self.zapper_heads[:, tally.SHOOTDOWNS].sum())

    @property
    def reads(self) -> int:
        """Guest reads over all vCPUs."""
        return int(self.vcpu_heads[:, tally.READS].sum())

    @property
    def vcpus_entered(self) -> int:
        """How many vCPUs have entered the guest at least once."""
        return int((self.vcpu_heads[:, tally.ENTRIES] > 0).sum())

    @property
    def outcomes(self) -> Words:
        """Events of each outcome over all actors, shape (OUTCOMES,)."""
        return self.both(OUTCOME_COUNTS, OUTCOMES)

    @property
    def outcome_shootdowns(self) -> Words:
        """Distinct shootdowns in which each outcome was seen, shape (OUTCOMES,)."""
        return self.both(tally.OUTCOME_SHOOTDOWNS, OUTCOMES) + _by_outcome(self.open_flags)

    @property
    def met_shootdowns(self) -> int:
        """Shootdowns that met a vCPU: a kick found one in the guest, or one read through the page's old translation."""
        return int(self.both(tally.SHOOTDOWNS_MET)[0] + (self.open_flags & MET_OR_STALE != 0).sum())

    @property
    def outcome_met(self) -> Words:
        """Of the shootdowns that met a vCPU, those in which each outcome was seen, shape (OUTCOMES,)."""
        met = self.open_flags[self.open_flags & MET_OR_STALE != 0]
        return self.both(tally.OUTCOME_MET, OUTCOMES) + _by_outcome(met)

    @property
    def statuses(self) -> Words:
        """Statuses over all actors, shape (LEAVES, STATUSES)."""
        return self.both(tally.STATUS_COUNTS, tally.LEAVES * tally.STATUSES).reshape(tally.LEAVES, tally.STATUSES)

    def both(self, offset: int, words: int = 1) -> Words:
        """`words` counters from this offset of the head, summed over vCPUs and zappers."""
        part = slice(offset, offset + words)
        summed: Words = self.vcpu_heads[:, part].sum(axis=0) + self.zapper_heads[:, part].sum(axis=0)
        return summed


def snapshot(words: Words, lay: Layout, *, histograms: bool = True) -> Snapshot:
    """Copy the tally out of the shared array.

    `histograms=False` is for frequent sampling: only the heads, without latency, without the pages' open shootdowns.
    """
    at_ns = time.monotonic_ns()
    vcpus = _actors(words, lay.vcpu_tally, lay.vcpu_tally_stride, lay.vcpus)
    zappers = _actors(words, lay.zapper_tally, lay.zapper_tally_stride, lay.zappers)
    heads = vcpus[:, : tally.HEAD_WORDS].copy(), zappers[:, : tally.HEAD_WORDS].copy()
    if not histograms:
        return Snapshot(at_ns, *heads, np.zeros(0, dtype=np.int64))
    flags = words[lay.page_flags : lay.page_flags + lay.pages + lay.tables].copy()
    counts = _sum_histograms(zappers, tally.ZAPPER_HISTS) | _sum_histograms(vcpus, tally.vcpu_hists(lay.flow))
    return Snapshot(at_ns, *heads, flags, counts, cpu_times())


def _by_outcome(flags: Words) -> Words:
    """In how many of these flags each outcome stands, shape (OUTCOMES,)."""
    found: Words = ((flags[:, None] >> np.arange(OUTCOMES)) & 1).sum(axis=0)
    return found


def _actors(words: Words, start: int, stride: int, count: int) -> Words:
    return words[start : start + count * stride].reshape(count, stride)


def _sum_histograms(actors: Words, names: tuple[str, ...]) -> dict[str, Counts]:
    starts = {name: tally.HEAD_WORDS + place * HIST_WORDS for place, name in enumerate(names)}
    return {name: actors[:, start : start + HIST_WORDS].sum(axis=0) for name, start in starts.items()}


class Series:
    """Cumulative counters over the time of one ordering: at most `MOST` rows, when full every second one is dropped."""

    MOST = 4096

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, Words]] = []
        self._every = 1
        self._appended = 0

    def append(self, now: Snapshot) -> None:
        if self._appended % self._every == 0:
            self._rows.append((now.at_ns, now.shootdowns, now.reads, now.outcomes))
        self._appended += 1
        if len(self._rows) > self.MOST:
            self._rows = self._rows[::2]
            self._every *= 2

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`time_s` from the first row on, `shootdowns`, `reads`, all (n,), `outcomes` (n, OUTCOMES); cumulative."""
        return {
            "time_s": np.array([(row[0] - self._rows[0][0]) / 1e9 for row in self._rows], dtype=np.float64),
            "shootdowns": np.array([row[1] for row in self._rows], dtype=np.int64),
            "reads": np.array([row[2] for row in self._rows], dtype=np.int64),
            "outcomes": np.array([row[3] for row in self._rows], dtype=np.int64).reshape(-1, OUTCOMES),
        }
