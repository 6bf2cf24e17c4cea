"""The actors of the flow `mmio`: vCPUs whose guests read private and shared pages, and the VMM's threads, which shoot
private pages down and change memslots.

Source: arch/x86/kvm/x86.c vcpu_enter_guest(), arch/x86/kvm/vmx/tdx.c (tdx_handle_ept_violation, tdx_emulate_mmio); the
guest's #VE handler: arch/x86/coco/tdx/tdx.c (handle_mmio, and ACCEPT of a pending page where #VE is not disabled).
Numbers of guest pages: private ones first, shared ones behind them.
"""

from kernels.language.atomics import load_acquire, load_relaxed, own, set_own, store_release, store_seq_cst
from kernels.language.naming import Holds
from kernels.language.steps import choice, harness, local, steps
from kernels.race.tally import count, finish, now, relax
from kernels.tdx.counters import ENTRIES, READS, VCPU_HISTS
from kernels.tdx.kvm.kick import acknowledge
from kernels.tdx.kvm.memslots import (
    change_memslot,
    is_present,
    raises_ve,
    settled_memory,
    shared_exit_requested,
    shared_fault,
    shared_requests,
    srcu_read_lock,
    srcu_read_unlock,
)
from kernels.tdx.kvm.shootdown import any_page, claim_page, populate, shoot_down
from kernels.tdx.kvm.vcpu_run import (
    EPT_VIOLATION,
    FAULT,
    IPI,
    LEAF_ENTER,
    STALE_IN_WINDOW,
    TICK,
    USE_AFTER_REMOVE,
    accept,
    count_stay,
    grade,
    interrupted,
    reads_before_tick,
    two,
)
from kernels.tdx.module.mem import td_exit, vp_enter
from kernels.tdx.outcomes import Outcome
from kernels.tdx.spans import DECLARED_DEAD, ENTRY, GUEST, NEXT, OWN
from kernels.tdx.statuses import EPT_VIOLATION_EXIT, SUCCESS
from kernels.tdx.tally import (
    arm_tick_once,
    count_reads,
    count_status,
    note,
    outcome_of,
    record,
    share_cpu_at_tick,
    vcpu_stopping,
    wait_turn,
    zapper_stopping,
)
from kernels.tdx.words import (
    IN_GUEST_MODE,
    MAPPED,
    OUTSIDE_GUEST_MODE,
    PAGE_BLOCKED,
    PENDING,
    content_of,
    generation_of,
    ipi,
    is_hit,
    memslot,
    mode,
    owner,
    page_of,
    phase_of,
    sept,
    shared_owner,
    shared_spte,
    state_of,
    tlb,
    translation,
)

VE_IN_GUEST, VE_ON_MEMORY = int(Outcome.ve_in_guest), int(Outcome.ve_on_memory)
MMIO_EMULATED, ACCESS_BEFORE_ACCEPT = int(Outcome.mmio_emulated), int(Outcome.access_before_accept)
# Why a guest leaves, beside IPI, TICK and EPT_VIOLATION on a private page; how an access ends that stays inside.
SHARED_VIOLATION, VMCALL, PENDING_VIOLATION, READ, READ_NOT_CURRENT, AGAIN = range(3, 9)
WHY, SAME, INSTRUCTION = 15, 16, 32
H_TRIP, H_VE = len(VCPU_HISTS), len(VCPU_HISTS) + 1


@local
def each_access(td, lay, rules, me):
    """As many choices as there are private and shared pages."""
    return 2 * lay.pages


@choice(each_access, says=("the guest turns to page {}, private ones first",))
def next_access(td, lay, rules, me, random):
    """The page that the next instruction reads."""
    return (((random >> 32) & 0xFFFFFFFF) * 2 * lay.pages) >> 32


@steps
def read_private(td, lay, rules, me, gpa):
    """A read of a private page: how it ends."""
    seen: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
    held = own(td, tlb(lay, me.index, gpa))
    if not is_hit(held, gpa):
        entry = yield load_acquire(td, sept(lay, gpa))
        if state_of(entry) == PENDING:
            if rules.sept_ve_disable:
                return PENDING_VIOLATION
            note(td, lay, me, -1, VE_IN_GUEST)
            status = yield from accept(td, lay, rules, me, gpa)
            return EPT_VIOLATION if status == EPT_VIOLATION_EXIT else AGAIN
        if state_of(entry) != MAPPED:
            note(td, lay, me, gpa, FAULT)
            return EPT_VIOLATION
        held = translation(gpa, page_of(entry))
        set_own(td, tlb(lay, me.index, gpa), held)
        seen = yield load_relaxed(td, owner(lay, gpa))
    if held == translation(gpa, seen):
        return READ
    yield from grade(td, lay, rules, me, gpa, content_of(held), seen)
    return READ_NOT_CURRENT


@local
def grade_shared(filled, seen):
    """The outcome of a read through a shared translation that is not current, before its memory is someone else's."""
    same = generation_of(seen) == generation_of(filled)
    return STALE_IN_WINDOW if same and phase_of(seen) == PAGE_BLOCKED else USE_AFTER_REMOVE


@steps
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
                note(td, lay, me, gpa, VE_ON_MEMORY)
            note(td, lay, me, -1, VE_IN_GUEST)
            return VMCALL
        if not is_present(spte):
            note(td, lay, me, -1, FAULT)
            return SHARED_VIOLATION
        held = translation(number, page_of(spte))
        set_own(td, tlb(lay, me.index, number), held)
        seen = yield load_relaxed(td, shared_owner(lay, gpa))
    if held == translation(number, seen):
        return READ
    note(td, lay, me, gpa, grade_shared(content_of(held), seen))
    count(td, me, READS, 1)
    return READ_NOT_CURRENT


@steps(labelled=False, goal=True, span=GUEST)
def mmio_guest(td, lay, rules, me, again):
    """Reads until something ends the stay. `again` is the instruction at which the last stay ended, a page's number and
    1, or 0. Returns why, SAME where that instruction is not over yet, and INSTRUCTION times the one that is not over.
    """
    fresh = 0
    same = SAME if again else 0
    while True:
        burst = yield reads_before_tick(td, lay, rules, me)
        if burst == 0:
            count_reads(td, me, fresh)
            return TICK + same + again * INSTRUCTION
        for _ in range(burst):
            if (yield load_acquire(td, ipi(lay, me.index))) != 0:
                if (yield from interrupted(td, lay, rules, me)):
                    count_reads(td, me, fresh)
                    return IPI + same + again * INSTRUCTION
            if again == 0:
                number = yield next_access(td, lay, rules, me)
                again = number + 1
            if again <= lay.pages:
                how = yield from read_private(td, lay, rules, me, again - 1)
            else:
                how = yield from read_shared(td, lay, rules, me, again - 1 - lay.pages)
            if how == READ or how == READ_NOT_CURRENT:
                fresh += how == READ
                again = 0
                same = 0
            elif how != AGAIN:
                count_reads(td, me, fresh)
                return how + same + again * INSTRUCTION


@harness()
def trip_begins(began, how, leaving):
    """When the access at hand first left the guest: now, unless it is the one that left before; 0 where none is."""
    if how & SAME and began:
        return began
    return leaving if how & WHY == SHARED_VIOLATION else 0


@harness()
def record_trip(td, rules, me, served, began, called, entered):
    """An emulated access is over as its vCPU resumes behind it: the whole trip from its EPT violation where this access
    had one, and the way from the #VE.
    """
    if served:
        record(td, rules, me, H_VE, entered - called)
        if began:
            record(td, rules, me, H_TRIP, entered - began)
    return 0


@steps(at={"store_release_vm_bugged": DECLARED_DEAD})
def handle_exit(td, lay, rules, me, how):
    """KVM's exit handlers, with kvm->srcu held. Returns the instruction that the guest is still at, 0 for the next."""
    again = how // INSTRUCTION
    why = how & WHY
    if why == SHARED_VIOLATION:
        yield from shared_fault(td, lay, rules, me, again - 1 - lay.pages)
    elif why == VMCALL:
        # The EPT_MISCONFIG path: tdx_emulate_mmio(), and the guest goes on behind the instruction.
        note(td, lay, me, -1, MMIO_EMULATED)
        again = 0
    elif why == PENDING_VIOLATION:
        # tdx_handle_ept_violation(): an unexpected pending page; kvm_vm_dead().
        note(td, lay, me, again - 1, ACCESS_BEFORE_ACCEPT)
        yield store_release(td, lay.vm_bugged, 1)
    return again


@steps(at={**OWN, "load_acquire_vm_bugged": ENTRY})
def mmio_vcpu(td, lay, rules, me):
    """vcpu_run() of a TD with MMIO: kvm->srcu is held but for the stay in the guest."""
    left = now(rules)
    again = 0
    began = 0
    called = 0
    served = 0
    yield from srcu_read_lock(td, lay, rules, me)
    while not vcpu_stopping(td, lay):
        if (yield load_acquire(td, lay.vm_bugged)) != 0:
            break
        yield from shared_requests(td, lay, rules, me)
        yield store_seq_cst(td, mode(lay, me.index), IN_GUEST_MODE)
        yield from srcu_read_unlock(td, lay, rules, me)
        entered = 0
        leaving = 0
        how = IPI + again * INSTRUCTION
        if not (yield from shared_exit_requested(td, lay, rules, me)):
            status = yield from vp_enter(td, lay, rules, me)
            count_status(td, me, LEAF_ENTER, status)
            if status == SUCCESS:
                entered = now(rules)
                count(td, me, ENTRIES, 1)
                served = record_trip(td, rules, me, served, began, called, entered)
                arm_tick_once(td, rules, me, entered)
                how = yield from mmio_guest(td, lay, rules, me, again)
                leaving = now(rules)
                began = trip_begins(began, how, leaving)
                yield from td_exit(td, lay, rules, me)
            else:
                note(td, lay, me, -1, outcome_of(status))
                relax(td, rules, me)
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
        yield from acknowledge(td, lay, rules, me)
        yield from srcu_read_lock(td, lay, rules, me)
        again = yield from handle_exit(td, lay, rules, me, how)
        if entered:
            left = count_stay(td, rules, me, entered - left, leaving, how & WHY)
            if how & WHY == VMCALL:
                called = leaving
                served = 1
        share_cpu_at_tick(td, rules, me)
    yield from srcu_read_unlock(td, lay, rules, me)
    while not vcpu_stopping(td, lay):  # a dead VM's vCPU enters no more; a kick that was on its way is answered
        yield from acknowledge(td, lay, rules, me)
        relax(td, rules, me)
    yield from acknowledge(td, lay, rules, me)
    finish(td, me)
    return 0


@choice(two, says=("shoots a private page down", "changes a memslot"))
def private_or_shared(td, lay, rules, me, random):
    """What the VMM does next: 0 shoots a private page down, 1 changes the memslot of a shared one."""
    return (random >> 40) & 1


@steps(at={**OWN, "load_acquire_vm_bugged": NEXT, "private_or_shared": NEXT, "any_page": NEXT})
def mmio_zapper(td, lay, rules, me):
    """Shoot private pages down and change memslots until told to stop or the VM is dead."""
    for _ in range(rules.shootdowns):
        due = wait_turn(td, lay, rules, me)
        if zapper_stopping(td, lay):
            break
        if (yield load_acquire(td, lay.vm_bugged)) != 0:
            break
        which = yield private_or_shared(td, lay, rules, me)
        if which:
            gpa = yield any_page(td, lay, rules, me)
            yield from change_memslot(td, lay, rules, me, gpa)
        else:
            gpa = yield from claim_page(td, lay, rules, me)
            status = yield from shoot_down(td, lay, rules, me, gpa, due)
            if status != SUCCESS:
                yield store_release(td, lay.vm_bugged, 1)  # KVM_BUG_ON
                break
            yield from populate(td, lay, rules, me, gpa)
    finish(td, me)
    return 0
