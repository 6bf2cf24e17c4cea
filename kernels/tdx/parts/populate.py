"""vCPUs whose faults populate: a page that is not mapped is KVM's to map; zappers only zap.

Source: arch/x86/kvm/x86.c vcpu_enter_guest() with its KVM_REQ_VM_DEAD, arch/x86/kvm/vmx/tdx.c
tdx_handle_ept_violation(). The guest's walk goes through both levels of the S-EPT; where page-table pages are freed its
CPU also caches where the upper level led. Where it fills its TLB it also looks whether the page holds zeroes: it has
accepted it, and nobody writes here.
"""

from kernels.language.atomics import load_acquire, load_relaxed, own, set_own
from kernels.language.naming import Holds
from kernels.language.steps import local, steps
from kernels.tdx.bits import Content, Sept, content_of, is_hit, page_of, state_of, table_of, translation
from kernels.tdx.guest import EPT_VIOLATION, WHY_MASK, page_of_end, read_filled, walk_to_leaf
from kernels.tdx.kvm.page_fault import handle_ept_violation
from kernels.tdx.kvm.vcpu_run import handle_exit, stays_out, vm_is_dead
from kernels.tdx.kvm.zap import give_page_away, take_page, unlock_mmu
from kernels.tdx.kvm.zapper import claim_page, give_up, put_back
from kernels.tdx.module.locks import for_guest
from kernels.tdx.module.mem import mem_page_accept
from kernels.tdx.module.sept import goes_on, mem_accept
from kernels.tdx.outcomes import Outcome
from kernels.tdx.part import Part
from kernels.tdx.rules import Flow
from kernels.tdx.spans import CPU_WALK, GUEST_READ
from kernels.tdx.tally import note
from kernels.tdx.words import content, owner, sept, tlb


@steps
def accept_by_walk(td, lay, rules, me, gpa):
    """TDG.MEM.PAGE.ACCEPT through both levels. Returns its status."""
    answer = yield from mem_accept(td, lay, rules, me, gpa)
    return for_guest(answer)


@local
def cached_table(td, lay, rules, me, gpa):
    """The page-table page above a guest page where this CPU's paging-structure caches have it, as the oracle's word of
    it; 0 where not. They share the TLB's entries, and INVEPT drops both.
    """
    node = table_of(lay, gpa)
    held = own(td, tlb(lay, me.index, node)) if rules.flow & Flow.SEPT_PAGES else 0
    return content_of(held) if is_hit(held, node) else 0


@local
def cache_table(td, lay, rules, me, gpa, table):
    node = table_of(lay, gpa)
    if rules.flow & Flow.SEPT_PAGES:
        set_own(td, tlb(lay, me.index, node), translation(node, table))


@steps(labelled=False, says={"load_acquire_sept": CPU_WALK})
def walk_to_table(td, lay, rules, me, gpa):
    """The upper level of the CPU's walk: the page-table page to go on in, as the oracle's word of it, or 0."""
    table = cached_table(td, lay, rules, me, gpa)
    if table == 0:
        above = yield load_acquire(td, sept(lay, table_of(lay, gpa)))
        if state_of(above) != Sept.NL_MAPPED:
            return 0
        table = page_of(above)
        cache_table(td, lay, rules, me, gpa, table)
    if not (yield from goes_on(td, lay, rules, me, gpa, table)):
        return 0
    return table


@steps(labelled=False, says={"load_acquire_sept": CPU_WALK})
def walk_both_levels(td, lay, rules, me, gpa):
    """The CPU's walk: the S-EPT entry of a guest page; 0, as of no state, where there is no page-table page."""
    table = yield from walk_to_table(td, lay, rules, me, gpa)
    if table == 0:
        return 0
    return (yield load_acquire(td, sept(lay, gpa)))


@steps(labelled=False, says={"load_relaxed_owner": GUEST_READ})
def first_read(td, lay, rules, me, gpa, held):
    """The first read through a translation: the page's word, as it saw it."""
    left = yield load_relaxed(td, content(lay, gpa))
    seen: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
    if held == translation(gpa, seen) and left != Content.ZEROED:
        note(td, lay, me, gpa, Outcome.not_zeroed)
    return seen


@steps
def map_private(td, lay, rules, me, ended, leaving):
    """On an EPT violation KVM maps the page before the next entry."""
    if ended & WHY_MASK == EPT_VIOLATION:
        yield from handle_ept_violation(td, lay, rules, me, page_of_end(ended))
    return 0


PART = Part(
    {
        stays_out: vm_is_dead,
        walk_to_leaf: walk_both_levels,
        mem_page_accept: accept_by_walk,
        read_filled: first_read,
        handle_exit: map_private,
        claim_page: take_page,
        give_up: unlock_mmu,
        put_back: give_page_away,
    },
    above=("batch",),
)
