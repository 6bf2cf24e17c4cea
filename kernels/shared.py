"""A zapper of a TD whose guest has shared pages beside its private ones: two page tables, one TLB.

Source: arch/x86/kvm/vmx/tdx.c: tdx_flush_tlb_all() and tdx_flush_tlb_current() of v6.16 (ept_sync_global()), v18's
tdx_flush_tlb() and tdx_flush_tlb_current(), which is tdx_track(); arch/x86/kvm/mmu/tdp_mmu.c for a zap under mmu_lock.
The last `rules.shared_pages` guest pages are shared (GPA bit 47 or 51 set). What stands in `sept` for them is KVM's own
SPTE in the shared EPT: present, or SHADOW_NONPRESENT_VALUE. No SEAMCALL knows of it: nobody checks how it is flushed.

By `rules.shared_flush` KVM flushes it either the way that VMX does, by KVM_REQ_TLB_FLUSH, whose handler INVEPTs before
the vCPU enters again; or by tdx_track(), which is the ordering's own TRACK and kick: translations of shared pages bear
the S-EPT root's tag too, so that the flush at an entry in a new epoch covers them. Private pages go down as ever.
"""

from kernels.atomics import load_relaxed, own, store_release
from kernels.kvm import BLOCK, LEAF_TRACK, REMOVE, SPIN, kick, seamcall_until
from kernels.locks import write_lock_mmu, write_unlock
from kernels.rules import KVM_REQ_TLB_FLUSH, SharedFlush, Step, pack_steps
from kernels.status import SUCCESS
from kernels.steps import harness, like, local, steps
from kernels.tally import blocked_at, now
from kernels.words import (
    DONE,
    HPA_SHIFT,
    MAPPED,
    RWX,
    SVE,
    epoch_of,
    owner,
    sept,
    stage,
    stage_word,
)
from kernels.zapper import (
    FLUSH,
    FREE_PAGE,
    GATE_LOWER,
    GATE_RAISE,
    KICK,
    after_failure,
    blocked_page,
    lower_gate,
    next_page_word,
    populate,
    raise_gate,
    record_whole,
    shoot_down,
    shootdown,
    zapper,
)

BY_REQUEST = int(SharedFlush.REQUEST)
SHADOW_NONPRESENT = SVE
COMPLETE_FLUSH = pack_steps([Step.TRACK, Step.KICK])


@local
def is_shared(lay, rules, gpa):
    return gpa >= lay.pages - rules.shared_pages


@local
def shared_spte(page):
    """A present leaf of the shared EPT: KVM sets suppress-#VE in it, and it ignores the guest's memory type."""
    return MAPPED | RWX | SVE | (page << HPA_SHIFT)


@harness()
def zapped_now(td, lay, gpa):
    """Keep the epoch in which a shared page was zapped: no module does."""
    blocked_at(td, lay, gpa, epoch_of(load_relaxed(td, lay.epoch_tracking)))


@local
def flush_steps(rules, repair):
    """What flushes a shared page: KVM's kick with a request, or the ordering's own steps but for BLOCK, REMOVE and the
    flush of the range behind them. A repair tracks and kicks.
    """
    if repair:
        return COMPLETE_FLUSH
    if rules.shared_flush == BY_REQUEST:
        return KICK
    made = 0
    at = 0
    left = rules.shootdown
    while left:
        if left & 15 != BLOCK and left & 15 != REMOVE and left & 15 != FLUSH:
            made |= (left & 15) << at
            at += 4
        left >>= 4
    return made


@local
def request_of(rules, repair):
    """The request of the kick that flushes a shared page."""
    if repair:
        return 0
    return KVM_REQ_TLB_FLUSH if rules.shared_flush == BY_REQUEST else rules.request


@steps
def zap_shared(td, lay, rules, me, gpa, repair, due):
    """Clear the SPTE, flush, and give the page away; a repair only flushes, and gives it away then.

    Returns SUCCESS, or the status of a TRACK that KVM does not expect: then the page is kept, unless the rules say that
    the host frees it all the same.
    """
    failed = SUCCESS
    began = now(rules)
    if rules.serialized:
        yield from write_lock_mmu(td, lay, rules, me)
    if not repair:
        yield store_release(td, sept(lay, gpa), SHADOW_NONPRESENT)
        zapped_now(td, lay, gpa)
        yield store_release(td, owner(lay, gpa), blocked_page(own(td, owner(lay, gpa)), me.index))
    left = flush_steps(rules, repair)
    while left:
        what = left & 15
        if what == GATE_RAISE:
            yield from raise_gate(td, lay, rules, me)
        elif what == GATE_LOWER:
            yield from lower_gate(td, lay, rules, me)
        elif what == KICK:
            wait = repair or rules.wait or rules.shared_flush == BY_REQUEST
            yield from kick(td, lay, rules, me, request_of(rules, repair), wait, 0)
        else:
            policy = SPIN if repair else rules.track_busy
            status = yield from seamcall_until(td, lay, rules, me, LEAF_TRACK, gpa, policy, repair)
            if status != SUCCESS:
                failed = status
                if rules.on_error != FREE_PAGE and not repair:
                    left = after_failure(left)
        left = left >> 4
    if failed == SUCCESS or (rules.on_error == FREE_PAGE and not repair):
        if not repair:
            yield store_release(td, stage(lay, me.index), stage_word(gpa, own(td, owner(lay, gpa)), DONE))
        yield store_release(td, owner(lay, gpa), next_page_word(own(td, owner(lay, gpa))))
    ended = now(rules)
    if rules.serialized:
        yield write_unlock(td, lay.mmu_lock)
    if failed == SUCCESS and not repair:
        record_whole(td, rules, me, began, due, ended)
    return failed


@steps
def set_shared_spte(td, lay, rules, me, gpa, page):
    yield store_release(td, sept(lay, gpa), shared_spte(page))
    return 0


@like(populate, map_page=set_shared_spte)
def map_shared(td, lay, rules, me, gpa):
    """A new host page behind the shared guest page; the guest need not accept it."""


@steps(in_place=True)
def shoot_either(td, lay, rules, me, gpa, todo, repair, due):
    """One shootdown of a page, shared or private."""
    if is_shared(lay, rules, gpa):
        status = yield from zap_shared(td, lay, rules, me, gpa, repair, due)
    else:
        status = yield from shootdown(td, lay, rules, me, gpa, todo, repair, due)
    return status


@like(shoot_down, shootdown=shoot_either)
def shoot_either_down(td, lay, rules, me, gpa, due):
    """One shootdown of a claimed page of either kind. Returns its status."""


@steps(in_place=True)
def map_either(td, lay, rules, me, gpa):
    if is_shared(lay, rules, gpa):
        yield from map_shared(td, lay, rules, me, gpa)
    else:
        yield from populate(td, lay, rules, me, gpa)
    return 0


@like(zapper, shoot_down=shoot_either_down, populate=map_either)
def shared_zapper(td, lay, rules, me):
    """Replace private and shared pages until told to stop."""
