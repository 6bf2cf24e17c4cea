"""One arm's race: line up, go, look on until the time is over, stop. However it ends, nothing is left.

What counts against an actor that stands still is time in which it could run (`stress/processes/own_time.py`).
"""

import time
from collections.abc import Callable

import numpy as np

from kernels.layout import LINE_WORDS
from kernels.race.clock import Calibration
from kernels.real.loops import REFUSED
from kernels.real.words import SEEN, SHOOTDOWNS
from results.collect.race import Run
from results.collect.real import RealFacts, interrupts_now, interrupts_since, real_record
from results.machine.host import cpu_times, steal_share
from results.verdict import Ending
from scenarios.reals import Real
from stress.interrupts import Interrupts
from stress.processes.placement import Cpus
from stress.processes.shared_words import Words
from stress.processes.supervisor import LOOK_S, REAP_S, Over, line_up
from stress.processes.workers import Workers
from stress.real.arms import Ground, laid_out, teams
from stress.real.guest import LOST

WHY = {REFUSED: "the kernel refused the host's call", LOST: "a guest left KVM for a reason of its own"}
Watch = Callable[[int, int, float], None]


def race_real(arm: str, real: Real, clock: Calibration, cpus: Cpus, interrupts: Interrupts, watch: Watch) -> Run:
    """Race one arm for its duration. `watch` gets the shootdowns and reads so far, and the seconds that are left.

    Raises HarnessFault and CannotRunHere.
    """
    with laid_out(arm, real) as ground:
        workers = Workers(teams(ground, real, clock, cpus), go=lambda: bool(ground.words[ground.places.go]))
        overseer = Overseer(ground, real, workers, interrupts, watch)
        steal, before = cpu_times(), interrupts_now()
        try:
            ending, notes = overseer.run()
        finally:
            workers.kill()
        facts = RealFacts(
            arm=arm,
            ending=ending,
            notes=notes,
            seconds=overseer.seconds,
            faults=real.faults,
            interrupts=interrupts_since(before),
            steal_share=steal_share(steal, cpu_times()),
        )
        return real_record(facts, ground.words, ground.places)


class Overseer:
    """One race from the parent's side. `seconds`: how long everybody raced."""

    def __init__(self, ground: Ground, real: Real, workers: Workers, interrupts: Interrupts, watch: Watch) -> None:
        self._words, self._places = ground.words, ground.places
        self._real, self._workers, self._interrupts, self._watch = real, workers, interrupts, watch
        self._names = [f"vcpu {reader}" for reader in range(real.vcpus)] + ["zapper 0"]
        self._progress, self._still_s = self._count(), np.zeros(len(self._names))
        self._began = 0.0
        self.seconds = 0.0

    def run(self) -> tuple[Ending, tuple[str, ...]]:
        """From the start line to the end, whatever that is, and what is to be said of it. Workers may be left."""
        ending, notes = Ending.finished, tuple[str, ...]()
        try:
            self._own_time = line_up(self._workers, self._attend)
            self._race()
        except Over as over:
            ending, notes = over.ending, over.notes
        if self._began and ending in (Ending.finished, Ending.interrupted):
            self._words[self._places.stop] = 1
            self.seconds = time.monotonic() - self._began
            try:
                self._end()
            except Over as over:
                ending, notes = (ending if ending == Ending.interrupted else over.ending), (*notes, *over.notes)
        return ending, notes

    def _race(self) -> None:
        self._words[self._places.go] = 1
        self._workers.release()
        self._began = time.monotonic()
        while (left_s := self._began + self._real.duration_s - time.monotonic()) > 0:
            self._attend(min(LOOK_S, left_s))
            self._see_who_moves(self._own_time.advance())
            self.seconds = time.monotonic() - self._began
            self._watch(int(self._progress[-1]), int(self._progress[:-1].sum()), left_s)

    def _attend(self, longest_s: float) -> None:
        """Sleep for so long, unless somebody ends or the user has enough."""
        for dead in self._workers.wait(longest_s):
            raise Over(Ending.crashed, str(dead), *filter(None, [WHY.get(dead.code)]))
        if self._interrupts:
            raise Over(Ending.interrupted, "interrupted")

    def _see_who_moves(self, counted_s: float) -> None:
        now = self._count()
        self._still_s = np.where(now != self._progress, 0.0, self._still_s + counted_s)
        self._progress = now
        stuck = [self._names[actor] for actor in np.flatnonzero(self._still_s >= self._real.watchdog_s)]
        if stuck:
            raise Over(Ending.hung, f"no progress for {self._real.watchdog_s:g} s: {', '.join(stuck)}")

    def _count(self) -> Words:
        """How far everybody is: each reader's reads, and the host's shootdowns."""
        readers = self._words[self._places.reader :][: self._real.vcpus * LINE_WORDS].reshape(-1, LINE_WORDS)
        reads: Words = readers[:, : len(SEEN)].sum(axis=1)
        return np.append(reads, self._words[self._places.host + SHOOTDOWNS])

    def _end(self) -> None:
        """Everybody has been told to stop, and finishes what it has in hand."""
        limit_s = REAP_S + self._own_time.seconds
        while self._workers.alive:
            for dead in self._workers.wait(LOOK_S):
                if dead.code:
                    raise Over(Ending.crashed, str(dead))
            self._own_time.advance()
            if self._own_time.seconds > limit_s:
                raise Over(Ending.hung, f"told to stop, and went on for {REAP_S:g} s: {', '.join(self._workers.alive)}")
