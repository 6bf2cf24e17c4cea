"""Who is kept for ever, by any schedule or by a fair but unlucky one: what the compiled graph says, and the slow one.

Here cycles are those of the slow search, which takes nothing together.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kernels.language.machine import DONE
from kernels.search.explore import explore
from kernels.search.schedule import Move
from kernels.tdx.protocol import Size, explored, of_flow
from kernels.tdx.rules import Fault, Flow, Rules
from kernels.tests.naive import State, StepMachine, search
from kernels.tests.orders import (
    BLOCK,
    GATED,
    KICK,
    LOCKS,
    NO_KICK,
    RAISE,
    REMOVE,
    SAFE,
    SPEC,
    TRACK,
    V6_16,
    V18,
    order,
    two_levels,
)
from kernels.tests.slow_search import is_in_guest, shut_out
from kernels.tests.strategies import orderings
from kernels.tests.witnesses import machine

ONE, TWO_ZAPPERS, TWO_VCPUS = Size(1, 1), Size(1, 2), Size(2, 1)
DEAF = V18._replace(faults=int(Fault.GATE_WITHOUT_INTERRUPTS))


Edges = list[tuple[State, Move, State]]


def component_of(edges: Edges) -> dict[State, State]:
    """By state, the one that stands for its strongly connected component."""
    numbers: dict[State, int] = {}
    for state, _, after in edges:
        numbers.setdefault(state, len(numbers))
        numbers.setdefault(after, len(numbers))
    source, target = zip(*((numbers[state], numbers[after]) for state, _, after in edges), strict=True)
    graph = csr_array((np.ones(len(edges)), (source, target)), shape=(len(numbers), len(numbers)))
    _, components = connected_components(graph, directed=True, connection="strong")
    first = dict(zip(reversed(components), reversed(numbers), strict=True))
    return {state: first[component] for state, component in zip(numbers, components, strict=True)}


def kept(machine: StepMachine, edges: Edges, kind: str) -> dict[str, set[str]]:
    """By actor of a kind, the steps of its own on cycles of these edges though everybody takes steps who has not
    returned. Nobody is kept where the VM is dead.
    """
    component = component_of(edges)
    steps: dict[State, dict[str, set[str]]] = {}
    for state, move, after in edges:
        if component[state] == component[after]:
            actor, compiled = machine.actors[move.actor]
            site = compiled.machine.sites[state[actor.pc]]
            steps.setdefault(component[state], {}).setdefault(move.actor, set()).add(str(site))
    found: dict[str, set[str]] = {}
    for state, taken in steps.items():
        live = {name for name, (actor, _) in machine.actors.items() if state[actor.pc] != DONE}
        if taken.keys() == live and not (kind == "zapper" and machine.over(state)):
            for name in live:
                if name.startswith(kind):
                    found.setdefault(name, set()).update(taken[name])
    return found


def starving(rules: Rules, size: Size) -> set[str]:
    """The actors that can be kept, by both; each at a step at which the slow one knows it to be."""
    machine = StepMachine(explored(rules), size)
    space = search(machine)
    edges, vcpus = list(space.edges), [name for name in machine.actors if name.startswith("vcpu")]
    refused = {name: len(shut_out(machine, space, name)) for name in vcpus}
    known = kept(machine, edges, "zapper")
    for name in vcpus:
        outside = [
            edge for edge in edges if not (is_in_guest(machine, edge[0], name) or is_in_guest(machine, edge[2], name))
        ]
        known |= kept(machine, outside, name)
    for reduction in (False, True):
        live = explore(*of_flow(rules), size, reduction=reduction, threads=1).liveness

        assert live is not None
        assert live.starving.keys() == known.keys()
        assert all(step in known[name] for name, step in live.starving.items())
        assert live.refused is not None
        assert live.refused.keys() == {name for name, states in refused.items() if states}
        assert reduction or all(live.refused[name] == refused[name] for name in live.refused)
    return set(known)


@pytest.mark.parametrize(
    ("rules", "size"),
    [(V18, ONE), (V6_16, ONE), (order(KICK, REMOVE), ONE), (order(REMOVE), TWO_ZAPPERS), (order(REMOVE), TWO_VCPUS)],
)
def test_no_zapper_is_kept(rules, size):
    """Where TRACK is not tried again without end: nobody is in its way behind the gate, or without vCPUs, or at all."""
    assert starving(rules, size) == set()


@pytest.mark.parametrize(
    ("rules", "size", "vcpus"),
    [
        (SPEC, ONE, set()),
        (NO_KICK, TWO_ZAPPERS, set()),
        (DEAF, ONE, {"vcpu 0"}),
        (order(LOCKS[0], LOCKS[0]), ONE, set()),
        (two_levels(SPEC, Flow.POPULATE), ONE, {"vcpu 0"}),
    ],
)
def test_every_zapper_can_be_kept_and_vcpus_where_they_wait_for_it(rules, size, vcpus):
    """A vCPU enters whenever TRACK is tried; it never acknowledges a kick; a zapper takes a lock twice. A fault waits
    for mmu_lock, which its zapper takes again and again.
    """
    assert starving(rules, size) == {f"zapper {index}" for index in range(size.zappers)} | vcpus


RAISED = order(BLOCK, RAISE, KICK, TRACK, REMOVE, serialized=1, **GATED)


@pytest.mark.parametrize("size", [ONE, TWO_VCPUS])
def test_a_vcpu_behind_a_gate_that_is_never_lowered_is_kept_out_though_the_zapper_finishes(size):
    found = explore(*of_flow(RAISED), size, threads=1)

    assert found.liveness is not None
    assert found.liveness.refused is not None
    assert set(found.liveness.refused) == {f"vcpu {index}" for index in range(size.vcpus)}
    assert found.deadlocks == 0
    assert found.outcomes["no_progress"] == found.liveness.livelock
    assert shut_out_behind(RAISED, size, found.liveness.livelock)


def shut_out_behind(rules: Rules, size: Size, way: tuple[Move, ...]) -> bool:
    """Whether at the end of a schedule the gate is up and a vCPU is told to stop there: its request is set."""
    run = machine(rules, size)
    for move in way:
        run.step(move.actor, move.chosen)
    return bool(run.words[run.lay.gate]) and bool(run.words[run.lay.requests])


def test_a_vcpu_is_kept_out_by_a_page_that_nobody_else_accepts_once_the_zero_step_filter_has_listed_it():
    """As TDX_1.5.01 has it: PENDING still faults for its filter. The zapper goes on."""
    stepped = two_levels(SPEC, Flow.ZERO_STEP, hp_lock_timeout=1)
    live = explore(*of_flow(stepped), ONE, threads=1).liveness

    assert live is not None
    assert (live.states, live.livelocks, live.refused) == (1134, 1050, {"vcpu 0": 1050})
    assert starving(stepped, ONE) == {"vcpu 0", "zapper 0"}


@pytest.mark.parametrize("size", [ONE, TWO_ZAPPERS, TWO_VCPUS])
@pytest.mark.parametrize("rules", SAFE.values(), ids=SAFE)
def test_in_no_safe_ordering_is_a_vcpu_kept_out(rules, size):
    live = explore(*of_flow(rules), size, threads=1).liveness

    assert live is not None
    assert (live.livelocks, live.refused) == (0, {})
    assert not [name for name in live.starving if name.startswith("vcpu")]


def test_what_keeps_a_vcpu_out_both_say():
    assert starving(RAISED, ONE) == {"vcpu 0"}


def test_of_any_ordering_both_say_the_same():
    said = set()

    @settings(max_examples=12, derandomize=True, deadline=None, database=None)
    @given(orderings())
    def draw(rules):
        said.add(frozenset(starving(rules, ONE)))

    draw()

    assert said == {frozenset(), frozenset({"zapper 0"})}
