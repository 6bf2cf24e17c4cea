"""A VMM thread that builds a TD, lets it run, zaps pages of it and tears it down; and then the next one.

Source: arch/x86/kvm/vmx/tdx.c: tdx_vcpu_init_mem_region(), tdx_track() and tdx_sept_drop_private_spte() with their
is_td_finalized() and is_hkid_assigned(), tdx_mmu_release_hkid(), tdx_reclaim_page(); virt/kvm/kvm_main.c kvm_vm_dead().
Before a TD is finalized its pages are added mapped, and one that goes is blocked and removed without TRACK or kick. In
its life a page goes by the ordering's steps. Its end: no vCPU comes in any more, all are kicked and flushed off their
processors, the HKID is released, and every page, those of the S-EPT last, is reclaimed as it stands. Since v6.16 guest
pages go before that, as guest_memfd closes: by the ordering's steps, with the HKID still there.
"""

from kernels.language.atomics import fetch_or_seq_cst, load_acquire, load_relaxed, own, store_release, store_seq_cst
from kernels.language.naming import OneOf
from kernels.language.steps import choice, harness, steps
from kernels.race.tally import count, finish, relax
from kernels.story.spans import host, wait
from kernels.tdx.bits import SVE, Content, Mirror, Sept, Stage, TdState, generation_of, stage_word
from kernels.tdx.counters import BUG_ON, ENTRIES, SHOOTDOWNS
from kernels.tdx.kvm import mortal
from kernels.tdx.kvm.busy import is_busy
from kernels.tdx.kvm.kick import kick_out
from kernels.tdx.kvm.page_fault import allocated
from kernels.tdx.kvm.shootdown import blocked_page, next_page_word, shoot_down
from kernels.tdx.kvm.td_ioctls import trylock_all_vcpus, unlock_all_vcpus
from kernels.tdx.kvm.vcpu_run import two
from kernels.tdx.kvm.zap import give_away, look, take_page, unlock_mmu
from kernels.tdx.kvm.zapper import NONE, zapper
from kernels.tdx.module.lifecycle import block_td, create, mem_page_add, mng_key_freeid, phymem_page_reclaim
from kernels.tdx.module.locks import write_lock_mmu, write_unlock
from kernels.tdx.module.mem import mem_page_remove, mem_range_block
from kernels.tdx.module.sept import mem_add
from kernels.tdx.outcomes import Outcome
from kernels.tdx.part import Part
from kernels.tdx.rules import Fault, HkidFree
from kernels.tdx.spans import DECLARED_DEAD, OWN, UNLOCK
from kernels.tdx.statuses import SUCCESS, Leaf
from kernels.tdx.tally import (
    blocked_at,
    collect_flags,
    count_call,
    keep_met,
    note,
    start_meeting,
    wait_turn,
    zapper_stopping,
)
from kernels.tdx.words import VCPU, bepoch, content, flush_ipi, ipi, mirror, owner, sept, stage


@choice(two, says=("no page goes now", "a page goes"))
def zaps(td, lay, rules, me, random):
    return (random >> 32) & 1


@steps(span=host("create", "creates a TD"))
def new_td(td, lay, rules, me):
    """TDH.MNG.CREATE up to TDH.VP.INIT: a TD in its first epoch, its vCPUs associated with none, its S-EPT empty."""
    yield from create(td, lay, rules, me)
    for node in range(lay.pages + lay.tables):
        yield store_release(td, sept(lay, node), Sept.FREE | SVE)
    yield store_release(td, lay.td_state, TdState.INITIALIZED)
    return 0


@steps(span=host("add page", "adds a page"))
def add_page(td, lay, rules, me, node):
    """A page of the host for this place, the page-table pages as ever, the guest's as they are before it runs."""
    page = generation_of(own(td, owner(lay, node)))
    yield store_release(td, owner(lay, node), allocated(own(td, owner(lay, node))))
    if node < lay.pages:
        # What KVM copies into it is what the guest expects there, as zeroes are where it accepts a page.
        yield store_release(td, content(lay, node), Content.ZEROED)
        status = yield from mem_page_add(td, lay, rules, me, node, page)
        yield from count_call(td, lay, rules, me, Leaf.TDH_MEM_PAGE_ADD, -1, status)
    else:
        status = yield from mem_add(td, lay, rules, me, node, page)
        yield from count_call(td, lay, rules, me, Leaf.TDH_MEM_SEPT_ADD, -1, status)
    if status != SUCCESS:
        if is_busy(status):  # an error for KVM_TDX_INIT_MEM_REGION
            note(td, lay, me, -1, Outcome.busy_given_up)
        return status
    yield store_release(td, mirror(lay, node), Mirror.PRESENT)
    return SUCCESS


@steps
def build(td, lay, rules, me):
    """Another TD, with all of its pages. Returns SUCCESS, or the status of KVM_BUG_ON."""
    yield from new_td(td, lay, rules, me)
    status = SUCCESS
    place = lay.pages + lay.tables
    while place > 0 and status == SUCCESS:
        place -= 1
        status = yield from add_page(td, lay, rules, me, place)
    return status


@steps
def remove_untracked(td, lay, rules, me, gpa):
    """tdx_sept_remove_private_spte() where is_td_finalized() says no: tdx_track() between BLOCK and REMOVE returns at
    once. Nobody contends for anything before the TD runs, so a BUSY is as good as any other error.
    """
    collect_flags(td, lay, me, gpa)
    status = yield from mem_range_block(td, lay, rules, me, gpa)
    yield from count_call(td, lay, rules, me, Leaf.TDH_MEM_RANGE_BLOCK, gpa, status)
    if status == SUCCESS:
        blocked_at(td, lay, gpa, own(td, bepoch(lay, gpa)))
        yield store_release(td, owner(lay, gpa), blocked_page(own(td, owner(lay, gpa)), me.index))
        yield store_release(td, stage(lay, me.index), stage_word(gpa, own(td, owner(lay, gpa)), Stage.DONE))
        status = yield from mem_page_remove(td, lay, rules, me, gpa)
        yield from count_call(td, lay, rules, me, Leaf.TDH_MEM_PAGE_REMOVE, gpa, status)
    if status == SUCCESS:
        yield store_release(td, owner(lay, gpa), next_page_word(own(td, owner(lay, gpa))))
        count(td, me, SHOOTDOWNS, 1)
    else:
        count(td, me, BUG_ON, 1)
    return status


@steps
def zap_page(td, lay, rules, me, finalized, due):
    """A page goes by a shootdown, or before the TD is finalized without any tracking."""
    gpa = yield from take_page(td, lay, rules, me)
    if gpa == NONE:
        return SUCCESS
    if finalized and not rules.faults & Fault.TAKEN_FOR_UNFINALIZED:
        status = yield from shoot_down(td, lay, rules, me, gpa, due)
    else:
        status = yield from remove_untracked(td, lay, rules, me, gpa)
    if status == SUCCESS:
        yield from give_away(td, lay, rules, me, gpa)
    yield from unlock_mmu(td, lay, rules, me)
    return status


@harness()
def entries(td, lay):
    total = 0
    for vcpu in range(lay.vcpus):
        total += load_relaxed(td, lay.vcpu_tally + vcpu * lay.vcpu_tally_stride + ENTRIES)
    return total


@harness()
def wait_for_guest(td, lay, rules, me, before):
    """A TD lives until a vCPU has entered it: where actors share CPUs none might be there to do so."""
    while entries(td, lay) == before and not load_relaxed(td, lay.vm_bugged) and not zapper_stopping(td, lay):
        relax(td, rules, me)


@harness()
def pages_gone(td, me):
    """How many pages have gone, of all TDs."""
    return own(td, me.tally + SHOOTDOWNS)


@harness()
def lives_on(td, lay, me, before):
    """Whether fewer pages have gone in a TD's life than it has, so that its guest gets to touch them. Elsewhere the
    first turn of a life is its last.
    """
    if load_relaxed(td, lay.vm_bugged) or zapper_stopping(td, lay):
        return 0
    return pages_gone(td, me) - before < lay.pages


@steps(span=host("live", "lets the TD run"))
def live(td, lay, rules, me):
    """The TD is finalized and runs; before that and while it does pages may go."""
    finalized = 0
    begun = 0
    due = 0
    while True:
        if (yield zaps(td, lay, rules, me)):
            status = yield from zap_page(td, lay, rules, me, finalized, due)
            if status != SUCCESS:
                return status
        if not finalized:
            finalized = 1
            yield store_release(td, lay.td_state, TdState.RUNNABLE)  # TDH.MR.FINALIZE
            before = entries(td, lay)
            yield store_release(td, lay.runnable, 1)
            wait_for_guest(td, lay, rules, me, before)
            begun = pages_gone(td, me)
        elif not lives_on(td, lay, me, begun):
            wait_turn(td, lay, rules, me)  # the guest touches what went last
            return SUCCESS
        due = wait_turn(td, lay, rules, me)


@steps(span=wait("flush", "has every vCPU flushed"))
def flush_vps(td, lay, rules, me):
    """Every vCPU off its processor: an IPI to each, whose function is TDH.VP.FLUSH, and the wait for it."""
    vcpu: OneOf[VCPU]
    for vcpu in range(lay.vcpus):
        yield store_seq_cst(td, flush_ipi(lay, vcpu), 1)
        yield fetch_or_seq_cst(td, ipi(lay, vcpu), 1 << me.index)
        # Acquire pairs with the store in flush_vp().
        while (yield load_acquire(td, flush_ipi(lay, vcpu))):
            relax(td, rules, me)
    return 0


@steps(span=DECLARED_DEAD)
def vm_dead(td, lay, rules, me):
    """kvm_vm_dead(): no vCPU comes in again, and no fault finds memory any more."""
    if not rules.faults & Fault.VCPUS_COME_BACK:
        # Pairs with the loads in stays_out() and in fault_in().
        yield store_seq_cst(td, lay.runnable, 0)
    return 0


@steps
def release_hkid(td, lay, rules, me):
    """tdx_mmu_release_hkid(). Returns SUCCESS, or the status for which the HKID is leaked."""
    yield from kick_out(td, lay, rules, me)
    if not rules.faults & Fault.KEEP_VCPUS:
        yield from flush_vps(td, lay, rules, me)
    status = yield from block_td(td, lay, rules, me)
    yield from count_call(td, lay, rules, me, Leaf.TDH_MNG_VPFLUSHDONE, -1, status)
    if status == SUCCESS:
        status = yield from mng_key_freeid(td, lay, rules, me)
        yield from count_call(td, lay, rules, me, Leaf.TDH_MNG_KEY_FREEID, -1, status)
    if status != SUCCESS:
        note(td, lay, me, -1, Outcome.hkid_leaked)
    return status


@steps(span=host("reclaim", "reclaims a page"))
def reclaim(td, lay, rules, me, node):
    """tdx_reclaim_page() of a page that the mirror has: it is someone else's at once. Returns the status."""
    collect_flags(td, lay, me, node)
    status = yield from phymem_page_reclaim(td, lay, rules, me)
    yield from count_call(td, lay, rules, me, Leaf.TDH_PHYMEM_PAGE_RECLAIM, node, status)
    if status != SUCCESS:
        count(td, me, BUG_ON, 1)
        return status
    yield store_release(td, owner(lay, node), next_page_word(own(td, owner(lay, node))))
    yield store_release(td, content(lay, node), Content.LEFT_BEHIND)
    yield store_release(td, mirror(lay, node), Mirror.NONPRESENT)
    count(td, me, SHOOTDOWNS, 1)
    keep_met(td, lay, me, node)
    return SUCCESS


@steps(at={"load_acquire_mirror": host("reclaim", "reclaims a page"), "write_unlock_mmu_lock": UNLOCK})
def reclaim_pages(td, lay, rules, me):
    """kvm_mmu_zap_all() of a TD whose HKID is released: no BLOCK, no TRACK, no REMOVE."""
    yield from write_lock_mmu(td, lay, rules, me)
    status = SUCCESS
    node = 0
    while node < lay.pages + lay.tables and status == SUCCESS:
        if (yield load_acquire(td, mirror(lay, node))) == Mirror.PRESENT:
            status = yield from reclaim(td, lay, rules, me, node)
        node += 1
    yield write_unlock(td, lay.mmu_lock)
    return status


@steps(span=host("remove", "removes every guest page"))
def remove_pages(td, lay, rules, me):
    """kvm_gmem_release(): each guest page goes as it does in the TD's life; the kick of the first finds whoever is in
    the guest. Returns SUCCESS, or the status of KVM_BUG_ON.
    """
    yield from write_lock_mmu(td, lay, rules, me)
    status = SUCCESS
    gpa = 0
    while gpa < lay.pages and status == SUCCESS:
        if (yield load_acquire(td, mirror(lay, gpa))) == Mirror.PRESENT:
            yield store_release(td, mirror(lay, gpa), Mirror.NONPRESENT)
            collect_flags(td, lay, me, gpa)
            yield from look(td, lay, rules, me, gpa)
            status = yield from shoot_down(td, lay, rules, me, gpa, 0)
            if status == SUCCESS:
                yield from give_away(td, lay, rules, me, gpa)
        gpa += 1
    yield write_unlock(td, lay.mmu_lock)
    return status


@steps
def tear_down(td, lay, rules, me):
    """The HKID, and every page: in the ordering's turn. Returns SUCCESS, or the status of KVM_BUG_ON."""
    released = 0
    start_meeting(td, me)
    if rules.hkid_free == HkidFree.LAST:
        yield from vm_dead(td, lay, rules, me)
        status = yield from remove_pages(td, lay, rules, me)
        if status != SUCCESS:
            return status
    while True:
        if released or rules.faults & Fault.RECLAIM_EARLY:
            status = yield from reclaim_pages(td, lay, rules, me)
            if status != SUCCESS or released:
                return status
        if rules.hkid_free == HkidFree.TERMINATE:
            yield from trylock_all_vcpus(td, lay, rules, me)
        if rules.hkid_free != HkidFree.LAST:
            yield from vm_dead(td, lay, rules, me)
        if rules.hkid_free == HkidFree.TERMINATE:
            yield from unlock_all_vcpus(td, lay, rules, me)
        status = yield from release_hkid(td, lay, rules, me)
        if status != SUCCESS:
            return status
        released = 1


@steps(at={**OWN, "load_acquire_vm_bugged": host("next", "goes on to the next TD")})
def destroying_zapper(td, lay, rules, me):
    """One TD after the other until told to stop."""
    for _ in range(rules.shootdowns):
        if zapper_stopping(td, lay):
            break
        if (yield load_acquire(td, lay.vm_bugged)):
            break
        status = yield from build(td, lay, rules, me)
        if status == SUCCESS:
            status = yield from live(td, lay, rules, me)
        if status == SUCCESS:
            status = yield from tear_down(td, lay, rules, me)
        if status != SUCCESS:
            yield store_release(td, lay.vm_bugged, 1)  # KVM_BUG_ON, or the end of what this VM can do
            break
    finish(td, me)
    return 0


PART = Part(
    {**mortal.FILLS, zapper: destroying_zapper},
    on="populate",
    alone="one thread builds and destroys the TDs, and does nothing else",
    needs_module="TDs are built and torn down by SEAMCALLs",
    folds=False,
    lasting=False,  # a TD that goes takes its vCPUs with it
)
