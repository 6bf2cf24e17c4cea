"""The module's calls from a TD's first page to its last: what it lets happen in which state of the TD.

Source: intel/tdx-module TDX_1.5.01: tdh_mem_page_add.c, tdh_mem_page_remove.c (op_state_is_tlb_tracking_required()),
tdh_vp_enter.c, td_exit.c, tdh_vp_flush.c, tdh_mng_vpflushdone.c, tdh_mng_key_freeid.c, tdh_phymem_page_reclaim.c. The
TDR's lock is here, as it keeps whoever is in the guest and TDH.MNG.VPFLUSHDONE apart; those of BLOCK, TRACK and REMOVE,
which take it shared, are not, and the TDVPR's and KOT's. A vCPU has a processor of its own. tdh_phymem_page_wbinvd.c is
of no TD.
"""

from kernels.language.atomics import fetch_add_seq_cst, load_acquire, own, set_own, store_release
from kernels.language.naming import OneOf
from kernels.language.steps import local, steps
from kernels.tdx.bits import HPA_SHIFT, ONE_EPOCH, RWX, SVE, TDEL, Sept, TdState, state_of
from kernels.tdx.module.locks import (
    lock_entry,
    try_lock_exclusive,
    try_lock_shared,
    unlock_entry,
    unlock_exclusive,
    unlock_shared,
)
from kernels.tdx.module.mem import flush_for_epoch, has_key, invept, td_exit, vp_enter
from kernels.tdx.module.processors import associate, mng_vpflushdone
from kernels.tdx.module.sept import mem_add
from kernels.tdx.rules import Fault, HkidFree, Module
from kernels.tdx.spans import ADD, EXIT, seamcall
from kernels.tdx.statuses import (
    EPT_ENTRY_STATE_INCORRECT,
    LIFECYCLE_STATE_INCORRECT,
    OP_STATE_INCORRECT,
    OPERAND_BUSY,
    PAGE_METADATA_INCORRECT,
    RCX,
    RDX,
    SUCCESS,
    TD_KEYS_NOT_CONFIGURED,
    TDR,
    VCPU_NOT_ASSOCIATED,
    Leaf,
)
from kernels.tdx.words import VCPU, assoc_lpid, bepoch, sept, vcpu_epoch


@local
def refused_in(state):
    """The status of a call in a state that it is not for: the TD has its key still, or VPFLUSHDONE has taken it."""
    return OP_STATE_INCORRECT if has_key(state) else TD_KEYS_NOT_CONFIGURED


@seamcall(Leaf.TDH_MEM_PAGE_ADD)
def mem_page_add(td, lay, rules, me, gpa, page):
    """TDH.MEM.PAGE.ADD: before the TD is finalized a page is mapped at once: nobody has to accept what KVM copied."""
    if not (yield try_lock_exclusive(td, lay.tdr_lock)):
        return OPERAND_BUSY | RDX
    state = yield load_acquire(td, lay.td_state)
    status = refused_in(state)
    if state == TdState.INITIALIZED:
        status = OPERAND_BUSY | RCX
        if (yield from lock_entry(td, lay, rules, me, gpa)):
            status = EPT_ENTRY_STATE_INCORRECT | RCX
            if state_of((yield load_acquire(td, sept(lay, gpa)))) == Sept.FREE:
                yield store_release(td, bepoch(lay, gpa), 0)
                yield store_release(td, sept(lay, gpa), Sept.MAPPED | RWX | SVE | TDEL | (page << HPA_SHIFT))
                status = SUCCESS
            yield unlock_entry(td, sept(lay, gpa))
    yield unlock_exclusive(td, lay.tdr_lock)
    return status


@steps(span=ADD)
def mem_add_alive(td, lay, rules, me, node, page):
    """TDH.MEM.PAGE.AUG or TDH.MEM.SEPT.ADD behind the TDR's lock, where the HKID may go beside it; elsewhere whoever
    takes it has waited for those that fault.
    """
    if rules.hkid_free != HkidFree.TERMINATE:
        return (yield from mem_add(td, lay, rules, me, node, page))
    if not (yield try_lock_shared(td, lay.tdr_lock)):
        return OPERAND_BUSY | RDX
    status = TD_KEYS_NOT_CONFIGURED
    if has_key((yield load_acquire(td, lay.td_state))):
        status = yield from mem_add(td, lay, rules, me, node, page)
    yield unlock_shared(td, lay.tdr_lock)
    return status


@steps
def runs(td, lay, rules, me):
    """op_state_is_tlb_tracking_required(): not before the TD is finalized, nor where the module does not ask."""
    if rules.faults & Fault.REMOVE_IGNORES_STATE:
        return 0
    return (yield load_acquire(td, lay.td_state)) != TdState.INITIALIZED


@steps(in_place=True)
def flush_unless_new(td, lay, rules, me):
    """Who is newly associated does not flush for its epoch: it flushes behind it."""
    if own(td, vcpu_epoch(lay, me.index)):
        yield from flush_for_epoch(td, lay, rules, me)
    return 0


@seamcall(Leaf.TDH_VP_ENTER)
def vp_enter_alive(td, lay, rules, me):
    """TDH.VP.ENTER of a TD that may be dying: the TDR is shared from here to TD exit; the vCPU is associated with its
    processor, and flushes behind its epoch where it is new: another one, of whichever TD, was entered last there.
    """
    if not (yield try_lock_shared(td, lay.tdr_lock)):
        return OPERAND_BUSY | TDR
    state = yield load_acquire(td, lay.td_state)
    if state == TdState.RUNNABLE or rules.faults & Fault.ENTER_IGNORES_STATE:
        if (yield associate(td, assoc_lpid(lay, me.index), me.index + 1)) == 0:
            yield fetch_add_seq_cst(td, lay.num_assoc_vcpus, 1)
            set_own(td, vcpu_epoch(lay, me.index), 0)  # its TDVPS is new, as its TD is
        is_new = own(td, vcpu_epoch(lay, me.index)) == 0
        status = yield from vp_enter(td, lay, rules, me)
        if status == SUCCESS:
            if is_new and not rules.faults & Fault.NO_FLUSH_ON_SWITCH:
                invept(td, lay, me)
            return SUCCESS
    else:
        status = refused_in(state)
    yield unlock_shared(td, lay.tdr_lock)
    return status


@steps(span=EXIT)
def td_exit_alive(td, lay, rules, me):
    """TD exit, and with it the reference to the TDR."""
    yield from td_exit(td, lay, rules, me)
    yield unlock_shared(td, lay.tdr_lock)
    return 0


@steps
def create(td, lay, rules, me):
    """TDH.MNG.CREATE up to TDH.VP.INIT: a TD in its first epoch, which does not run, its vCPUs associated with none."""
    yield store_release(td, lay.runnable, 0)
    yield store_release(td, lay.epoch_tracking, ONE_EPOCH)
    yield store_release(td, lay.num_assoc_vcpus, 0)
    vcpu: OneOf[VCPU]
    for vcpu in range(lay.vcpus):
        yield store_release(td, assoc_lpid(lay, vcpu), 0)
    return 0


@seamcall(Leaf.TDH_VP_FLUSH)
def vp_flush_own(td, lay, rules, me):
    """TDH.VP.FLUSH on the vCPU's processor: its TLB holds nothing of the vCPU any more, which is associated nowhere."""
    if (yield load_acquire(td, assoc_lpid(lay, me.index))) == 0:
        return VCPU_NOT_ASSOCIATED
    invept(td, lay, me)
    yield store_release(td, assoc_lpid(lay, me.index), 0)
    yield fetch_add_seq_cst(td, lay.num_assoc_vcpus, -1)
    return SUCCESS


@seamcall(Leaf.TDH_MNG_VPFLUSHDONE)
def block_td(td, lay, rules, me):
    """TDH.MNG.VPFLUSHDONE of a TD that has its key: refused while a vCPU is associated with any processor, or is
    inside; none enters again.
    """
    if not (yield try_lock_exclusive(td, lay.tdr_lock)):
        return OPERAND_BUSY | RCX
    status = SUCCESS
    if not has_key(own(td, lay.td_state)):
        status = LIFECYCLE_STATE_INCORRECT
    elif not rules.faults & Fault.FLUSHDONE_IGNORES_VCPUS:
        status = yield from mng_vpflushdone(td, lay, rules, me)
    if status == SUCCESS:
        yield store_release(td, lay.td_state, TdState.TD_BLOCKED)
    yield unlock_exclusive(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_MNG_KEY_FREEID)
def mng_key_freeid(td, lay, rules, me):
    """TDH.MNG.KEY.FREEID: the HKID is another TD's to have."""
    if not (yield try_lock_exclusive(td, lay.tdr_lock)):
        return OPERAND_BUSY | RCX
    status = LIFECYCLE_STATE_INCORRECT
    if (yield load_acquire(td, lay.td_state)) == TdState.TD_BLOCKED:
        yield store_release(td, lay.td_state, TdState.TD_TEARDOWN)
        status = SUCCESS
    yield unlock_exclusive(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_PHYMEM_PAGE_RECLAIM)
def phymem_page_reclaim(td, lay, rules, me):
    """TDH.PHYMEM.PAGE.RECLAIM of any page of the TD: neither its S-EPT entry nor TLB tracking is looked at, but whether
    the TD has given its HKID back.
    """
    if not (yield try_lock_shared(td, lay.tdr_lock)):
        return OPERAND_BUSY | TDR
    status = LIFECYCLE_STATE_INCORRECT
    state = yield load_acquire(td, lay.td_state)
    if state == TdState.TD_TEARDOWN or rules.faults & Fault.RECLAIM_IGNORES_STATE:
        status = SUCCESS
    yield unlock_shared(td, lay.tdr_lock)
    return status


@steps(in_place=True)
def write_lines_back(td, lay, rules, me, gpa):
    """What caches hold of the page goes to memory; here nobody has written to it."""
    return 0


@seamcall(Leaf.TDH_PHYMEM_PAGE_WBINVD)
def phymem_page_wbinvd(td, lay, rules, me, gpa):
    """TDH.PHYMEM.PAGE.WBINVD: the page's cache lines go to memory; refused while the page is a TD's (PAMT.PT != NDA).

    Whether it is, the S-EPT entry says here, which AUG, REMOVE and SEPT.REMOVE change with the PAMT entry. Left out:
    the page's range, size and HKID, and the PAMT's locks, taken shared, which are never BUSY here, as nobody but its
    zapper makes calls on a page that goes. Without the module there is no call, and no line with a key of its own.
    """
    if rules.module != Module.NONE:
        entry = yield load_acquire(td, sept(lay, gpa))
        if state_of(entry) != Sept.FREE and not rules.faults & Fault.WBINVD_IGNORES_OWNER:
            return PAGE_METADATA_INCORRECT | RCX
        yield from write_lines_back(td, lay, rules, me, gpa)
    return SUCCESS
