"""The explorer finds in every flow what the slow search finds there, on machines that Python comes to the end of."""

from random import Random

import pytest

from kernels.tdx.protocol import Size, protocol_of
from kernels.tdx.rules import FLOWS, Fault, Flow, Guard, Module, Rules, SeptFree, SharedFlush, flow_name
from kernels.tests.fingerprints import new_search, prints_of
from kernels.tests.naive import State, StepMachine
from kernels.tests.orders import SPEC, V6_16, V18, order, two_levels
from kernels.tests.slow_search import found_alike, found_as_well
from kernels.tests.symmetry import orders, renamed

ONE, TWO_ZAPPERS, TWO_VCPUS = Size(1, 1), Size(1, 2), Size(2, 1)
# Wrong, and short: what is forbidden is seen, and two zappers or two vCPUs are not too much.
KICKED, BLOCKED = order("kick remove"), order("block remove")
IDLE = {"shootdowns": 0}


WRITES = order("protect flush", serialized=1, flow=int(Flow.WRITES), module=int(Module.NONE), entry_requests=1)


def batch(rules: Rules, **fields: int) -> Rules:
    return rules._replace(flow=int(Flow.BATCH), batch=2, **fields)


def beside_shared(rules: Rules, flush: SharedFlush) -> Rules:
    return rules._replace(flow=int(Flow.SHARED_EPT), shared_pages=1, shared_flush=int(flush), entry_requests=1)


def populate(rules: Rules, **fields: int) -> Rules:
    return two_levels(rules, Flow.POPULATE, **fields)


def sept_pages(rules: Rules, **fields: int) -> Rules:
    return two_levels(rules, Flow.SEPT_PAGES, **fields)


def zero_step(rules: Rules, **fields: int) -> Rules:
    return two_levels(rules, Flow.ZERO_STEP, epf_threshold=0, hp_lock_timeout=1, **fields)


def migrate(rules: Rules, lps: int) -> Rules:
    return rules._replace(flow=int(Flow.MIGRATE), lps=lps)


MACHINES = {
    "a batch that yields": (batch(SPEC, resched=1), Size(1, 1, 2, 2)),
    "a batch that drops its flush": (batch(SPEC, faults=int(Fault.FLUSH_DROPPED_AT_YIELD)), Size(1, 1, 2, 2)),
    "batches of two zappers": (batch(BLOCKED), Size(1, 2, 2, 2)),
    "a shared page flushed by a request": (beside_shared(V18, SharedFlush.REQUEST), Size(1, 1, 2, 2)),
    "a shared page flushed by TRACK": (beside_shared(SPEC, SharedFlush.TRACK), Size(1, 1, 2, 2)),
    "a shared page of two zappers": (beside_shared(KICKED, SharedFlush.REQUEST), TWO_ZAPPERS),
    "populated beside a zapper": (populate(V18), ONE),
    "populated beside two zappers": (populate(BLOCKED._replace(serialized=1)), TWO_ZAPPERS),
    "populated by two vCPUs": (populate(SPEC, **IDLE), TWO_VCPUS),
    "page-table pages that go": (sept_pages(SPEC), Size(1, 1, 1, 2)),
    "page-table pages that stay": (sept_pages(V18, sept_free=int(SeptFree.AFTER_HKID)), Size(1, 1, 1, 2)),
    "page-table pages of two zappers": (sept_pages(BLOCKED._replace(serialized=1)), Size(1, 2, 1, 2)),
    "a TD that is torn down": (two_levels(BLOCKED, Flow.TEARDOWN), ONE),
    "a TD that is built": (SPEC._replace(flow=int(Flow.BUILD), guard=int(Guard.ALL), ioctls=31), ONE),
    "a TD that two threads build": (BLOCKED._replace(flow=int(Flow.BUILD), ioctls=9), TWO_ZAPPERS),
    "a vCPU that moves": (migrate(KICKED, 2), ONE),
    "two vCPUs that take turns": (migrate(order("remove"), 1), TWO_VCPUS),
    "a vCPU that tracks": (V18._replace(flow=int(Flow.FLUSH_CURRENT)), ONE),
    "a memslot that comes": (KICKED._replace(flow=int(Flow.MMIO)), ONE),
    "a guest that writes": (WRITES, ONE),
    "a memslot that goes": (two_levels(SPEC, Flow.MEMSLOTS), ONE),
    "a guest that is stepped": (zero_step(V18), ONE),
    "two vCPUs that are stepped": (zero_step(SPEC, **IDLE), TWO_VCPUS),
}


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_found_is_what_the_slow_search_finds(name):
    rules, size = MACHINES[name]

    found_as_well(rules, size, found_alike(rules, size))


MANY = Size(3, 2, 2, 1)
# Where a kick makes no request nothing but the kicker's own words say which vCPU has been.
FOLDED = [
    V18,
    KICKED,
    batch(V18, resched=1),
    beside_shared(V18, SharedFlush.REQUEST),
    populate(V6_16),
    sept_pages(V18),
    zero_step(V18),
    WRITES,
]


@pytest.mark.parametrize("rules", FOLDED, ids=lambda rules: f"{flow_name(rules.flow)}, {rules.request}")
def test_states_fold_where_they_differ_in_names_alone_on_a_way_through_a_larger_machine(rules):
    """Of two zappers and three vCPUs, all of them kicked: 12 names for a state."""
    machine = StepMachine(rules, MANY)
    met = sorted(walked(machine, 1500))
    ways = orders(machine)
    begun = new_search(rules, MANY, symmetry=True, reduction=False)
    named = [[renamed(machine, state, *way) for way in ways] for state in met]
    found = prints_of(begun, [state for names in named for state in names])
    prints = [found[at : at + len(ways)] for at in range(0, len(found), len(ways))]

    assert len(met) > 500
    assert all(len(set(ones)) == 1 for ones in prints)
    assert len({ones[0] for ones in prints}) == len({min(names) for names in named})


def walked(machine: StepMachine, steps: int) -> set[State]:
    """The states on one way through the machine, a step of anybody at a time."""
    drawn, state, met = Random(2024), machine.start, {machine.start}
    for _ in range(steps):
        state, _ = machine.after(state, drawn.choice(machine.moves(state)))
        met.add(state)
    return met


def test_every_flow_is_looked_at():
    assert {Flow(rules.flow) for rules, _ in MACHINES.values()} == set(Flow) - {Flow.SHOOTDOWN}
    assert {rules.flow for rules in FOLDED} == {flow for flow in FLOWS if protocol_of(flow).states.folds}
