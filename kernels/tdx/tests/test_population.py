"""Two page tables in step: vCPUs that fault populate, zappers zap; every interleaving of small machines, in Python."""

import functools

import pytest

from kernels.tdx import bits, words
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Busy, Fault, Flow, Rules
from kernels.tests.naive import Space, State, StepMachine, search
from kernels.tests.orders import SPEC, V6_16, V18, busy, two_levels

ALWAYS = {"fault", "operand_busy"}


@functools.cache
def searched(rules: Rules, size: Size) -> tuple[StepMachine, Space]:
    """Every state that can be reached; kept, as several tests look at the same ones."""
    machine = StepMachine(rules, size)
    return machine, search(machine)


ORDERS = {name: two_levels(rules, Flow.POPULATE) for name, rules in (("spec", SPEC), ("v18", V18), ("v6_16", V6_16))}
ZAPPED = [(rules, Size(1, 1)) for rules in ORDERS.values()]
TWO = (ORDERS["spec"]._replace(shootdowns=0), Size(2, 1))
FREED = [(rules._replace(flow=int(Flow.SEPT_PAGES)), Size(1, 1, 1, 2)) for rules in (ORDERS["spec"], ORDERS["v18"])]
ALL = [*ZAPPED, TWO, *FREED]
IDS = [*ORDERS, "two vCPUs", "page-table pages go", "page-table pages go, mmu_lock held for read"]


@pytest.mark.parametrize(("rules", "size"), ZAPPED, ids=[*ORDERS])
def test_nothing_forbidden_happens_where_a_zapper_zaps_what_a_vcpu_populates(rules, size):
    _, space = searched(rules, size)

    concurrent = set() if rules.zap_for_write else {"fault_retried"}
    assert set(space.outcomes) == ALWAYS | {"stale_in_window"} | concurrent
    assert (len(space.deadlocks), len(space.hopeless)) == (0, 0)


def test_of_two_vcpus_that_fault_on_one_page_the_loser_retries():
    _, space = searched(*TWO)

    assert set(space.outcomes) == ALWAYS | {"fault_retried", "page_already_accepted"}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(Fault.POPULATE_UNFROZEN, "entry_state_incorrect"), (Fault.UNFREEZE_EARLY, "ept_walk_failed")],
)
def test_two_vcpus_that_populate_without_a_frozen_entry_meet_in_the_module(fault, outcome):
    _, space = searched(ORDERS["spec"]._replace(shootdowns=0, faults=int(fault)), Size(2, 1))

    assert outcome in space.outcomes


def test_an_accepted_page_that_was_not_zeroed_is_seen_by_its_first_read():
    _, space = searched(ORDERS["spec"]._replace(faults=int(Fault.ACCEPT_WITHOUT_ZEROING)), Size(1, 1))

    assert set(space.outcomes) == ALWAYS | {"stale_in_window", "not_zeroed"}


def test_v18_takes_the_busy_lock_of_an_entry_for_an_error_that_a_guest_accepts():
    """TDX_ERROR_SEPT_BUSY is that of the tree; BLOCK meets ACCEPT and answers OPERAND_BUSY|RCX."""
    _, space = searched(ORDERS["v18"]._replace(**busy(Busy.SPIN_EXACT, "block", "remove")), Size(1, 1))

    assert "busy_given_up" in space.outcomes


def word(machine: StepMachine, state: State, family: str, node: int) -> int:
    """A word of a guest page, or behind these of a page-table page."""
    value: int = state[getattr(machine.lay, family) + node * machine.lay.page_stride]
    return value


def in_step(machine: StepMachine, state: State, node: int) -> bool:
    """The mirror SPTE and the S-EPT entry say the same of this page, or the SPTE is frozen."""
    spte, entry = word(machine, state, "mirror", node), bits.state_of(word(machine, state, "sept", node))
    mapped = (bits.Sept.PENDING, bits.Sept.MAPPED) if node < machine.lay.pages else (bits.Sept.NL_MAPPED,)
    return spte == bits.Mirror.FROZEN or (entry in mapped if spte == bits.Mirror.PRESENT else entry == bits.Sept.FREE)


def owned_once(machine: StepMachine, state: State, node: int) -> bool:
    """The page behind an S-EPT entry is this TD's, and no other one's nor free."""
    entry, owned = word(machine, state, "sept", node), word(machine, state, "owner", node)
    if bits.state_of(entry) == bits.Sept.FREE:
        return True
    return bits.page_of(entry) == bits.generation_of(owned) << 8 and bits.phase_of(owned) != bits.Phase.FREE


def zeroed(machine: StepMachine, state: State, node: int) -> bool:
    """Whoever walks the S-EPT to this page finds zeroes."""
    mapped = bits.state_of(word(machine, state, "sept", node)) == bits.Sept.MAPPED
    return not mapped or word(machine, state, "content", node) == bits.Content.ZEROED


def no_freed_page_is_held(machine: StepMachine, state: State) -> bool:
    """No vCPU that is in the guest has a translation to a page that is someone else's by now."""
    lay = machine.lay
    for vcpu in range(lay.vcpus):
        inside = state[lay.mode + vcpu * lay.vcpu_stride] == bits.Mode.IN_GUEST_MODE and is_inside(machine, state, vcpu)
        held = state[words.tlb(lay, vcpu, 0)]
        if inside and held and bits.generation_of(bits.content_of(held)) != bits.generation_of(state[lay.owner]):
            return False
    return True


def is_inside(machine: StepMachine, state: State, vcpu: int) -> bool:
    """Whether the vCPU's next step is one of the guest's."""
    actor, kind = machine.actors[f"vcpu {vcpu}"]
    return "guest" in kind.machine.calls[state[actor.pc]]


@pytest.mark.parametrize(("rules", "size"), ALL, ids=IDS)
def test_mirror_and_sept_agree_in_every_state_in_which_no_entry_is_frozen_and_nobody_holds_mmu_lock_for_write(
    rules, size
):
    machine, space = searched(rules, size)
    looked_at = [state for state in space.depth if not state[machine.lay.mmu_lock] & 1]

    assert len(looked_at) > 300
    assert all(in_step(machine, state, node) for state in looked_at for node in range(2))


@pytest.mark.parametrize(("rules", "size"), ALL, ids=IDS)
def test_in_every_state_a_page_has_one_owner_and_an_accepted_one_is_zeroed_and_no_guest_holds_a_freed_one(rules, size):
    machine, space = searched(rules, size)

    for state in space.depth:
        assert all(owned_once(machine, state, node) for node in range(2))
        assert zeroed(machine, state, 0)
        assert no_freed_page_is_held(machine, state)


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        (Fault.POPULATE_UNFROZEN, lambda machine, state: in_step(machine, state, 0)),
        (Fault.UNFREEZE_EARLY, lambda machine, state: in_step(machine, state, 1)),
        (Fault.ACCEPT_WITHOUT_ZEROING, lambda machine, state: zeroed(machine, state, 0)),
    ],
)
def test_each_fault_breaks_an_invariant_that_the_right_protocol_keeps(fault, holds):
    """Were the invariants such that nothing breaks them, keeping them would say little."""
    machine, space = searched(ORDERS["spec"]._replace(shootdowns=0, faults=int(fault)), Size(2, 1))

    assert not all(holds(machine, state) for state in space.depth if not state[machine.lay.mmu_lock] & 1)
