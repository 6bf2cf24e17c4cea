"""What the explorer holds against every state, held against a second reading of it, and seen to be broken."""

import pytest

from kernels.search.explore import explore
from kernels.search.schedule import Schedule, interpreted_machines
from kernels.tdx import bits
from kernels.tdx.invariants import MOST_SHIFT, references_of
from kernels.tdx.protocol import Size, of_flow, protocol_of
from kernels.tdx.rules import FLOWS, STEP_BITS, Fault, Flow, Rules, flow_name
from kernels.tests.naive import State, StepMachine, search
from kernels.tests.orders import SPEC, V6_16, V18, order, two_levels

ONE, TWO = Size(1, 1), Size(2, 1)
READERS = ("read_filled", "first_read", "goes_on", "access", "read_or_write", "touch")
ZERO_STEP = two_levels(SPEC, Flow.ZERO_STEP)._replace(epf_threshold=0, hp_lock_timeout=1)
POPULATE = two_levels(order("block track remove"), Flow.POPULATE)


@pytest.mark.parametrize("flow", FLOWS, ids=flow_name)
def test_a_vcpu_that_reads_has_one_reference_and_one_that_stores_its_mode_none(flow):
    made = interpreted_machines(protocol_of(flow))[0].machine
    known = [(site.name.split("."), held) for site, held in zip(made.sites, references_of(made), strict=True) if site]

    reading = {held for (function, _), held in known if function in READERS}
    storing = {held for (function, step), held in known if step.endswith("_mode") and function == "vcpu"}
    assert (reading, storing) == ({1 | 1 << MOST_SHIFT}, {0})


def counted(machine: StepMachine, state: State) -> int:
    epochs = state[machine.lay.epoch_tracking]
    return bits.refcount_of(epochs, 0) + bits.refcount_of(epochs, 1)


@pytest.mark.parametrize("rules", [SPEC, V18, ZERO_STEP], ids=["spec", "v18", "zero_step"])
def test_in_every_state_there_is_a_reference_where_the_vcpu_is_in_the_guest_and_none_where_it_looks_for_requests(rules):
    machine = StepMachine(rules, ONE)
    actor, kind = machine.actors["vcpu 0"]
    inside, outside = set(), set()
    for state in search(machine).depth:
        label = state[actor.pc]
        if label > 0 and kind.machine.goals[label]:
            inside.add(counted(machine, state))
        elif label > 0 and "exit_requested" in kind.machine.calls[label]:
            outside.add(counted(machine, state))

    assert (inside, outside) == ({1}, {0})
    assert explore(*of_flow(rules), ONE, liveness=False).broken == {}


@pytest.mark.parametrize(
    ("rules", "size", "broken"),
    [
        (ZERO_STEP._replace(faults=int(Fault.ZERO_STEP_KEEPS_REFERENCE)), ONE, {"refcounts_add_up"}),
        (SPEC._replace(faults=int(Fault.EXIT_LOWERS_CURRENT_EPOCH)), ONE, {"refcounts_add_up"}),
        (POPULATE._replace(faults=int(Fault.UNFREEZE_EARLY), shootdowns=0), TWO, {"mirror_in_step"}),
        (POPULATE._replace(faults=int(Fault.POPULATE_UNFROZEN)), TWO, {"mirror_in_step", "one_owner"}),
    ],
    ids=["a reference stays", "the wrong count is lowered", "present too early", "two faults populate one page"],
)
def test_a_fault_that_breaks_an_invariant_is_seen_in_the_state_that_breaks_it(
    rules: Rules, size: Size, broken: set[str]
):
    found = explore(*of_flow(rules), size, liveness=False)

    assert found.broken.keys() == broken
    assert explore(*of_flow(rules._replace(faults=0)), size, liveness=False).broken == {}
    for moves in found.broken.values():  # a schedule that can be taken, to its end
        run = Schedule(*of_flow(rules), size)
        for move in moves:
            run.step(move.actor, move.chosen)


def test_the_state_that_breaks_the_count_of_references_has_one_too_many_and_nobody_inside():
    rules = ZERO_STEP._replace(faults=int(Fault.ZERO_STEP_KEEPS_REFERENCE))
    run = Schedule(*of_flow(rules), ONE)
    for move in explore(*of_flow(rules), ONE, liveness=False).broken["refcounts_add_up"]:
        run.step(move.actor, move.chosen)

    epochs = int(run.words[run.lay.epoch_tracking])
    assert bits.refcount_of(epochs, 0) + bits.refcount_of(epochs, 1) == 1
    site = run.site("vcpu 0")
    assert site is not None
    assert site.name == "vcpu.store_release_mode"


@pytest.mark.parametrize("rules", [V18, V6_16], ids=["v18", "v6_16"])
def test_a_flow_without_a_mirror_of_its_own_is_not_held_against_one(rules):
    """In the default flow the SPTE is how a zapper claims a page, and a wrong order may leave it out of step."""
    assert explore(*of_flow(rules._replace(shootdown=rules.shootdown >> STEP_BITS)), ONE, liveness=False).broken == {}
