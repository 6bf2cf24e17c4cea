"""A vCPU whose faults populate: as in `kernels/tdx/kvm/vcpu_run.py`, but a page that is not mapped is KVM's to map.

Source: arch/x86/kvm/x86.c vcpu_enter_guest() with its KVM_REQ_VM_DEAD, arch/x86/kvm/vmx/tdx.c
tdx_handle_ept_violation(). The guest's walk goes through both levels of the S-EPT; where page-table pages are freed its
CPU also caches where the upper level led. Where it fills its TLB it also looks whether the page holds zeroes: it has
accepted it, and nobody writes here.
"""

from kernels.language.atomics import load_acquire, load_relaxed, own, set_own, store_release, store_seq_cst
from kernels.language.naming import Holds
from kernels.language.steps import like, local, steps
from kernels.race.tally import count, finish, now, relax
from kernels.tdx.counters import ENTRIES
from kernels.tdx.kvm.kick import acknowledge, exit_requested, process_requests
from kernels.tdx.kvm.page_fault import handle_ept_violation
from kernels.tdx.kvm.vcpu_run import (
    EPT_VIOLATION,
    IPI,
    LEAF_ACCEPT,
    LEAF_ENTER,
    WHY_BITS,
    WHY_MASK,
    count_stay,
    guest,
)
from kernels.tdx.module.locks import for_guest
from kernels.tdx.module.mem import td_exit, vp_enter
from kernels.tdx.module.sept import SEPT_PAGES, goes_on, mem_accept
from kernels.tdx.outcomes import Outcome
from kernels.tdx.spans import ENTRY, OWN
from kernels.tdx.statuses import SUCCESS
from kernels.tdx.tally import arm_tick_once, count_status, note, outcome_of, share_cpu_at_tick, vcpu_stopping
from kernels.tdx.words import (
    IN_GUEST_MODE,
    NL_MAPPED,
    OUTSIDE_GUEST_MODE,
    ZEROED,
    content,
    content_of,
    is_hit,
    mode,
    owner,
    page_of,
    sept,
    state_of,
    table_of,
    tlb,
    translation,
)

NOT_ZEROED = int(Outcome.not_zeroed)


@steps
def accept_page(td, lay, rules, me, gpa):
    """The guest's #VE handler on a pending page: TDG.MEM.PAGE.ACCEPT. Returns its status."""
    answer = yield from mem_accept(td, lay, rules, me, gpa)
    status = for_guest(answer)
    count_status(td, me, LEAF_ACCEPT, status)
    if status != SUCCESS:
        note(td, lay, me, gpa, outcome_of(status))
    return status


@local
def cached_table(td, lay, rules, me, gpa):
    """The page-table page above a guest page where this CPU's paging-structure caches have it, as the oracle's word of
    it; 0 where not. They share the TLB's entries, and INVEPT drops both.
    """
    node = table_of(lay, gpa)
    held = own(td, tlb(lay, me.index, node)) if rules.flow == SEPT_PAGES else 0
    return content_of(held) if is_hit(held, node) else 0


@local
def cache_table(td, lay, rules, me, gpa, table):
    node = table_of(lay, gpa)
    if rules.flow == SEPT_PAGES:
        set_own(td, tlb(lay, me.index, node), translation(node, table))


@steps(labelled=False)
def walk_to_table(td, lay, rules, me, gpa):
    """The upper level of the CPU's walk: the page-table page to go on in, as the oracle's word of it, or 0."""
    table = cached_table(td, lay, rules, me, gpa)
    if table == 0:
        above = yield load_acquire(td, sept(lay, table_of(lay, gpa)))
        if state_of(above) != NL_MAPPED:
            return 0
        table = page_of(above)
        cache_table(td, lay, rules, me, gpa, table)
    if not (yield from goes_on(td, lay, rules, me, gpa, table)):
        return 0
    return table


@steps(labelled=False)
def walk_both_levels(td, lay, rules, me, gpa):
    """The CPU's walk: the S-EPT entry of a guest page; 0, as of no state, where there is no page-table page."""
    table = yield from walk_to_table(td, lay, rules, me, gpa)
    if table == 0:
        return 0
    return (yield load_acquire(td, sept(lay, gpa)))


@steps(labelled=False)
def first_read(td, lay, rules, me, gpa, held):
    """Fill the TLB with a translation and read through it; returns the page's word, as the read saw it."""
    set_own(td, tlb(lay, me.index, gpa), held)
    left = yield load_relaxed(td, content(lay, gpa))
    seen: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
    if held == translation(gpa, seen) and left != ZEROED:
        note(td, lay, me, gpa, NOT_ZEROED)
    return seen


@like(guest, walk_to_leaf=walk_both_levels, accept=accept_page, fill_and_read=first_read)
def guest_with_faults(td, lay, rules, me):
    """Reads as those of `guest`, each walk through both levels."""


@steps(span=ENTRY)
def before_entry(td, lay, rules, me):
    """KVM_REQ_VM_DEAD: whether the vCPU enters no more. Its processor still answers IPIs."""
    return (yield load_acquire(td, lay.vm_bugged))


@steps(at=OWN)
def faulting_vcpu(td, lay, rules, me):
    """vcpu_run(): as `vcpu`, and on an EPT violation KVM maps the page before the next entry."""
    left = now(rules)
    while not vcpu_stopping(td, lay):
        if (yield from before_entry(td, lay, rules, me)):
            yield from acknowledge(td, lay, rules, me)
            relax(td, rules, me)
            continue
        if rules.entry_requests:
            yield from process_requests(td, lay, rules, me)
        yield store_seq_cst(td, mode(lay, me.index), IN_GUEST_MODE)
        entered = 0
        leaving = 0
        went = IPI
        if not (yield from exit_requested(td, lay, rules, me)):
            status = yield from vp_enter(td, lay, rules, me)
            count_status(td, me, LEAF_ENTER, status)
            if status == SUCCESS:
                entered = now(rules)
                count(td, me, ENTRIES, 1)
                arm_tick_once(td, rules, me, entered)
                went = yield from guest_with_faults(td, lay, rules, me)
                leaving = now(rules)
                yield from td_exit(td, lay, rules, me)
            else:
                # BUSY: out of the fast path, or a kick that waits would wait for as long as BUSY lasts.
                note(td, lay, me, -1, outcome_of(status))
                relax(td, rules, me)
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
        yield from acknowledge(td, lay, rules, me)
        if entered:
            left = count_stay(td, rules, me, entered - left, leaving, went & WHY_MASK)
        if went & WHY_MASK == EPT_VIOLATION:
            yield from handle_ept_violation(td, lay, rules, me, went >> WHY_BITS)
        share_cpu_at_tick(td, rules, me)
    yield from acknowledge(td, lay, rules, me)
    finish(td, me)
    return 0
