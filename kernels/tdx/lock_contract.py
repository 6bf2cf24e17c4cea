"""Which try of a module lock can fail, against which SEAMCALL that holds it then, and what comes of the second try:
read off the whole graph of a small machine, so that what is not found there cannot happen there.

A step machine says at each label which lock its step tries or gives back, and in which SEAMCALL; the value of the lock
word says whether the try succeeds. So along the shortest way to each state it is known who holds what, a lock that is
left behind included. What a caller does about BUSY is read off its own words behind the failed try: it gives up
(`busy_given_up`), comes to the same SEAMCALL again in other words, as one that has tried once, or in the same, as one
that tries without end, or goes on to something else, as one that hands BUSY up, or skips the call where its policy says
so. Own words do not remember who held the lock at the first try, so the second is asked of any. States behind
KVM_BUG_ON do not count.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.language.machine import DONE, Machine
from kernels.layout import OUTCOME_COUNTS
from kernels.protocol import Protocol
from kernels.search.breadth_first import schedule_of
from kernels.search.fingerprint import ACTOR, LABEL
from kernels.search.progress import EDGES_WORDS, Drawn, draw
from kernels.search.schedule import Move, Schedule
from kernels.search.state import INTERNED
from kernels.search.transitions import OWN, SHOWN
from kernels.tdx.bits import HP, TDEL
from kernels.tdx.counters import HOST_PRIORITY, ModuleLock
from kernels.tdx.kvm.busy import IN_THE_END, SKIP
from kernels.tdx.lock_contention import BY_FIELD, TRIES_OF_ENTRY
from kernels.tdx.module.locks import (
    lock_entry_as_guest,
    try_lock_exclusive,
    try_lock_shared,
    unlock_entry,
    unlock_exclusive,
    unlock_shared,
)
from kernels.tdx.outcomes import Outcome, Second
from kernels.tdx.rules import OnError
from kernels.tdx.spans import LEAF_OF
from kernels.tdx.statuses import Leaf
from kernels.tdx.words import sept

SHARED, ANY = 1, -1  # bits of a lock word with which a try fails: the writer's, or whoever's
TRY = {try_lock_shared.__name__: SHARED, try_lock_exclusive.__name__: ANY}
RELEASE = {unlock_exclusive.__name__, unlock_shared.__name__}
GIVEN_UP = 1 << Outcome.busy_given_up
# Of what is kept of a lock that is held: the leaf and whether nobody shares it; above it the entry.
HOLDER_BITS = 1 + len(Leaf).bit_length()
EFFECT_BITS = 40
MORE_WORDS = 40  # of a state, beside those of its graph
# Locks of the module that nobody races for here: shared or private among the SEAMCALLs that are modelled.
LEFT_OUT = ("op_state", "TDVPR", "KOT", "PAMT")
# Of a SEAMCALL whose BUSY has a policy, the word with which the rules begin it.
POLICY = {
    Leaf.TDH_MEM_RANGE_BLOCK: "block",
    Leaf.TDH_MEM_TRACK: "track",
    Leaf.TDH_MEM_PAGE_REMOVE: "remove",
    Leaf.TDH_MEM_SEPT_REMOVE: "remove",
    Leaf.TDH_MEM_RANGE_UNBLOCK: "remove",
    Leaf.TDH_MEM_PAGE_AUG: "aug",
    Leaf.TDH_MEM_SEPT_ADD: "sept_add",
}
MOST_ALONE = 100  # steps from a failed try to its status, by one actor alone


class Try(NamedTuple):
    """A lock that a SEAMCALL tries."""

    leaf: int
    lock: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """A try that fails while `holder`, a leaf or HOST_PRIORITY, has the lock: in so many states, by a shortest schedule
    up to the status. `given_up`: by one up to where the caller gives up.
    """

    tried: Try
    holder: int
    states: int
    second: Second
    moves: tuple[Move, ...]
    given_up: tuple[Move, ...] = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """What was found on one machine; `tried` are all locks that any SEAMCALL comes to try."""

    states: int
    tried: frozenset[Try]
    conflicts: tuple[Conflict, ...]


class _Act(NamedTuple):
    """What a step does to a lock: tries it for this leaf, or gives it back, and then has no leaf.

    The try fails where the word has any of the bits of `busy`, and gets the lock where it has none of those of `held`.
    """

    lock: int
    leaf: int = -1
    exclusive: bool = True
    entry: int = 0
    word: int = 0
    busy: int = 0
    held: int = 0

    @property
    def tried(self) -> Try:
        """As it is told."""
        return Try(self.leaf, self.lock)


NO_ACT = _Act(-1)


def contract(
    protocol: Protocol, rules: Any, size: Any, memory_bytes: int, go_on: Callable[[], bool] = lambda: True
) -> Contract | None:
    """Every conflict of a machine; None where its graph takes more than `memory_bytes`, or `go_on` has said no."""
    # What comes behind a BUSY that is given up is not asked: whatever the host does about it, here it is the end.
    start = Schedule(protocol, protocol.searched(rules)._replace(on_error=int(OnError.STOP)), size)
    most_states = memory_bytes // (8 * (start.lay.state_words + EDGES_WORDS + MORE_WORDS))
    drawn = draw(start, most_states, go_on, symmetry=protocol.folds)
    return None if drawn is None else _Looked(drawn).contract()


class _Met(NamedTuple):
    """The states in which a try of an actor fails against one holder, in these own words of the actor."""

    number: int
    actor: int
    states: int
    first: int


class _Looked:
    """A graph, with what each actor's own words say of locks, who holds what in each state, and which tries fail."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn, self.lay, self.steps = drawn, drawn.start.lay, drawn.start.protocol.steps
        plan, memo, graph, states = drawn.plan, drawn.memo, drawn.graph, drawn.states
        count = int(memo.common[INTERNED])
        self.known = memo.locals[: count * memo.width].reshape(count, memo.width)
        self.rows = graph.rows[: states * plan.columns].reshape(states, plan.columns)
        self.own = self.rows[:, plan.shared : plan.shared + len(drawn.made)]
        self.source = np.repeat(np.arange(states), np.diff(graph.first[: states + 1]))
        self.actor, self.effect = graph.mover[: len(self.source)] & 255, graph.effect[: len(self.source)]
        self.acts = [self._act(number) for number in range(count)]
        self.is_try = np.array([act.leaf >= 0 for act in self.acts])
        self.columns = np.array([plan.column[act.word] for act in self.acts])
        self.held = self._held()
        dead = self.rows[:, plan.column[self.lay.vm_bugged]] != 0
        value = np.take_along_axis(self.rows, self.columns[self.own], axis=1)
        self.fails = (value & np.array([act.busy for act in self.acts])[self.own] != 0) & ~dead[:, None]
        moved = self.own[self.source, self.actor]
        self.effects = _grouped(moved, self.effect)
        failing = self.fails[self.source, self.actor]
        self.refused = _grouped(moved[failing], self.effect[failing])

    def _stands(self, number: int) -> tuple[Machine, int]:
        """The machine and the label of an actor with these own words."""
        return self.drawn.made[self.known[number, ACTOR]], int(self.known[number, LABEL])

    def _act(self, number: int) -> _Act:
        made, label = self._stands(number)
        site = None if label == DONE else made.sites[label]
        if site is None:
            return NO_ACT
        op, _, field = site.text.partition(" ")
        lock, function = BY_FIELD.get(field), made.calls[label][-1]
        if op == unlock_entry.__name__:
            return _Act(ModuleLock.ENTRY)
        if lock is not None and op in RELEASE:
            return _Act(int(lock))
        if lock is not None and op in TRY:
            busy = TRY[op]
            return _Act(int(lock), self._leaf(number), busy != SHARED, 0, getattr(self.lay, field), busy, busy)
        if function in TRIES_OF_ENTRY and site.name == f"{function}.fetch_or_seq_cst_sept":
            entry, busy = self._value(number, -1, "gpa"), TDEL | HP * (function == lock_entry_as_guest.name)
            return _Act(ModuleLock.ENTRY, self._leaf(number), True, entry, sept(self.lay, entry), busy, TDEL)
        return NO_ACT

    def _seamcall(self, number: int) -> tuple[int, str]:
        """Where among the functions in which an actor stands the SEAMCALL is, and its leaf as an expression there; ""
        where none is.
        """
        made, label = self._stands(number)
        calls = () if label == DONE else made.calls[label]
        spans = [self.steps[name].span if name in self.steps else None for name in calls]
        return next(((depth, LEAF_OF[span]) for depth, span in enumerate(spans) if span in LEAF_OF), (-1, ""))

    def _leaf(self, number: int) -> int:
        (depth, text), (made, label) = self._seamcall(number), self._stands(number)
        code = compile(text, "leaf", "eval")
        asked = [name for name in made.given[label][depth] if name in code.co_names]
        return int(eval(code, {"lay": self.lay, **{name: self._value(number, depth, name) for name in asked}}))

    def _value(self, number: int, depth: int, parameter: str) -> int:
        """A parameter of the function of steps at this depth, by the registers that hold the locals."""
        (made, label), plan, memo = self._stands(number), self.drawn.plan, self.drawn.memo
        actor = self.known[number, ACTOR]
        at = memo.words + int(plan.register[actor] - plan.start[actor])
        locals_ = {name: int(self.known[number, at + place]) for place, name in enumerate(made.held[label]) if name}
        return int(eval(made.given[label][depth][parameter], locals_))

    def _held(self) -> NDArray[np.int16]:
        """By lock, state and actor what it holds, 0 for nothing: behind the first edge to a state, level by level."""
        into, states = self.drawn.into, self.drawn.states
        parent, mover = self.source[into], self.actor[into]
        before = self.own[parent, mover]
        kept = np.array([act.held for act in self.acts])[before]
        lock = np.array([act.lock for act in self.acts])[before]
        lock[self.rows[parent, self.columns[before]] & kept != 0] = -1
        holding = np.array([_code(act) if act.leaf >= 0 else 0 for act in self.acts], np.int16)[before]
        held = np.zeros((len(ModuleLock), states, len(self.drawn.made)), np.int16)
        begin, end = 0, 1
        while end < states:
            begin, end = end, int(np.searchsorted(parent[1:], end)) + 1
            held[:, begin:end] = held[:, parent[begin:end]]
            at = begin + np.flatnonzero(lock[begin:end] >= 0)
            held[lock[at], at, mover[at]] = holding[at]
        return held

    def contract(self) -> Contract:
        """All that was found."""
        found: dict[tuple[Try, int], list[_Met]] = {}
        for actor in range(len(self.drawn.made)):
            at = np.flatnonzero(self.fails[:, actor])
            for number in map(int, np.unique(self.own[at, actor])):
                for holder, states in self._holders(self.acts[number], at[self.own[at, actor] == number]):
                    met = _Met(number, actor, len(states), int(states[0]))
                    found.setdefault((self.acts[number].tried, holder), []).append(met)
        every = {met.number: met for its in found.values() for met in sorted(its, key=lambda met: -met.first)}
        behind = {number: self._behind(number) for number in every}
        conflicts = [self._conflict(*key, its, every, behind) for key, its in found.items()]
        tried = frozenset(act.tried for act in self.acts if act.leaf >= 0)
        return Contract(self.drawn.states, tried, tuple(conflicts))

    def _holders(self, act: _Act, states: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Each leaf that holds the lock in some of these states, with those."""
        held = self.held[act.lock, states]
        theirs = (held > 0) & (held >> HOLDER_BITS == act.entry) & (act.exclusive | (held & 1 == 1))
        leaves = np.where(theirs, ((held & (1 << HOLDER_BITS) - 1) >> 1) - 1, -1)
        for leaf in map(int, np.unique(leaves[theirs])):
            yield leaf, states[(leaves == leaf).any(axis=1)]
        if len(nobody := states[~theirs.any(axis=1)]):
            assert act.busy & HP, f"{act} fails and nobody holds it"
            yield HOST_PRIORITY, nobody

    def _behind(self, number: int) -> tuple[bool, set[int]]:
        """Whether the caller gives up behind a failed try in these own words, and the tries of its next attempt."""
        pool, text = self.drawn.memo.pool, self._seamcall(number)[1]
        given_up, retried, seen = False, set[int](), set[int]()
        waiting = list(self.refused[number])
        while waiting:
            effect = waiting.pop()
            after, shown = int(pool[effect + OWN]), int(pool[effect + SHOWN])
            given_up |= bool(shown & GIVEN_UP)
            if shown & GIVEN_UP or after in seen:
                continue
            seen.add(after)
            if not self.is_try[after]:
                waiting += self.effects.get(after, ())
            elif self.acts[after].leaf == self.acts[number].leaf:
                retried.add(after)
        stands, seen = list(retried), set()
        while stands:  # what the SEAMCALL tries behind its first lock
            if (one := stands.pop()) not in seen and self._seamcall(one)[1] == text:
                seen.add(one)
                stands += [int(pool[effect + OWN]) for effect in self.effects.get(one, ())]
        return given_up, {one for one in seen if self.is_try[one]}

    def _conflict(
        self,
        tried: Try,
        holder: int,
        its: list[_Met],
        every: Mapping[int, _Met],
        behind: Mapping[int, tuple[bool, set[int]]],
    ) -> Conflict:
        its.sort(key=lambda met: met.first)
        # One that tries without end comes back in the same words: its first try is like the others.
        again = {number for first, (_, retried) in behind.items() if first not in retried for number in retried}
        given_up = [met for met in its if behind[met.number][0]]
        later = [every[two] for one in its for two in behind[one.number][1] & every.keys() if behind[two][0]]
        last_tries = [met for met in its if met.number not in again and not behind[met.number][1]]
        if any(met in given_up for met in last_tries):
            second = Second.none
        elif given_up or later:
            second = Second.fails
        elif last_tries:  # and goes on
            second = Second.skips if self._is_skipped(tried) else Second.anew
        elif all(behind[met.number][1] and not behind[met.number][1] & every.keys() for met in its):
            second = Second.holds
        else:
            second = Second.spins
        last = min(given_up + later, key=lambda met: met.first, default=None)
        return Conflict(
            tried,
            holder,
            sum(met.states for met in its),
            second,
            self._schedule(its[0], Outcome.operand_busy),
            self._schedule(last, Outcome.busy_given_up) if last else (),
        )

    def _is_skipped(self, tried: Try) -> bool:
        """Whether the rules take this SEAMCALL for done where it is BUSY, however mmu_lock is held."""
        rules, name = self.drawn.start.rules, POLICY.get(Leaf(tried.leaf))
        return name is not None and any(
            getattr(rules, f"{name}_busy_{held}") & IN_THE_END == SKIP for held in ("read", "write")
        )

    def _schedule(self, met: _Met, outcome: Outcome) -> tuple[Move, ...]:
        """The way to the first of these states; from there the actor goes on alone until it notes the outcome."""
        start = self.drawn.start
        moves = list(schedule_of(start, self.drawn.way(met.first), reduced=True))
        run, actor = Schedule(start.protocol, start.rules, start.size), start.actors[met.actor]
        for move in moves:
            run.step(move.actor, move.chosen)
        noted = run.actor(actor).tally + OUTCOME_COUNTS + outcome
        before = run.words[noted]
        for _ in range(MOST_ALONE):
            chosen = run.choices(actor) - 1  # who may try again or give up gives up
            run.step(actor, chosen)
            moves.append(Move(actor, chosen))
            if run.words[noted] > before:
                return tuple(moves)
        raise RuntimeError(f"{actor} did not note {outcome.name} in {MOST_ALONE} steps behind a failed try")


def _code(act: _Act) -> int:
    """What is kept of a lock that is held."""
    return act.entry << HOLDER_BITS | act.leaf + 1 << 1 | act.exclusive


def _grouped(numbers: NDArray[Any], effects: NDArray[Any]) -> dict[int, list[int]]:
    """By own words the effects of their moves."""
    found: dict[int, list[int]] = {}
    for pair in np.unique(numbers << EFFECT_BITS | effects).tolist():
        found.setdefault(pair >> EFFECT_BITS, []).append(pair & (1 << EFFECT_BITS) - 1)
    return found
