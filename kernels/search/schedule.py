"""One chosen interleaving: the step machines of all actors over one packed state, driven by (actor, choice)."""

import functools
from dataclasses import dataclass
from typing import Any

from kernels.language.compile import words_of
from kernels.language.entered import Entered, entered, interpreted, words_with_room
from kernels.language.machine import DONE
from kernels.language.syntax import TOLD, Site
from kernels.layout import Actor, Layout, actors
from kernels.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a schedule: who takes it, and which way a choice goes."""

    actor: str  # "vcpu 0", "zapper 1"
    chosen: int


@functools.cache
def machines(protocol: Protocol) -> tuple[Entered, ...]:
    """The step machines of each kind of actor, compiled."""
    return tuple(entered(function, protocol.records) for function in protocol.actors.values())


@functools.cache
def interpreted_machines(protocol: Protocol) -> tuple[Entered, ...]:
    """The same run by Python. What the harness counts for a story they count as a race does, so that the tally says in
    which status a step ended.
    """
    return tuple(interpreted(function, TOLD) for function in protocol.actors.values())


class Schedule:
    """A small machine that takes one step at a time.

    `words` is the packed state followed by the tally; `taken` the schedule so far, `touched` the word that its last
    step read or wrote, None for a choice. Actors are "vcpu 0", "zapper 0", ...
    `rules` and `size` are the protocol's. Compiled, unless `made` gives the step machines of each kind in Python.
    """

    def __init__(self, protocol: Protocol, rules: Any, size: Any, made: tuple[Entered, ...] | None = None) -> None:
        kinds = dict(zip(protocol.actors, made or machines(protocol), strict=True))
        registers = {kind.name: one.machine.registers for kind, one in kinds.items()}
        self.protocol, self.rules, self.size = protocol, rules, size
        self.lay: Layout = protocol.plan(rules, size, packed=True, registers=registers)
        self.words = words_with_room(self.lay.total_words)
        self.taken: list[Move] = []
        self.touched: int | None = None
        self._records: tuple[Any, Any] = (self.lay, rules) if made else (words_of(self.lay), words_of(rules))
        self._actors: dict[str, tuple[Actor, Entered]] = {
            name: (me, kinds[kind]) for name, kind, me in actors(self.lay)
        }
        protocol.prepare(self.words, self.lay, rules, 1)
        for actor in self._actors:
            self._advance(actor, 0)  # private work before the first step

    @property
    def actors(self) -> tuple[str, ...]:
        """Everyone who can take steps."""
        return tuple(self._actors)

    def actor(self, name: str) -> Actor:
        """Where this actor's words are. Raises KeyError where there is none of that name."""
        return self._actors[name][0]

    def site(self, name: str) -> Site | None:
        """The step that this actor is about to take; None where it has returned."""
        me, made = self._actors[name]
        label = int(self.words[me.pc])
        return None if label == DONE else made.machine.sites[label]

    def calls(self, name: str) -> tuple[str, ...]:
        """The functions of steps in which this actor stands, outermost first; none where it has returned."""
        me, made = self._actors[name]
        label = int(self.words[me.pc])
        return () if label == DONE else made.machine.calls[label]

    def choices(self, name: str) -> int:
        """How many ways the next step can go."""
        me, made = self._actors[name]
        return int(made.choices(self.words, *self._records, me))

    def step(self, name: str, chosen: int = 0) -> Site:
        """Take one step. Raises ValueError where the actor has returned or has no such choice."""
        site = self.site(name)
        if site is None:
            raise ValueError(f"{name} has returned")
        if not 0 <= chosen < self.choices(name):
            raise ValueError(f"{name} at {site}: expected a choice from 0 to {self.choices(name) - 1}, found {chosen}")
        self._advance(name, chosen)
        self.taken.append(Move(name, chosen))
        return site

    def until(self, name: str, site: str, choices: dict[str, int] | None = None, most: int = 1000) -> None:
        """Let one actor run until it is about to take the step with this site name.

        `choices` maps the names of choice sites to the way taken, 0 where it says nothing. Raises RuntimeError after
        `most` steps.
        """
        for _ in range(most):
            here = self.site(name)
            if here is None or here.name == site:
                break
            self.step(name, (choices or {}).get(here.name, 0))
        else:
            raise RuntimeError(f"{name} did not come to {site} in {most} steps; it is at {self.site(name)}")
        if here is None and site != "end":
            raise RuntimeError(f"{name} returned before it came to {site}")

    def _advance(self, name: str, chosen: int) -> None:
        me, made = self._actors[name]
        word = int(made.step(self.words, *self._records, me, chosen)) - 1
        self.touched = word if word >= 0 else None
