"""The ioctls of a VM that build its TD, and the guard of its state: which locks keep them apart from all else.

Source: Linux v6.19, arch/x86/kvm/vmx/tdx.c: tdx_acquire_vm_state_locks(), tdx_td_vcpu_init(),
tdx_vcpu_init_mem_region(), tdx_td_finalize(), and the same of v6.16, where each ioctl has locks of its own. Differs:
all vCPUs are online, so that what KVM asks of created_vcpus is always so; one guest_memfd has every page; there are no
page-table pages. KVM_TDX_INIT_VCPU is of a further vCPU, whose thread does not run yet.
"""

from kernels.language.atomics import fetch_add_seq_cst, load_acquire, load_relaxed, own, store_release
from kernels.language.naming import OneOf
from kernels.language.steps import harness, local, steps
from kernels.race.tally import relax
from kernels.story.spans import host
from kernels.tdx.bits import Mirror, generation_of
from kernels.tdx.kvm.busy import is_busy
from kernels.tdx.kvm.kick import kick_out
from kernels.tdx.kvm.page_fault import allocated
from kernels.tdx.kvm.zapper import any_page
from kernels.tdx.module.lifecycle import mem_page_add
from kernels.tdx.module.locks import read_lock_mmu, read_unlock, try_lock_exclusive, write_lock_mmu, write_unlock
from kernels.tdx.module.td_build import mr_extend, mr_finalize, vp_create, vp_init
from kernels.tdx.rules import Fault, Guard, Ioctl
from kernels.tdx.spans import LOCK, UNLOCKED
from kernels.tdx.statuses import SUCCESS, Leaf
from kernels.tdx.tally import count_status, note, outcome_of
from kernels.tdx.words import VCPU, mirror, owner, vcpu_mutex

IS_THERE = 1  # of a page that an ioctl would add: no status, which is 0 or has bits far above


@harness()
def want_vcpus(td, lay, waiting):
    """Whether a thread waits for the mutexes of vCPUs: a real mutex serves who waits, and a vCPU's next ioctl comes
    behind that.
    """
    fetch_add_seq_cst(td, lay.td_waiting, waiting)


@harness()
def gives_way(td, lay):
    return load_relaxed(td, lay.td_waiting)


@local
def takes_kvm_lock(rules, ioctl):
    """In v6.16 only the ioctls of the VM take kvm->lock."""
    return (rules.guard != Guard.OWN or ioctl == Ioctl.FINALIZE) and not rules.faults & Fault.GUARD_WITHOUT_KVM_LOCK


@local
def takes_vcpu_mutexes(rules):
    return rules.guard != Guard.OWN and not rules.faults & Fault.GUARD_WITHOUT_VCPU_MUTEXES


@local
def takes_slots_lock(rules, ioctl):
    return (rules.guard != Guard.OWN or ioctl != Ioctl.INIT_VCPU) and not rules.faults & Fault.GUARD_WITHOUT_SLOTS_LOCK


@local
def inits_in_mmu_lock(rules):
    return rules.guard != Guard.OWN and not rules.faults & Fault.VP_INIT_UNLOCKED


@steps(
    at={
        "try_lock_exclusive_kvm_lock": LOCK,
        "try_lock_exclusive_vcpu_mutex": LOCK,
        "try_lock_exclusive_slots_lock": LOCK,
    }
)
def take_guard(td, lay, rules, me, ioctl):
    """tdx_acquire_vm_state_locks(), or the locks that the ioctl had before there was one."""
    if takes_kvm_lock(rules, ioctl):
        while not (yield try_lock_exclusive(td, lay.kvm_lock)):
            relax(td, rules, me)
    if takes_vcpu_mutexes(rules):
        want_vcpus(td, lay, 1)
        vcpu: OneOf[VCPU]
        for vcpu in range(lay.vcpus):
            while not (yield try_lock_exclusive(td, vcpu_mutex(lay, vcpu))):
                relax(td, rules, me)
        want_vcpus(td, lay, -1)
    if takes_slots_lock(rules, ioctl):
        while not (yield try_lock_exclusive(td, lay.slots_lock)):
            relax(td, rules, me)
    return 0


@steps(at={"write_unlock_vcpu_mutex": UNLOCKED})
def unlock_all_vcpus(td, lay, rules, me):
    vcpu: OneOf[VCPU]
    for vcpu in range(lay.vcpus):
        yield write_unlock(td, vcpu_mutex(lay, vcpu))
    return 0


@steps(at={"write_unlock_kvm_lock": UNLOCKED, "write_unlock_slots_lock": UNLOCKED})
def drop_guard(td, lay, rules, me, ioctl):
    """tdx_release_vm_state_locks()."""
    if takes_slots_lock(rules, ioctl):
        yield write_unlock(td, lay.slots_lock)
    if takes_vcpu_mutexes(rules):
        yield from unlock_all_vcpus(td, lay, rules, me)
    if takes_kvm_lock(rules, ioctl):
        yield write_unlock(td, lay.kvm_lock)
    return 0


@steps(
    span=host("terminate", "KVM_TDX_TERMINATE_VM"),
    at={"try_lock_exclusive_vcpu_mutex": LOCK, "write_unlock_vcpu_mutex": UNLOCKED},
)
def trylock_all_vcpus(td, lay, rules, me):
    """kvm_trylock_all_vcpus() of tdx_terminate_vm(), whose -EBUSY has the VMM signal its vCPUs and come again."""
    want_vcpus(td, lay, 1)
    vcpu: OneOf[VCPU] = 0
    while vcpu < lay.vcpus:
        if (yield try_lock_exclusive(td, vcpu_mutex(lay, vcpu))):
            vcpu += 1
        else:
            while vcpu > 0:
                vcpu -= 1
                yield write_unlock(td, vcpu_mutex(lay, vcpu))
            yield from kick_out(td, lay, rules, me)
            relax(td, rules, me)
    want_vcpus(td, lay, -1)
    return 0


@steps(span=host("init vcpu", "KVM_TDX_INIT_VCPU"))
def ioctl_init_vcpu(td, lay, rules, me):
    """tdx_td_vcpu_init() of a vCPU that does not run yet. Returns SUCCESS, or the status of KVM_BUG_ON."""
    yield from take_guard(td, lay, rules, me, Ioctl.INIT_VCPU)
    status = SUCCESS
    if not (yield load_acquire(td, lay.runnable)):
        status = yield from vp_create(td, lay, rules, me)
        count_status(td, me, Leaf.TDH_VP_CREATE, status)
        if status == SUCCESS:
            if inits_in_mmu_lock(rules):
                yield from write_lock_mmu(td, lay, rules, me)
            status = yield from vp_init(td, lay, rules, me)
            count_status(td, me, Leaf.TDH_VP_INIT, status)
            if inits_in_mmu_lock(rules):
                yield write_unlock(td, lay.mmu_lock)
    yield from drop_guard(td, lay, rules, me, Ioctl.INIT_VCPU)
    return status


@steps
def map_in_build(td, lay, rules, me, gpa):
    """kvm_tdp_mmu_map_private_pfn(), tried again where it is BUSY. Returns SUCCESS, IS_THERE, or an error."""
    while True:
        yield from read_lock_mmu(td, lay, rules, me)
        status = IS_THERE
        if (yield load_acquire(td, mirror(lay, gpa))) == Mirror.NONPRESENT:
            yield store_release(td, owner(lay, gpa), allocated(own(td, owner(lay, gpa))))
            status = yield from mem_page_add(td, lay, rules, me, gpa, generation_of(own(td, owner(lay, gpa))))
            count_status(td, me, Leaf.TDH_MEM_PAGE_ADD, status)
            if status == SUCCESS:
                yield store_release(td, mirror(lay, gpa), Mirror.PRESENT)
        yield read_unlock(td, lay.mmu_lock)
        if not is_busy(status):
            return status
        note(td, lay, me, gpa, outcome_of(status))
        relax(td, rules, me)


@steps(
    span=host("init mem region", "KVM_TDX_INIT_MEM_REGION"),
    at={"try_lock_exclusive_invalidate_lock": LOCK, "write_unlock_invalidate_lock": UNLOCKED},
)
def ioctl_init_mem_region(td, lay, rules, me):
    """tdx_vcpu_init_mem_region() of one page, which is measured. Returns SUCCESS, or the status of KVM_BUG_ON."""
    yield from take_guard(td, lay, rules, me, Ioctl.INIT_MEM_REGION)
    status = SUCCESS
    if not (yield load_acquire(td, lay.runnable)):
        while not (yield try_lock_exclusive(td, lay.invalidate_lock)):
            relax(td, rules, me)
        gpa = yield any_page(td, lay, rules, me)
        status = yield from map_in_build(td, lay, rules, me, gpa)
        if status == SUCCESS:
            status = yield from mr_extend(td, lay, rules, me, gpa)
            count_status(td, me, Leaf.TDH_MR_EXTEND, status)
        elif status == IS_THERE:
            status = SUCCESS
        yield write_unlock(td, lay.invalidate_lock)
    yield from drop_guard(td, lay, rules, me, Ioctl.INIT_MEM_REGION)
    return status


@steps(span=host("finalize", "KVM_TDX_FINALIZE_VM"))
def ioctl_finalize(td, lay, rules, me):
    """tdx_td_finalize(): BUSY is -EBUSY for the VMM. Returns SUCCESS, or the status of KVM_BUG_ON."""
    yield from take_guard(td, lay, rules, me, Ioctl.FINALIZE)
    status = SUCCESS
    if not (yield load_acquire(td, lay.runnable)):
        if rules.guard == Guard.ALL_AND_FINALIZE:
            yield from write_lock_mmu(td, lay, rules, me)
        status = yield from mr_finalize(td, lay, rules, me)
        count_status(td, me, Leaf.TDH_MR_FINALIZE, status)
        if status == SUCCESS:
            yield store_release(td, lay.runnable, 1)
        elif is_busy(status):
            note(td, lay, me, -1, outcome_of(status))
            status = SUCCESS
        if rules.guard == Guard.ALL_AND_FINALIZE:
            yield write_unlock(td, lay.mmu_lock)
    yield from drop_guard(td, lay, rules, me, Ioctl.FINALIZE)
    return status
