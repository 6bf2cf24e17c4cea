"""The explorer held against the slow search: all that both say of one machine."""

from kernels.explorer import Exploration, Size, explore, explored
from kernels.rules import Fault, Rules
from kernels.tests.exploring import accesses, shows_at_its_end
from kernels.tests.naive import StepMachine, search
from kernels.tests.tables import compare_states


def lengths(found: Exploration) -> dict[str, int]:
    """By outcome of a step, the moves of its witness."""
    return {name: len(witness) for name, witness in found.outcomes.items() if name != "no_progress"}


def found_alike(rules: Rules, size: Size) -> Exploration:
    """Compare a whole search, nothing folded and nothing taken together, with the slow one; returns it. The states that
    are left where it folds and takes together are the slow one's, too.
    """
    machine = StepMachine(explored(rules), size)
    slow = search(machine)
    fast = explore(rules, size, symmetry=False, reduction=False, threads=1)

    assert fast.complete
    assert fast.states == len(slow.depth)
    assert fast.transitions == len(slow.edges)
    assert fast.depth == max(slow.depth.values())
    assert lengths(fast) == slow.outcomes
    assert fast.deadlocks == len(slow.deadlocks)
    assert fast.broken.keys() <= ({"refcounts_add_up"} if rules.faults & Fault.EXIT_LOWERS_CURRENT_EPOCH else set())
    assert fast.liveness is not None
    assert fast.liveness.livelocks == len(slow.hopeless)
    compare_states(machine, slow, explored(rules), size)
    return fast


def found_as_well(rules: Rules, size: Size, whole: Exploration) -> None:
    """Compare what a search that folds and reduces finds with what the whole one has found, witness by witness."""
    for symmetry, reduction in [(True, False), (False, True), (True, True)]:
        less = explore(rules, size, symmetry=symmetry, reduction=reduction, threads=1, liveness=False)

        assert set(lengths(less)) == set(lengths(whole))
        for name in lengths(less):
            assert shows_at_its_end(explored(rules), size, less.outcomes[name], name)
            most = accesses(explored(rules), size, whole.outcomes[name])
            assert accesses(explored(rules), size, less.outcomes[name]) <= most
            assert reduction or len(less.outcomes[name]) == len(whole.outcomes[name])
