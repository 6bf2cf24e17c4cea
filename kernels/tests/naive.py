"""The slow obvious search: states are tuples in a dictionary, every move of everybody is taken, nothing is left out.

No fingerprints, no folding of actors that are alike, no steps taken together, nothing compiled. What moves is the step
machine's source, run as Python.

One thing is folded here as in the explorer, or no search would end. A failed try to share one of the module's locks
leaves its 2 in the word until the exclusive holder's release stores 0, so a vCPU that tries again and again counts up
for as long as the holder does not step. While bit 0 is set nobody looks at the count and nobody takes from it.
"""

import contextlib
import functools
import gc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.language.entered import Entered, interpreted
from kernels.language.machine import DONE
from kernels.layout import OUTCOME_COUNTS, Actor, Layout
from kernels.search.schedule import Move
from kernels.tdx.outcomes import OUTCOMES, Outcome
from kernels.tdx.protocol import SHOOTDOWN, Size, protocol_of
from kernels.tdx.rules import Flow, Ioctl, Rules
from kernels.tdx.words import plan, vcpu_actor, zapper_actor

State = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """Everything that can be reached. `outcomes`: by name, the moves of a shortest schedule whose last one shows it.

    `deadlocks`: nobody can change anything, and a zapper has not returned. `hopeless`: whatever is done from here on,
    neither does every zapper return nor is the VM dead.
    """

    depth: dict[State, int]
    edges: list[tuple[State, Move, State]]
    outcomes: dict[str, int]
    deadlocks: set[State]
    hopeless: set[State]


def search(moving: "StepMachine") -> Space:
    """Breadth first, until nothing new is found."""
    depth: dict[State, int] = {moving.start: 0}
    edges: list[tuple[State, Move, State]] = []
    outcomes: dict[str, int] = {}
    deadlocks, over = set(), set()
    waiting = deque([moving.start])
    with no_collector():
        while waiting:
            state = waiting.popleft()
            stuck = True
            for move in moving.moves(state):
                after, shown = moving.after(state, move)
                edges.append((state, move, after))
                stuck = stuck and after == state
                for name in shown:
                    outcomes.setdefault(name, depth[state] + 1)
                if after not in depth:
                    depth[after] = depth[state] + 1
                    waiting.append(after)
            if stuck and not moving.returned(state):
                deadlocks.add(state)
            if moving.over(state):
                over.add(state)
        hopeless = depth.keys() - leading_to(over, edges)
        return Space(depth, edges, outcomes, deadlocks, hopeless)


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Nothing here is a cycle, and looking for one again and again costs a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def leading_to(goal: set[State], edges: list[tuple[State, Move, State]]) -> set[State]:
    before: dict[State, list[State]] = {}
    for state, _, after in edges:
        before.setdefault(after, []).append(state)
    found, waiting = set(goal), list(goal)
    while waiting:
        for state in before.get(waiting.pop(), ()):
            if state not in found:
                found.add(state)
                waiting.append(state)
    return found


as_python = functools.cache(interpreted)


def fold(words: list[int], lay: Layout) -> None:
    """Forget how often an exclusively held lock was tried in vain."""
    for lock in (lay.epoch_lock, lay.tree_lock, *([lay.tdr_lock] if lay.flow in (Flow.TEARDOWN, Flow.BUILD) else [])):
        if words[lock] & 1:
            words[lock] = 1


def with_short_tally(lay: Layout) -> Layout:
    """The same state; behind it the pages' flags and one head of a tally, which all actors share."""
    return lay._replace(page_flags=lay.state_words, control=-1, page_blocked_at=-1, perturb=-1)


def start(lay: Layout, rules: Rules) -> list[int]:
    """The words of the state before anybody's first step."""
    words = np.zeros(lay.total_words, np.int64)
    SHOOTDOWN.prepare(words, lay, rules, 1)
    return [int(word) for word in words[: lay.state_words]]


def actors(lay: Layout, size: Size) -> Iterator[tuple[str, Actor]]:
    """Everybody, by name, with the one short tally."""
    tally = lay.state_words + lay.pages + lay.tables
    for index in range(size.vcpus):
        yield f"vcpu {index}", vcpu_actor(lay, index)._replace(tally=tally)
    for index in range(size.zappers):
        yield f"zapper {index}", zapper_actor(lay, index)._replace(tally=tally)


def shown(words: list[int], lay: Layout) -> set[str]:
    """The names of the outcomes in the tally."""
    if not any(words[lay.state_words :]):
        return set()
    counts = lay.state_words + lay.pages + lay.tables + OUTCOME_COUNTS
    return {Outcome(at).name for at, count in enumerate(words[counts : counts + OUTCOMES]) if count}


class StepMachine:
    """The step machines of all actors; a state is the tuple of its words."""

    def __init__(
        self, rules: Rules, size: Size, for_vcpu: Entered | None = None, for_zapper: Entered | None = None
    ) -> None:
        vcpu, zapper = protocol_of(Flow(rules.flow)).actors.values()
        kinds = {"vcpu": for_vcpu or as_python(vcpu), "zapper": for_zapper or as_python(zapper)}
        registers = {f"{kind}_registers": made.machine.registers for kind, made in kinds.items()}
        lay = plan(*size, flow=rules.flow, lps=max(1, rules.lps), packed=True, **registers)
        words = start(lay, rules)
        self.rules, self.size, self.lay = rules, size, with_short_tally(lay)
        self.tally = [0] * (lay.pages + lay.tables + OUTCOME_COUNTS + OUTCOMES)
        self.actors = {name: (actor, kinds[name.split()[0]]) for name, actor in actors(self.lay, size)}
        self.ends = [actor.pc for name, (actor, _) in self.actors.items() if name.startswith("zapper")]
        self.ways = {name: [Move(name, chosen) for chosen in range(max(len(Ioctl), *size))] for name in self.actors}
        words += self.tally
        for actor, kind in self.actors.values():  # private work before the first step
            kind.step(words, self.lay, rules, actor, 0)
        self.start = tuple(words[: lay.state_words])

    def moves(self, state: State) -> list[Move]:
        found = []
        for name, (actor, kind) in self.actors.items():
            if state[actor.pc] != DONE:
                found += self.ways[name][: kind.choices(state, self.lay, self.rules, actor)]
        return found

    def after(self, state: State, move: Move) -> tuple[State, set[str]]:
        words = [*state, *self.tally]
        actor, kind = self.actors[move.actor]
        kind.step(words, self.lay, self.rules, actor, move.chosen)
        fold(words, self.lay)
        return tuple(words[: self.lay.state_words]), shown(words, self.lay)

    def returned(self, state: State) -> bool:
        """Whether every zapper has returned."""
        return all(state[end] == DONE for end in self.ends)

    def over(self, state: State) -> bool:
        """Whether nobody is left to wait for: every zapper has returned, or KVM_BUG_ON has killed the VM."""
        return bool(state[self.lay.vm_bugged]) or self.returned(state)
