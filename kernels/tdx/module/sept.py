"""The module's calls on a Secure EPT of two levels: page-table pages, and the guest pages below them.

Source: intel/tdx-module TDX_1.5.01: tdh_mem_sept_add.c, tdh_mem_page_aug.c, tdg_mem_page_accept.c. As in
`kernels/tdx/module/mem.py`, whose BLOCK, TRACK and REMOVE are of both levels. Not here: the PAMT lock of the page to be
added, which is private to its call.

Where page-table pages go, a walk may go on in one that is someone else's by now. Every walk that takes no lock, a CPU's
and that of ACCEPT, is held against the oracle's word of the page-table page before it goes on there. There is no false
alarm: whoever walks is in the guest, and its reference keeps TLB tracking of that page from being done.
"""

from kernels.language.atomics import load_acquire, load_relaxed, store_release
from kernels.language.naming import Holds
from kernels.language.steps import local, steps
from kernels.tdx.bits import (
    HPA_SHIFT,
    RWX,
    STATE_MASK,
    SVE,
    TDEL,
    Content,
    Sept,
    generation_of,
    page_of,
    state_of,
    table_of,
)
from kernels.tdx.module.locks import lock_entry, lock_entry_as_guest, try_lock_shared, unlock_entry, unlock_shared
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Fault, Flow
from kernels.tdx.spans import ADD, CPU_WALK, tdcall
from kernels.tdx.statuses import (
    EPT_ENTRY_STATE_INCORRECT,
    EPT_VIOLATION_EXIT,
    EPT_WALK_FAILED,
    OPERAND_BUSY,
    PAGE_ALREADY_ACCEPTED,
    RCX,
    SAME_PAGE_PENDING,
    SEPT_TREE,
    SUCCESS,
    Leaf,
)
from kernels.tdx.tally import note
from kernels.tdx.words import bepoch, content, owner, sept


@local
def added_form(lay, node, page):
    """The entry of a page that has just been added, still locked: a page-table page is mapped, a guest page pending."""
    if node < lay.pages:
        return Sept.PENDING | SVE | TDEL | (page << HPA_SHIFT)
    return Sept.NL_MAPPED | RWX | SVE | TDEL | (page << HPA_SHIFT)


@local
def is_pending_with(entry, page):
    """Whether an entry is that which AUG of this host page makes, and nobody has accepted it."""
    return state_of(entry) == Sept.PENDING and page_of(entry) == page << 8


@steps(labelled=False, says={"load_acquire_sept_2": CPU_WALK, "load_acquire_sept": CPU_WALK})
def walk(td, lay, rules, me, gpa):
    """The entry of a guest page by way of both levels; 0, as of no state, where there is no page-table page."""
    entry = 0
    if state_of((yield load_acquire(td, sept(lay, table_of(lay, gpa))))) == Sept.NL_MAPPED:
        entry = yield load_acquire(td, sept(lay, gpa))
    return entry


@steps(span=ADD)
def mem_add(td, lay, rules, me, node, page):
    """TDH.MEM.PAGE.AUG of a guest page, TDH.MEM.SEPT.ADD of a page-table page; `page` is its host address.

    Both take the tree shared and the entry, which must be free; AUG alone walks through the level above.
    """
    if not (yield try_lock_shared(td, lay.tree_lock)):
        return OPERAND_BUSY | SEPT_TREE
    status = SUCCESS
    if node < lay.pages:
        if state_of((yield load_acquire(td, sept(lay, table_of(lay, node))))) != Sept.NL_MAPPED:
            status = EPT_WALK_FAILED | RCX
    if status == SUCCESS:
        if (yield from lock_entry(td, lay, rules, me, node)):
            entry = yield load_acquire(td, sept(lay, node))
            status = EPT_ENTRY_STATE_INCORRECT | RCX
            if is_pending_with(entry, page):
                status = SAME_PAGE_PENDING
            elif state_of(entry) == Sept.FREE:
                yield store_release(td, bepoch(lay, node), 0)
                yield store_release(td, sept(lay, node), added_form(lay, node, page))
                status = SUCCESS
            yield unlock_entry(td, sept(lay, node))
        else:
            status = OPERAND_BUSY | RCX
    yield unlock_shared(td, lay.tree_lock)
    return status


@steps
def goes_on(td, lay, rules, me, gpa, table):
    """Whether the page-table page that a walk has found, by the oracle's word of it, is this TD's still: 1 or 0."""
    if rules.flow & Flow.SEPT_PAGES:
        seen: Holds[owner] = yield load_relaxed(td, owner(lay, table_of(lay, gpa)))
        if generation_of(seen) != generation_of(table):
            note(td, lay, me, gpa, Outcome.sept_use_after_free)
            return 0
    return 1


@tdcall(Leaf.TDG_MEM_PAGE_ACCEPT)
def mem_accept(td, lay, rules, me, gpa):
    """TDG.MEM.PAGE.ACCEPT: a walk without the tree lock; then the page is zeroed, and mapped behind that.

    Returns the status as the dispatcher takes it, which may be BUSY_HOST_PRIORITY.
    """
    above = yield load_acquire(td, sept(lay, table_of(lay, gpa)))
    if state_of(above) != Sept.NL_MAPPED:
        return EPT_VIOLATION_EXIT
    if not (yield from goes_on(td, lay, rules, me, gpa, page_of(above))):
        return EPT_VIOLATION_EXIT
    status = yield from lock_entry_as_guest(td, lay, rules, me, gpa)
    if status != SUCCESS:
        return status
    entry = yield load_acquire(td, sept(lay, gpa))
    state = state_of(entry)
    if state == Sept.PENDING:
        if not rules.faults & Fault.ACCEPT_WITHOUT_ZEROING:
            yield store_release(td, content(lay, gpa), Content.ZEROED)
        yield store_release(td, sept(lay, gpa), (entry & ~STATE_MASK) | Sept.MAPPED | RWX)
        status = SUCCESS
    elif state == Sept.MAPPED:
        status = PAGE_ALREADY_ACCEPTED
    else:
        status = EPT_VIOLATION_EXIT
    yield unlock_entry(td, sept(lay, gpa))
    return status
