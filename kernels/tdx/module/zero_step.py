"""The module's guard against a host that steps a guest by EPT violations, and what becomes of host priority.

Source: intel/tdx-module TDX_1.5.01: td_exit_stepping.c (td_exit_epf_stepping_log(), td_entry_stepping_filter()),
tdh_vp_enter.c (handle_stepping_filter(), revert_tlb_tracking_state()), tdx_td_dispatcher.c. For the module a guest is
stuck at an instruction where RIP at an exit is RIP at the entry; here each read is an instruction of its own. An EPT
violation that finds epf_threshold (STEPPING_EPF_THRESHOLD, 6) of them counted lists its guest page; one instruction
reads one page, so the list holds one at most. ACCEPT's own EPT violation is not counted. In the module the filter's
lock is held while all of the guest's registers are restored; here it is given back in the step behind the walk.

HP_LOCK_TIMEOUT is a time. Steps have none: `rules.hp_lock_timeout` counts TDCALLs in a row that stood back.
"""

from kernels.language.atomics import fetch_add_seq_cst, load_acquire, own, set_own
from kernels.language.steps import local, steps
from kernels.tdx.bits import Sept, one_reference, refcount_of, state_of
from kernels.tdx.module.locks import for_guest, try_lock_exclusive, try_lock_shared, unlock_exclusive, unlock_shared
from kernels.tdx.module.sept import mem_accept, walk
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Fault, Module
from kernels.tdx.spans import seamcall
from kernels.tdx.statuses import (
    BUSY_HOST_PRIORITY,
    EPT_VIOLATION_EXIT,
    HOST_PRIORITY_BUSY_TIMEOUT,
    OPERAND_BUSY,
    RCX,
    SEPT_TREE,
    SUCCESS,
    Leaf,
)
from kernels.tdx.tally import count_call, note
from kernels.tdx.words import hp_lock_busy, last_epf_gpa, possibly_epf_stepping, vcpu_epoch


@local
def forget_stepping(td, lay, me):
    """RIP has advanced: what was counted at the instruction before is forgotten."""
    if own(td, possibly_epf_stepping(lay, me.index)):
        set_own(td, possibly_epf_stepping(lay, me.index), 0)
    if own(td, last_epf_gpa(lay, me.index)):
        set_own(td, last_epf_gpa(lay, me.index), 0)


@local
def log_epf(td, lay, rules, me, gpa):
    """An EPT violation at the instruction at hand: counted, and once enough are its guest page is listed."""
    counted = own(td, possibly_epf_stepping(lay, me.index))
    if counted < rules.epf_threshold:
        set_own(td, possibly_epf_stepping(lay, me.index), counted + 1)
    else:
        set_own(td, last_epf_gpa(lay, me.index), gpa + 1)


@steps
def revert_tlb_tracking(td, lay, rules, me):
    """A TDH.VP.ENTER that fails behind its sample of the epoch takes its reference back.

    The fault leaves it there, once for each vCPU at most: a search over references that only grow has no end.
    """
    parity = own(td, vcpu_epoch(lay, me.index)) & 1
    if rules.faults & Fault.ZERO_STEP_KEEPS_REFERENCE:
        if refcount_of((yield load_acquire(td, lay.epoch_tracking)), parity) <= lay.vcpus:
            return 0
    yield fetch_add_seq_cst(td, lay.epoch_tracking, -one_reference(parity))
    return 0


@local
def is_there(rules, entry):
    """Whether a vCPU that touches the page of this entry comes out for it no more."""
    newer = rules.module == Module.TDX_1_5_24 and not rules.sept_ve_disable
    return state_of(entry) == Sept.MAPPED or (newer and state_of(entry) == Sept.PENDING)


@seamcall(Leaf.TDH_VP_ENTER)
def zero_step_filter(td, lay, rules, me):
    """TDH.VP.ENTER behind the epoch, with a guest page listed: does it still fault? Returns the status, which is
    EPT_VIOLATION_EXIT for a TD exit that the module makes up.

    A pending page still faults for TDX_1.5.01, and nobody accepts it from a vCPU that does not get in. Modules from
    1.5.24 on take it for one that does only with SEPT_VE_DISABLE, and the tree shared. Left out of these: host priority
    on the tree's, the op-state's and the PAMT's locks.
    """
    if rules.module == Module.TDX_1_5_24:
        locked = yield try_lock_shared(td, lay.tree_lock)
    else:
        locked = yield try_lock_exclusive(td, lay.tree_lock)
    if not locked:
        note(td, lay, me, -1, Outcome.zero_step_busy)
        status = OPERAND_BUSY | SEPT_TREE
    else:
        entry = yield from walk(td, lay, rules, me, own(td, last_epf_gpa(lay, me.index)) - 1)
        there = is_there(rules, entry)
        if rules.module == Module.TDX_1_5_24:
            yield unlock_shared(td, lay.tree_lock)
        elif there:
            if not rules.faults & Fault.ZERO_STEP_KEEPS_TREE:
                yield unlock_exclusive(td, lay.tree_lock)
        else:
            yield unlock_exclusive(td, lay.tree_lock)
        status = SUCCESS
        if not there:
            status = EPT_VIOLATION_EXIT
            note(td, lay, me, -1, Outcome.zero_step_fault)
    if status != SUCCESS:
        yield from revert_tlb_tracking(td, lay, rules, me)
    return status


@steps
def tdcall_accept(td, lay, rules, me, gpa):
    """TDG.MEM.PAGE.ACCEPT by way of the dispatcher. Returns the guest's status, or HOST_PRIORITY_BUSY_TIMEOUT for a TD
    exit behind the TDCALL, whose status is OPERAND_BUSY.
    """
    answer = yield from mem_accept(td, lay, rules, me, gpa)
    status = for_guest(answer)
    yield from count_call(td, lay, rules, me, Leaf.TDG_MEM_PAGE_ACCEPT, gpa, status)
    tries = 0
    if answer == BUSY_HOST_PRIORITY | RCX:
        tries = own(td, hp_lock_busy(lay, me.index)) + 1
        if tries > rules.hp_lock_timeout:
            tries = 0
            status = HOST_PRIORITY_BUSY_TIMEOUT
    set_own(td, hp_lock_busy(lay, me.index), tries)
    return status
