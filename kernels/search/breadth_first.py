"""One breadth-first search: its arrays, grown as it goes, the threads that share it, and the way to what it found."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.language.entered import words_with_room
from kernels.layout import LINE_WORDS, OUTCOME_COUNTS
from kernels.search import frontier as store
from kernels.search import moves
from kernels.search.memory import check, memos, reserved, zeroed
from kernels.search.schedule import Move, Schedule
from kernels.search.tables import compiled, is_a_choice

SLICE_NS = 200_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search has come; `found` are the numbers of what it has shown until then."""

    states: int
    transitions: int
    depth: int
    frontier: int
    seconds: float
    found: tuple[int, ...] = ()


class Search:
    """The arrays of one search, grown as it goes, and the threads that share it."""

    def __init__(self, start: Schedule, plan: moves.Plan, threads: int, memory_bytes: int) -> None:
        self.start, self.plan, self.threads = start, plan, threads
        self.most_words = memory_bytes // 8
        self.words = [words_with_room(start.lay.total_words) for _ in range(threads)]
        self.memos = memos(plan, threads, self.most_words)
        self.seconds = 0.0
        actors, columns = len(start.actors), plan.columns
        parts, bits = store.PARTS, 10
        # Twice what an equal share of the memory holds; untouched, it takes none.
        links, rows = self.most_words // parts * 2, max(self.most_words // parts // columns * 2, 1)
        # Two threads write beside each other: what is theirs begins on a line of its own, and ends on one.
        work = -(-(columns + actors) // LINE_WORDS) * LINE_WORDS
        bucket = store.CHUNK * actors * 2 // parts + 4 * plan.most_moves
        self.store = store.Store(
            slots=1 << bits,
            bits=bits,
            most_links=links,
            most_rows=rows,
            most_words=self.most_words,
            threads=threads,
            columns=columns,
            work=work,
            bucket=bucket,
            findings=plan.findings,
            tables=np.zeros(parts << bits, np.int64),
            links=reserved(parts * links),
            frontier=reserved(2 * parts * rows * columns),
            rows=np.zeros(2 * parts, np.int64),
            touched=np.zeros(2 * parts, np.int64),
            done=np.zeros(parts, np.int64),
            states=np.zeros(parts, np.int64),
            first=np.zeros(2 * parts, np.int64),
            buckets=reserved(parts * parts * bucket * store.CANDIDATE),
            filled=reserved(parts * parts),
            scratch=reserved(parts * work),
            transitions=np.zeros(parts * 16, np.int64),
            deadlocks=np.zeros(parts * 16, np.int64),
            seen=np.zeros(parts * plan.findings, np.int64),
            found=np.zeros(plan.findings, np.int64),
            control=reserved(store.CONTROL_WORDS),
        )

    def run(self, watch: Callable[[Progress], bool] | None) -> str:
        """Search to the end, or to what stops it: returns "", "memory", "interrupt" or "first"."""
        code, lay = compiled(self.start.protocol), self.start.lay
        self.words[0][: lay.state_words] = self.start.words[: lay.state_words]
        begun = time.monotonic()
        code.plant(self.plan, self.memos[0], self.store, self.words[0], lay)
        while True:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            self.store.control[store.DEADLINE] = now + SLICE_NS
            command = self._slice(code)
            self.seconds = time.monotonic() - begun
            if command == store.FINISHED:
                return ""
            if command == store.STOP:
                return "first"
            if command == store.PAUSE:
                if watch is not None and not watch(self.progress()):
                    return "interrupt"
            elif not self._grow(code, command):
                return "memory"

    def progress(self) -> Progress:
        """How far it has come."""
        now = self.store
        return Progress(
            states=int(now.states.sum()),
            transitions=int(now.transitions.sum()),
            depth=int(now.control[store.DEPTH]),
            frontier=int(now.rows.sum() - now.done.sum()),
            seconds=self.seconds,
            found=tuple(map(int, np.flatnonzero(now.found))),
        )

    def stop_at(self, findings: Iterable[int]) -> None:
        """Let the first of these findings end the search."""
        for finding in findings:
            self.store.control[store.WANTED] |= 1 << finding

    def findings(self) -> dict[int, tuple[Move, ...]]:
        """The way to everything found."""
        return {number: self.schedule(number) for number in range(self.plan.findings) if self.store.found[number]}

    def deadlocks(self) -> int:
        """States in which nobody can change anything and one that comes to an end has not returned."""
        return int(self.store.deadlocks.sum())

    def _slice(self, code: Any) -> int:
        lay, rules = self.start.lay, self.start.rules

        def share(thread: int) -> int:
            memo, words = self.memos[thread], self.words[thread]
            return int(code.search(self.plan, memo, self.store, words, lay, rules, thread, self.threads))

        all_there = threading.Event()
        others: list[threading.Thread] = []

        def wait_and_share(thread: int) -> None:
            all_there.wait()  # who shares waits for all the others: where one cannot be started, nobody begins
            if len(others) == self.threads - 1:
                share(thread)

        try:
            for thread in range(1, self.threads):
                other = threading.Thread(target=wait_and_share, args=(thread,))
                other.start()
                others.append(other)
        finally:
            all_there.set()
        command = share(0)
        for other in others:
            other.join()
        check(self.memos[0])
        return command

    def _grow(self, code: Any, command: int) -> bool:
        """Tables of twice the size; False where the memory allowed does not hold them beside all else."""
        old = self.store
        links, rows = int(old.states.sum()), int(np.maximum(old.touched, old.rows).sum())
        used = 3 * old.tables.size + links + rows * old.columns
        if command != store.TABLE_FULL or used > self.most_words:
            return False
        tables = zeroed(2 * old.tables.size)
        code.rehash(old.tables, tables, old.bits, old.bits + 1)
        self.store = old._replace(tables=tables, slots=2 * old.slots, bits=old.bits + 1)
        return True

    def schedule(self, finding: int) -> tuple[Move, ...]:
        """The way to a finding, step by step; it ends with the step that shows it."""
        link = int(self.store.found[finding]) - 1
        numbers = [] if finding >= self.plan.deadlock else [link & (1 << store.MOVE_BITS) - 1]
        state = link >> store.MOVE_BITS
        while True:
            link = int(self.store.links[(state % store.PARTS) * self.store.most_links + state // store.PARTS])
            if link < 0:
                break
            numbers.append(link & (1 << store.MOVE_BITS) - 1)
            state = link >> store.MOVE_BITS
        steps = [(number >> 12, number & store.NUMBERS - 1) for number in reversed(numbers)]
        return schedule_of(self.start, steps, bool(self.plan.reduce), finding if finding < self.plan.outcomes else None)


def schedule_of(
    start: Schedule, numbered: Iterable[tuple[int, int]], reduced: bool, outcome: int | None = None
) -> tuple[Move, ...]:
    """Moves of a search, each an actor and the number of its choices, as steps; up to the one that shows `outcome`."""
    run = Schedule(start.protocol, start.rules, start.size)
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
