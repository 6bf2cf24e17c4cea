"""KVM's fault path on a private page: the mirror SPTE is frozen, the module adds the page, the SPTE becomes present.

Source: arch/x86/kvm/mmu/tdp_mmu.c kvm_tdp_mmu_map(), __tdp_mmu_set_spte_atomic(), set_external_spte_present();
arch/x86/kvm/vmx/tdx.c tdx_sept_link_private_spt(), tdx_sept_set_private_spte() of v18 and of v6.16. On RET_PF_RETRY the
guest faults again; v6.16's loop within the host is in `kernels/tdx/parts/zero_step.py`. Not here: mmu_invalidate_seq,
as the host page is looked up with the SPTE already frozen.
"""

from kernels.language.atomics import compare_exchange_seq_cst, load_acquire, store_release
from kernels.language.naming import Holds
from kernels.language.steps import local, op, steps
from kernels.race.tally import count, relax
from kernels.tdx.bits import Mirror, Phase, end_below, first_below, generation_of, phase_of, table_of
from kernels.tdx.counters import BUG_ON
from kernels.tdx.kvm.busy import answer_of, gives_up, has_one_try, has_some_tries, is_busy, is_known
from kernels.tdx.kvm.kick import acknowledge, give_lock_back_as_vcpu, take_lock_as_vcpu
from kernels.tdx.module.locks import read_lock_mmu, read_unlock, write_lock_mmu, write_unlock
from kernels.tdx.module.sept import mem_add
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Busy, Fault, Flow, OnError
from kernels.tdx.spans import FAULTING
from kernels.tdx.statuses import HANDED_UP, SAME_PAGE_PENDING, SKIPPED, SUCCESS, Leaf
from kernels.tdx.tally import count_status, note, outcome_of
from kernels.tdx.words import mirror, owner

# RET_PF_FIXED or RET_PF_SPURIOUS, RET_PF_RETRY, and -EIO behind KVM_BUG_ON.
DONE, RETRY, BUG = 0, 1, 2


@op
def freeze(td, spte):
    """try_cmpxchg64() to FROZEN_SPTE: the winner alone changes the entry from here on."""
    return compare_exchange_seq_cst(td, spte, Mirror.NONPRESENT, Mirror.FROZEN) == Mirror.NONPRESENT


@local
def leaf_of(lay, node):
    return Leaf.TDH_MEM_PAGE_AUG if node < lay.pages else Leaf.TDH_MEM_SEPT_ADD


@local
def allocated(page):
    """The oracle's word of a page that the host has given to this TD."""
    return generation_of(page) << 8


@op
def allocate(td, owned, free):
    """Take the page that guest_memfd, or the allocator of page tables, holds for this place; once is enough."""
    compare_exchange_seq_cst(td, owned, free, allocated(free))


@steps
def clear_children(td, lay, rules, me, table):
    """tdp_mmu_alloc_sp(): a page-table page without an SPTE. Those of the page that was there before stay frozen, until
    then, for whoever still walks it: here both have the same words.
    """
    for gpa in range(first_below(lay, table), end_below(lay, table)):
        yield store_release(td, mirror(lay, gpa), Mirror.NONPRESENT)
    return 0


@local
def fault_policy(lay, rules, node):
    """What a fault does where the SEAMCALL that adds a page of this level is BUSY."""
    if rules.fault_for_write:
        return rules.aug_busy_write if node < lay.pages else rules.sept_add_busy_write
    return rules.aug_busy_read if node < lay.pages else rules.sept_add_busy_read


@steps
def add(td, lay, rules, me, node, page):
    """AUG or SEPT.ADD under its policy for BUSY, with the SPTE frozen; returns what is made of its last status."""
    policy = fault_policy(lay, rules, node)
    retries = 0
    while True:
        if rules.fault_lock:
            yield from take_lock_as_vcpu(td, lay, rules, me, rules.fault_lock - 1)
        status = yield from mem_add(td, lay, rules, me, node, page)
        if rules.fault_lock:
            yield from give_lock_back_as_vcpu(td, lay, rules, me, rules.fault_lock - 1)
        count_status(td, me, leaf_of(lay, node), status)
        if status == SUCCESS:
            return SUCCESS
        if status == SAME_PAGE_PENDING and policy & Busy.SPIN_EXACT:
            # v18: somebody else has added it meanwhile, so that there is nothing left to do but to look again.
            return HANDED_UP
        note(td, lay, me, -1, outcome_of(status))
        if not is_known(policy, status) or has_one_try(policy):
            break
        if has_some_tries(policy):
            if (yield gives_up(td, lay, rules, me, retries, policy)):
                break
        retries += 1
        yield from acknowledge(td, lay, rules, me)
        relax(td, rules, me)
    answer = answer_of(policy, status)
    if is_busy(answer):
        note(td, lay, me, -1, Outcome.busy_given_up)
    return answer


@steps
def set_external_spte(td, lay, rules, me, node):
    """Make one level present, in the mirror and in the S-EPT. Returns DONE, RETRY or BUG."""
    spte = yield load_acquire(td, mirror(lay, node))
    if spte == Mirror.PRESENT:
        return DONE
    if spte == Mirror.FROZEN:
        return RETRY
    if not rules.faults & Fault.POPULATE_UNFROZEN:
        if not (yield freeze(td, mirror(lay, node))):
            return RETRY
    if rules.faults & Fault.UNFREEZE_EARLY:
        yield store_release(td, mirror(lay, node), Mirror.PRESENT)
    page: Holds[owner] = yield load_acquire(td, owner(lay, node))
    if phase_of(page) == Phase.FREE:
        yield allocate(td, owner(lay, node), page)
    status = yield from add(td, lay, rules, me, node, generation_of(page))
    if status == SUCCESS or status == SKIPPED:
        if rules.flow & Flow.SEPT_PAGES and node >= lay.pages:
            yield from clear_children(td, lay, rules, me, node)
        if not rules.faults & Fault.UNFREEZE_EARLY:
            # Pairs with the load above: who sees the level present finds it in the S-EPT.
            yield store_release(td, mirror(lay, node), Mirror.PRESENT)
        return DONE
    yield store_release(td, mirror(lay, node), Mirror.NONPRESENT)
    return RETRY if status == HANDED_UP else BUG


@steps(span=FAULTING)
def handle_ept_violation(td, lay, rules, me, gpa):
    """kvm_tdp_mmu_map(): down through both levels, each populated where it is not present.

    Returns DONE, RETRY or BUG.
    """
    if rules.fault_for_write:
        yield from write_lock_mmu(td, lay, rules, me)
    else:
        yield from read_lock_mmu(td, lay, rules, me)
    node = table_of(lay, gpa)
    while True:
        result = yield from set_external_spte(td, lay, rules, me, node)
        if result != DONE or node == gpa:
            break
        node = gpa
    if rules.fault_for_write:
        yield write_unlock(td, lay.mmu_lock)
    else:
        yield read_unlock(td, lay.mmu_lock)
    if result == RETRY:
        note(td, lay, me, -1, Outcome.fault_retried)
    elif result == BUG:
        count(td, me, BUG_ON, 1)
        if rules.on_error == OnError.STOP:
            yield store_release(td, lay.vm_bugged, 1)  # KVM_BUG_ON
    return result
