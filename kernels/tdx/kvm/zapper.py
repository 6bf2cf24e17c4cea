"""A zapper: a VMM thread that shoots pages down, one after the other, and maps each again.

Source: arch/x86/kvm/mmu/tdp_mmu.c for the mirror SPTE and mmu_lock. Functions that do nothing, or little, are open
places: a part of a machine (`kernels/tdx/parts`) may have its own in them.
"""

from kernels.language.atomics import compare_exchange_seq_cst, own, store_release
from kernels.language.steps import choice, op, steps
from kernels.race.tally import count, drawn, finish, relax
from kernels.story.spans import host
from kernels.tdx.bits import Mirror, Phase, generation_of, phase_of
from kernels.tdx.counters import BUG_ON
from kernels.tdx.kvm.busy import is_busy
from kernels.tdx.kvm.kick import give_lock_back_as_vcpu
from kernels.tdx.kvm.page_fault import allocated
from kernels.tdx.kvm.shootdown import shoot_down
from kernels.tdx.kvm.zap_locks import mode_of_vcpu, take_lock
from kernels.tdx.module.locks import read_lock_mmu, read_unlock
from kernels.tdx.module.mem import mem_page_aug
from kernels.tdx.spans import CLAIM, OWN
from kernels.tdx.statuses import SUCCESS, Leaf
from kernels.tdx.tally import collect_flags, count_call, each_page, wait_turn, zapper_stopping
from kernels.tdx.words import mirror, owner, stage

# No page is left to take; nothing is left to do.
NONE, STOPS = -1, 2


@choice(each_page, says=("takes page {}",))
def any_page(td, lay, rules, me, random):
    return drawn(random, lay.pages)


@op
def claim(td, spte):
    """try_cmpxchg64() of a mirror SPTE that is present to FROZEN_SPTE, so that no other thread changes this page."""
    return compare_exchange_seq_cst(td, spte, Mirror.PRESENT, Mirror.FROZEN) == Mirror.PRESENT


@steps
def map_page(td, lay, rules, me, gpa, page):
    """TDH.MEM.PAGE.AUG, tried again while it is BUSY (RET_PF_RETRY). Returns the status."""
    while True:
        if rules.fault_lock:
            mode = mode_of_vcpu(rules, rules.fault_lock - 1)
            yield from take_lock(td, lay, rules, me, rules.fault_lock - 1, mode, 0)
        status = yield from mem_page_aug(td, lay, rules, me, gpa, page)
        if rules.fault_lock:
            yield from give_lock_back_as_vcpu(td, lay, rules, me, rules.fault_lock - 1)
        yield from count_call(td, lay, rules, me, Leaf.TDH_MEM_PAGE_AUG, gpa, status)
        if status == SUCCESS:
            break
        if not is_busy(status):
            count(td, me, BUG_ON, 1)
            break
        relax(td, rules, me)
    return status


@steps(span=host("populate", "maps the page again"))
def populate(td, lay, rules, me, gpa):
    """A new host page behind the guest page where its own is gone, and the mirror SPTE present. Returns the status."""
    if phase_of(own(td, owner(lay, gpa))) == Phase.FREE:
        page = generation_of(own(td, owner(lay, gpa)))
        yield store_release(td, owner(lay, gpa), allocated(own(td, owner(lay, gpa))))
        if rules.serialized or rules.mmu_lock_steps:
            yield from read_lock_mmu(td, lay, rules, me)
        status = yield from map_page(td, lay, rules, me, gpa, page)
        if rules.serialized or rules.mmu_lock_steps:
            yield read_unlock(td, lay.mmu_lock)
        if status != SUCCESS:
            return status
    if own(td, stage(lay, me.index)):
        yield store_release(td, stage(lay, me.index), 0)
    yield store_release(td, mirror(lay, gpa), Mirror.PRESENT)
    return SUCCESS


@steps(span=CLAIM)
def claim_page(td, lay, rules, me):
    """A page that no other zapper has; its mirror SPTE is frozen. Returns the guest page."""
    gpa = yield any_page(td, lay, rules, me)
    while not (yield claim(td, mirror(lay, gpa))):
        relax(td, rules, me)
        gpa = yield any_page(td, lay, rules, me)
    collect_flags(td, lay, me, gpa)
    return gpa


@steps(in_place=True)
def does_otherwise(td, lay, rules, me):
    """Whether this turn goes to something else than a shootdown, and that is done: 1, or STOPS where nothing is left
    to do, or 0.
    """
    return 0


@steps(in_place=True)
def give_up(td, lay, rules, me):
    """What is left to do behind KVM_BUG_ON."""
    return 0


@steps(in_place=True)
def put_back(td, lay, rules, me, gpa):
    """What becomes of the guest page behind its shootdown: it is mapped again. Returns SUCCESS, or the status of
    KVM_BUG_ON.
    """
    return (yield from populate(td, lay, rules, me, gpa))


@steps(at=OWN)
def zapper(td, lay, rules, me):
    """Shoot pages down until told to stop."""
    for _ in range(rules.shootdowns):
        due = wait_turn(td, lay, rules, me)
        if zapper_stopping(td, lay):
            break
        otherwise = yield from does_otherwise(td, lay, rules, me)
        if otherwise == STOPS:
            break
        if not otherwise:
            gpa = yield from claim_page(td, lay, rules, me)
            if gpa == NONE:
                break
            status = yield from shoot_down(td, lay, rules, me, gpa, due)
            if status == SUCCESS:
                status = yield from put_back(td, lay, rules, me, gpa)
            if status != SUCCESS:
                yield store_release(td, lay.vm_bugged, 1)  # KVM_BUG_ON
                yield from give_up(td, lay, rules, me)
                break
    finish(td, me)
    return 0
