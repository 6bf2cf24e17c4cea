"""Where fair but unlucky scheduling keeps a zapper for ever: what the compiled graph says, and what the slow one says.

Here a strongly connected component is found by what reaches one state and is reached from it, in two passes over the
edges of the slow search, which takes nothing together.
"""

import pytest
from hypothesis import given, settings

from kernels.explorer import Size, explore, explored
from kernels.machine import DONE
from kernels.rules import Fault, Flow, Rules
from kernels.tests.drawn import orderings
from kernels.tests.naive import Space, State, StepMachine, search
from kernels.tests.orders import KICK, NO_KICK, REMOVE, SPEC, V6_16, V18, order, two_levels

ONE, TWO_ZAPPERS, TWO_VCPUS = Size(1, 1), Size(1, 2), Size(2, 1)
DEAF = V18._replace(faults=int(Fault.GATE_WITHOUT_INTERRUPTS))


def component_of(space: Space) -> dict[State, State]:
    """By state, the one that stands for its component (Kosaraju)."""
    ahead: dict[State, list[State]] = {state: [] for state in space.depth}
    back: dict[State, list[State]] = {state: [] for state in space.depth}
    for state, _, after in space.edges:
        ahead[state].append(after)
        back[after].append(state)
    left: list[State] = []
    seen: set[State] = set()
    for root in space.depth:
        path = [(root, iter(ahead[root]))] if root not in seen else []
        seen.add(root)
        while path:
            state, following = path[-1]
            after = next((one for one in following if one not in seen), ())
            if not after:
                left.append(state)
                path.pop()
            else:
                seen.add(after)
                path.append((after, iter(ahead[after])))
    found: dict[State, State] = {}
    for root in reversed(left):
        waiting = [root] if root not in found else []
        while waiting:
            state = waiting.pop()
            if state not in found:
                found[state] = root
                waiting += [before for before in back[state] if before not in found]
    return found


def kept(machine: StepMachine, space: Space) -> dict[str, set[str]]:
    """By zapper, the steps of its own on cycles that it does not leave though everybody takes steps who has not
    returned. Nobody is kept where the VM is dead.
    """
    component = component_of(space)
    steps: dict[State, dict[str, set[str]]] = {}
    for state, move, after in space.edges:
        if component[state] == component[after]:
            actor, kind = machine.actors[move.actor]
            site = kind.made.sites[state[actor.pc]]
            steps.setdefault(component[state], {}).setdefault(move.actor, set()).add(str(site))
    found: dict[str, set[str]] = {}
    for state, taken in steps.items():
        live = {name for name, (actor, _) in machine.actors.items() if state[actor.pc] != DONE}
        if taken.keys() == live and not machine.over(state):
            for name in live:
                if name.startswith("zapper"):
                    found.setdefault(name, set()).update(taken[name])
    return found


def starving(rules: Rules, size: Size) -> set[str]:
    """The zappers that can be kept, by both; each at a step at which the slow one knows it to be."""
    machine = StepMachine(explored(rules), size)
    known = kept(machine, search(machine))
    for reduction in (False, True):
        live = explore(rules, size, reduction=reduction, threads=1).liveness

        assert live is not None
        assert live.starving.keys() == known.keys()
        assert all(step in known[zapper] for zapper, step in live.starving.items())
    return set(known)


@pytest.mark.parametrize(
    ("rules", "size"),
    [(V18, ONE), (V6_16, ONE), (order(KICK, REMOVE), ONE), (order(REMOVE), TWO_ZAPPERS), (order(REMOVE), TWO_VCPUS)],
)
def test_no_zapper_is_kept(rules, size):
    """Where TRACK is not tried again without end: nobody is in its way behind the gate, or without vCPUs, or at all."""
    assert starving(rules, size) == set()


@pytest.mark.parametrize(
    ("rules", "size"),
    [
        (SPEC, ONE),
        (NO_KICK, TWO_ZAPPERS),
        (DEAF, ONE),
        (order(KICK), ONE),
        (two_levels(SPEC, Flow.POPULATE), ONE),
    ],
)
def test_every_zapper_can_be_kept(rules, size):
    """A vCPU enters whenever TRACK is tried; it never acknowledges a kick; the page is there already, or not yet."""
    assert starving(rules, size) == {f"zapper {index}" for index in range(size.zappers)}


def test_of_any_ordering_both_say_the_same():
    said = set()

    @settings(max_examples=9, derandomize=True, deadline=None, database=None)
    @given(orderings())
    def draw(rules):
        said.add(frozenset(starving(rules, ONE)))

    draw()

    assert said == {frozenset(), frozenset({"zapper 0"})}
