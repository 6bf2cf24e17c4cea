"""The TDX module: SEAMCALLs as atomic steps that end in a 64-bit status.

Source: intel/tdx-module TDX_1.5.01: tdh_mem_range_block.c, tdh_mem_range_unblock.c, tdh_mem_track.c,
tdh_mem_page_remove.c, tdh_mem_sept_remove.c, tdh_mem_page_aug.c, tdh_vp_enter.c (adjust_tlb_tracking_state in
helpers.c), td_exit.c, tdg_mem_page_accept.c. Every lock is tried, never waited for; BUSY means that nothing has
changed. Not here: the TDR, TDCS op-state, TDVPR and PAMT locks, which are shared or private among these calls, and L2
aliases. A page-table page, where a flow has them, has a number behind those of the guest pages.

With `rules.module == Module.NONE` there is no module: a host with plain EPT takes the same steps under the same locks,
its epoch is a TLB generation of its own that TRACK advances, a CPU flushes where it enters at a new one, and nobody
asks whether the order is right.
"""

from kernels.language.atomics import (
    compare_exchange_seq_cst,
    fetch_add_seq_cst,
    load_acquire,
    own,
    set_own,
    store_release,
)
from kernels.language.steps import local, op, steps
from kernels.race.tally import count
from kernels.race.trace import keep_flush, kept
from kernels.tdx.bits import (
    HPA_SHIFT,
    ONE_EPOCH,
    RWX,
    STATE_MASK,
    SVE,
    TDB,
    TDEL,
    Sept,
    TdState,
    end_below,
    epoch_of,
    first_below,
    one_reference,
    refcount_of,
    state_of,
)
from kernels.tdx.counters import FLUSHES
from kernels.tdx.module.locks import (
    for_guest,
    lock_entry,
    lock_entry_as_guest,
    try_lock_exclusive,
    try_lock_shared,
    unlock_entry,
    unlock_exclusive,
    unlock_shared,
)
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Fault, Flow, Module
from kernels.tdx.spans import EXIT, seamcall, tdcall
from kernels.tdx.statuses import (
    EPT_ENTRY_STATE_INCORRECT,
    EPT_PAGE_NOT_FREE,
    EPT_VIOLATION_EXIT,
    GPA_RANGE_ALREADY_BLOCKED,
    GPA_RANGE_NOT_BLOCKED,
    OPERAND_BUSY,
    PAGE_ALREADY_ACCEPTED,
    PREVIOUS_TLB_EPOCH_BUSY,
    RCX,
    SEPT_TREE,
    SUCCESS,
    TD_EPOCH,
    TD_KEYS_NOT_CONFIGURED,
    TLB_TRACKING_NOT_DONE,
    Leaf,
)
from kernels.tdx.tally import note
from kernels.tdx.words import bepoch, sept, vcpu_epoch


@local
def is_tlb_tracked(epochs, blocked_in):
    """Whether no CPU can hold a translation from before the block: one read of {td_epoch, refcount[2]} decides."""
    before = epoch_of(epochs) - 1
    return (blocked_in == before and refcount_of(epochs, blocked_in & 1) == 0) or blocked_in < before


@local
def can_be_blocked(state):
    """Whether an entry of this state has a page behind it, a guest page or a page-table page, that is not blocked."""
    return state == Sept.MAPPED or state == Sept.PENDING or state == Sept.NL_MAPPED


@local
def is_blocked(state):
    return state == Sept.BLOCKED or state == Sept.PENDING_BLOCKED or state == Sept.NL_BLOCKED


@local
def lets_go(lay, rules, gpa, epochs, blocked_in):
    """What REMOVE makes of TLB tracking, faults included; nobody asks where there is no module."""
    if rules.module == Module.NONE or (rules.faults & Fault.REMOVE_IGNORES_REFCOUNT and blocked_in < epoch_of(epochs)):
        return 1
    of_table = rules.flow & Flow.SEPT_PAGES and gpa >= lay.pages
    unasked = Fault.SEPT_REMOVE_WITHOUT_TRACKING if of_table else Fault.REMOVE_WITHOUT_TRACKING
    return is_tlb_tracked(epochs, blocked_in) or rules.faults & unasked


@local
def has_key(state):
    """Whether a TD in this state has its key: TDH.MNG.VPFLUSHDONE has not taken it. Where TDs come and go one thread
    makes and ends them, and it is the same that blocks, tracks and removes, so the state is its own to look at.
    """
    return state == TdState.INITIALIZED or state == TdState.RUNNABLE


@local
def torn(first, second):
    """{refcount[2]} of one read and {td_epoch} of another."""
    return (first & (ONE_EPOCH - 1)) | (second & -ONE_EPOCH)


@local
def blocked_form(entry):
    """RWX cleared, suppress #VE and TDB set; the lock bit stays as it is."""
    return (entry & ~RWX) | TDB | SVE


@local
def unblocked_form(entry):
    """TDB cleared, and RWX as they were: of an entry that is pending, clear."""
    return entry & ~TDB | (0 if state_of(entry) == Sept.PENDING_BLOCKED else RWX)


@steps
def store_bepoch(td, lay, rules, me, gpa):
    """Sample td_epoch into the page's PAMT entry. No fence stands before it, as in the module."""
    epochs = yield load_acquire(td, lay.epoch_tracking)
    yield store_release(td, bepoch(lay, gpa), epoch_of(epochs))
    return 0


@seamcall(Leaf.TDH_MEM_RANGE_BLOCK)
def mem_range_block(td, lay, rules, me, gpa):
    """TDH.MEM.RANGE.BLOCK: no new translation of the page; remembers the epoch in the page's PAMT entry."""
    if rules.flow & Flow.TEARDOWN and not has_key(own(td, lay.td_state)):
        return TD_KEYS_NOT_CONFIGURED
    if not (yield try_lock_exclusive(td, lay.tree_lock)):
        return OPERAND_BUSY | SEPT_TREE
    if (yield from lock_entry(td, lay, rules, me, gpa)):
        entry = yield load_acquire(td, sept(lay, gpa))
        state = state_of(entry)
        status = SUCCESS
        if can_be_blocked(state):
            if rules.faults & Fault.BLOCK_STORES_EPOCH_FIRST:
                yield from store_bepoch(td, lay, rules, me, gpa)
            yield store_release(td, sept(lay, gpa), blocked_form(entry))
            # After the entry is blocked: an epoch sampled earlier may be one too old.
            if not rules.faults & Fault.BLOCK_STORES_EPOCH_FIRST:
                yield from store_bepoch(td, lay, rules, me, gpa)
        elif is_blocked(state):
            status = GPA_RANGE_ALREADY_BLOCKED | RCX
        else:
            status = EPT_ENTRY_STATE_INCORRECT | RCX
        yield unlock_entry(td, sept(lay, gpa))
    else:
        status = OPERAND_BUSY | RCX
    yield unlock_exclusive(td, lay.tree_lock)
    return status


@seamcall(Leaf.TDH_MEM_RANGE_UNBLOCK)
def mem_range_unblock(td, lay, rules, me, gpa):
    """TDH.MEM.RANGE.UNBLOCK: the page is mapped again as it was; refused until TLB tracking of its block is done."""
    if rules.flow & Flow.TEARDOWN and not has_key(own(td, lay.td_state)):
        return TD_KEYS_NOT_CONFIGURED
    if not (yield try_lock_exclusive(td, lay.tree_lock)):
        return OPERAND_BUSY | SEPT_TREE
    if (yield from lock_entry(td, lay, rules, me, gpa)):
        entry = yield load_acquire(td, sept(lay, gpa))
        status = EPT_ENTRY_STATE_INCORRECT | RCX
        if is_blocked(state_of(entry)):
            blocked_in = yield load_acquire(td, bepoch(lay, gpa))
            epochs = yield load_acquire(td, lay.epoch_tracking)
            status = TLB_TRACKING_NOT_DONE | SEPT_TREE
            if rules.module == Module.NONE or is_tlb_tracked(epochs, blocked_in):
                yield store_release(td, sept(lay, gpa), unblocked_form(entry))
                status = SUCCESS
        yield unlock_entry(td, sept(lay, gpa))
    else:
        status = OPERAND_BUSY | RCX
    yield unlock_exclusive(td, lay.tree_lock)
    return status


@seamcall(Leaf.TDH_MEM_TRACK)
def mem_track(td, lay, rules, me):
    """TDH.MEM.TRACK: advance the TD epoch; refused while a vCPU runs in the previous one."""
    if rules.flow & Flow.TEARDOWN and not has_key(own(td, lay.td_state)):
        return TD_KEYS_NOT_CONFIGURED
    if not (yield try_lock_exclusive(td, lay.epoch_lock)):
        return OPERAND_BUSY | TD_EPOCH
    epochs = yield load_acquire(td, lay.epoch_tracking)
    status = PREVIOUS_TLB_EPOCH_BUSY
    if (
        refcount_of(epochs, 1 - (epoch_of(epochs) & 1)) == 0
        or rules.module == Module.NONE
        or rules.faults & Fault.TRACK_IGNORES_REFCOUNT
    ):
        yield fetch_add_seq_cst(td, lay.epoch_tracking, ONE_EPOCH)
        status = SUCCESS
    yield unlock_exclusive(td, lay.epoch_lock)
    return status


@steps
def all_free(td, lay, rules, me, table):
    """Whether every entry of a page-table page is FREE: SUCCESS, or the status of one that is not."""
    gpa = first_below(lay, table)
    while gpa < end_below(lay, table):
        if state_of((yield load_acquire(td, sept(lay, gpa)))) != Sept.FREE:
            return EPT_PAGE_NOT_FREE | RCX
        gpa += 1
    return SUCCESS


@steps(in_place=True)
def requires_tracking(td, lay, rules, me):
    """op_state_is_tlb_tracking_required(): the TD runs."""
    return 1


@seamcall(Leaf.TDH_MEM_PAGE_REMOVE, table=Leaf.TDH_MEM_SEPT_REMOVE)
def mem_page_remove(td, lay, rules, me, gpa):
    """TDH.MEM.PAGE.REMOVE, and of a page-table page TDH.MEM.SEPT.REMOVE, which wants the tree for itself: the page
    leaves the TD; refused until TLB tracking of its block is done, and while a page-table page has entries.
    """
    if rules.flow & Flow.TEARDOWN and not has_key(own(td, lay.td_state)):
        return TD_KEYS_NOT_CONFIGURED
    if gpa < lay.pages:
        if not (yield try_lock_shared(td, lay.tree_lock)):
            return OPERAND_BUSY | SEPT_TREE
    elif not (yield try_lock_exclusive(td, lay.tree_lock)):
        return OPERAND_BUSY | SEPT_TREE
    if (yield from lock_entry(td, lay, rules, me, gpa)):
        state = state_of((yield load_acquire(td, sept(lay, gpa))))
        status = SUCCESS
        if not (can_be_blocked(state) or is_blocked(state)):
            status = EPT_ENTRY_STATE_INCORRECT | RCX
        elif (yield from requires_tracking(td, lay, rules, me)):
            if can_be_blocked(state) and rules.module != Module.NONE:
                status = GPA_RANGE_NOT_BLOCKED | RCX
            else:
                blocked_in = yield load_acquire(td, bepoch(lay, gpa))
                # Pairs with the decrement in td_exit: a reference not seen here has left the guest.
                epochs = yield load_acquire(td, lay.epoch_tracking)
                if rules.faults & Fault.TORN_EPOCH_READ:
                    epochs = torn(epochs, (yield load_acquire(td, lay.epoch_tracking)))
                if not lets_go(lay, rules, gpa, epochs, blocked_in):
                    status = TLB_TRACKING_NOT_DONE | RCX
        if rules.flow & Flow.SEPT_PAGES and status == SUCCESS and gpa >= lay.pages:
            status = yield from all_free(td, lay, rules, me, gpa)
        if status == SUCCESS:
            yield store_release(td, sept(lay, gpa), Sept.FREE | SVE | TDEL)
        yield unlock_entry(td, sept(lay, gpa))
    else:
        status = OPERAND_BUSY | RCX
    if gpa < lay.pages:
        yield unlock_shared(td, lay.tree_lock)
    else:
        yield unlock_exclusive(td, lay.tree_lock)
    return status


@seamcall(Leaf.TDH_MEM_PAGE_AUG)
def mem_page_aug(td, lay, rules, me, gpa, page):
    """TDH.MEM.PAGE.AUG: add a page to the TD, pending until the guest accepts it. `page` is its host address."""
    if not (yield try_lock_shared(td, lay.tree_lock)):
        return OPERAND_BUSY | SEPT_TREE
    if (yield from lock_entry(td, lay, rules, me, gpa)):
        status = EPT_ENTRY_STATE_INCORRECT | RCX
        if state_of((yield load_acquire(td, sept(lay, gpa)))) == Sept.FREE:
            yield store_release(td, bepoch(lay, gpa), 0)
            yield store_release(td, sept(lay, gpa), Sept.PENDING | SVE | TDEL | (page << HPA_SHIFT))
            status = SUCCESS
        yield unlock_entry(td, sept(lay, gpa))
    else:
        status = OPERAND_BUSY | RCX
    yield unlock_shared(td, lay.tree_lock)
    return status


@tdcall(Leaf.TDG_MEM_PAGE_ACCEPT)
def mem_page_accept(td, lay, rules, me, gpa):
    """TDG.MEM.PAGE.ACCEPT, by the guest: a walk without the tree lock; the vCPU's reference protects it."""
    status = yield from lock_entry_as_guest(td, lay, rules, me, gpa)
    if status != SUCCESS:
        return for_guest(status)
    entry = yield load_acquire(td, sept(lay, gpa))
    state = state_of(entry)
    if state == Sept.PENDING:
        yield store_release(td, sept(lay, gpa), (entry & ~STATE_MASK) | Sept.MAPPED | RWX)
        status = SUCCESS
    elif state == Sept.MAPPED:
        status = PAGE_ALREADY_ACCEPTED
    else:
        status = EPT_VIOLATION_EXIT
    yield unlock_entry(td, sept(lay, gpa))
    return status


@kept(keep_flush)
@local
def invept(td, lay, me):
    """Drop every translation of this vCPU's TLB."""
    start = lay.tlb + me.index * lay.vcpu_stride
    for entry in range(lay.tlb_entries):
        set_own(td, start + entry, 0)


@steps(in_place=True)
def flush_for_epoch(td, lay, rules, me):
    """INVEPT of every S-EPT root, in an epoch that is new to the vCPU."""
    if not rules.faults & Fault.NO_FLUSH_AT_ENTRY:
        invept(td, lay, me)
        count(td, me, FLUSHES, 1)
    return 0


@seamcall(Leaf.TDH_VP_ENTER)
def vp_enter(td, lay, rules, me):
    """TDH.VP.ENTER up to VMLAUNCH: count this vCPU in the epoch that it samples, flush if the epoch is new to it."""
    if not rules.faults & Fault.ENTRY_WITHOUT_EPOCH_LOCK:
        if not (yield try_lock_shared(td, lay.epoch_lock)):
            return OPERAND_BUSY | TD_EPOCH
    # The shared lock keeps TRACK out between the sample and the increment.
    epoch = epoch_of((yield load_acquire(td, lay.epoch_tracking)))
    yield fetch_add_seq_cst(td, lay.epoch_tracking, one_reference(epoch & 1))
    if not rules.faults & Fault.ENTRY_WITHOUT_EPOCH_LOCK:
        yield unlock_shared(td, lay.epoch_lock)
    if epoch != own(td, vcpu_epoch(lay, me.index)):
        yield from flush_for_epoch(td, lay, rules, me)
        set_own(td, vcpu_epoch(lay, me.index), epoch)
    return SUCCESS


@local
def without_current(epochs):
    """One reference less in the current epoch; none where none is: 16 bits that wrap would carry over here."""
    parity = epoch_of(epochs) & 1
    return epochs - one_reference(parity) if refcount_of(epochs, parity) else epochs


@op
def replace(td, word, before, after):
    """Whether the word was as before; then it is as after."""
    return compare_exchange_seq_cst(td, word, before, after) == before


@steps
def leave_current_epoch(td, lay, rules, me):
    """The faulty exit's decrement; returns {td_epoch, refcount[2]} as it was."""
    epochs = yield load_acquire(td, lay.epoch_tracking)
    while not (yield replace(td, lay.epoch_tracking, epochs, without_current(epochs))):
        epochs = yield load_acquire(td, lay.epoch_tracking)
    return epochs


@steps(goal=True, span=EXIT)
def td_exit(td, lay, rules, me):
    """TD exit: leave the epoch of the entry. It is over before the host sees the exit or an interrupt."""
    parity = own(td, vcpu_epoch(lay, me.index)) & 1
    if rules.faults & Fault.EXIT_LOWERS_CURRENT_EPOCH:
        epochs = yield from leave_current_epoch(td, lay, rules, me)
        parity = epoch_of(epochs) & 1
    else:
        epochs = yield fetch_add_seq_cst(td, lay.epoch_tracking, -one_reference(parity))
    if refcount_of(epochs, parity) == 0:
        note(td, lay, me, -1, Outcome.refcount_broken)
    return 0
