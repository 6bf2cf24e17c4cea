"""Every interleaving of a small machine: which outcomes can be reached, and the shortest way to each."""

import functools
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kernels import moves, search
from kernels.build import over_machines
from kernels.language import Site
from kernels.layout import OUTCOME_COUNTS
from kernels.outcomes import Outcome
from kernels.race import record
from kernels.rules import OnError, Rules
from kernels.schedule import Schedule, machines

NO_PROGRESS = Outcome.no_progress.name
INVARIANTS = {search.REFCOUNTS: "refcounts_add_up", search.EPOCH: "epoch_monotone"}
SLICE_NS = 200_000_000
# What a register holds that names a vCPU or a zapper, by the local's name in the source.
HOLDS_VCPU = {"vcpu": moves.FIRST, "visited": moves.SECOND}
COUNTS = {"vp_enter.fetch_add_seq_cst_epoch_tracking": 1, "td_exit.fetch_add_seq_cst_epoch_tracking": -1}
HOLDS_ZAPPER = {"mine": moves.NAMING, "seen": moves.FIRST, "how_far": moves.SECOND}


class Size(NamedTuple):
    """A machine to explore; how many shootdowns each zapper does stands in the rules."""

    vcpus: int
    zappers: int
    pages: int = 1
    tlb_entries: int = 1


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a schedule, as `Schedule.step` takes it."""

    actor: str
    chosen: int


def explored(rules: Rules) -> Rules:
    """The rules as a search follows them: no clock, and KVM_BUG_ON is the end of a zapper, as the VM is dead.

    A race goes on after it (`leak_page`) to count how often.
    """
    on_error = int(OnError.STOP) if rules.on_error == OnError.LEAK_PAGE else rules.on_error
    return rules._replace(on_error=on_error, tick=0, shared_cpus=0, perturbed=0, gap=0, period=0)


@functools.cache
def compiled() -> Any:
    """The search, compiled with the step machines of both actors; once a process."""
    entries = (search.search, search.plant, search.rehash)
    return over_machines("search", (*moves.FUNCTIONS, *search.FUNCTIONS), entries)


def addressed(fields: moves.Plan | search.Store) -> Any:
    """The fields as one record, addresses in place of arrays, which the caller keeps alive."""
    numbers = [it.ctypes.data if isinstance(it, np.ndarray) else it for it in fields]
    return np.array(tuple(numbers), [(name, np.int64) for name in fields._fields])[()]


def is_a_choice(site: Site | None) -> bool:
    """Whether the step is one: a site that names no word."""
    return site is not None and " " not in site.text


def salts(count: int) -> np.ndarray:
    """Odd random numbers, the same in every run."""
    return np.random.SeedSequence(20240123).generate_state(count, np.uint64).view(np.int64) | 1


def make_plan(run: Schedule, *, symmetry: bool, reduction: bool) -> moves.Plan:
    """What a search must know about this machine beside its layout."""
    lay = run.lay
    kinds = [machines()[0][0], machines()[1][0]]
    actors = [run.actor(name) for name in run.actors]
    fold_vcpus = int(symmetry and lay.vcpus > 1)
    orders = np.array(
        [*itertools.permutations(range(lay.zappers))] if symmetry else [tuple(range(lay.zappers))], np.int64
    )
    fold_zappers = len(orders) > 1
    named = {**(HOLDS_VCPU if fold_vcpus else {}), **(HOLDS_ZAPPER if fold_zappers else {})}

    labels = 1 + max(len(kind.sites) for kind in kinds)
    is_choice, counts = np.zeros((2, labels), np.int64), np.zeros((2, labels), np.int64)
    holds = np.zeros((2, labels, moves.COLUMNS), np.int64)
    for kind, made in enumerate(kinds):
        for label, site in enumerate(made.sites):
            counts[kind, 1 + label] = COUNTS.get(site.name, 0) if site else 0
            is_choice[kind, 1 + label] = is_a_choice(site)
            for place, local in enumerate(made.held[label]):
                column = named.get((local or "").rpartition("_")[0])
                if column is not None:
                    holds[kind, 1 + label, moves.NAMING] |= 1 << place
                    if column != moves.NAMING:
                        holds[kind, 1 + label, column] = 1 + place

    begins = [lay.mode + i * lay.vcpu_stride for i in range(lay.vcpus)]
    begins += [lay.stage + i * lay.zapper_stride for i in range(lay.zappers)]
    starts = [lay.vcpu_epoch + i * lay.vcpu_stride for i in range(lay.vcpus)]
    starts += [lay.awaiting + i * lay.zapper_stride for i in range(lay.zappers)]
    ends = [*begins[1:], lay.state_words]
    pages = np.array([lay.owner + i * lay.page_stride for i in range(lay.pages)], np.int64)
    stages = np.array(begins[lay.vcpus :], np.int64)
    ipis = np.array([lay.ipi + i * lay.vcpu_stride for i in range(lay.vcpus)], np.int64)
    awaiting = np.array(starts[lay.vcpus :], np.int64)

    random = salts(3 * lay.state_words)
    salt = random[: lay.state_words].copy()
    region = np.zeros(lay.state_words, np.int64)
    for actor, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        kind = 1 if actor < lay.vcpus else 2
        salt[begin:end] = random[kind * lay.state_words : kind * lay.state_words + end - begin]
        region[begin:end] = 1 + actor
    if fold_vcpus:
        for at in awaiting:
            salt[at : at + lay.vcpus] = 0
    if fold_zappers:
        salt[pages] = salt[stages] = salt[ipis] = 0

    ways = max(2, lay.pages, lay.vcpus)
    return moves.Plan(
        vcpus=lay.vcpus,
        zappers=lay.zappers,
        pages=lay.pages,
        fold_vcpus=fold_vcpus,
        reduce=int(reduction),
        tally=lay.vcpu_tally,
        most_moves=len(actors) * ways * ways,
        labels=labels,
        orders=len(orders),
        begin=np.array(begins, np.int64),
        start=np.array(starts, np.int64),
        stop=np.array(ends, np.int64),
        pc=np.array([actor.pc for actor in actors], np.int64),
        register=np.array([actor.register for actor in actors], np.int64),
        salt=salt,
        region=region,
        is_choice=is_choice.ravel(),
        counts=counts.ravel(),
        holds=holds.ravel(),
        place=orders.ravel(),
        owner=pages,
        stages=stages,
        ipis=ipis,
        awaiting=awaiting,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search has come."""

    states: int
    transitions: int
    depth: int
    frontier: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Exploration:
    """What a search found.

    `outcomes` and `broken` invariants go by name to a shortest schedule, whose last move shows it.
    """

    size: Size
    symmetry: bool
    reduction: bool
    threads: int
    states: int
    transitions: int
    depth: int
    seconds: float
    complete: bool
    stopped_by: str
    outcomes: dict[str, tuple[Move, ...]]
    broken: dict[str, tuple[Move, ...]]
    deadlocks: int
    chance_of_miss: float


def explore(
    rules: Rules,
    size: Size,
    *,
    symmetry: bool = True,
    reduction: bool = True,
    threads: int | None = None,
    memory_bytes: int = 4 << 30,
    until: Iterable[str] = (),
    watch: Callable[[Progress], bool] | None = None,
) -> Exploration:
    """Search every interleaving, breadth first.

    `symmetry` takes states that differ only in the names of vCPUs or zappers for one, `reduction` a choice together
    with the step before it. `threads` defaults to the CPUs allowed; the numbers do not depend on it. `until` are
    outcomes of which the first one seen ends the search. `watch` is called some times a second; its False ends the
    search. Raises MemoryError where not even the smallest tables fit.
    """
    rules = explored(rules)
    start = Schedule(rules, **size._asdict())
    plan = make_plan(start, symmetry=symmetry, reduction=reduction)
    threads = min(threads or len(os.sched_getaffinity(0)), search.PARTS)
    it = _Search(start, plan, threads, memory_bytes)
    for name in until:
        it.store.control[search.WANTED] |= 1 << (search.DEADLOCK if name == NO_PROGRESS else Outcome[name])
    stopped_by = it.run(watch)
    found = {finding: it.schedule(finding) for finding in range(search.FINDINGS) if it.store.found[finding]}
    now = it.progress()
    return Exploration(
        size=size,
        symmetry=symmetry,
        reduction=reduction,
        threads=threads,
        states=now.states,
        transitions=now.transitions,
        depth=now.depth,
        seconds=now.seconds,
        complete=not stopped_by,
        stopped_by=stopped_by,
        outcomes={
            **{outcome.name: found[outcome] for outcome in Outcome if int(outcome) in found},
            **({NO_PROGRESS: found[search.DEADLOCK]} if search.DEADLOCK in found else {}),
        },
        broken={name: found[finding] for finding, name in INVARIANTS.items() if finding in found},
        deadlocks=int(it.store.deadlocks.sum()),
        chance_of_miss=now.states**2 / 2.0**65,
    )


class _Search:
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
        code, lay = compiled(), self.start.lay
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
        """Twice the room, or four times for tables; False where the memory allowed does not hold it."""
        store, parts = self.store, search.PARTS
        used = store.tables.size + store.links.size + store.frontier.size
        if command == search.TABLE_FULL:
            if used + 4 * store.tables.size > self.most_words:
                return False
            slots = 4 * store.slots
            tables = np.zeros(parts * slots, np.int64)
            code.rehash(store.tables, tables, store.slots, slots)
            self.store = store._replace(tables=tables, slots=slots)
        elif command == search.LINKS_FULL:
            if used + 2 * store.links.size > self.most_words:
                return False
            links = _wider(store.links, parts, store.most_links)
            self.store = store._replace(links=links, most_links=2 * store.most_links)
        else:
            if used + 2 * store.frontier.size > self.most_words:
                return False
            frontier = _wider(store.frontier, 2 * parts, store.most_rows * store.columns)
            self.store = store._replace(frontier=frontier, most_rows=2 * store.most_rows)
        return True

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
        lay = self.start.lay
        run = Schedule(
            self.start.rules, vcpus=lay.vcpus, zappers=lay.zappers, pages=lay.pages, tlb_entries=lay.tlb_entries
        )
        taken: list[Move] = []
        for number in reversed(numbers):
            for move in _steps(run, run.actors[number >> 12], number & search.NUMBERS - 1, bool(self.plan.reduce)):
                taken.append(move)
                if finding < len(Outcome) and _noted(run, finding):
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


def _wider(array: np.ndarray, blocks: int, used: int) -> np.ndarray:
    """Blocks of `used` words each, with as much again behind each."""
    wider = np.empty((blocks, 2 * used), np.int64)
    wider[:, :used] = array.reshape(blocks, used)
    return wider.ravel()
