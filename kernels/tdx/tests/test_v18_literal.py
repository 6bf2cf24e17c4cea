"""v18 to the letter: BUSY compared exactly with that of the S-EPT tree, BLOCK tried 16 times more, and then handed up;
a second AUG of the same page tried again.
"""

import pytest

from kernels.search.schedule import Schedule
from kernels.tdx import bits
from kernels.tdx.kvm.busy import gives_up
from kernels.tdx.module.sept import mem_add
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Busy, Fault, Flow, tries
from kernels.tdx.statuses import Leaf, Status
from kernels.tests.driver import answered, enter, page_state, seen, stepped
from kernels.tests.orders import SPEC, V18, busy, two_levels
from kernels.tests.single_calls import STATE_INCORRECT, Machine, kept
from kernels.tests.witnesses import ONE, shows

EXACT = (
    busy(tries(17, exact=True), "block") | busy(Busy.SPIN_EXACT, "remove") | busy(Busy.HAND_UP_EXACT, "aug", "sept_add")
)
LITERAL = V18._replace(**EXACT, serialized=1, shootdowns=2)
# Without mmu_lock, which v18 takes, two zappers contend for the tree, as an entry with the 0-step filter would.
UNLOCKED = LITERAL._replace(serialized=0)
# Only where no SPTE is frozen do two vCPUs come to add one page.
TWICE = two_levels(LITERAL, Flow.POPULATE, shootdowns=0, faults=int(Fault.POPULATE_UNFROZEN))
AUG_9 = kept(mem_add, 0, 9)
PENDING_9 = bits.Sept.PENDING | bits.SVE | 9 << bits.HPA_SHIFT
BLOCK = "mem_range_block.try_lock_exclusive_tree_lock"
REMOVE = "mem_page_remove.try_lock_shared_tree_lock"


def with_the_tree_taken(at: str) -> Schedule:
    """Zapper 0 stands at its BLOCK or its REMOVE of page 0, zapper 1 in the midst of BLOCK of page 1."""
    run = stepped(UNLOCKED, Size(1, 2, 2, 2))
    run.until("zapper 0", at, {"claim_page.any_page": 0})
    run.until("zapper 1", "mem_range_block.load_acquire_sept", {"claim_page.any_page": 1})
    return run


def test_block_that_meets_an_accept_is_told_busy_with_operand_rcx_and_the_vm_is_dead():
    run = stepped(LITERAL, Size(1, 1))
    run.until("zapper 0", "populate.store_release_mirror")
    enter(run)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "mem_page_accept.load_acquire_sept")  # the guest holds the lock of the entry
    run.until("zapper 0", "end")

    assert answered(run, Leaf.TDH_MEM_RANGE_BLOCK, Status.BUSY_RCX, "zapper 0") == 1
    assert seen(run) == {"operand_busy", "busy_given_up"}
    assert run.words[run.lay.vm_bugged] == 1


def test_remove_tries_again_for_as_long_as_the_tree_is_taken():
    run = with_the_tree_taken(REMOVE)
    while answered(run, Leaf.TDH_MEM_PAGE_REMOVE, Status.BUSY_SEPT_TREE, "zapper 0") < 40:
        run.step("zapper 0")

    assert seen(run) == {"operand_busy"}
    run.until("zapper 1", "kick.next_vcpu")
    run.until("zapper 0", "populate.store_release_owner")
    assert page_state(run) == bits.Sept.FREE


def test_the_eagain_of_block_is_an_error_with_mmu_lock_held_for_write():
    run = with_the_tree_taken(BLOCK)
    run.until("zapper 0", "seamcall_until.gives_up")
    run.step("zapper 0", 1)
    run.until("zapper 0", "end")

    assert seen(run) == {"operand_busy", "busy_given_up"}
    assert run.words[run.lay.vm_bugged] == 1


def test_a_race_gives_up_behind_the_first_try_and_sixteen_more():
    policy = tries(17, exact=True)

    assert [gives_up(None, None, None, None, retries, policy) for retries in (0, 15, 16)] == [False, False, True]


test_under_mmu_lock_nothing_but_an_accept_brings_it_down = shows({
    "two shootdowns": (LITERAL, ONE, "busy_given_up", 7_865),
    "one of two vCPUs": (LITERAL._replace(shootdowns=1), Size(2, 1), "", 95_827),
}, liveness=1)  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (PENDING_9, STATE_INCORRECT | 1 << 16),
        (PENDING_9 + (1 << bits.HPA_SHIFT), STATE_INCORRECT),
        (bits.Sept.MAPPED | bits.SVE | 9 << bits.HPA_SHIFT, STATE_INCORRECT),
        (bits.Sept.PENDING_BLOCKED | bits.SVE | 9 << bits.HPA_SHIFT, STATE_INCORRECT),
    ],
    ids=["pending", "pending, another page", "accepted", "blocked"],
)
def test_aug_tells_an_entry_that_is_pending_with_the_same_page_from_any_other(entry, status):
    m = Machine(rules=two_levels(SPEC, Flow.POPULATE))
    m.words[m.lay.sept + m.lay.page_stride] = bits.Sept.NL_MAPPED | bits.RWX | bits.SVE
    m["sept"] = entry

    assert m.call(AUG_9) == status
    assert (m["sept"], m["tree_lock"]) == (entry, 0)


@pytest.mark.parametrize(
    ("rules", "accepted", "shown", "state", "bugged"),
    [
        (TWICE, False, "fault_retried", bits.Sept.PENDING, 0),
        (TWICE, True, "entry_state_incorrect", bits.Sept.MAPPED, 1),
        (TWICE._replace(**busy(Busy.HAND_UP, "aug", "sept_add")), False, "entry_state_incorrect", bits.Sept.PENDING, 1),
    ],
    ids=["pending", "accepted by then", "for whoever does not look at the entry"],
)
def test_a_second_aug_of_a_page_is_retried_where_it_finds_it_pending_and_else_kvm_bug_on(
    rules, accepted, shown, state, bugged
):
    run = stepped(rules, Size(vcpus=2, zappers=1))
    run.words[run.lay.sept + run.lay.page_stride] = bits.Sept.NL_MAPPED | bits.RWX | bits.SVE | 1 << bits.HPA_SHIFT
    run.words[run.lay.mirror + run.lay.page_stride] = bits.Mirror.PRESENT
    for vcpu in ("vcpu 0", "vcpu 1"):
        run.until(vcpu, "mem_add.try_lock_shared_tree_lock", {"guest.reads_before_tick": 1})
    run.until("vcpu 0", "handle_ept_violation.read_unlock_mmu_lock")
    if accepted:
        run.until("vcpu 0", "mem_accept.unlock_entry_sept", {"guest.reads_before_tick": 1})
        run.step("vcpu 0")
    run.until("vcpu 1", "vm_is_dead.load_acquire_vm_bugged")

    assert answered(run, Leaf.TDH_MEM_PAGE_AUG, Status.EPT_ENTRY_STATE_INCORRECT, "vcpu 1") == 1
    assert seen(run) == {"fault", shown}
    assert (page_state(run), run.words[run.lay.vm_bugged]) == (state, bugged)
