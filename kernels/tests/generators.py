"""The generators of all actors as something to search: slower still, and nothing translated.

A generator cannot be copied. So each state remembers its moves from the start, and they are taken again for every move
from it but the first.
"""

import functools
from types import CodeType
from typing import Any

from kernels.language.syntax import ENVIRONMENT
from kernels.layout import OUTCOME_COUNTS
from kernels.search.breadth_first import Move
from kernels.tdx.kvm.vcpu_run import vcpu
from kernels.tdx.kvm.zapper import zapper
from kernels.tdx.outcomes import OUTCOMES
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Rules
from kernels.tdx.words import plan
from kernels.tests.naive import State, actors, fold, shown, start, with_short_tally
from kernels.tests.reference import Reference

# Locals that only the harness reads: they count turns of a loop, so no two turns would be alike.
COUNTERS = {"retries", "fresh"}


class Generators:
    """A state is the shared words, the step of each actor, and every local of every frame, dead ones too."""

    def __init__(self, rules: Rules, size: Size) -> None:
        self.rules, self.size = rules, size
        self.lay = with_short_tally(plan(*size, packed=True))
        self.actors = dict(actors(self.lay, size))
        self.first = [*start(self.lay, rules), *[0] * (size.pages + OUTCOME_COUNTS + OUTCOMES)]
        words, running = self._again(())
        self.start = self._state(words, running)
        self.paths: dict[State, tuple[Move, ...]] = {self.start: ()}
        self.ready = {self.start: (words, running)}
        self.open = {self.start: self._moves(running)}

    def _again(self, path: tuple[Move, ...]) -> tuple[list[int], dict[str, Reference]]:
        words = list(self.first)
        running = {
            name: Reference(vcpu if name.startswith("vcpu") else zapper, words, self.lay, self.rules, actor)
            for name, actor in self.actors.items()
        }
        for move in path:
            running[move.actor].step(move.chosen)
            fold(words, self.lay)
        return words, running

    def _state(self, words: list[int], running: dict[str, Reference]) -> State:
        sites = tuple(str(one.site) for one in running.values())
        return tuple(words[: self.lay.state_words]), sites, tuple(map(_frames, running.values()))

    def _moves(self, running: dict[str, Reference]) -> list[Move]:
        return [Move(name, chosen) for name, one in running.items() if not one.done for chosen in range(one.choices)]

    def moves(self, state: State) -> list[Move]:
        return self.open[state]

    def after(self, state: State, move: Move) -> tuple[State, set[str]]:
        path = self.paths[state]
        words, running = self.ready.pop(state) if state in self.ready else self._again(path)
        words[self.lay.state_words :] = [0] * (len(words) - self.lay.state_words)
        running[move.actor].step(move.chosen)
        fold(words, self.lay)
        found = self._state(words, running)
        if found not in self.paths:
            self.paths[found] = (*path, move)
            self.open[found] = self._moves(running)
            self.ready[found] = words, running
        return found, shown(words, self.lay)

    def returned(self, state: State) -> bool:
        """Whether every zapper has returned."""
        return all(
            site == "None" for name, site in zip(self.actors, state[1], strict=True) if name.startswith("zapper")
        )

    def over(self, state: State) -> bool:
        """Whether nobody is left to wait for."""
        return bool(state[0][self.lay.vm_bugged]) or self.returned(state)

    def shared(self, state: State) -> State:
        """The state as step machines have it too: the shared words, and the step of each actor."""
        counters = {actor.pc for actor in self.actors.values()}
        return tuple(word for at, word in enumerate(state[0]) if at not in counters), state[1]


def _frames(running: Reference) -> State:
    """Where a generator stands and with what, from the outermost frame in."""
    frames = []
    inner: Any = running._run
    while inner is not None and inner.gi_frame is not None:
        held = inner.gi_frame.f_locals
        values = tuple([held.get(name) for name in _locals_of(inner.gi_code)])
        frames.append((inner.gi_code, inner.gi_frame.f_lineno, values))
        inner = inner.gi_yieldfrom
    return tuple(frames)


@functools.cache
def _locals_of(code: CodeType) -> tuple[str, ...]:
    return tuple(name for name in code.co_varnames if name not in (*ENVIRONMENT, *COUNTERS))
