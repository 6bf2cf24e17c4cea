"""Whether actors come to their end or their goal: what `liveness` asks, of one machine and in words."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kernels.language.entered import words_with_room
from kernels.language.machine import Machine
from kernels.layout import actors
from kernels.search import liveness
from kernels.search.breadth_first import schedule_of
from kernels.search.fingerprint import LABEL
from kernels.search.memory import check, memos
from kernels.search.moves import Plan
from kernels.search.schedule import Move, Schedule, machines
from kernels.search.tables import compiled_graph, make_plan
from kernels.search.transitions import Memo

EDGES = 12  # room for so many moves of a state, on average
EDGES_WORDS = 3 * EDGES + 16  # words that a state takes beside its own


@dataclass(frozen=True, slots=True)
class Liveness:
    """Whether actors that come to an end finish, and endless ones come to their goal.

    `livelocks`: states from which no schedule lets all of the former finish, or none one of the latter to its goal
    again; `livelock` a shortest way to one. `refused`: of how many of them that is so, by endless actor; None where
    they are not `lasting`. `starving`: by actor, the step at which fair but unlucky scheduling can keep it
    for ever.
    """

    states: int
    seconds: float
    livelocks: int
    livelock: tuple[Move, ...]
    refused: dict[str, int] | None
    starving: dict[str, str]


class Drawn(NamedTuple):
    """The whole graph of a machine: how many states, the step machine of each actor, by state the first edge to it.

    States are numbered breadth first: that edge comes from the parent. A graph has room for more than its states and
    edges, and what stands behind them is anything.
    """

    start: Schedule
    plan: Plan
    memo: Memo
    graph: liveness.Graph
    states: int
    made: list[Machine]
    into: np.ndarray

    def way(self, state: int) -> list[tuple[int, int]]:
        """A shortest way to a state, each move an actor and its number."""
        numbered: list[tuple[int, int]] = []
        while state:
            edge = int(self.into[state])
            numbered.append((int(self.graph.mover[edge]) & 255, int(self.graph.mover[edge]) >> 8))
            state = int(np.searchsorted(self.graph.first[: self.states + 1], edge, side="right")) - 1
        return numbered[::-1]


def draw(
    start: Schedule,
    most_states: int,
    go_on: Callable[[], bool] = lambda: True,
    *,
    reduction: bool = True,
    symmetry: bool = False,
) -> Drawn | None:
    """The graph; None where it has more than `most_states` states, or `go_on` has said no."""
    code, lay = compiled_graph(start.protocol), start.lay
    plan = make_plan(start, symmetry=symmetry, reduction=reduction)
    words = words_with_room(lay.total_words)
    (memo,) = memos(plan, 1, most_states * lay.state_words)
    kinds = dict(zip(start.protocol.actors, machines(start.protocol), strict=True))
    made = [kinds[kind].machine for _, kind, _ in actors(lay)]
    goal = np.zeros(len(plan.is_choice), np.int64)
    for at, machine in zip(plan.labels, made, strict=True):
        goal[at + 1 : at + 1 + len(machine.goals)] = machine.goals
    size = min(most_states, 1 << 14)
    while True:
        words[: lay.state_words] = start.words[: lay.state_words]
        graph, progress = _room_for(size, plan.columns, goal), np.zeros(liveness.PROGRESS, np.int64)
        drawn = plan, memo, graph, words, lay, start.rules, progress
        states = int(code.draw_graph(*drawn))
        while states == liveness.PAUSED and go_on():
            states = int(code.draw_graph(*drawn))
        check(memo)
        if states >= 0:
            edges, into = int(graph.first[states]), np.zeros(states, np.int64)
            into[graph.target[:edges][::-1]] = np.arange(edges)[::-1]
            return Drawn(start, plan, memo, graph, states, made, into)
        if states == liveness.PAUSED or size >= most_states:
            return None
        size = min(most_states, size * 8)


def check_liveness(
    start: Schedule, most_states: int, go_on: Callable[[], bool] = lambda: True, *, reduction: bool
) -> Liveness | None:
    """Look at the whole graph; None where it has more than `most_states` states, or `go_on` has said no."""
    begun = time.monotonic()
    drawn = draw(start, most_states, go_on, reduction=reduction)
    if drawn is None:
        return None
    _, plan, memo, graph, states, made, _ = drawn
    edges, unfinished = liveness.edges_of(graph, states), graph.unfinished[:states]
    endless = range(plan.endless if start.protocol.states.lasting else 0)
    hopeful = np.zeros((1 + len(endless), states), bool)
    starving: dict[int, int] = {}
    for row, actor in enumerate((-1, *endless)):
        there = liveness.is_there(graph, states, actor)
        hopeful[row] = liveness.hopeful(edges, there)
        asked = range(plan.endless, len(start.actors)) if actor < 0 else range(actor, actor + 1)
        starving |= liveness.starving(edges, there, unfinished, plan.endless, asked)
    hopeless = np.flatnonzero(~hopeful.all(axis=0))
    refused = {start.actors[actor]: int((~hopeful[1 + actor]).sum()) for actor in endless}

    def site(actor: int) -> str:
        own = int(graph.rows[starving[actor] * plan.columns + plan.shared + actor])
        return str(made[actor].sites[int(memo.locals[own * memo.width + LABEL])])

    return Liveness(
        states=states,
        seconds=time.monotonic() - begun,
        livelocks=len(hopeless),
        livelock=schedule_of(start, drawn.way(int(hopeless[0])), reduction) if len(hopeless) else (),
        refused={name: count for name, count in refused.items() if count} if endless else None,
        starving={start.actors[actor]: site(actor) for actor in sorted(starving)},
    )


def _room_for(states: int, columns: int, goal: np.ndarray) -> liveness.Graph:
    edges = EDGES * states
    bits = (2 * states).bit_length()
    return liveness.Graph(
        bits=bits,
        most_states=states,
        most_edges=edges,
        table=np.zeros(1 << bits, np.int64),
        prints=np.empty(states + 1, np.int64),
        rows=np.empty((states + 1) * columns, np.int64),
        first=np.empty(states + 1, np.int64),
        target=np.empty(edges, np.int64),
        mover=np.empty(edges, np.int64),
        effect=np.empty(edges, np.int64),
        unfinished=np.empty(states, np.int64),
        inside=np.empty(states, np.int64),
        goal=goal,
    )
