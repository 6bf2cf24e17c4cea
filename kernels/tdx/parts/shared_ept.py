"""A zapper of a TD whose guest has shared pages beside its private ones: two page tables, one TLB.

Source: arch/x86/kvm/vmx/tdx.c: tdx_flush_tlb_all() and tdx_flush_tlb_current() of v6.16 (ept_sync_global()), v18's
tdx_flush_tlb() and tdx_flush_tlb_current(), which is tdx_track(); arch/x86/kvm/mmu/tdp_mmu.c for a zap under mmu_lock.
The last `rules.shared_pages` guest pages are shared (GPA bit 47 or 51 set). What stands in `sept` for them is KVM's own
SPTE in the shared EPT: present, or SHADOW_NONPRESENT_VALUE. No SEAMCALL knows of it: nobody checks how it is flushed.

A shared page goes by the ordering's own steps at their own places: BLOCK clears its SPTE, REMOVE gives it away. By
`rules.shared_flush` what lies between is either tdx_track(), the ordering's TRACK, gate and kick: translations of
shared pages bear the S-EPT root's tag too, so that the flush at an entry in a new epoch covers them. Or it is what VMX
does: the kick alone, with the request KVM_REQ_TLB_FLUSH, whose handler INVEPTs before the vCPU enters again.
"""

from kernels.language.atomics import load_relaxed, own, store_release
from kernels.language.steps import harness, local, steps
from kernels.tdx.bits import HPA_SHIFT, RWX, SVE, Phase, Sept, epoch_of, generation_of, phase_of
from kernels.tdx.kvm.kick import seamcall_until
from kernels.tdx.kvm.page_fault import allocated
from kernels.tdx.kvm.shootdown import blocked_page, next_page_word, request_of, seamcall_step, steps_of
from kernels.tdx.kvm.steps_left import is_kick, policy_of
from kernels.tdx.kvm.zapper import map_page
from kernels.tdx.part import Part
from kernels.tdx.rules import KVM_REQ_TLB_FLUSH, STEP_BITS, STEP_MASK, Busy, SharedFlush, Step
from kernels.tdx.statuses import SUCCESS, Leaf
from kernels.tdx.tally import blocked_at
from kernels.tdx.words import owner, sept, stage

SHADOW_NONPRESENT = SVE


@local
def is_shared(lay, rules, gpa):
    return gpa >= lay.pages - rules.shared_pages


@local
def shared_spte(page):
    """A present leaf of the shared EPT: KVM sets suppress-#VE in it, and it ignores the guest's memory type."""
    return Sept.MAPPED | RWX | SVE | (page << HPA_SHIFT)


@harness()
def zapped_now(td, lay, gpa):
    """Keep the epoch in which a shared page was zapped: no module does."""
    blocked_at(td, lay, gpa, epoch_of(load_relaxed(td, lay.epoch_tracking)))


@local
def shared_steps(rules, todo, repair):
    """Those of `todo` that a shared page takes: all, but for the S-EPT's TRACK and gate where the kick's request
    flushes, and FLUSH behind such a kick. A repair tracks.
    """
    if repair or rules.shared_flush != SharedFlush.REQUEST:
        return todo
    made = 0
    at = 0
    kicked = 0
    while todo:
        what = todo & STEP_MASK
        if not (
            what == Step.TRACK or what == Step.GATE_RAISE or what == Step.GATE_LOWER or (what == Step.FLUSH and kicked)
        ):
            made |= what << at
            at += STEP_BITS
        kicked |= is_kick(what)
        todo >>= STEP_BITS
    return made


@steps(in_place=True)
def steps_of_either(td, lay, rules, me, todo, gpa, repair):
    taken = todo
    if is_shared(lay, rules, gpa):
        taken = shared_steps(rules, todo, repair)
    return taken


@steps(in_place=True)
def request_for_either(td, lay, rules, me, what, gpa, repair):
    """The ordering's request, or that which flushes a shared EPT."""
    request = yield from request_of(td, lay, rules, me, what, gpa, repair)
    if is_shared(lay, rules, gpa) and rules.shared_flush == SharedFlush.REQUEST:
        request = KVM_REQ_TLB_FLUSH
    return request


@steps
def shared_step(td, lay, rules, me, what, gpa, repair, held):
    """BLOCK clears the SPTE, UNBLOCK sets it again, and REMOVE gives the page away, with the SPTE if that still stands;
    TRACK is the ordering's own, WBINVD is nothing. Returns the status.
    """
    status = SUCCESS
    if what == Step.TRACK:
        policy = Busy.SPIN if repair else policy_of(rules, Step.TRACK, held)
        status = yield from seamcall_until(td, lay, rules, me, Leaf.TDH_MEM_TRACK, gpa, policy, repair)
    elif what == Step.UNBLOCK:
        yield store_release(td, sept(lay, gpa), shared_spte(generation_of(own(td, owner(lay, gpa)))))
        yield store_release(td, owner(lay, gpa), allocated(own(td, owner(lay, gpa))))
        if own(td, stage(lay, me.index)):
            yield store_release(td, stage(lay, me.index), 0)
    elif what == Step.BLOCK or what == Step.REMOVE:
        if what == Step.BLOCK or phase_of(own(td, owner(lay, gpa))) != Phase.BLOCKED:
            yield store_release(td, sept(lay, gpa), SHADOW_NONPRESENT)
        if what == Step.REMOVE:
            yield store_release(td, owner(lay, gpa), next_page_word(own(td, owner(lay, gpa))))
        elif not repair:
            zapped_now(td, lay, gpa)
            yield store_release(td, owner(lay, gpa), blocked_page(own(td, owner(lay, gpa)), me.index))
    return status


@steps(in_place=True)
def step_of_either(td, lay, rules, me, what, gpa, repair, held):
    """The ordering's step of a page, shared or private. Returns the status."""
    if is_shared(lay, rules, gpa):
        status = yield from shared_step(td, lay, rules, me, what, gpa, repair, held)
    else:
        status = yield from seamcall_step(td, lay, rules, me, what, gpa, repair, held)
    return status


@steps
def map_either(td, lay, rules, me, gpa, page):
    """A host page behind a guest page; the guest need not accept it where that is shared. Returns the status."""
    status = SUCCESS
    if is_shared(lay, rules, gpa):
        yield store_release(td, sept(lay, gpa), shared_spte(page))
    else:
        status = yield from map_page(td, lay, rules, me, gpa, page)
    return status


PART = Part(
    {
        steps_of: steps_of_either,
        request_of: request_for_either,
        seamcall_step: step_of_either,
        map_page: map_either,
    },
    not_with={"populate": "no fault maps a shared page"},
)
