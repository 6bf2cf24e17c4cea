"""A zapper that takes whole page-table pages away: the pages below, one by one, and then the page-table page itself.

Source: arch/x86/kvm/mmu/tdp_mmu.c handle_removed_pt(), which freezes the SPTEs below, each until nobody else has it
frozen, and frees the page once they are gone; arch/x86/kvm/vmx/tdx.c tdx_sept_free_private_spt(), which frees none
before the TD's HKID is released (v18 and v6.16): there a live TD's page-table pages stay, and only what is below goes.
TDH.MEM.SEPT.REMOVE lets a live one go, after BLOCK and TLB tracking of its own. Locks as in `kernels/tdx/kvm/zap.py`.
"""

from kernels.language.atomics import exchange_seq_cst, load_acquire, own, store_release
from kernels.language.steps import choice, local, steps
from kernels.race.tally import drawn, relax
from kernels.story.spans import host
from kernels.tdx.bits import Content, Mirror, end_below, first_below
from kernels.tdx.kvm.shootdown import shoot_down, steps_of
from kernels.tdx.kvm.zap import give_all_away, give_away, look, take, take_from, try_page, unlock_mmu
from kernels.tdx.kvm.zapper import NONE, claim, put_back
from kernels.tdx.part import Part
from kernels.tdx.rules import Fault, SeptFree
from kernels.tdx.spans import FREE
from kernels.tdx.statuses import SUCCESS
from kernels.tdx.tally import collect_flags
from kernels.tdx.words import content, mirror, stage


@local
def each_table(td, lay, rules, me):
    return lay.tables


@local
def nth_table(td, lay, rules, me, number):
    return lay.pages + number


@choice(each_table, nth_table, says=("takes page-table page {}",))
def any_table(td, lay, rules, me, random):
    return lay.pages + drawn(random, lay.tables)


@steps
def take_present(td, lay, rules, me, table):
    """Whether a page-table page is there, and this zapper's now; one that stays is nobody's."""
    if rules.sept_free == SeptFree.AFTER_HKID or rules.zap_for_write:
        taken = (yield load_acquire(td, mirror(lay, table))) == Mirror.PRESENT
        if taken and rules.sept_free != SeptFree.AFTER_HKID:
            yield store_release(td, mirror(lay, table), Mirror.NONPRESENT)
    else:
        taken = yield claim(td, mirror(lay, table))
    return taken


@steps
def try_table(td, lay, rules, me):
    """A page-table page of whatever number, if it is there; else NONE."""
    table = yield any_table(td, lay, rules, me)
    taken = yield from take_present(td, lay, rules, me, table)
    return table if taken else NONE


@steps(span=host("freeze", "freezes a page"))
def freeze_child(td, lay, rules, me, gpa):
    """Whether the SPTE was present; it is frozen now. Where its page-table page goes it stays so, and whoever has it
    frozen comes first: a fault would make it present behind our back.
    """
    if rules.sept_free == SeptFree.AFTER_HKID or rules.zap_for_write:
        return (yield claim(td, mirror(lay, gpa)))
    was = yield exchange_seq_cst(td, mirror(lay, gpa), Mirror.FROZEN)
    while was == Mirror.FROZEN and not rules.faults & Fault.FREEZE_CHILD_ONCE:
        relax(td, rules, me)
        was = yield exchange_seq_cst(td, mirror(lay, gpa), Mirror.FROZEN)
    return was == Mirror.PRESENT


@local
def behind(lay, rules, table, node):
    """What goes next: the next page or batch below, then the page-table page, unless that one stays; NONE at last."""
    if node == table:
        return NONE
    after = node - node % rules.batch + rules.batch
    if after < end_below(lay, table):
        return after
    return NONE if rules.sept_free == SeptFree.AFTER_HKID else table


@steps(span=FREE)
def left_behind(td, lay, rules, me, gpa):
    """A page that is gone: its zapper has no shootdown at hand, and whoever has a guest page next writes to it."""
    if own(td, stage(lay, me.index)):
        yield store_release(td, stage(lay, me.index), 0)
    if gpa < lay.pages:
        yield store_release(td, content(lay, gpa), Content.LEFT_BEHIND)
        if rules.sept_free == SeptFree.AFTER_HKID:
            yield store_release(td, mirror(lay, gpa), Mirror.NONPRESENT)
    return 0


@steps
def take_node(td, lay, rules, me, gpa):
    """Whether a page below was there, which is frozen now; the page-table page has been taken before."""
    taken = 1
    if gpa < lay.pages:
        taken = yield from freeze_child(td, lay, rules, me, gpa)
    if taken:
        collect_flags(td, lay, me, gpa)
        yield from look(td, lay, rules, me, gpa)
    return taken


@steps(at={"store_release_mirror": host("zap", "zaps the page-table page")})
def handle_removed_pt(td, lay, rules, me, gpa, due):
    """Shoot down what is mapped below, and then the page-table page. Returns SUCCESS, or the status of KVM_BUG_ON."""
    table = gpa
    status = SUCCESS
    zapped = 0
    node = first_below(lay, table)
    while node != NONE and status == SUCCESS:
        first = yield from take_from(td, lay, rules, me, node)
        if first != NONE:
            zapped = 1
            status = yield from shoot_down(td, lay, rules, me, first, due)
            if status == SUCCESS:
                yield from give_all_away(td, lay, rules, me, first)
        node = behind(lay, rules, table, node)
    if not zapped:
        relax(td, rules, me)
    if status != SUCCESS:
        return status
    if rules.sept_free != SeptFree.AFTER_HKID and not rules.zap_for_write:
        yield store_release(td, mirror(lay, table), Mirror.NONPRESENT)
    return SUCCESS


@steps(in_place=True)
def steps_of_level(td, lay, rules, me, todo, gpa, repair):
    """The steps that a page takes: those of its level, where a page-table page that can go has its own."""
    taken = todo
    if rules.sept_free != SeptFree.AFTER_HKID and gpa >= lay.pages and not repair and rules.table:
        taken = rules.table
    return taken


@steps(in_place=True)
def gone_with_its_children(td, lay, rules, me, gpa):
    yield from unlock_mmu(td, lay, rules, me)
    return 0


PART = Part(
    {
        try_page: try_table,
        take: take_node,
        give_away: left_behind,
        shoot_down: handle_removed_pt,
        steps_of: steps_of_level,
        put_back: gone_with_its_children,
    },
    on="populate",
    not_with={
        "migrate": "a CPU's paging-structure caches are the vCPU's own",
        "mmio": "a CPU's paging-structure caches have the tags of shared pages",
    },
)
