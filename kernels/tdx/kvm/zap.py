"""A zapper that only zaps: a page leaves the mirror and the S-EPT, and comes back where a vCPU faults on it.

Source: arch/x86/kvm/mmu/tdp_mmu.c tdp_mmu_set_spte() and handle_removed_private_spte(): with mmu_lock held for write
the mirror SPTE becomes nonpresent, then the page is blocked, tracked and removed. With mmu_lock held for read, as the
commit message of v18 060/121 has it and its code refuses, the SPTE is frozen until the page is removed. The shootdown
itself is that of `kernels/tdx/kvm/shootdown.py`; its time does not hold the wait for mmu_lock.
"""

from kernels.language.atomics import load_acquire, own, store_release
from kernels.language.steps import local, steps
from kernels.race.tally import relax
from kernels.story.spans import host
from kernels.tdx.bits import Content, Mirror, Phase, generation_of, page_of, phase_of, state_of
from kernels.tdx.kvm.zapper import NONE, any_page, claim
from kernels.tdx.module.locks import read_lock_mmu, read_unlock, write_lock_mmu, write_unlock
from kernels.tdx.module.mem import can_be_blocked
from kernels.tdx.outcomes import Outcome
from kernels.tdx.spans import FREE, UNLOCK
from kernels.tdx.tally import collect_flags, note, zapper_stopping
from kernels.tdx.words import content, mirror, owner, sept, stage


@steps
def lock_mmu(td, lay, rules, me):
    """For write, as merged; for read where zapping is concurrent."""
    if rules.zap_for_write:
        yield from write_lock_mmu(td, lay, rules, me)
    else:
        yield from read_lock_mmu(td, lay, rules, me)
    return 0


@steps(span=UNLOCK)
def unlock_mmu(td, lay, rules, me):
    if rules.zap_for_write:
        yield write_unlock(td, lay.mmu_lock)
    else:
        yield read_unlock(td, lay.mmu_lock)
    return 0


@local
def maps(entry, page):
    """Whether an S-EPT entry maps the host page of the oracle's word."""
    return page_of(entry) == generation_of(page) << 8


@steps(span=host("look", "looks whether the S-EPT agrees"))
def look(td, lay, rules, me, gpa):
    """Hold the S-EPT against the mirror SPTE, which was present and is this zapper's now."""
    entry = yield load_acquire(td, sept(lay, gpa))
    if not can_be_blocked(state_of(entry)):
        note(td, lay, me, gpa, Outcome.mirror_disagrees)
    elif not maps(entry, own(td, owner(lay, gpa))):
        note(td, lay, me, gpa, Outcome.two_owners)
    return 0


@steps
def take(td, lay, rules, me, gpa):
    """Whether a page's mirror SPTE is present; it is this zapper's then."""
    if rules.zap_for_write:
        taken = (yield load_acquire(td, mirror(lay, gpa))) == Mirror.PRESENT
        if taken:
            yield store_release(td, mirror(lay, gpa), Mirror.NONPRESENT)
    else:
        taken = yield claim(td, mirror(lay, gpa))
    if taken:
        collect_flags(td, lay, me, gpa)
        yield from look(td, lay, rules, me, gpa)
    return taken


@steps
def take_from(td, lay, rules, me, gpa):
    """Take what goes down together with this page; returns the first of it, or NONE."""
    taken = yield from take(td, lay, rules, me, gpa)
    return gpa if taken else NONE


@steps
def try_page(td, lay, rules, me):
    """A page of whatever number, if its mirror SPTE is present, and this zapper's then; else NONE."""
    gpa = yield any_page(td, lay, rules, me)
    return (yield from take_from(td, lay, rules, me, gpa))


@steps(span=host("claim", "takes a page"))
def take_page(td, lay, rules, me):
    """A page whose mirror SPTE was present, with mmu_lock held; NONE where the run, or the VM, has come to its end."""
    while not zapper_stopping(td, lay):
        if (yield load_acquire(td, lay.vm_bugged)):
            break
        yield from lock_mmu(td, lay, rules, me)
        page = yield from try_page(td, lay, rules, me)
        if page != NONE:
            return page
        yield from unlock_mmu(td, lay, rules, me)
        relax(td, rules, me)
    return NONE


@steps(span=FREE)
def give_away(td, lay, rules, me, gpa):
    """A page that is gone: its zapper has no shootdown at hand, whoever has the page next writes to it, and its mirror
    SPTE is nobody's.
    """
    if own(td, stage(lay, me.index)):
        yield store_release(td, stage(lay, me.index), 0)
    yield store_release(td, content(lay, gpa), Content.LEFT_BEHIND)
    if not rules.zap_for_write:
        yield store_release(td, mirror(lay, gpa), Mirror.NONPRESENT)
    return 0


@steps(at={"store_release_mirror": host("keep", "leaves the page mapped")})
def give_or_keep(td, lay, rules, me, gpa):
    if phase_of(own(td, owner(lay, gpa))) == Phase.FREE:
        yield from give_away(td, lay, rules, me, gpa)
    else:
        yield store_release(td, mirror(lay, gpa), Mirror.PRESENT)
    return 0


@steps(in_place=True)
def give_all_away(td, lay, rules, me, gpa):
    """Whatever has gone down together, this page first."""
    yield from give_or_keep(td, lay, rules, me, gpa)
    return 0


@steps
def give_page_away(td, lay, rules, me, gpa):
    yield from give_all_away(td, lay, rules, me, gpa)
    yield from unlock_mmu(td, lay, rules, me)
    return 0
