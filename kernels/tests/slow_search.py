"""The explorer held against the slow search: all that both say of one machine."""

from kernels.language.machine import DONE
from kernels.search.explore import Exploration, explore
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


def hopeless(machine: StepMachine, space: Space) -> set[State]:
    """The states from which no way lets every zapper finish, or none a vCPU in; a TD that goes lets none in."""
    vcpus = [
        name
        for name in machine.actors
        if name.startswith("vcpu") and machine.rules.flow not in (Flow.TEARDOWN, Flow.BUILD)
    ]
    return space.hopeless.union(*(shut_out(machine, space, name) for name in vcpus))


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
    assert fast.liveness is not None
    assert fast.liveness.livelocks == len(hopeless(machine, slow))
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
