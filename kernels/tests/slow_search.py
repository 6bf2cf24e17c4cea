"""The explorer held against the slow search: all that both say of one machine."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kernels.language.machine import DONE
from kernels.search.explore import Exploration, explore
from kernels.search.schedule import Move
from kernels.tdx.protocol import Size, explored, of_flow
from kernels.tdx.rules import Fault, Flow, Rules
from kernels.tests.fingerprints import compare_states
from kernels.tests.naive import Space, State, StepMachine, leading_to, search
from kernels.tests.witnesses import accesses, shows_at_its_end


def lengths(found: Exploration) -> dict[str, int]:
    """By outcome of a step, the moves of its witness."""
    return {name: len(witness) for name, witness in found.outcomes.items() if name != "no_progress"}


def is_in_guest(machine: StepMachine, state: State, name: str) -> bool:
    """Whether a vCPU is between TDH.VP.ENTER and TD exit, or the VM dead."""
    actor, kind = machine.actors[name]
    label = state[actor.pc]
    return bool(state[machine.lay.vm_bugged]) or (label != DONE and kind.machine.goals[label])


def shut_out(machine: StepMachine, space: Space, name: str) -> set[State]:
    """The states from which no way leads a vCPU into the guest."""
    goal = {state for state in space.depth if is_in_guest(machine, state, name)}
    return space.depth.keys() - leading_to(goal, space.edges)


Edges = list[tuple[State, Move, State]]


def component_of(edges: Edges) -> dict[State, int]:
    """By state, the number of its strongly connected component."""
    numbers: dict[State, int] = {}
    for state, _, after in edges:
        numbers.setdefault(state, len(numbers))
        numbers.setdefault(after, len(numbers))
    source, target = zip(*((numbers[state], numbers[after]) for state, _, after in edges), strict=True)
    graph = csr_array((np.ones(len(edges)), (source, target)), shape=(len(numbers), len(numbers)))
    _, components = connected_components(graph, directed=True, connection="strong")
    return dict(zip(numbers, components.tolist(), strict=True))


def kept(machine: StepMachine, edges: Edges, kind: str) -> dict[str, set[str]]:
    """By actor of a kind, the steps of its own on cycles of these edges though everybody takes steps who has not
    returned. Nobody is kept where the VM is dead.
    """
    component = component_of(edges)
    cycles: dict[int, tuple[State, dict[str, set[str]]]] = {}
    for state, move, after in edges:
        if component[state] == component[after]:
            actor, compiled = machine.actors[move.actor]
            site = compiled.machine.sites[state[actor.pc]]
            cycles.setdefault(component[state], (state, {}))[1].setdefault(move.actor, set()).add(str(site))
    found: dict[str, set[str]] = {}
    for state, taken in cycles.values():
        live = {name for name, (actor, _) in machine.actors.items() if state[actor.pc] != DONE}
        if taken.keys() == live and not (kind == "zapper" and machine.over(state)):
            for name in live:
                if name.startswith(kind):
                    found.setdefault(name, set()).update(taken[name])
    return found


def starving(machine: StepMachine, space: Space) -> dict[str, set[str]]:
    """By actor who can be kept for ever, the steps at which; a vCPU on cycles outside of its guest."""
    found = kept(machine, space.edges, "zapper")
    for name in lasting(machine):
        inside = {state for state in space.depth if is_in_guest(machine, state, name)}
        outside = [edge for edge in space.edges if edge[0] not in inside and edge[2] not in inside]
        found |= kept(machine, outside, name)
    return found


def lasting(machine: StepMachine) -> list[str]:
    """The vCPUs, but for those of a TD that goes or is built."""
    goes = machine.rules.flow in (Flow.TEARDOWN, Flow.BUILD)
    return [name for name in machine.actors if name.startswith("vcpu") and not goes]


def hopeless(machine: StepMachine, space: Space) -> set[State]:
    """The states from which no way lets every zapper finish, or none a vCPU in; a TD that goes lets none in."""
    return space.hopeless.union(*(shut_out(machine, space, name) for name in lasting(machine)))


def found_alike(rules: Rules, size: Size) -> Exploration:
    """Compare a whole search, nothing folded and nothing taken together, with the slow one; returns it. The states that
    are left where it folds and takes together are the slow one's, too.
    """
    machine = StepMachine(explored(rules), size)
    slow = search(machine)
    fast = explore(*of_flow(rules), size, symmetry=False, reduction=False, threads=1)

    assert fast.complete
    assert fast.states == len(slow.depth)
    assert fast.transitions == len(slow.edges)
    assert fast.depth == max(slow.depth.values())
    assert lengths(fast) == slow.outcomes
    assert fast.deadlocks == len(slow.deadlocks)
    assert fast.broken.keys() <= ({"refcounts_add_up"} if rules.faults & Fault.EXIT_LOWERS_CURRENT_EPOCH else set())
    known = starving(machine, slow)
    for live in (fast.liveness, explore(*of_flow(rules), size, symmetry=False, threads=1).liveness):
        assert live is not None
        assert live.starving.keys() == known.keys()
        assert all(step in known[name] for name, step in live.starving.items())
    assert fast.liveness is not None
    assert fast.liveness.livelocks == len(hopeless(machine, slow))
    if fast.liveness.refused is not None:
        refused = {name: len(shut_out(machine, slow, name)) for name in lasting(machine)}
        assert fast.liveness.refused == {name: states for name, states in refused.items() if states}
    compare_states(machine, slow, explored(rules), size)
    return fast


def found_as_well(rules: Rules, size: Size, whole: Exploration) -> None:
    """Compare what a search that folds and reduces finds with what the whole one has found, witness by witness."""
    for symmetry, reduction in [(True, False), (False, True), (True, True)]:
        less = explore(*of_flow(rules), size, symmetry=symmetry, reduction=reduction, threads=1, liveness=False)

        assert set(lengths(less)) == set(lengths(whole))
        for name in lengths(less):
            assert shows_at_its_end(explored(rules), size, less.outcomes[name], name)
            most = accesses(explored(rules), size, whole.outcomes[name])
            assert accesses(explored(rules), size, less.outcomes[name]) <= most
            assert reduction or len(less.outcomes[name]) == len(whole.outcomes[name])
