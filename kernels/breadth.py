"""One breadth-first search: its arrays, grown as it goes, the threads that share it, and the way to what it found."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels import moves, search
from kernels.layout import OUTCOME_COUNTS
from kernels.outcomes import Outcome
from kernels.plans import addressed, compiled, is_a_choice
from kernels.race import record
from kernels.schedule import Schedule

SLICE_NS = 200_000_000


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a schedule, as `Schedule.step` takes it."""

    actor: str
    chosen: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search has come."""

    states: int
    transitions: int
    depth: int
    frontier: int
    seconds: float


class Search:
    """The arrays of one search, grown as it goes, and the threads that share it."""

    def __init__(self, start: Schedule, plan: moves.Plan, threads: int, memory_bytes: int) -> None:
        self.start, self.plan, self.threads = start, plan, threads
        self.most_words = memory_bytes // 8
        self.records = record(start.lay), record(start.rules)
        self.words = [np.zeros(start.lay.total_words, np.int64) for _ in range(threads)]
        self.seconds = 0.0
        actors = len(start.actors)
        columns = start.lay.state_words + 1 + actors
        breadth = search.HEAD + 1 + actors + int(max(plan.stop - plan.start))
        candidates = search.CHUNK * actors * 2 + plan.most_moves
        parts = search.PARTS
        self.store = search.Store(
            slots=1024,
            most_links=512,
            most_rows=256,
            columns=columns,
            most_candidates=candidates,
            breadth=breadth,
            tables=np.zeros(parts * 1024, np.int64),
            links=np.empty(parts * 512, np.int64),
            frontier=np.empty(2 * parts * 256 * columns, np.int64),
            rows=np.zeros(2 * parts, np.int64),
            done=np.zeros(parts, np.int64),
            states=np.zeros(parts, np.int64),
            first=np.zeros(2 * parts, np.int64),
            candidates=np.empty(parts * candidates * breadth, np.int64),
            order=np.empty(parts * candidates, np.int64),
            begins=np.zeros(parts * (parts + 2), np.int64),
            transitions=np.zeros(parts * 16, np.int64),
            deadlocks=np.zeros(parts * 16, np.int64),
            seen=np.zeros(parts * search.FINDINGS, np.int64),
            found=np.zeros(search.FINDINGS, np.int64),
            control=np.zeros(search.CONTROL_WORDS, np.int64),
        )

    def run(self, watch: Callable[[Progress], bool] | None) -> str:
        """Search to the end, or to what stops it: returns "", "memory", "interrupt" or "first"."""
        code, lay = compiled(self.start.rules.flow), self.start.lay
        self.words[0][: lay.state_words] = self.start.words[: lay.state_words]
        begun = time.monotonic()
        code.plant(addressed(self.plan), addressed(self.store), self.words[0], self.records[0])
        while True:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            self.store.control[search.DEADLINE] = now + SLICE_NS
            command = self._slice(code)
            self.seconds = time.monotonic() - begun
            if command == search.FINISHED:
                return ""
            if command == search.STOP:
                return "first"
            if command == search.PAUSE:
                if watch is not None and not watch(self.progress()):
                    return "interrupt"
            elif not self._grow(code, command):
                return "memory"

    def progress(self) -> Progress:
        """How far it has come."""
        store = self.store
        return Progress(
            states=int(store.states.sum()),
            transitions=int(store.transitions.sum()),
            depth=int(store.control[search.DEPTH]),
            frontier=int(store.rows.sum() - store.done.sum()),
            seconds=self.seconds,
        )

    def stop_at(self, findings: Iterable[int]) -> None:
        """Let the first of these findings end the search."""
        for finding in findings:
            self.store.control[search.WANTED] |= 1 << finding

    def findings(self) -> dict[int, tuple[Move, ...]]:
        """The way to everything found."""
        return {number: self.schedule(number) for number in range(search.FINDINGS) if self.store.found[number]}

    def deadlocks(self) -> int:
        """States in which nobody can change anything and a zapper has not returned."""
        return int(self.store.deadlocks.sum())

    def _slice(self, code: Any) -> int:
        plan, store = addressed(self.plan), addressed(self.store)

        def share(thread: int) -> int:
            return int(code.search(plan, store, self.words[thread], *self.records, thread, self.threads))

        others = [threading.Thread(target=share, args=(thread,)) for thread in range(1, self.threads)]
        for other in others:
            other.start()
        command = share(0)
        for other in others:
            other.join()
        return command

    def _grow(self, code: Any, command: int) -> bool:
        """Four times the room, or twice; False where the memory allowed does not hold that."""
        store, parts = self.store, search.PARTS
        arrays = {search.TABLE_FULL: store.tables, search.LINKS_FULL: store.links}
        full = arrays.get(command, store.frontier)
        used = store.tables.size + store.links.size + store.frontier.size
        times = next((times for times in (4, 2) if used + times * full.size <= self.most_words), 0)
        if times and command == search.TABLE_FULL:
            tables = _zeroed(parts * store.slots * times)
            code.rehash(store.tables, tables, store.slots, store.slots * times)
            self.store = store._replace(tables=tables, slots=store.slots * times)
        elif times and command == search.LINKS_FULL:
            links = _wider(store.links, parts, int(store.states.max()), times)
            self.store = store._replace(links=links, most_links=store.most_links * times)
        elif times:
            frontier = _wider(store.frontier, 2 * parts, int(store.rows.max()) * store.columns, times)
            self.store = store._replace(frontier=frontier, most_rows=store.most_rows * times)
        return times > 0

    def schedule(self, finding: int) -> tuple[Move, ...]:
        """The way to a finding, step by step; it ends with the step that shows it."""
        link = int(self.store.found[finding]) - 1
        numbers = [] if finding == search.DEADLOCK else [link & (1 << search.MOVE_BITS) - 1]
        state = link >> search.MOVE_BITS
        while True:
            link = int(self.store.links[(state % search.PARTS) * self.store.most_links + state // search.PARTS])
            if link < 0:
                break
            numbers.append(link & (1 << search.MOVE_BITS) - 1)
            state = link >> search.MOVE_BITS
        steps = [(number >> 12, number & search.NUMBERS - 1) for number in reversed(numbers)]
        return schedule_of(self.start, steps, bool(self.plan.reduce), finding if finding < len(Outcome) else None)


def schedule_of(
    start: Schedule, numbered: Iterable[tuple[int, int]], reduced: bool, outcome: int | None = None
) -> tuple[Move, ...]:
    """Moves of a search, each an actor and the number of its choices, as steps; up to the one that shows `outcome`."""
    lay = start.lay
    run = Schedule(start.rules, vcpus=lay.vcpus, zappers=lay.zappers, pages=lay.pages, tlb_entries=lay.tlb_entries)
    taken: list[Move] = []
    for actor, number in numbered:
        for move in _steps(run, run.actors[actor], number, reduced):
            taken.append(move)
            if outcome is not None and _noted(run, outcome):
                return tuple(taken)
    return tuple(taken)


def _steps(run: Schedule, actor: str, number: int, reduced: bool) -> Iterator[Move]:
    """Take a move of a search, given by the number of the choices in it; yields each step once it is taken."""
    began = False
    while (site := run.site(actor)) is not None and (not began or (reduced and is_a_choice(site))):
        ways = run.choices(actor)
        run.step(actor, number % ways)
        yield Move(actor, number % ways)
        number, began = number // ways, True


def _noted(run: Schedule, outcome: int) -> bool:
    return any(run.words[run.actor(name).tally + OUTCOME_COUNTS + outcome] for name in run.actors)


def _zeroed(words: int) -> np.ndarray:
    """Zeroes that numpy asks huge pages for, which it does not for `zeros`: most of a probe is the page walk."""
    made = np.empty(words, np.int64)
    made.fill(0)
    return made


def _wider(array: np.ndarray, blocks: int, used: int, times: int) -> np.ndarray:
    """Blocks so many times as long; the first `used` words of each are kept."""
    old = array.reshape(blocks, -1)
    wider = np.empty((blocks, old.shape[1] * times), np.int64)
    wider[:, :used] = old[:, :used]
    return wider.ravel()
