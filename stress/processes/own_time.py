"""Time that counts against workers: that in which they could run. Where other processes hold the CPUs, a worker that
does not move shows nothing.

Linux tells of each task how long it ran and how long it waited for a CPU (`/proc/PID/task/TID/schedstat`; without that
file all time counts). Who sleeps, spins with the CPU to itself, or was stopped from outside waits for none: for it all
time counts. So it does for workers that wait for each other on one CPU, as it is theirs. Who gives its CPU away
whenever it finds nothing new gets next to none beside others, and yet looks often: some part of all time counts.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# How often is looked; less often where many workers make a look long. More time between two looks than the longest
# was not given to anybody: suspended, or a stopped machine.
EVERY_S, EVERY_A_WORKER_S, LONGEST_S = 0.1, 0.001, 1.0
LEAST_SHARE = 1 / 20
NS, TICK_S = 1e-9, 1 / os.sysconf("SC_CLK_TCK")

Cpus = frozenset[int]


@dataclass(frozen=True, slots=True)
class Spell:
    """What a task got of a stretch of time: how long it ran and how long it waited for one of its CPUs."""

    cpus: Cpus
    ran_s: float
    waited_s: float


def own_share(elapsed_s: float, spells: Iterable[Spell], idle_s: Mapping[int, float]) -> float:
    """The share of a stretch in which tasks got the CPUs that they wanted, where they got least: LEAST_SHARE to 1.

    Tasks of the same CPUs want as many of them as they ran and waited, at most all. What they lack others have held,
    as far as the CPUs were not idle (`idle_s` of each) and not theirs.
    """
    ran: dict[Cpus, float] = {}
    wanted: dict[Cpus, float] = {}
    for spell in spells:
        ran[spell.cpus] = ran.get(spell.cpus, 0.0) + spell.ran_s
        asked = min(spell.ran_s + spell.waited_s, elapsed_s)  # a wait is told when it is over, and may be longer
        wanted[spell.cpus] = wanted.get(spell.cpus, 0.0) + asked
    lost = 0.0
    for cpus, got_s in ran.items():
        want_s = min(wanted[cpus], len(cpus) * elapsed_s)
        others_s = sum(elapsed_s - idle_s.get(cpu, 0.0) for cpu in cpus) - got_s
        lost = max(lost, min(want_s - got_s, others_s) / max(want_s, elapsed_s))
    return max(1.0 - lost, LEAST_SHARE)


class OwnTime:
    """A clock of the time that counts for worker processes. `pids`: those that there are now."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self.seconds = self.looked_s = 0.0
        self._pids = pids
        self._at, self._told, self._idle_s = time.monotonic(), self._tell(), _idle_s()

    def advance(self) -> float:
        """Look, where it is time to: the seconds that count since the last look; 0.0 between two.

        What a task ran or waited is told late: a look is put off while one that is runnable has told neither.
        """
        elapsed_s = time.monotonic() - self._at
        if elapsed_s < max(EVERY_S, EVERY_A_WORKER_S * len(self._told)):
            return 0.0
        told, idle_s = self._tell(), _idle_s()
        if elapsed_s < LONGEST_S and any(self._told.get(task) == its and _runnable(task) for task, its in told.items()):
            return 0.0
        spells = [
            Spell(its.cpus, its.ran_s - before.ran_s, its.waited_s - before.waited_s)
            for task, its in told.items()
            if (before := self._told.get(task))
        ]
        idled_s = {cpu: idle - self._idle_s.get(cpu, idle) for cpu, idle in idle_s.items()}
        counted_s = min(elapsed_s, LONGEST_S) * own_share(elapsed_s, spells, idled_s)
        self._at, self._told, self._idle_s = self._at + elapsed_s, told, idle_s
        self.seconds += counted_s
        self.looked_s += min(elapsed_s, LONGEST_S)
        return counted_s

    def share_since(self, seconds: float = 0.0, looked_s: float = 0.0) -> float | None:
        """The share, 0 to 1, of the time since then that counts; None where nobody looked."""
        looked = self.looked_s - looked_s
        return round((self.seconds - seconds) / looked, 6) if looked else None

    def _tell(self) -> dict[Path, Spell]:
        """Of each task what it got since its start."""
        found = {}
        for pid in self._pids():
            with contextlib.suppress(OSError, ValueError):  # it has just ended, or nothing is told
                for path in Path(f"/proc/{pid}/task").iterdir():
                    ran, waited = (int(word) * NS for word in (path / "schedstat").read_text().split()[:2])
                    found[path] = Spell(frozenset(os.sched_getaffinity(int(path.name))), ran, waited)
        return found


def _runnable(task: Path) -> bool:
    """Whether its state, the letter behind its name, is that it runs or waits for a CPU."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] == "R"
    except (OSError, IndexError):
        return False


def _idle_s() -> dict[int, float]:
    """By CPU, idle and waiting for a disk, since the machine started."""
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
        return {int(words[0][3:]): (int(words[4]) + int(words[5])) * TICK_S for words in lines if words[0] != "cpu"}
    except (OSError, ValueError, IndexError):
        return {}
