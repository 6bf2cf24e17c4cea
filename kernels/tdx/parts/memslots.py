"""Memslots of private memory that go and come back: a zapper deletes one, with what it maps, and makes it again.

Source: Linux virt/kvm/kvm_main.c kvm_set_memslot() (kvm_invalidate_memslot(), kvm_swap_active_memslots()),
arch/x86/kvm/mmu/mmu.c kvm_mmu_faultin_pfn() and kvm_arch_flush_shadow_memslot(), and arch/x86/kvm/vmx/tdx.c
tdx_handle_ept_violation() since v6.18 (2bc2694fe20b). A vCPU's thread is inside kvm->srcu wherever it is not in its
guest, so whoever deletes a memslot waits for it behind the word INVALID and before the zap. A fault that finds INVALID
is RET_PF_RETRY, and one that finds no memslot ends KVM_RUN, which user space calls again. A memslot is of one page.

Where a fault is tried again in the host (`kernels/tdx/parts/zero_step.py`) no event comes for the guest here, as in the
selftest that found the deadlock: what leaves that loop is the answer to the fault alone, and since v6.18 INVALID.
"""

from typing import Any

from kernels.language.atomics import load_acquire, store_release
from kernels.language.steps import steps
from kernels.layout import Layout
from kernels.race.tally import relax
from kernels.story.spans import host
from kernels.tdx.bits import SLOT_SETTLED, Slot
from kernels.tdx.kvm.memslots import INSIDE_SRCU, every_thread_inside, publish, slot_state
from kernels.tdx.kvm.page_fault import DONE, RETRY, handle_ept_violation
from kernels.tdx.kvm.zap import give_page_away, lock_mmu, take, unlock_mmu
from kernels.tdx.kvm.zapper import NONE, any_page, claim_page, give_up, put_back
from kernels.tdx.module.locks import try_lock_exclusive, write_unlock
from kernels.tdx.outcomes import Outcome
from kernels.tdx.part import Part
from kernels.tdx.parts.zero_step import event_comes, memslot_goes
from kernels.tdx.rules import Fault, FaultRetry
from kernels.tdx.spans import FAULTING, LOCK, UNLOCKED
from kernels.tdx.tally import note, vcpu_stopping, zapper_stopping
from kernels.tdx.words import memslot


@steps(span=FAULTING)
def fault_in_memslot(td, lay, rules, me, gpa):
    """kvm_mmu_faultin_pfn(): what the memslot says comes before the page tables. Returns what the fault does."""
    slot = slot_state((yield load_acquire(td, memslot(lay, gpa))))
    if slot == Slot.INVALID:
        note(td, lay, me, -1, Outcome.fault_retried)
        return RETRY
    if slot == Slot.NONE:
        return DONE  # KVM_EXIT_MEMORY_FAULT
    return (yield from handle_ept_violation(td, lay, rules, me, gpa))


@steps
def leaves_invalid(td, lay, rules, me, gpa):
    """Since v6.18: whether the memslot is being deleted, for which the vCPU has to leave kvm->srcu."""
    if rules.fault_retry == FaultRetry.LOCAL_VALID and not rules.faults & Fault.INVALID_SLOT_RETRIED:
        return slot_state((yield load_acquire(td, memslot(lay, gpa)))) == Slot.INVALID
    return 0


@steps(in_place=True)
def none_comes(td, lay, rules, me):
    """No event but the end of the run."""
    return vcpu_stopping(td, lay)


@steps(span=host("create slot", "creates a memslot"), at={"write_unlock_slots_lock": UNLOCKED})
def make_again(td, lay, rules, me, gpa):
    """The memslot is gone, and user space makes it again."""
    yield store_release(td, memslot(lay, gpa), Slot.NONE)
    yield from publish(td, lay, rules, me, gpa, Slot.VALID | SLOT_SETTLED)
    yield write_unlock(td, lay.slots_lock)
    return 0


@steps(span=host("delete slot", "deletes a memslot"), at={"try_lock_exclusive_slots_lock": LOCK})
def delete_memslot(td, lay, rules, me):
    """The page of a memslot that is invalid, whose SPTE was present; with slots_lock and mmu_lock held. NONE where the
    run, or the VM, has come to its end.
    """
    while not zapper_stopping(td, lay):
        if (yield load_acquire(td, lay.vm_bugged)):
            break
        if (yield try_lock_exclusive(td, lay.slots_lock)):
            gpa = yield any_page(td, lay, rules, me)
            yield from publish(td, lay, rules, me, gpa, Slot.INVALID)
            yield from lock_mmu(td, lay, rules, me)
            if (yield from take(td, lay, rules, me, gpa)):
                return gpa
            yield from unlock_mmu(td, lay, rules, me)
            yield from make_again(td, lay, rules, me, gpa)
        relax(td, rules, me)
    return NONE


@steps
def give_back_with_slot(td, lay, rules, me, gpa):
    yield from give_page_away(td, lay, rules, me, gpa)
    yield from make_again(td, lay, rules, me, gpa)
    return 0


@steps(at={"write_unlock_slots_lock": UNLOCKED})
def unlock_both(td, lay, rules, me):
    yield from unlock_mmu(td, lay, rules, me)
    yield write_unlock(td, lay.slots_lock)
    return 0


def every_slot(td: Any, lay: Layout) -> None:
    """A memslot for each guest page, and every vCPU's thread inside kvm->srcu."""
    for page in range(lay.pages):
        td[lay.memslot + page * lay.page_stride] = Slot.VALID | SLOT_SETTLED
    every_thread_inside(td, lay)


PART = Part(
    {
        **INSIDE_SRCU,
        handle_ept_violation: fault_in_memslot,
        memslot_goes: leaves_invalid,
        event_comes: none_comes,
        claim_page: delete_memslot,
        give_up: unlock_both,
        put_back: give_back_with_slot,
    },
    on="populate",
    not_with={
        "mmio": "a memslot is of a shared page there",
        **dict.fromkeys(("sept_pages", "batch"), "a memslot that goes takes its guest page alone"),
        "build": "its threads delete memslots of their own",
        "migrate": "a processor is left before kvm->srcu is entered there",
    },
    start=every_slot,
    folds=False,
)
