"""A race from the parent's side: line up, go, warm up, measure, stop.

The parent only looks; workers are never stopped for it. All times are of CLOCK_MONOTONIC, so that setting the system's
clock changes nothing.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from kernels.layout import FROZEN, GO, STOP_ENDING, STOP_ENDLESS, Layout
from kernels.race.lines import label_text
from kernels.tdx.outcomes import Outcome
from results.collect.tally import Series, Snapshot, snapshot
from results.verdict import Ending, too_few
from scenarios.models import Scenario
from scenarios.times import parse_start_offset
from stress.interrupts import Interrupts
from stress.processes.own_time import LONGEST_S, OwnTime
from stress.processes.shared_words import Words
from stress.processes.watchdog import Watchdog, actor_names, finished, positions
from stress.processes.workers import ExitStatus, Workers

# How long the parent sleeps between two looks. Short where the race is over with the last shootdown.
LOOK_S, SHORT_LOOK_S = 0.1, 0.01
MORE_S = 1.0  # by which a race goes on that has met too few
LINE_UP_S, REAP_S, LAST_WORD_S = 60.0, 2.0, 1.0
FORK_S = 0.3  # more for each worker: 513 took over 60 s beside 90 busy processes on 2 CPUs
PAUSE_S = 200e-9  # of one pause between two shootdowns, on the slowest CPU known to us

Watch = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Catch:
    """The first look at which an outcome had shown itself: how long after the start, after how many shootdowns, and how
    many of these met a vCPU.
    """

    outcome: Outcome
    seconds: float
    shootdowns: int
    met: int


class Over(Exception):
    """The race is over before its time: how, and what is to be said of it."""

    def __init__(self, ending: Ending, *notes: str) -> None:
        super().__init__(ending, *notes)
        self.ending = ending
        self.notes = notes


def longest_rest_s(scenario: Scenario) -> float:
    """How long a zapper may rest between two shootdowns without being stuck."""
    between = 2 * scenario.zappers / scenario.rate if scenario.rate else 0.0
    offset = parse_start_offset(scenario.start_offset)
    return between + scenario.gap * PAUSE_S + (offset.most_ns / 1e9 if offset else 0.0)


def line_up(workers: Workers, attend: Callable[[float], None]) -> OwnTime:
    """Start the workers and wait until all are ready; returns the time that they had since. `attend` sleeps for so
    long, unless a worker ends or the user has enough. Raises Over and HarnessFault.
    """
    most_s = LINE_UP_S + FORK_S * workers.size
    workers.start()
    own_time = OwnTime(lambda: workers.alive.values())
    while workers.ready < workers.size:
        attend(LOOK_S)
        own_time.advance()
        if own_time.seconds > most_s:
            missing = workers.size - workers.ready
            raise Over(Ending.crashed, f"{missing} of {workers.size} workers not ready after {most_s:.0f} s")
    return own_time


class Supervisor:
    """One race. `watch` is called at every look, with the phase and the seconds that it has left, or None.

    The first outcome of `until` ends it; it is looked for every 10 ms, so that a catch is up to that much late. It may
    take `longest_s` to meet enough vCPUs for a verdict.

    After `run`: `caught` is that outcome, None where none showed; `warm` is the tally at the end of the warm-up, None
    where it did not end; `seconds` the time measured; `ready_s` how long the workers took to the start line; `series`
    the counters over time; `notes` what is to be said.
    """

    def __init__(
        self,
        words: Words,
        lay: Layout,
        scenario: Scenario,
        workers: Workers,
        interrupts: Interrupts,
        watch: Watch,
        until: Collection[Outcome] = (),
        longest_s: float = 0.0,
    ) -> None:
        self._words, self._lay, self._scenario, self._workers = words, lay, scenario, workers
        self._interrupts, self._watch = interrupts, watch
        self._until, self._longest_s = tuple(until), longest_s
        self._started = False
        self.caught: Catch | None = None
        self.series = Series()
        self.warm: Snapshot | None = None
        self.seconds = 0.0
        self._lined_up_s: tuple[float, float] | None = None
        self.ready_s: float | None = None
        self.notes: list[str] = []

    def run(self) -> Ending:
        """From the start line to the end, whatever it is. Workers may be left: they are killed by who made them."""
        ending = Ending.finished
        try:
            self._line_up()
            self._race()
        except Over as over:
            ending = over.ending
            self.notes += over.notes
        self._words[self._lay.control + FROZEN] = 1  # what happens while actors are told to stop is of no interest
        if self.warm is not None:
            self.seconds = (time.monotonic_ns() - self.warm.at_ns) / 1e9
        if not self._started or ending in (Ending.crashed, Ending.hung):
            return ending
        try:
            self._stop(ending)
        except Over as over:
            self.notes += over.notes
            # Behind a catch nothing is asked any more: a broken protocol need not come to an end.
            over_already = ending == Ending.interrupted or (self.caught is not None and over.ending == Ending.hung)
            return ending if over_already else over.ending
        return ending

    @property
    def own_share(self) -> float | None:
        """The share, 0 to 1, of the CPUs' time that the actors wanted and got since the start line; None where it was
        too short a race to look.
        """
        return None if self._lined_up_s is None else self._own_time.share_since(*self._lined_up_s)

    def _line_up(self) -> None:
        begun = time.monotonic()
        self._own_time = line_up(self._workers, self._attend)
        self.ready_s = time.monotonic() - begun

    def _attend(self, longest_s: float) -> None:
        self._bury(self._workers.wait(longest_s))
        self._heed_interrupts()

    def _race(self) -> None:
        start = snapshot(self._words, self._lay)
        self._started_ns = start.at_ns
        self._started = True
        self._watchdog = Watchdog(self._words, self._lay, self._scenario.watchdog_s, longest_rest_s(self._scenario))
        self._seen_s = time.monotonic()
        self._lined_up_s = self._own_time.seconds, self._own_time.looked_s
        self._words[self._lay.control + GO] = 1
        self._workers.release()
        if self._pass("warm-up", self._scenario.warmup_s):
            self._workers.settle()
            self.warm = snapshot(self._words, self._lay)
            self._measure()
        else:
            self.warm = start
            how = "the last zapper ended" if self.caught is None else "the race was over"
            self.notes.append(f"{how} before the warm-up did: all of the race is taken as measured")

    def _measure(self) -> None:
        """For the scenario's time or shootdowns, and on where that has met too few vCPUs, for so long at most."""
        seconds = None if self._scenario.shootdowns else self._scenario.duration_s
        left_s = self._longest_s - self._scenario.duration_s
        while self._pass("measuring", seconds) and left_s > 0:
            now = snapshot(self._words, self._lay)
            if not too_few(now.met_shootdowns, now.shootdowns, self.own_share):
                break
            seconds = min(MORE_S, left_s)
            left_s -= seconds

    def _pass(self, phase: str, seconds: float | None) -> bool:
        """Let this much time pass, or all it takes; False where every zapper has finished before, or one was caught."""
        until = None if seconds is None else time.monotonic() + seconds
        step = SHORT_LOOK_S if self._scenario.shootdowns or self._until else LOOK_S
        while self.caught is None and not finished(self._words, self._lay, self._lay.zappers):
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return True
            self._look(step if left is None else min(step, left))
            self._heed_interrupts()
            self._watch(phase, left)
        return False

    def _look(self, longest_s: float) -> None:
        """Sleep for so long, then see who died or stands still, and note the counters."""
        self._bury(self._workers.wait(longest_s))
        now = time.monotonic()
        elapsed, self._seen_s = now - self._seen_s, now
        if elapsed > longest_s + LONGEST_S:
            self.notes.append(f"suspended for {elapsed - longest_s:.1f} s, which count as measured")
        counted_s = self._own_time.advance()
        if counted_s and (stuck := self._watchdog.look(counted_s)):
            who = actor_names(self._lay, stuck)
            self._over_without_progress(f"no progress for {self._scenario.watchdog_s:g} s: {who}")
        seen = snapshot(self._words, self._lay, histograms=False)
        self.series.append(seen)
        self._note_catch(seen)

    def _note_catch(self, seen: Snapshot) -> None:
        shown = [outcome for outcome in self._until if seen.outcomes[outcome] > 0]
        if self.caught is None and shown:
            whole = snapshot(self._words, self._lay)
            at_s = (seen.at_ns - self._started_ns) / 1e9
            self.caught = Catch(shown[0], at_s, whole.shootdowns, whole.met_shootdowns)

    def _over_without_progress(self, what: str) -> None:
        raise Over(Ending.hung, what, *positions(self._words, self._lay, label_text))

    def _heed_interrupts(self) -> None:
        if self._interrupts:
            raise Over(Ending.interrupted, "interrupted")

    def _bury(self, ended: list[ExitStatus]) -> None:
        """A worker that has done its work may end; any other end is the end of the race."""
        dead = [worker for worker in ended if worker.code != 0]
        if dead:
            where = positions(self._words, self._lay, label_text) if self._started else ()
            raise Over(Ending.crashed, *map(str, dead), *where)

    def _stop(self, ending: Ending) -> None:
        """Zappers first: to finish the shootdown in hand they need the vCPUs. After an interrupt nobody waits long, nor
        after a catch.
        """
        soon = ending == Ending.interrupted or self.caught is not None
        limit_s = LAST_WORD_S if soon else 2 * self._scenario.watchdog_s
        clock = time.monotonic if soon else lambda: self._own_time.seconds
        patient_until = time.monotonic() + LAST_WORD_S
        for word, count in ((STOP_ENDING, self._lay.zappers), (STOP_ENDLESS, None)):
            self._words[self._lay.control + word] = 1
            until = clock() + limit_s
            while not finished(self._words, self._lay, count):
                if clock() > until:
                    self._over_without_progress(f"told to stop, and went on for {limit_s:g} s")
                if not soon and time.monotonic() > patient_until:
                    self._heed_interrupts()
                self._look(SHORT_LOOK_S)
        self._bury(self._workers.wait_for_end(REAP_S))
        self._note_catch(snapshot(self._words, self._lay, histograms=False))  # what the last steps showed
