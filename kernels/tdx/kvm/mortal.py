"""A vCPU of a TD that is built, runs and is torn down, time and again; it runs in each that is there.

Source: arch/x86/kvm/x86.c vcpu_enter_guest() with its KVM_REQ_VM_DEAD, arch/x86/kvm/vmx/tdx.c tdx_vcpu_pre_run(), which
lets none in before the TD is finalized, and tdx_flush_vp(), the function of an IPI that takes a vCPU off its processor.
That IPI is answered where the vCPU's thread is out of KVM_RUN, as whoever tears a TD down has waited for that. Its
faults populate as those of `kernels/tdx/parts/populate.py` do, until guest_memfd has closed.
"""

from kernels.language.atomics import load_acquire, load_seq_cst, store_release
from kernels.language.steps import choice, steps
from kernels.race.tally import relax, two
from kernels.story.spans import host
from kernels.tdx.kvm.kick import EXIT_REQUESTED, acknowledge, also_asked
from kernels.tdx.kvm.page_fault import RETRY, handle_ept_violation, set_external_spte
from kernels.tdx.kvm.td_ioctls import gives_way
from kernels.tdx.kvm.vcpu_run import handle_exit, stays_out
from kernels.tdx.kvm.zapper import any_page
from kernels.tdx.module.lifecycle import (
    flush_unless_new,
    mem_add_alive,
    runs,
    td_exit_alive,
    vp_enter_alive,
    vp_flush_own,
)
from kernels.tdx.module.locks import try_lock_exclusive, write_unlock
from kernels.tdx.module.mem import flush_for_epoch, requires_tracking, td_exit, vp_enter
from kernels.tdx.module.sept import mem_add
from kernels.tdx.rules import Fault, HkidFree
from kernels.tdx.spans import ENTRY, LOCK, UNLOCKED
from kernels.tdx.statuses import Leaf
from kernels.tdx.tally import count_call
from kernels.tdx.words import flush_ipi, vcpu_mutex


@steps(span=host("flush", "answers an IPI"))
def flush_vp(td, lay, rules, me):
    """tdx_flush_vp(), where its IPI is pending. Returns 0: the vCPU goes on."""
    if (yield load_acquire(td, flush_ipi(lay, me.index))):
        status = yield from vp_flush_own(td, lay, rules, me)
        # VCPU_NOT_ASSOCIATED: this TD never saw it.
        yield from count_call(td, lay, rules, me, Leaf.TDH_VP_FLUSH, -1, status)
        # Pairs with the wait in release_hkid(): what the vCPU did in this TD is over.
        yield store_release(td, flush_ipi(lay, me.index), 0)
    return 0


@choice(two, says=("KVM_RUN", "KVM_PRE_FAULT_MEMORY"))
def pre_faults(td, lay, rules, me, random):
    """Which ioctl of the vCPU is next."""
    return (random >> 32) & 7 == 0


@steps(
    span=host("ioctl", "begins an ioctl"),
    at={"try_lock_exclusive_vcpu_mutex": LOCK, "write_unlock_vcpu_mutex": UNLOCKED},
)
def begin_ioctl(td, lay, rules, me):
    """kvm_vcpu_ioctl(), where a TD can be terminated beside it: -EIO for a dead VM, before vcpu->mutex and behind it.
    KVM_PRE_FAULT_MEMORY is over at once, and 1 is returned; KVM_RUN holds the mutex until it returns to the VMM.
    """
    yield from flush_vp(td, lay, rules, me)
    if rules.hkid_free != HkidFree.TERMINATE:
        return 0
    if gives_way(td, lay):
        return 1
    if not (yield load_acquire(td, lay.runnable)):
        return 1
    while not (yield try_lock_exclusive(td, vcpu_mutex(lay, me.index))):
        yield from acknowledge(td, lay, rules, me)
        yield from flush_vp(td, lay, rules, me)
        relax(td, rules, me)
    # Interrupts are on.
    yield from flush_vp(td, lay, rules, me)
    ended = 0
    if not rules.faults & Fault.VM_DEAD_UNCHECKED:
        ended = not (yield load_acquire(td, lay.runnable))
    if not ended:
        ended = yield pre_faults(td, lay, rules, me)
        if ended:
            gpa = yield any_page(td, lay, rules, me)
            yield from handle_ept_violation(td, lay, rules, me, gpa)
    if ended:
        yield write_unlock(td, vcpu_mutex(lay, me.index))
    return ended


@steps(at={"write_unlock_vcpu_mutex": UNLOCKED})
def end_run(td, lay, rules, me, ended, leaving):
    """KVM_RUN returns to the VMM, behind what the exit asks for."""
    yield from handle_exit(td, lay, rules, me, ended, leaving)
    if rules.hkid_free == HkidFree.TERMINATE:
        yield write_unlock(td, vcpu_mutex(lay, me.index))
    return 0


@steps(span=ENTRY)
def runs_no_more(td, lay, rules, me):
    """Behind IN_GUEST_MODE the vCPU looks for KVM_REQ_VM_DEAD, too: the kick that goes with it finds the vCPU in the
    guest, or the vCPU finds this. KVM_BUG_ON is as good as that; the vCPU's thread goes on, as its processor answers
    IPIs.
    """
    if (yield load_seq_cst(td, lay.runnable)):
        if not (yield load_acquire(td, lay.vm_bugged)):
            return 0
    relax(td, rules, me)
    return EXIT_REQUESTED


@steps
def fault_in(td, lay, rules, me, node):
    """kvm_gmem_get_pfn(), where pages are removed before the HKID goes: there are none any more once that has begun.
    Under mmu_lock, so that who removes them finds whatever a fault has mapped.
    """
    if rules.hkid_free == HkidFree.LAST:
        if not (yield load_acquire(td, lay.runnable)):
            return RETRY
    return (yield from set_external_spte(td, lay, rules, me, node))


# For the part whose zapper takes TDs down.
FILLS = {
    stays_out: begin_ioctl,
    handle_exit: end_run,
    mem_add: mem_add_alive,
    also_asked: runs_no_more,
    vp_enter: vp_enter_alive,
    td_exit: td_exit_alive,
    flush_for_epoch: flush_unless_new,
    requires_tracking: runs,
    set_external_spte: fault_in,
}
