"""Two processes that measure what two CPUs are to each other: the way of a line between them, their store buffers, and
what it takes to interrupt the other one.

One pair of processes serves every pair of CPUs: before each they pin themselves and meet. What they find out stands in
shared words, so that what was measured is there however they end.
"""

import os
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kernels.layout import LINE_WORDS
from kernels.race.clock import Calibration
from kernels.race.probes import Places, Probes, places
from stress.processes.kicks import interruptible, this_thread, why_none
from stress.processes.own_time import OwnTime
from stress.processes.placement import Cpus, inherited_cpus
from stress.processes.shared_words import Words, shared_words
from stress.processes.worker import Job
from stress.processes.workers import Workers

CpuPair = tuple[int, ...]

BATCHES, ROUNDS = 64, 32
ENOUGH_BATCHES = 8
CELLS, CALLS = 256, 200
LOOK_S = 0.05
# Batches of one way to kick are begun for so long; who is interrupted is back at its work so soon, or had lost its CPU.
KICKS_S, SOON_S = 1.0, 100e-6
# What a side tells: offsets in its line.
NOT_PINNED, REALTIME, BYTES, TRIALS, MISSED, TRIALS_FENCED, MISSED_FENCED, GO, THREAD = range(9)
KICKS = {"membarrier": 9, "signal": 10}  # the ticks of ROUNDS of them
GRANTED, REFUSED = 1, 2


@dataclass(frozen=True, slots=True)
class Errand:
    """What to measure: the round trip of these pairs of CPUs, store buffering and real kicks on one, and what a worker
    costs.

    A pair gets `pair_s` at most, all together `within_s`.
    """

    pairs: tuple[CpuPair, ...]
    buffering: CpuPair = ()
    kicks: CpuPair = ()
    worker: bool = False
    pair_s: float = 0.05
    within_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Buffering:
    """Store buffering: in how many of the trials both loads missed the other's store; without and with a fence."""

    cpus: CpuPair
    trials: int
    missed: int
    trials_fenced: int
    missed_fenced: int


@dataclass(frozen=True, slots=True)
class Results:
    """What came back. `round_trips_ns`: mean of each batch of ROUNDS, for each pair that had enough of them.
    `kicks_ns`: the median of these means, of each way to kick that had enough batches of interruptions.

    `realtime` is whether SCHED_FIFO was granted, `worker_bytes` the memory that a worker shares with nobody; None
    where it was not asked for or not found out. `trouble` is why something is missing, or ""; `crashed` where that
    was the end of a process that had not done its work. `own_share`: of the time that both wanted their CPUs for, None
    where nobody looked.
    """

    round_trips_ns: dict[CpuPair, tuple[float, ...]] = field(default_factory=dict)
    buffering: Buffering | None = None
    kicks_ns: dict[str, float] = field(default_factory=dict)
    realtime: bool | None = None
    worker_bytes: int | None = None
    trouble: str = ""
    crashed: bool = False
    own_share: float | None = None


def measure(errand: Errand, clock: Calibration, probes: Probes, stop: Callable[[], bool] = lambda: False) -> Results:
    """Run the errand in processes of its own, all gone afterwards; `stop` ends it early. Raises HarnessFault."""
    where = places(max(len(errand.pairs), 1), BATCHES, CELLS)
    words = shared_words(where.total_words)
    sides = 2 if errand.pairs or errand.buffering or errand.kicks else 1
    here = inherited_cpus()
    jobs = [
        [Job(f"probe {side}", partial(_serve, side, sides, errand, clock, probes, words, where), here)]
        for side in range(sides)
    ]
    workers = Workers(jobs, go=lambda: bool(words[where.told + GO]))
    try:
        workers.start()
        own_time = OwnTime(lambda: workers.alive.values())
        trouble, crashed = _attend(workers, own_time, words, where.told + GO, errand.within_s, stop)
    finally:
        workers.kill()
    return replace(_found(errand, clock, words, where, trouble), crashed=crashed, own_share=own_time.share_since())


def _attend(
    workers: Workers, own_time: OwnTime, words: Words, go: int, within_s: float, stop: Callable[[], bool]
) -> tuple[str, bool]:
    """Let them work to the end; what went wrong, or "", and whether a worker was at fault."""
    until, released = time.monotonic() + within_s, False
    while workers.alive:
        if dead := [ended for ended in workers.wait(LOOK_S) if ended.code != 0]:
            return str(dead[0]), True
        own_time.advance()
        if stop():
            return "interrupted", False
        if time.monotonic() > until:
            return f"not done after {within_s:g} s: something else holds the CPUs", False
        if not released and workers.ready == workers.size:
            words[go], released = 1, True
            workers.release()
    return "", False


def _serve(
    side: int, sides: int, errand: Errand, clock: Calibration, probes: Probes, words: Words, where: Places
) -> int:
    """One side's work, in its own process."""
    told = where.told + side * LINE_WORDS
    meeting = _Meeting(probes, words, where, side)
    for number, pair in enumerate(errand.pairs):
        if not meeting.on(pair):
            continue
        ball, most = where.balls + number * LINE_WORDS, round(errand.pair_s * clock.ticks_per_s)
        if side == 0:
            probes.ping(words, ball, where.ticks + number * BATCHES, BATCHES, ROUNDS, most, int(clock.clock))
        else:
            probes.pong(words, ball, BATCHES, ROUNDS, most, int(clock.clock))
    if errand.buffering and meeting.on(errand.buffering):
        for fenced, trials in ((0, TRIALS), (1, TRIALS_FENCED)):
            _buffer(meeting, probes, words, where, side, fenced, told + trials)
    if errand.kicks and meeting.on(errand.kicks):
        _kick(meeting, probes, clock, words, where, side)
    if errand.worker and side == 0:
        words[told + REALTIME] = GRANTED if _realtime_granted() else REFUSED
        words[told + BYTES] = private_bytes(Path("/proc/self/smaps_rollup")) or 0
    return 0


class _Meeting:
    """Where both sides wait for each other; each meeting has the next number."""

    def __init__(self, probes: Probes, words: Words, where: Places, side: int) -> None:
        self._probes, self._words, self._where, self._side = probes, words, where, side
        self.number = 0

    def both(self) -> None:
        """Go on when the other side has come, too."""
        self.number += 1
        mine, theirs = (self._where.met + side * LINE_WORDS for side in (self._side, 1 - self._side))
        self._probes.meet(self._words, mine, theirs, self.number)

    def on(self, pair: CpuPair) -> bool:
        """Pin this side to its CPU of the pair and meet there; False where either side could not be pinned."""
        self.both()
        not_pinned = self._where.told + NOT_PINNED
        try:
            os.sched_setaffinity(0, {pair[self._side]})
        except OSError:  # the CPU has been taken away, or put offline
            self._words[not_pinned + self._side * LINE_WORDS] = self.number
        number = self.number
        self.both()
        return number not in (self._words[not_pinned], self._words[not_pinned + LINE_WORDS])


def _buffer(meeting: _Meeting, probes: Probes, words: Words, where: Places, side: int, fenced: int, tell: int) -> None:
    """Both sides together: CALLS times so many trials as there are cells; the first side counts."""
    stored = [where.stored, where.stored + CELLS * LINE_WORDS]
    seen = words[where.seen : where.seen + 2 * CELLS].reshape(2, CELLS)
    for _ in range(CALLS):
        meeting.both()
        number = meeting.number
        probes.store_then_load(words, stored[side], stored[1 - side], where.seen + side * CELLS, CELLS, number, fenced)
        meeting.both()
        if side == 0:
            words[tell] += CELLS
            words[tell + MISSED - TRIALS] += int((seen < number).all(axis=0).sum())


def _kick(meeting: _Meeting, probes: Probes, clock: Calibration, words: Words, where: Places, side: int) -> None:
    """The first side interrupts the second, which has its CPU, in each way that there is."""
    soon = round(SOON_S * clock.ticks_per_s)
    for kick_by, tell in KICKS.items():
        if why_none(kick_by):
            continue
        if side == 1:
            interruptible(kick_by)
            words[where.told + THREAD] = this_thread() if kick_by == "signal" else 0
        meeting.both()
        if side == 1:
            probes.beat(words, where.balls, where.met, meeting.number + 1)
        else:
            done: list[int] = []
            until, thread = time.monotonic() + KICKS_S, int(words[where.told + THREAD])
            while len(done) < BATCHES and (left_s := until - time.monotonic()) > 0:
                most = round(left_s * clock.ticks_per_s)
                took = probes.kicks(words, where.balls, ROUNDS, soon, most, thread, int(clock.clock))
                if not took:  # refused, or no time is left
                    break
                done.append(took)
            words[where.told + tell] = statistics.median(done) if len(done) >= ENOUGH_BATCHES else 0
        meeting.both()


def _realtime_granted() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        return False
    return True


def private_bytes(rollup: Path) -> int | None:
    """Bytes of a process that it shares with no other, from its smaps_rollup; None where there is none."""
    try:
        found = re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", rollup.read_text(), re.MULTILINE)
    except OSError:
        return None
    return sum(map(int, found)) * 1024 or None


def _found(errand: Errand, clock: Calibration, words: Words, where: Places, trouble: str) -> Results:
    ns_a_tick = 1e9 / clock.ticks_per_s
    all_ticks = words[where.ticks : where.ticks + max(len(errand.pairs), 1) * BATCHES].reshape(-1, BATCHES)
    trips = {}
    for pair, ticks in zip(errand.pairs, all_ticks, strict=False):
        done = ticks[ticks > 0]
        if done.size >= ENOUGH_BATCHES:
            trips[pair] = tuple((done * (ns_a_tick / ROUNDS)).tolist())
    told = words[where.told : where.told + LINE_WORDS].tolist()
    buffering = None
    if errand.buffering and told[TRIALS] and told[TRIALS_FENCED]:
        buffering = Buffering(errand.buffering, *told[TRIALS : MISSED_FENCED + 1])
    missing = len(errand.pairs) - len(trips)
    if missing and not trouble:
        trouble = f"{missing} of {len(errand.pairs)} pairs of CPUs had no time together"
    kicks = {name: told[tell] * ns_a_tick / ROUNDS for name, tell in KICKS.items() if told[tell]}
    realtime = {GRANTED: True, REFUSED: False}.get(told[REALTIME])
    return Results(trips, buffering, kicks, realtime, told[BYTES] or None, trouble)


def all_pairs(cpus: Cpus) -> tuple[CpuPair, ...]:
    """Every pair once, the lower place in `cpus` first."""
    return tuple((a, b) for place, a in enumerate(cpus) for b in cpus[place + 1 :])
