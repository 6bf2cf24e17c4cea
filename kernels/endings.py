"""Whether zappers come to their end: the questions of `liveness`, asked of one machine and answered in words."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kernels import liveness
from kernels.breadth import Move, schedule_of
from kernels.entered import words_with_room
from kernels.machine import DONE
from kernels.memory import check, memos
from kernels.moves import Plan
from kernels.plans import addressed, compiled_graph, make_plan
from kernels.race import record
from kernels.schedule import Schedule, machines

EDGES = 12  # room for so many moves of a state, on average
EDGES_WORDS = 2 * EDGES + 16  # words that a state takes beside its own


@dataclass(frozen=True, slots=True)
class Liveness:
    """Whether zappers finish.

    `livelocks`: states from which no schedule lets every zapper finish, `livelock` a shortest way to one. `starving`:
    by zapper, the step at which fair but unlucky scheduling can keep it for ever.
    """

    states: int
    seconds: float
    livelocks: int
    livelock: tuple[Move, ...]
    starving: dict[str, str]


def check_liveness(
    start: Schedule, most_states: int, go_on: Callable[[], bool] = lambda: True, *, reduction: bool
) -> Liveness | None:
    """Look at the whole graph; None where it has more than `most_states` states, or `go_on` has said no."""
    begun = time.monotonic()
    code, lay = compiled_graph(), start.lay
    plan = make_plan(start, symmetry=False, reduction=reduction)
    records = record(lay), record(start.rules)
    words = words_with_room(lay.total_words)
    (memo,) = memos(plan, 1, most_states * lay.state_words)
    size = min(most_states, 1 << 14)
    while True:
        words[: lay.state_words] = start.words[: lay.state_words]
        graph, progress = _room_for(size, plan.columns), np.zeros(liveness.PROGRESS, np.int64)
        drawn = addressed(plan), addressed(memo), addressed(graph), words, *records, progress
        states = int(code.draw_graph(*drawn))
        while states == liveness.PAUSED and go_on():
            states = int(code.draw_graph(*drawn))
        check(memo)
        if states >= 0:
            break
        if states == liveness.PAUSED or size >= most_states:
            return None
        size = min(most_states, size * 8)
    at = addressed(graph)
    hopeful = np.zeros(states, np.int64)
    livelocks = int(code.mark_hopeful(at, states, hopeful))
    component = np.full(states, -1, np.int64)
    components = code.find_components(at, states, component)
    labels = np.full(lay.zappers, DONE, np.int64)
    code.find_starving(addressed(plan), addressed(memo), at, states, component, components, labels)
    sites = machines(start.rules.flow)[1][0].sites
    return Liveness(
        states=states,
        seconds=time.monotonic() - begun,
        livelocks=livelocks,
        livelock=_way(start, plan, graph, states, int(np.argmin(hopeful))) if livelocks else (),
        starving={f"zapper {zapper}": str(sites[label]) for zapper, label in enumerate(labels) if label != DONE},
    )


def _room_for(states: int, columns: int) -> liveness.Graph:
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
        unfinished=np.empty(states, np.int64),
    )


def _way(start: Schedule, plan: Plan, graph: liveness.Graph, states: int, state: int) -> tuple[Move, ...]:
    """A shortest way: states are numbered breadth first, so the first edge to one comes from its parent.

    The graph has room for more than its `states`, and what stands behind them is anything.
    """
    first = graph.first[: states + 1]
    target = graph.target[: first[-1]]
    numbered: list[tuple[int, int]] = []
    while state:
        edge = int(np.argmax(target == state))
        numbered.append((int(graph.mover[edge]) & 255, int(graph.mover[edge]) >> 8))
        state = int(np.searchsorted(first, edge, side="right")) - 1
    return schedule_of(start, reversed(numbered), bool(plan.reduce))
