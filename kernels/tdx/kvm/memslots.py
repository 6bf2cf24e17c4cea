"""MMIO of a TD, KVM's side: the shared EPT, the fault path that fills it, the memslots, and the grace period.

Source: arch/x86/kvm/mmu/mmu.c (kvm_tdp_page_fault, kvm_faultin_pfn, handle_abnormal_pfn) and mmu/tdp_mmu.c
(tdp_mmu_map_handle_target_level), arch/x86/kvm/vmx/tdx.c (tdx_emulate_mmio), virt/kvm/kvm_main.c (kvm_set_memslot,
kvm_swap_active_memslots). A shared SPTE goes from SHADOW_NONPRESENT_VALUE (suppress #VE set) to the TD's MMIO value (0,
suppress #VE clear) or to memory. Not here: the generation in an MMIO SPTE, which only an EPT misconfiguration consults.
A TD's raises #VE in its guest, and what that asks for is emulated whatever memslots there are: KVM zaps nothing where
it creates one, so a page that was touched before is MMIO for ever; `rules.memslot_zap` is what would mend it. Nor here:
levels above the leaf, and mmu_invalidate_seq: the grace period alone keeps old memslots out of the page tables.
"""

from typing import Any

from kernels.language.atomics import (
    compare_exchange_seq_cst,
    exchange_seq_cst,
    load_acquire,
    own,
    store_release,
    store_seq_cst,
)
from kernels.language.naming import OneOf
from kernels.language.steps import local, op, steps
from kernels.layout import Layout
from kernels.race.tally import count, relax
from kernels.story.spans import host, wait
from kernels.tdx.bits import (
    HPA_SHIFT,
    RWX,
    SLOT_PAGE_SHIFT,
    SLOT_SETTLED,
    SPTE_GFN_SHIFT,
    SPTE_NONPRESENT,
    SVE,
    Phase,
    Slot,
    Srcu,
    generation_of,
)
from kernels.tdx.counters import SHOOTDOWNS
from kernels.tdx.kvm.kick import WHOLE, kick
from kernels.tdx.kvm.shootdown import next_page_word
from kernels.tdx.kvm.vcpu_run import behind_mode, preempt_enable, stays_out, vcpu_destroy, vm_is_dead
from kernels.tdx.module.locks import (
    read_lock_mmu,
    read_unlock,
    try_lock_exclusive,
    unlock_exclusive,
    write_lock_mmu,
    write_unlock,
)
from kernels.tdx.module.mem import replace
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import KVM_REQ_TLB_FLUSH, Fault, MemslotZap
from kernels.tdx.tally import collect_flags, keep_met, note, start_meeting
from kernels.tdx.words import VCPU, memslot, shared_owner, shared_spte, srcu


@local
def slot_state(slot):
    return slot & 3


@local
def is_present(spte):
    return spte & RWX


@local
def raises_ve(spte):
    """Whether the CPU turns the EPT violation into a #VE: not present, and suppress #VE clear."""
    return not spte & RWX and spte >= 0


@local
def leaf(page):
    """A shared SPTE that maps this host page."""
    return SVE | RWX | (page << HPA_SHIFT)


@local
def wanted_spte(slot, gpa):
    """What the fault path installs: the memslot's page, or the MMIO SPTE of a TD (make_mmio_spte)."""
    if slot_state(slot) == Slot.VALID:
        return leaf(slot >> SLOT_PAGE_SHIFT)
    return (gpa + 1) << SPTE_GFN_SHIFT


@local
def settled_memory(slot):
    """Whether a memslot backs the page, and the change that created it is over."""
    return slot_state(slot) == Slot.VALID and slot & SLOT_SETTLED


@op
def zap(td, spte):
    """Back to SHADOW_NONPRESENT_VALUE: the next access is an EPT violation again."""
    return exchange_seq_cst(td, spte, SPTE_NONPRESENT)


@op
def await_reader(td, word):
    """Mark a reader that is inside; returns whether it was."""
    return compare_exchange_seq_cst(td, word, Srcu.READING, Srcu.AWAITED) == Srcu.READING


@steps(span=host("srcu", "enters kvm->srcu"))
def srcu_read_lock(td, lay, rules, me):
    # A full barrier: what the reader looks up comes after; pairs with await_reader().
    yield store_seq_cst(td, srcu(lay, me.index), Srcu.READING)
    return 0


@steps(span=host("srcu", "leaves kvm->srcu"))
def srcu_read_unlock(td, lay, rules, me):
    # Release pairs with the acquire in synchronize_srcu(): what was done with the old memslots is done.
    yield store_release(td, srcu(lay, me.index), Srcu.OUTSIDE)
    return 0


@steps
def dead_without_srcu(td, lay, rules, me):
    """Whether the VM is dead: then the vCPU has left kvm->srcu."""
    dead = yield from vm_is_dead(td, lay, rules, me)
    if dead:
        yield from srcu_read_unlock(td, lay, rules, me)
    return dead


# Of a vCPU whose thread is inside kvm->srcu wherever it is not in its guest.
INSIDE_SRCU = {
    stays_out: dead_without_srcu,
    behind_mode: srcu_read_unlock,
    preempt_enable: srcu_read_lock,
    vcpu_destroy: srcu_read_unlock,
}


def every_thread_inside(td: Any, lay: Layout) -> None:
    """In the first state."""
    for index in range(lay.vcpus):
        td[srcu(lay, index)] = Srcu.READING


@steps(span=wait("srcu", "waits for the readers of the old memslots"))
def synchronize_srcu(td, lay, rules, me):
    """Wait for every vCPU that was inside kvm->srcu at the time: none has the old memslots any more."""
    vcpu: OneOf[VCPU]
    for vcpu in range(lay.vcpus):
        if (yield await_reader(td, srcu(lay, vcpu))):
            while (yield load_acquire(td, srcu(lay, vcpu))) == Srcu.AWAITED:
                relax(td, rules, me)
    return 0


@steps(span=host("fault", "handles an EPT violation on a shared page"))
def shared_fault(td, lay, rules, me, gpa):
    """kvm_tdp_page_fault() on a shared page; RET_PF_RETRY, RET_PF_FIXED and RET_PF_EMULATE all resume the guest, for
    which a TD's MMIO SPTE raises the #VE that emulation needs.
    """
    slot = yield load_acquire(td, memslot(lay, gpa))
    if slot_state(slot) != Slot.INVALID:
        yield from read_lock_mmu(td, lay, rules, me)
        old = yield load_acquire(td, shared_spte(lay, gpa))
        if old != wanted_spte(slot, gpa):
            # tdp_mmu_set_spte_atomic(): another vCPU may have been first.
            installed = yield replace(td, shared_spte(lay, gpa), old, wanted_spte(slot, gpa))
            if installed and slot_state(slot) == Slot.NONE:
                note(td, lay, me, -1, Outcome.mmio_installed)
        yield read_unlock(td, lay.mmu_lock)
    return 0


@steps(span=host("zap", "zaps the shared SPTE"))
def zap_mmio_spte(td, lay, rules, me, gpa, flush):
    """The page's SPTE back to nonpresent under mmu_lock for write; with `flush`, every CPU's translation goes too."""
    yield from write_lock_mmu(td, lay, rules, me)
    yield zap(td, shared_spte(lay, gpa))
    if flush:
        yield from kick(td, lay, rules, me, WHOLE, KVM_REQ_TLB_FLUSH, 1, 0)
    yield write_unlock(td, lay.mmu_lock)
    return 0


@steps
def publish(td, lay, rules, me, gpa, slot):
    """kvm_swap_active_memslots(): the new memslots are seen; returns once nobody has the old ones."""
    yield store_seq_cst(td, memslot(lay, gpa), slot)
    if not rules.faults & Fault.NO_GRACE_PERIOD:
        yield from synchronize_srcu(td, lay, rules, me)
    return 0


@steps(span=host("memslot", "changes a memslot"))
def change_memslot(td, lay, rules, me, gpa):
    """KVM_SET_USER_MEMORY_REGION: memory where none was, or none where memory was. Under slots_lock."""
    while not (yield try_lock_exclusive(td, lay.slots_lock)):
        relax(td, rules, me)
    collect_flags(td, lay, me, gpa)
    start_meeting(td, me)
    slot = yield load_acquire(td, memslot(lay, gpa))
    page = generation_of(own(td, shared_owner(lay, gpa)))
    if slot_state(slot) == Slot.NONE:
        slot = Slot.VALID | (page << SLOT_PAGE_SHIFT)
        yield store_release(td, shared_owner(lay, gpa), (page << 8) | Phase.IN_USE)
        yield from publish(td, lay, rules, me, gpa, slot)
        if rules.memslot_zap == MemslotZap.MMIO:
            yield from zap_mmio_spte(td, lay, rules, me, gpa, 0)
    else:
        yield from publish(td, lay, rules, me, gpa, Slot.INVALID | (page << SLOT_PAGE_SHIFT))
        yield store_release(td, shared_owner(lay, gpa), (page << 8) | Phase.BLOCKED)
        yield from zap_mmio_spte(td, lay, rules, me, gpa, 1)
        slot = Slot.NONE
        yield store_release(td, memslot(lay, gpa), slot)
        yield store_release(td, shared_owner(lay, gpa), next_page_word(own(td, shared_owner(lay, gpa))))
    yield store_release(td, memslot(lay, gpa), slot | SLOT_SETTLED)
    count(td, me, SHOOTDOWNS, 1)
    keep_met(td, lay, me, gpa)
    yield unlock_exclusive(td, lay.slots_lock)
    return 0
