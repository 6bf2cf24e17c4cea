"""Several VMM threads build one TD: each makes one ioctl after the other, and pages of the TD may go beside that.

Source: Linux v6.19, virt/kvm/guest_memfd.c kvm_gmem_punch_hole(), virt/kvm/kvm_main.c kvm_set_memslot(),
arch/x86/kvm/vmx/tdx.c tdx_vcpu_load(); the ioctls are in `kernels/tdx/kvm/td_ioctls.py`. A vCPU's thread has two kinds
of them: until the TD is finalized one that only loads the vCPU, each time on another CPU, then KVM_RUN. Differs: a
mirror SPTE is frozen before mmu_lock is taken, not changed behind it, and no fault brings a page back. A race goes on
to another TD every so often; how one really ends is in `kernels/tdx/parts/teardown.py`.
"""

from kernels.language.atomics import fetch_add_seq_cst, fetch_or_seq_cst, load_acquire, load_relaxed, own, store_release
from kernels.language.steps import choice, harness, local, steps
from kernels.race.tally import count, drawn, finish, relax
from kernels.story.spans import host, wait
from kernels.tdx.bits import HPA_SHIFT, RWX, SVE, Mirror, Phase, Sept, TdState, bits_in
from kernels.tdx.bits import generation_of as generation
from kernels.tdx.counters import BUG_ON, KICKS_MET, MET
from kernels.tdx.kvm.busy import is_busy
from kernels.tdx.kvm.kick import acknowledge, kick_out
from kernels.tdx.kvm.page_fault import allocated
from kernels.tdx.kvm.shootdown import next_page_word, shoot_down, steps_of
from kernels.tdx.kvm.steps_left import without_flush
from kernels.tdx.kvm.td_ioctls import gives_way, ioctl_finalize, ioctl_init_mem_region, ioctl_init_vcpu
from kernels.tdx.kvm.vcpu_run import handle_exit, stays_out
from kernels.tdx.kvm.zapper import any_page, claim, zapper
from kernels.tdx.module.lifecycle import create, runs, td_exit_alive, vp_enter_alive
from kernels.tdx.module.locks import try_lock_exclusive, write_unlock
from kernels.tdx.module.mem import mem_page_remove, mem_range_block, mem_track, requires_tracking, td_exit, vp_enter
from kernels.tdx.module.td_build import block_with_tdr, remove_with_tdr, track_with_tdr, vp_flush_shared
from kernels.tdx.outcomes import Outcome
from kernels.tdx.part import Part
from kernels.tdx.rules import Ioctl, OnError, Step
from kernels.tdx.spans import LOCK, OWN, UNLOCKED
from kernels.tdx.statuses import SUCCESS, Leaf
from kernels.tdx.tally import collect_flags, count_status, note, outcome_of, wait_turn, zapper_stopping
from kernels.tdx.words import mirror, owner, sept, stage, vcpu_mutex

IOCTLS = len(Ioctl)
CLOSED, LIFE = 1 << 32, 31


@harness()
def add_users(td, lay, number):
    """References to the VM's file; CLOSED of them where everybody closes it."""
    fetch_add_seq_cst(td, lay.td_users, number)


@harness(1)
def hold_td(td, lay):
    """Take a reference to the VM's file; 0 where everybody closes it, as a race goes on to another TD."""
    if fetch_add_seq_cst(td, lay.td_users, 1) >= CLOSED:
        add_users(td, lay, -1)
        return 0
    return 1


@harness()
def lived(td, lay, me, turn):
    """Whether the first thread goes on to another TD; a search has one."""
    return me.index == 0 and turn & LIFE == LIFE


@harness(1)
def is_closed(td, lay, rules, me):
    """Wait until nobody has a reference any more: 0 where the run ends first."""
    while load_relaxed(td, lay.td_users) != CLOSED:
        if zapper_stopping(td, lay):
            return 0
        relax(td, rules, me)
    return 1


@harness(-1)
def zapped_beside(td, lay):
    """A page that somebody is zapping, whose zap has met somebody, as one that finds a vCPU in the guest has; or -1."""
    for gpa in range(lay.pages):
        if load_relaxed(td, mirror(lay, gpa)) == Mirror.FROZEN:
            fetch_or_seq_cst(td, lay.page_flags + gpa, MET)
            return gpa
    return -1


@harness()
def change_td(td, lay, ioctls):
    """An ioctl that changes the TD begins, or one less is under way."""
    fetch_add_seq_cst(td, lay.td_changing, ioctls)
    if ioctls > 0:
        zapped_beside(td, lay)


@harness()
def meet(td, lay, me):
    """A zap that begins beside such an ioctl has met somebody, too."""
    if load_relaxed(td, lay.td_changing):
        count(td, me, KICKS_MET, 1)


@steps
def zap_in_build(td, lay, rules, me, due):
    """kvm_mmu_unmap_gfn_range() of a page, if it is there. Returns SUCCESS, or the status of KVM_BUG_ON."""
    gpa = yield any_page(td, lay, rules, me)
    status = SUCCESS
    if (yield claim(td, mirror(lay, gpa))):
        collect_flags(td, lay, me, gpa)
        status = yield from shoot_down(td, lay, rules, me, gpa, due)
        if own(td, stage(lay, me.index)):
            yield store_release(td, stage(lay, me.index), 0)
        yield store_release(td, mirror(lay, gpa), Mirror.NONPRESENT)
    return status


@steps
def steps_in_build(td, lay, rules, me, todo, gpa, repair):
    """tdx_track() returns at once where KVM has not finalized the TD."""
    meet(td, lay, me)
    if (yield load_acquire(td, lay.runnable)):
        return todo
    return without_flush(todo, Step.FLUSH)


@steps(
    span=host("punch hole", "punches a hole"),
    at={"try_lock_exclusive_invalidate_lock": LOCK, "write_unlock_invalidate_lock": UNLOCKED},
)
def punch_hole(td, lay, rules, me, due):
    """kvm_gmem_punch_hole(): under the file's invalidate lock, no lock of the VM's but mmu_lock."""
    while not (yield try_lock_exclusive(td, lay.invalidate_lock)):
        relax(td, rules, me)
    status = yield from zap_in_build(td, lay, rules, me, due)
    yield write_unlock(td, lay.invalidate_lock)
    return status


@steps(
    span=host("delete slot", "deletes a memslot"),
    at={"try_lock_exclusive_slots_lock": LOCK, "write_unlock_slots_lock": UNLOCKED},
)
def delete_slot(td, lay, rules, me, due):
    """kvm_set_memslot(): under slots_lock what the slot maps is zapped; it is there again at once."""
    while not (yield try_lock_exclusive(td, lay.slots_lock)):
        relax(td, rules, me)
    status = yield from zap_in_build(td, lay, rules, me, due)
    yield write_unlock(td, lay.slots_lock)
    return status


@local
def each_ioctl(td, lay, rules, me):
    return max(1, bits_in(rules.ioctls))


@local
def nth_ioctl(td, lay, rules, me, number):
    for place in range(IOCTLS):
        if rules.ioctls >> place & 1:
            if number == 0:
                return 1 << place
            number -= 1
    return 0


@choice(each_ioctl, nth_ioctl, says=("turns to an ioctl",))
def next_ioctl(td, lay, rules, me, random):
    """Any of them; the one that ends the build is seldom the next."""
    kinds = each_ioctl(td, lay, rules, me)
    what = nth_ioctl(td, lay, rules, me, drawn(random, kinds))
    if what == Ioctl.FINALIZE and random & 7:
        what = nth_ioctl(td, lay, rules, me, ((random >> 8) & 0xFFFFFF) * kinds >> 24)
    return what


@local
def tell_bug(td, lay, me, gpa, status):
    """KVM_BUG_ON() of a call that does not try again."""
    note(td, lay, me, gpa, outcome_of(status))
    if is_busy(status):
        note(td, lay, me, gpa, Outcome.busy_given_up)
    count(td, me, BUG_ON, 1)


@steps(at={"next_ioctl": host("next", "goes on to the next ioctl")})
def make_ioctl(td, lay, rules, me, due):
    """One ioctl, or another call that takes pages away. Returns SUCCESS, or the status of KVM_BUG_ON."""
    what = yield next_ioctl(td, lay, rules, me)
    if what == Ioctl.PUNCH_HOLE:
        return (yield from punch_hole(td, lay, rules, me, due))
    if what > Ioctl.PUNCH_HOLE:
        return (yield from delete_slot(td, lay, rules, me, due))
    change_td(td, lay, 1)
    if what == Ioctl.INIT_VCPU:
        status = yield from ioctl_init_vcpu(td, lay, rules, me)
    elif what == Ioctl.INIT_MEM_REGION:
        status = yield from ioctl_init_mem_region(td, lay, rules, me)
    else:
        status = yield from ioctl_finalize(td, lay, rules, me)
    change_td(td, lay, -1)
    if status != SUCCESS:
        tell_bug(td, lay, me, zapped_beside(td, lay), status)
    return status


@steps(span=host("create", "goes on to another TD"))
def next_td(td, lay, rules, me):
    """In a race alone: everybody closes the VM, whose vCPUs are kicked, and the threads open the next one."""
    add_users(td, lay, CLOSED)
    yield from kick_out(td, lay, rules, me)
    if is_closed(td, lay, rules, me):
        yield from create(td, lay, rules, me)
        for gpa in range(lay.pages):
            page = next_page_word(own(td, owner(lay, gpa)))
            if gpa & 1:
                yield store_release(td, sept(lay, gpa), Sept.FREE | SVE)
                yield store_release(td, owner(lay, gpa), page)
                yield store_release(td, mirror(lay, gpa), Mirror.NONPRESENT)
            else:
                yield store_release(td, sept(lay, gpa), Sept.MAPPED | RWX | SVE | generation(page) << HPA_SHIFT)
                yield store_release(td, owner(lay, gpa), allocated(page))
                yield store_release(td, mirror(lay, gpa), Mirror.PRESENT)
        yield store_release(td, lay.td_state, TdState.INITIALIZED)
    add_users(td, lay, -CLOSED)
    return 0


@steps(at={**OWN, "load_acquire_vm_bugged": host("next", "goes on to the next ioctl")})
def building_thread(td, lay, rules, me):
    """One ioctl after the other until told to stop."""
    for turn in range(rules.shootdowns):
        due = wait_turn(td, lay, rules, me)
        if zapper_stopping(td, lay):
            break
        if (yield load_acquire(td, lay.vm_bugged)):
            break
        if lived(td, lay, me, turn):
            yield from next_td(td, lay, rules, me)
        if hold_td(td, lay):
            status = yield from make_ioctl(td, lay, rules, me, due)
            add_users(td, lay, -1)
            if status != SUCCESS and rules.on_error == OnError.STOP:
                yield store_release(td, lay.vm_bugged, 1)
                break
    finish(td, me)
    return 0


@steps(
    span=wait("mutex", "waits for its mutex"),
    at={"try_lock_exclusive_vcpu_mutex": LOCK, "write_unlock_vcpu_mutex": UNLOCKED},
)
def be_loaded(td, lay, rules, me):
    """A vCPU's ioctl, with its mutex: KVM_RUN once KVM has finalized the TD, for which 0 is returned; until then one
    that loads the vCPU on another CPU than the last did, so that it is flushed there.
    """
    if gives_way(td, lay) or not hold_td(td, lay):
        return 1
    while not (yield try_lock_exclusive(td, vcpu_mutex(lay, me.index))):
        # It sleeps: its processor answers whoever has met it in the guest before.
        yield from acknowledge(td, lay, rules, me)
        relax(td, rules, me)
    if (yield load_acquire(td, lay.runnable)):
        return 0
    status = yield from vp_flush_shared(td, lay, rules, me)
    count_status(td, me, Leaf.TDH_VP_FLUSH, status)
    if is_busy(status):
        tell_bug(td, lay, me, -1, status)
        if rules.on_error == OnError.STOP:
            yield store_release(td, lay.vm_bugged, 1)
    elif status != SUCCESS:
        note(td, lay, me, -1, outcome_of(status))
    yield write_unlock(td, vcpu_mutex(lay, me.index))
    add_users(td, lay, -1)
    return 1


@steps(at={"write_unlock_vcpu_mutex": UNLOCKED})
def return_to_vmm(td, lay, rules, me, ended, leaving):
    """KVM_RUN returns: a page that is not there is the VMM's to bring back, and does not come."""
    yield write_unlock(td, vcpu_mutex(lay, me.index))
    add_users(td, lay, -1)
    return 0


def half_there(td, lay):
    """Of a TD that is being built every second page has been added."""
    for gpa in range(1, lay.pages, 2):
        td[sept(lay, gpa)] = Sept.FREE | SVE
        td[owner(lay, gpa)] = 1 << 8 | Phase.FREE
        td[mirror(lay, gpa)] = Mirror.NONPRESENT


PART = Part(
    {
        zapper: building_thread,
        stays_out: be_loaded,
        handle_exit: return_to_vmm,
        steps_of: steps_in_build,
        vp_enter: vp_enter_alive,
        td_exit: td_exit_alive,
        requires_tracking: runs,
        mem_range_block: block_with_tdr,
        mem_track: track_with_tdr,
        mem_page_remove: remove_with_tdr,
    },
    alone="VMM threads make ioctls of a TD's build, and do nothing else",
    needs_module="it is the module's locks that they meet at",
    start=half_there,
    folds=False,
    lasting=False,  # no vCPU comes into a TD that nobody finalizes
)
