"""The module's calls of a TD's build, and the lock of the TDR, which every call on a TD takes: shared by those on its
pages and vCPUs, exclusive by those that change what the TD is.

Source: intel/tdx-module, tdh_vp_create.c, tdh_vp_init.c (of TDX_1.5.05 and later, whose version 1 takes the TDR
exclusive), tdh_mr_extend.c, tdh_mr_finalize.c, tdh_vp_flush.c, and tdh_mem_range_block.c, tdh_mem_track.c,
tdh_mem_page_remove.c for where the TDR is locked there. Not here: TDH.VP.ADDCX, whose locks are those of
TDH.VP.CREATE, the measurement itself, and the TDVPR's lock, for which only a holder of the vCPU's mutex asks.
"""

from kernels.language.atomics import load_acquire, store_release
from kernels.language.steps import steps
from kernels.tdx.bits import Sept, TdState, state_of
from kernels.tdx.module.lifecycle import refused_in, vp_flush_own
from kernels.tdx.module.locks import try_lock_exclusive, try_lock_shared, unlock_exclusive, unlock_shared
from kernels.tdx.module.mem import mem_page_remove, mem_range_block, mem_track
from kernels.tdx.spans import seamcall
from kernels.tdx.statuses import EPT_ENTRY_NOT_PRESENT, OPERAND_BUSY, RCX, RDX, SUCCESS, TDR, Leaf
from kernels.tdx.words import sept


@steps
def in_build(td, lay, rules, me):
    """SUCCESS where the TD is still being built, else the status of a call that is for that alone."""
    state = yield load_acquire(td, lay.td_state)
    return SUCCESS if state == TdState.INITIALIZED else refused_in(state)


@seamcall(Leaf.TDH_VP_CREATE)
def vp_create(td, lay, rules, me):
    """TDH.VP.CREATE: another vCPU's TDVPR; the TDR is shared."""
    if not (yield try_lock_shared(td, lay.tdr_lock)):
        return OPERAND_BUSY | RDX
    status = yield from in_build(td, lay, rules, me)
    yield unlock_shared(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_VP_INIT)
def vp_init(td, lay, rules, me):
    """TDH.VP.INIT of version 1: x2APIC ids are held against one another, so the TDR is taken exclusive."""
    if not (yield try_lock_exclusive(td, lay.tdr_lock)):
        return OPERAND_BUSY | TDR
    status = yield from in_build(td, lay, rules, me)
    yield unlock_exclusive(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_MR_EXTEND)
def mr_extend(td, lay, rules, me, gpa):
    """TDH.MR.EXTEND: a page that has just been added is measured. With the TDR exclusive the S-EPT is nobody else's, so
    its entry is not locked.
    """
    if not (yield try_lock_exclusive(td, lay.tdr_lock)):
        return OPERAND_BUSY | RDX
    status = yield from in_build(td, lay, rules, me)
    if status == SUCCESS:
        if state_of((yield load_acquire(td, sept(lay, gpa)))) != Sept.MAPPED:
            status = EPT_ENTRY_NOT_PRESENT | RCX
    yield unlock_exclusive(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_MR_FINALIZE)
def mr_finalize(td, lay, rules, me):
    """TDH.MR.FINALIZE: from here on the TD can run, and a page that leaves it must be blocked and tracked."""
    if not (yield try_lock_exclusive(td, lay.tdr_lock)):
        return OPERAND_BUSY | RCX
    status = yield from in_build(td, lay, rules, me)
    if status == SUCCESS:
        yield store_release(td, lay.td_state, TdState.RUNNABLE)
    yield unlock_exclusive(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_VP_FLUSH)
def vp_flush_shared(td, lay, rules, me):
    """TDH.VP.FLUSH on the processor where the vCPU was; the TDR is shared."""
    if not (yield try_lock_shared(td, lay.tdr_lock)):
        return OPERAND_BUSY | TDR
    status = yield from vp_flush_own(td, lay, rules, me)
    yield unlock_shared(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_MEM_RANGE_BLOCK)
def block_with_tdr(td, lay, rules, me, gpa):
    if not (yield try_lock_shared(td, lay.tdr_lock)):
        return OPERAND_BUSY | RDX
    status = yield from mem_range_block(td, lay, rules, me, gpa)
    yield unlock_shared(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_MEM_TRACK)
def track_with_tdr(td, lay, rules, me):
    if not (yield try_lock_shared(td, lay.tdr_lock)):
        return OPERAND_BUSY | RCX
    status = yield from mem_track(td, lay, rules, me)
    yield unlock_shared(td, lay.tdr_lock)
    return status


@seamcall(Leaf.TDH_MEM_PAGE_REMOVE)
def remove_with_tdr(td, lay, rules, me, gpa):
    if not (yield try_lock_shared(td, lay.tdr_lock)):
        return OPERAND_BUSY | RDX
    status = yield from mem_page_remove(td, lay, rules, me, gpa)
    yield unlock_shared(td, lay.tdr_lock)
    return status
