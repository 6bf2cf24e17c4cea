"""Guests that read shared pages beside private ones, and memslots that come to these and go: MMIO and its #VE.

Source: arch/x86/kvm/x86.c vcpu_enter_guest(), arch/x86/kvm/vmx/tdx.c (tdx_handle_ept_violation, tdx_emulate_mmio); the
guest's #VE handler: arch/x86/coco/tdx/tdx.c (handle_mmio, and ACCEPT of a pending page where #VE is not disabled).
Numbers of guest pages: private ones first, shared ones behind them.
"""

from typing import Any

from kernels.language.atomics import load_acquire, load_relaxed, own, set_own
from kernels.language.steps import choice, harness, local, steps
from kernels.layout import Layout
from kernels.race.tally import count, drawn, two
from kernels.tdx.bits import (
    SLOT_SETTLED,
    SPTE_NONPRESENT,
    Phase,
    Slot,
    content_of,
    generation_of,
    is_hit,
    page_of,
    phase_of,
    translation,
)
from kernels.tdx.counters import READS, TRIP_BEGAN, TRIP_CALLED, TRIP_READS, VCPU_HISTS
from kernels.tdx.guest import (
    AGAIN,
    PENDING_VIOLATION,
    READ,
    READ_NOT_CURRENT,
    SHARED_VIOLATION,
    VMCALL,
    WHY_MASK,
    access,
    ended_at,
    next_instruction,
    on_pending,
    page_of_end,
    touching,
    turn_to,
)
from kernels.tdx.kvm.instruction import kill_for_pending, same_instruction, turn_to_same
from kernels.tdx.kvm.memslots import (
    INSIDE_SRCU,
    change_memslot,
    every_thread_inside,
    is_present,
    raises_ve,
    settled_memory,
    shared_fault,
)
from kernels.tdx.kvm.vcpu_run import handle_exit, instruction_behind, resume
from kernels.tdx.kvm.zapper import STOPS, any_page, does_otherwise
from kernels.tdx.outcomes import Outcome
from kernels.tdx.part import Part
from kernels.tdx.spans import CPU_WALK, GUEST_READ
from kernels.tdx.spans import NEXT as NEXT_PAGE
from kernels.tdx.tally import note, record
from kernels.tdx.words import memslot, shared_owner, shared_spte, tlb

H_TRIP, H_VE = len(VCPU_HISTS), len(VCPU_HISTS) + 1


@local
def each_access(td, lay, rules, me):
    return 2 * lay.pages


@choice(each_access, says=("the guest turns to page {}, private ones first",))
def next_access(td, lay, rules, me, random):
    return drawn(random, 2 * lay.pages)


@local
def grade_shared(filled, seen):
    """The outcome of a read through a shared translation that is not current, before its memory is someone else's."""
    same = generation_of(seen) == generation_of(filled)
    return Outcome.stale_in_window if same and phase_of(seen) == Phase.BLOCKED else Outcome.use_after_remove


@steps(
    labelled=False,
    says={
        "load_acquire_shared_spte": CPU_WALK,
        "load_relaxed_shared_owner": GUEST_READ,
        "load_relaxed_shared_owner_2": GUEST_READ,
    },
)
def read_shared(td, lay, rules, me, gpa):
    """A read of a shared page: how it ends. The oracle looks at the memslot before and behind the walk: a #VE counts as
    one on memory only if the memslot was there, and nobody changing it, all the while.
    """
    number = gpa + lay.pages
    seen = yield load_relaxed(td, shared_owner(lay, gpa))
    held = own(td, tlb(lay, me.index, number))
    if not is_hit(held, number):
        before = yield load_acquire(td, memslot(lay, gpa))
        spte = yield load_acquire(td, shared_spte(lay, gpa))
        if raises_ve(spte):
            after = yield load_acquire(td, memslot(lay, gpa))
            if before == after and settled_memory(before):
                note(td, lay, me, gpa, Outcome.ve_on_memory)
            note(td, lay, me, -1, Outcome.ve_in_guest)
            return VMCALL
        if not is_present(spte):
            note(td, lay, me, -1, Outcome.fault)
            return ended_at(SHARED_VIOLATION, touching(number))
        held = translation(number, page_of(spte))
        set_own(td, tlb(lay, me.index, number), held)
        seen = yield load_relaxed(td, shared_owner(lay, gpa))
    if held == translation(number, seen):
        return READ
    note(td, lay, me, gpa, grade_shared(content_of(held), seen))
    count(td, me, READS, 1)
    return READ_NOT_CURRENT


@steps(labelled=False)
def access_either(td, lay, rules, me, at, gpa):
    """The instruction at hand, which reads a private page or a shared one."""
    if gpa < lay.pages:
        return (yield from access(td, lay, rules, me, at, gpa))
    return (yield from read_shared(td, lay, rules, me, gpa - lay.pages))


@steps(labelled=False)
def ve_on_pending(td, lay, rules, me, at, gpa):
    """A guest that comes to a pending page: #VE; with SEPT_VE_DISABLE a TD exit."""
    if rules.sept_ve_disable:
        return ended_at(PENDING_VIOLATION, touching(gpa))
    note(td, lay, me, -1, Outcome.ve_in_guest)
    ended = yield from on_pending(td, lay, rules, me, at, gpa)
    return ended_at(AGAIN, touching(gpa)) if ended == AGAIN else ended


@harness()
def called(td, me, leaving):
    """The guest has asked for an access to be emulated."""
    set_own(td, me.tally + TRIP_CALLED, leaving)


@harness()
def trip_begins(td, me, leaving):
    """An access leaves the guest, for the first time unless no other instruction has been done since."""
    if own(td, me.tally + TRIP_BEGAN) == 0 or own(td, me.tally + READS) != own(td, me.tally + TRIP_READS):
        set_own(td, me.tally + TRIP_BEGAN, leaving)
    set_own(td, me.tally + TRIP_READS, own(td, me.tally + READS))


@harness()
def trip_ends(td, rules, me, entered):
    """A vCPU resumes; where behind an access that was emulated, that is over: the whole trip from its EPT violation
    where this access had one, and the way from the #VE.
    """
    since = own(td, me.tally + TRIP_CALLED)
    if since:
        record(td, rules, me, H_VE, entered - since)
        began = own(td, me.tally + TRIP_BEGAN)
        if began and own(td, me.tally + READS) == own(td, me.tally + TRIP_READS):
            record(td, rules, me, H_TRIP, entered - began)
        set_own(td, me.tally + TRIP_CALLED, 0)
        set_own(td, me.tally + TRIP_BEGAN, 0)


@steps(in_place=True)
def resume_trip(td, lay, rules, me, entered):
    trip_ends(td, rules, me, entered)
    return 0


@steps
def handle_mmio_exit(td, lay, rules, me, ended, leaving):
    """KVM's exit handlers, with kvm->srcu held."""
    why = ended & WHY_MASK
    if why == SHARED_VIOLATION:
        trip_begins(td, me, leaving)
        yield from shared_fault(td, lay, rules, me, page_of_end(ended) - lay.pages)
    elif why == VMCALL:
        # The EPT_MISCONFIG path: tdx_emulate_mmio(), and the guest goes on behind the instruction.
        note(td, lay, me, -1, Outcome.mmio_emulated)
        called(td, me, leaving)
    elif why == PENDING_VIOLATION:
        yield from kill_for_pending(td, lay, rules, me, ended)
    else:
        yield from handle_exit(td, lay, rules, me, ended, leaving)
    return 0


@steps(labelled=False)
def next_of_both(td, lay, rules, me):
    gpa = yield next_access(td, lay, rules, me)
    return gpa


@choice(two, says=("shoots a private page down", "changes a memslot"))
def private_or_shared(td, lay, rules, me, random):
    """What the VMM does next: 0 shoots a private page down, 1 changes the memslot of a shared one."""
    return (random >> 40) & 1


@steps(at={"load_acquire_vm_bugged": NEXT_PAGE, "private_or_shared": NEXT_PAGE, "any_page": NEXT_PAGE})
def may_change_memslot(td, lay, rules, me):
    """A turn of the VMM that goes to a memslot, until the VM is dead."""
    if (yield load_acquire(td, lay.vm_bugged)) != 0:
        return STOPS
    which = yield private_or_shared(td, lay, rules, me)
    if which:
        gpa = yield any_page(td, lay, rules, me)
        yield from change_memslot(td, lay, rules, me, gpa)
    return which


def first_slots(td: Any, lay: Layout) -> None:
    """No memslot, and every vCPU's thread inside kvm->srcu."""
    for page in range(lay.pages):
        at = page * lay.page_stride
        td[lay.memslot + at] = Slot.NONE | SLOT_SETTLED
        td[lay.shared_spte + at] = SPTE_NONPRESENT
        td[lay.shared_owner + at] = (1 << 8) | Phase.FREE
    every_thread_inside(td, lay)


PART = Part(
    {
        **INSIDE_SRCU,
        turn_to: turn_to_same,
        next_instruction: next_of_both,
        access: access_either,
        on_pending: ve_on_pending,
        resume: resume_trip,
        handle_exit: handle_mmio_exit,
        instruction_behind: same_instruction,
        does_otherwise: may_change_memslot,
    },
    above=("populate", "zero_step"),
    start=first_slots,
    folds=False,
)
