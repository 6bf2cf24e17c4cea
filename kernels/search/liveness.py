"""Whether every actor comes to its end, and every endless one to its goal again: the whole graph of states, with edges.

Two questions. A livelock: a state from which no schedule at all lets all those finish that come to an end, or none an
endless actor to its goal; forbidden. And starvation: a cycle in which every actor takes steps and one of them none that
leads it to its end or goal, so that fair but unlucky scheduling can keep it there for ever; that is what try-locks
without a queue are like, and worth knowing. Actors are not folded here, or a cycle would not say whose steps it has.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kernels.language.atomics import at_word
from kernels.language.machine import DONE
from kernels.search.fingerprint import LABEL, facts_of, fingerprint
from kernels.search.frontier import copy, slot_of
from kernels.search.saying import over
from kernels.search.state import STATE, pack
from kernels.search.transitions import WAYS, apply, effect_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FULL, PAUSED = -1, -2
SLICE = 1 << 15  # states whose edges are drawn between two looks at whether to go on
# Of a graph that is being drawn: states found, those with all their edges, edges.
STATES_FOUND, STATES_DONE, EDGES_DRAWN, PROGRESS = range(4)


class Graph(NamedTuple):
    """Flat arrays of int64, in the order of discovery."""

    bits: int  # the logarithm of how many slots the table has
    most_states: int
    most_edges: int
    table: np.ndarray  # [slot] a state's number and 1
    prints: np.ndarray  # [state]
    rows: np.ndarray  # [state, column], see `kernels.search.moves.Plan`
    first: np.ndarray  # [state] its first edge; one more at the end
    target: np.ndarray  # [edge]
    mover: np.ndarray  # [edge] the number of the move * 256 + the actor
    effect: np.ndarray  # [edge] where what the move does stands in the pool, see `kernels.search.transitions`
    unfinished: np.ndarray  # [state] ending actors that have not returned, a bit each; none where it is over
    inside: np.ndarray  # [state] endless actors at their goal, a bit each; all where it is over
    goal: np.ndarray  # [label] whether an endless actor is at its goal there


def number_of(graph, print_, next_number):
    """The number of the state with this fingerprint, `next_number` where it is new."""
    at = slot_of(print_, graph.bits)
    while True:
        there = graph.table[at] - 1
        if there < 0:
            graph.table[at] = next_number + 1
            graph.prints[next_number] = print_
            return next_number
        if graph.prints[there] == print_:
            return there
        at = (at + 1) & ((1 << graph.bits) - 1)


def draw_graph(plan, memo, graph, td, lay, rules, progress):
    """Every state from the one in `td` on, and every edge; returns how many states, FULL, or PAUSED to be called
    again. `progress`: int64 [PROGRESS], zeroed at the start.
    """
    everybody = plan.endless + plan.ending
    rows, first, target = graph.rows, graph.first, graph.target
    mover, unfinished, inside = graph.mover, graph.unfinished, graph.inside
    effects = graph.effect
    states, at, edges = progress[STATES_FOUND], progress[STATES_DONE], progress[EDGES_DRAWN]
    if states == 0:
        states = 1
        pack(plan, memo, td, rows)
        number_of(graph, fingerprint(plan, memo, rows), 0)
    end = at + SLICE
    while at < states:
        if at == end:
            progress[STATES_FOUND], progress[STATES_DONE], progress[EDGES_DRAWN] = states, at, edges
            return PAUSED
        state = at_word(rows, at * plan.columns)
        first[at] = edges
        left, entered = 0, 0
        for actor in range(everybody):
            label = facts_of(plan, memo, state, actor)[LABEL]
            if label == DONE:
                continue
            if actor >= plan.endless:
                left |= 1 << (actor - plan.endless)
            elif graph.goal[plan.labels[actor] + label + 1]:
                entered |= 1 << actor
            number, numbers = 0, 1
            while number < numbers:
                effect = effect_of(plan, memo, td, lay, rules, state, actor, number)
                count = memo.pool[effect + WAYS]
                number += 1
                numbers = max(numbers, abs(count))
                if count > 0:
                    if edges == graph.most_edges or states == graph.most_states or memo.common[STATE]:
                        return FULL
                    behind = at_word(rows, states * plan.columns)
                    copy(behind, state, 0, plan.columns)
                    apply(plan, memo, behind, actor, effect)
                    found = number_of(graph, fingerprint(plan, memo, behind), states)
                    if found == states:
                        states += 1
                    target[edges] = found
                    mover[edges] = ((number - 1) << 8) | actor
                    effects[edges] = effect
                    edges += 1
        unfinished[at] = 0 if over(plan, lay, state) else left
        inside[at] = -1 if over(plan, lay, state) else entered
        at += 1
    first[states] = edges
    return states


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of a drawn graph: `source`, `target` and `mover` of each, in the order of their sources, and the graph
    backwards.
    """

    source: np.ndarray
    target: np.ndarray
    mover: np.ndarray
    backwards: "csr_array"


def edges_of(graph: Graph, states: int) -> Edges:
    """The edges among so many states; the arrays of a graph have room for more."""
    from scipy.sparse import csr_array  # what does not ask need not wait for it

    first = graph.first[: states + 1].astype(np.int32)
    source = np.repeat(np.arange(states, dtype=np.int32), np.diff(first))
    target = graph.target[: first[-1]].astype(np.int32)
    forwards = csr_array((np.ones(len(target)), target, first), shape=(states, states))
    return Edges(source, target, graph.mover[: first[-1]] & 255, forwards.T.tocsr())


def is_there(graph: Graph, states: int, actor: int) -> np.ndarray:
    """By state, whether this endless actor is at its goal, or with -1 whether every other has come to its end."""
    if actor < 0:
        return graph.unfinished[:states] == 0
    return (graph.inside[:states] >> actor) & 1 != 0


def hopeful(edges: Edges, there: np.ndarray) -> np.ndarray:
    """By state, whether some schedule leads from it to one that is `there`: backwards, from a state behind these."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    states, ends, back = len(there), np.flatnonzero(there).astype(np.int32), edges.backwards
    first = np.append(back.indptr, back.indptr[-1:] + len(ends))
    behind = np.concatenate([back.indices, ends])
    graph = csr_array((np.ones(len(behind)), behind, first), shape=(states + 1, states + 1))
    found = np.zeros(states + 1, bool)
    found[breadth_first_order(graph, states, return_predecessors=False)] = True
    return found[:states]


def starving(edges: Edges, there: np.ndarray, unfinished: np.ndarray, endless: int, asked: range) -> dict[int, int]:
    """For each actor `asked` after, a state in which a fair cycle that avoids what is `there` can keep it for ever.

    A strongly connected component holds such a cycle where every actor that has not returned has an edge inside it:
    going round it takes all of them. The state has an edge of the actor that stays inside.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    states = len(there)
    out = ~(there[edges.source] | there[edges.target])
    source, target, mover = edges.source[out], edges.target[out], edges.mover[out]
    first = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=states))]).astype(np.int32)
    graph = csr_array((np.ones(len(target)), target, first), shape=(states, states))
    count, component = connected_components(graph, directed=True, connection="strong")
    inside = component[source] == component[target]
    source, mover = source[inside], mover[inside]
    movers = np.zeros(count, np.int64)
    for actor in np.unique(mover):
        movers[component[source[mover == actor]]] |= 1 << int(actor)
    fair = ~there & (movers[component] == ((1 << endless) - 1 | unfinished << endless))
    kept = fair[source]
    return {actor: int(source[kept & (mover == actor)][0]) for actor in asked if (kept & (mover == actor)).any()}
