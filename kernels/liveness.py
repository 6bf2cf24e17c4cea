"""Whether every zapper comes to its end and every vCPU into the guest again: the whole graph of states, with edges.

Two questions. A livelock: a state from which no schedule at all lets every zapper finish, or none a vCPU into the
guest; forbidden. And starvation: a cycle in which every actor takes steps and a zapper none that leads it out, or a
vCPU none into the guest, so that fair but unlucky scheduling can keep it there for ever; that is what try-locks without
a queue are like, and worth knowing. Actors are not folded here, or a cycle would not say whose steps it has.
"""

from typing import NamedTuple

import numpy as np

from kernels.atomics import address, at_word, words_at
from kernels.effects import WAYS, apply
from kernels.machine import DONE
from kernels.memo import effect_of
from kernels.own_words import STATE, pack
from kernels.prints import LABEL, facts_of, fingerprint
from kernels.store import copy, slot_of

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
    rows: np.ndarray  # [state, column], see `kernels.moves.Plan`
    first: np.ndarray  # [state] its first edge; one more at the end
    target: np.ndarray  # [edge]
    mover: np.ndarray  # [edge] the number of the move * 256 + the actor
    unfinished: np.ndarray  # [state] zappers that have not returned, a bit each; none where KVM_BUG_ON was hit
    inside: np.ndarray  # [state] vCPUs in the guest, a bit each; all where KVM_BUG_ON was hit
    guest: np.ndarray  # [label and 1] whether a vCPU is in the guest there, or at its TD exit: a tick may come at once


def number_of(graph, print_, next_number):
    """The number of the state with this fingerprint, `next_number` where it is new."""
    at = slot_of(print_, graph.bits)
    while True:
        there = words_at(graph.table)[at] - 1
        if there < 0:
            words_at(graph.table)[at] = next_number + 1
            words_at(graph.prints)[next_number] = print_
            return next_number
        if words_at(graph.prints)[there] == print_:
            return there
        at = (at + 1) & ((1 << graph.bits) - 1)


def draw_graph(plan, memo, graph, words_, lay, rules, progress_):
    """Every state from the one in `words_` on, and every edge; returns how many states, FULL, or PAUSED to be called
    again. `progress_`: int64 [PROGRESS], zeroed at the start.
    """
    td, progress = address(words_), address(progress_)
    everybody = plan.vcpus + plan.zappers
    rows, first, target = words_at(graph.rows), words_at(graph.first), words_at(graph.target)
    mover, unfinished, inside = words_at(graph.mover), words_at(graph.unfinished), words_at(graph.inside)
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
            if actor >= plan.vcpus:
                left |= 1 << (actor - plan.vcpus)
            elif words_at(graph.guest)[label + 1]:
                entered |= 1 << actor
            number, numbers = 0, 1
            while number < numbers:
                effect = effect_of(plan, memo, td, lay, rules, state, actor, number)
                count = words_at(memo.pool)[effect + WAYS]
                number += 1
                numbers = max(numbers, abs(count))
                if count > 0:
                    if edges == graph.most_edges or states == graph.most_states or words_at(memo.common)[STATE]:
                        return FULL
                    behind = at_word(rows, states * plan.columns)
                    copy(behind, state, 0, plan.columns)
                    apply(plan, memo, behind, actor, effect)
                    found = number_of(graph, fingerprint(plan, memo, behind), states)
                    if found == states:
                        states += 1
                    target[edges] = found
                    mover[edges] = ((number - 1) << 8) | actor
                    edges += 1
        unfinished[at] = 0 if state[plan.bugged] else left  # the VM is dead: nobody waits for anybody
        inside[at] = -1 if state[plan.bugged] else entered
        at += 1
    first[states] = edges
    return states


def is_there(graph, state, vcpu):
    """Whether this vCPU is in the guest, or with -1 whether every zapper has come to its end."""
    if vcpu < 0:
        return words_at(graph.unfinished)[state] == 0
    return (words_at(graph.inside)[state] >> vcpu) & 1 != 0


def mark_hopeful(graph, states, vcpu, hopeful_):
    """Mark the states from which some schedule leads to one that `is_there`; returns how many are not.

    `hopeful_`: int64 [state], zeroed.
    """
    first, target, hopeful = words_at(graph.first), words_at(graph.target), address(hopeful_)
    begins = np.zeros(states + 2, np.int64)  # edges by target, backwards
    for edge in range(first[states]):
        begins[target[edge] + 2] += 1
    for state in range(states):
        begins[state + 2] += begins[state + 1]
    sources = np.empty(first[states], np.int64)
    for state in range(states):
        for edge in range(first[state], first[state + 1]):
            sources[begins[target[edge] + 1]] = state
            begins[target[edge] + 1] += 1
    waiting = np.empty(states, np.int64)
    count = 0
    for state in range(states):
        if is_there(graph, state, vcpu):
            hopeful[state] = 1
            waiting[count] = state
            count += 1
    marked = count
    while count > 0:
        count -= 1
        state = waiting[count]
        for place in range(begins[state], begins[state + 1]):
            source = sources[place]
            if hopeful[source] == 0:
                hopeful[source] = 1
                marked += 1
                waiting[count] = source
                count += 1
    return states - marked


def find_components(graph, states, vcpu, component_):
    """Number the strongly connected components (Tarjan 1972, without recursion) of the graph without the states that
    have a vCPU in the guest, or with -1 of all; returns how many there are. `component_`: int64 [state], -1.
    """
    first, target, component = words_at(graph.first), words_at(graph.target), address(component_)
    index = np.zeros(states, np.int64)
    low = np.zeros(states, np.int64)
    edge_at = np.empty(states, np.int64)
    path = np.empty(states, np.int64)
    stack = np.empty(states, np.int64)
    counter, depth, height, components = 0, 0, 0, 0
    for root in range(states):
        if index[root] or (vcpu >= 0 and is_there(graph, root, vcpu)):
            continue
        path[0], depth = root, 1
        while depth:
            state = path[depth - 1]
            if index[state] == 0:
                counter += 1
                index[state] = low[state] = counter
                edge_at[state] = first[state]
                stack[height] = state
                height += 1
                component[state] = -1
            deeper = False
            while edge_at[state] < first[state + 1]:
                to = target[edge_at[state]]
                if vcpu >= 0 and is_there(graph, to, vcpu):
                    edge_at[state] += 1
                    continue
                if index[to] == 0:
                    path[depth] = to
                    depth += 1
                    deeper = True
                    break
                if component[to] == -1:
                    low[state] = min(low[state], low[to])
                edge_at[state] += 1
            if deeper:
                continue
            depth -= 1
            if low[state] == index[state]:
                while True:
                    height -= 1
                    component[stack[height]] = components
                    if stack[height] == state:
                        break
                components += 1
    return components


def find_starving(plan, memo, graph, states, vcpu, component_, components, label_):
    """For each zapper, or this vCPU, a label at which a fair cycle can keep it: `label_[actor]`, left as it is where
    there is none.

    A component holds such a cycle where every actor that has not returned has an edge inside it: going round it takes
    all of them. The label is that of an edge of its own which stays inside.
    """
    first, target = words_at(graph.first), words_at(graph.target)
    mover, unfinished = words_at(graph.mover), words_at(graph.unfinished)
    component, label = address(component_), address(label_)
    movers = np.zeros(components, np.int64)
    for state in range(states):
        for edge in range(first[state], first[state + 1]):
            if component[state] >= 0 and component[target[edge]] == component[state]:
                movers[component[state]] |= 1 << (mover[edge] & 255)
    for state in range(states):
        wanted = (1 << plan.vcpus) - 1 | unfinished[state] << plan.vcpus
        if is_there(graph, state, vcpu) or movers[component[state]] != wanted:
            continue
        for edge in range(first[state], first[state + 1]):
            actor = mover[edge] & 255
            asked = actor == vcpu if vcpu >= 0 else actor >= plan.vcpus
            if asked and component[target[edge]] == component[state] and label[actor] == DONE:
                row = at_word(words_at(graph.rows), state * plan.columns)
                label[actor] = facts_of(plan, memo, row, actor)[LABEL]


FUNCTIONS = (
    copy,
    slot_of,
    number_of,
    draw_graph,
    is_there,
    mark_hopeful,
    find_components,
    find_starving,
)
ENTRIES = (draw_graph, mark_hopeful, find_components, find_starving)
