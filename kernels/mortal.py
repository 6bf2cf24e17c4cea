"""A vCPU of a TD that is built, runs and is torn down, time and again; it runs in each that is there.

Source: arch/x86/kvm/x86.c vcpu_enter_guest() with its KVM_REQ_VM_DEAD, arch/x86/kvm/vmx/tdx.c tdx_vcpu_pre_run(), which
lets none in before the TD is finalized, and tdx_flush_vp(), the function of an IPI that takes a vCPU off its processor.
That IPI is answered where the vCPU's thread is out of KVM_RUN, as whoever tears a TD down has waited for that. Its
faults populate as those of `kernels/faulting.py` do.
"""

from kernels.atomics import load_acquire, load_seq_cst, store_release, store_seq_cst
from kernels.faulting import WHY_BITS, WHY_MASK, guest_with_faults
from kernels.kvm import acknowledge, exit_requested, process_requests
from kernels.layout import ENTRIES
from kernels.lifecycle import td_exit_alive, vp_enter_alive, vp_flush_own
from kernels.population import handle_ept_violation
from kernels.processors import LEAF_FLUSH
from kernels.status import SUCCESS
from kernels.steps import steps
from kernels.tally import (
    arm_tick_once,
    count,
    count_status,
    finish,
    note,
    now,
    outcome_of,
    relax,
    share_cpu_at_tick,
    vcpu_stopping,
)
from kernels.vcpu import EPT_VIOLATION, IPI, LEAF_ENTER, count_stay
from kernels.words import IN_GUEST_MODE, OUTSIDE_GUEST_MODE, flush_ipi, mode


@steps
def flush_vp(td, lay, rules, me):
    """tdx_flush_vp(), where its IPI is pending."""
    if (yield load_acquire(td, flush_ipi(lay, me.index))):
        status = yield from vp_flush_own(td, lay, rules, me)
        count_status(td, me, LEAF_FLUSH, status)
        if status != SUCCESS:
            note(td, lay, me, -1, outcome_of(status))  # VCPU_NOT_ASSOCIATED: this TD never saw it
        # Pairs with the wait in release_hkid(): what the vCPU did in this TD is over.
        yield store_release(td, flush_ipi(lay, me.index), 0)
    return 0


@steps
def stays_out(td, lay, rules, me):
    """Whether the vCPU is not to enter now: 1 or 0. Behind IN_GUEST_MODE it looks for KVM_REQ_VM_DEAD, too: the kick
    that goes with it finds the vCPU in the guest, or the vCPU finds this. KVM_BUG_ON is as good as that; the vCPU's
    thread goes on, as its processor answers IPIs.
    """
    if (yield from exit_requested(td, lay, rules, me)):
        return 1
    if (yield load_seq_cst(td, lay.runnable)):
        if not (yield load_acquire(td, lay.vm_bugged)):
            return 0
    relax(td, rules, me)
    return 1


@steps
def mortal_vcpu(td, lay, rules, me):
    """vcpu_run() in one TD after the other."""
    left = now(rules)
    while not vcpu_stopping(td, lay):
        yield from flush_vp(td, lay, rules, me)
        if rules.entry_requests:
            yield from process_requests(td, lay, rules, me)
        yield store_seq_cst(td, mode(lay, me.index), IN_GUEST_MODE)
        entered = 0
        leaving = 0
        went = IPI
        if not (yield from stays_out(td, lay, rules, me)):
            status = yield from vp_enter_alive(td, lay, rules, me)
            count_status(td, me, LEAF_ENTER, status)
            if status == SUCCESS:
                entered = now(rules)
                count(td, me, ENTRIES, 1)
                arm_tick_once(td, rules, me, entered)
                went = yield from guest_with_faults(td, lay, rules, me)
                leaving = now(rules)
                yield from td_exit_alive(td, lay, rules, me)
            else:
                note(td, lay, me, -1, outcome_of(status))
                relax(td, rules, me)
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
        yield from acknowledge(td, lay, rules, me)
        if entered:
            left = count_stay(td, rules, me, entered - left, leaving, went & WHY_MASK)
        if went & WHY_MASK == EPT_VIOLATION:
            yield from handle_ept_violation(td, lay, rules, me, went >> WHY_BITS)
        share_cpu_at_tick(td, rules, me)
    yield from acknowledge(td, lay, rules, me)
    finish(td, me)
    return 0
