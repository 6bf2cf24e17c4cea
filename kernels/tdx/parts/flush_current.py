"""A vCPU that runs tdx_track() itself, beside zappers and other vCPUs that do: the one TRACK that no lock keeps apart.

Source: [PATCH v18 060/121], where tdx_flush_tlb_current() is tdx_track(); arch/x86/kvm/mmu/mmu.c kvm_mmu_load(), which
calls it behind kvm_mmu_reload() in vcpu_enter_guest(): at a vCPU's first entry, and wherever its root has become
obsolete. Interrupts are on and mmu_lock is not held. For this the patch's gate is a counter: "multiple
TDH_MEM_TRACK() can be issued concurrently by multiple vcpus". What such a vCPU takes are the ordering's own TRACK, gate
and kick, in their order. The merged code INVEPTs the shared EPT in that place, and asserts mmu_lock in tdx_track().

Whoever kicks is outside, so that two vCPUs never wait for one another's IPI; but one may have been sent on account of
the stay before, so it is answered while others are waited for. All vCPUs that kick share a bit of an IPI word: who
looks late waits for the next one's IPI, too, and could as well have looked before. After so many TRACKs as a zapper has
shootdowns a vCPU's root stays.
"""

from kernels.language.atomics import fetch_or_seq_cst, load_acquire, load_relaxed, own, set_own, store_release
from kernels.language.naming import OneOf, SetOf
from kernels.language.steps import choice, harness, local, steps
from kernels.layout import FINISHED
from kernels.race.tally import count, relax, two
from kernels.story.spans import host
from kernels.tdx.bits import BY_VCPU, bits_in
from kernels.tdx.counters import BUG_ON
from kernels.tdx.kvm.kick import (
    ASKS,
    SENDS,
    WAITS,
    WHOLE,
    acknowledge,
    exiting_guest_mode,
    kick_out,
    needs_ipi,
    next_vcpu,
    nth_vcpu,
    seamcall,
    seamcall_until,
)
from kernels.tdx.kvm.shootdown import lower_gate, raise_gate
from kernels.tdx.kvm.steps_left import after_failure, ends_kick, is_awaited, is_kick, parts_of
from kernels.tdx.kvm.vcpu_run import mmu_reload
from kernels.tdx.module.mem import mem_track
from kernels.tdx.part import Part
from kernels.tdx.rules import STEP_BITS, STEP_MASK, OnError, Step
from kernels.tdx.spans import ACKNOWLEDGED, DEAD, KICKING, TO_A_VCPU
from kernels.tdx.statuses import HANDED_UP, SKIPPED, SUCCESS, Leaf
from kernels.tdx.tally import vcpu_stopping
from kernels.tdx.words import VCPU, ipi, mode, reloads, requests


@local
def bit_of(vcpu):
    """A vCPU's bit among those to be kicked. In a race of many some share one, and are kicked together."""
    return 1 << (vcpu & 31)


@local
def still_due(td, lay, rules, me, due, done):
    """How many vCPUs have a bit in `due` and none in `done`; 1 where none has, as the loop ends one way."""
    return max(1, bits_in(due & ~done))


@local
def nth_due(td, lay, rules, me, number, due, done):
    return nth_vcpu(lay, due & ~done, number)


@choice(still_due, nth_due, says=TO_A_VCPU)
def next_due(td, lay, rules, me, due, done, after):
    """The next vCPU with a bit in `due`, `lay.vcpus` behind the last."""
    vcpu = after + 1
    while vcpu < lay.vcpus and not due & bit_of(vcpu):
        vcpu += 1
    return vcpu


@harness()
def is_gone(td, lay, vcpu):
    """Whether this vCPU's thread has ended, as all do at the end of a run: its processor goes on to answer IPIs."""
    return load_relaxed(td, lay.vcpu_tally + vcpu * lay.vcpu_tally_stride + FINISHED)


@steps(span=KICKING, at={"load_acquire_ipi": ACKNOWLEDGED})
def kick_as_vcpu(td, lay, rules, me, parts, due, request, wait):
    """kvm_make_all_cpus_request(), as `kick`, by a vCPU, which makes the request of itself as well. `due` are those
    that earlier parts have found in the guest; returns them and those that this one has.
    """
    visited: SetOf[VCPU] = 0
    due: SetOf[VCPU]  # type: ignore[no-redef]
    if parts & ASKS:
        for place in range(lay.vcpus):
            vcpu: OneOf[VCPU] = yield next_vcpu(td, lay, rules, me, visited, place)
            visited |= bit_of(vcpu)
            if request:
                yield fetch_or_seq_cst(td, requests(lay, vcpu), request)
            # Pairs with the vCPU's store of IN_GUEST_MODE and its loads behind it: one of the two sees the other.
            was = yield exiting_guest_mode(td, mode(lay, vcpu))
            if needs_ipi(rules, was, wait):
                due |= bit_of(vcpu)
    visited = 0
    vcpu = -1
    while parts & SENDS:
        vcpu = yield next_due(td, lay, rules, me, due, visited, vcpu)
        if vcpu == lay.vcpus:
            break
        visited |= bit_of(vcpu)
        yield fetch_or_seq_cst(td, ipi(lay, vcpu), BY_VCPU)
    visited = 0
    vcpu = -1
    while wait and parts & WAITS:
        vcpu = yield next_due(td, lay, rules, me, due, visited, vcpu)
        if vcpu == lay.vcpus:
            break
        visited |= bit_of(vcpu)
        # Acquire pairs with the exchange in acknowledge(): what the vCPU did in the guest is over.
        while (yield load_acquire(td, ipi(lay, vcpu))) & BY_VCPU:
            if is_gone(td, lay, vcpu):
                break
            yield from acknowledge(td, lay, rules, me)
            relax(td, rules, me)
    return due


@steps
def kick_out_as_vcpu(td, lay, rules, me):
    """A whole one that makes no request."""
    yield from kick_as_vcpu(td, lay, rules, me, WHOLE, 0, 0, 1)
    return 0


@steps
def track_alone(td, lay, rules, me, leaf, gpa):
    """TDH.MEM.TRACK is the only SEAMCALL that such a vCPU tries again where it is BUSY."""
    return (yield from mem_track(td, lay, rules, me))


@steps(span=host("flush", "flushes for its new root"), at={"store_release_vm_bugged": DEAD})
def tdx_flush_tlb_current(td, lay, rules, me):
    """tdx_track(): those of the ordering's steps that it has; from the first again where BUSY is handed up."""
    left = rules.shootdown
    again = 0
    due: SetOf[VCPU] = 0
    while left:
        what = left & STEP_MASK
        if what == Step.GATE_RAISE:
            yield from raise_gate(td, lay, rules, me)
        elif what == Step.GATE_LOWER:
            yield from lower_gate(td, lay, rules, me)
        elif is_kick(what) and what != Step.FLUSH:
            wait = is_awaited(rules, left)
            due = yield from kick_as_vcpu(td, lay, rules, me, parts_of(what), due, rules.request, wait)
            if ends_kick(left, wait):
                due = 0
        elif what == Step.TRACK:
            policy = rules.track_busy_read
            status = yield from seamcall_until(td, lay, rules, me, Leaf.TDH_MEM_TRACK, -1, policy, 0)
            if status == HANDED_UP:
                left = after_failure(left, 0)
                again = rules.shootdown
            elif status != SUCCESS and status != SKIPPED:
                count(td, me, BUG_ON, 1)
                if rules.on_error != OnError.FREE_PAGE:
                    left = after_failure(left, 0)
                if rules.on_error == OnError.STOP:
                    yield store_release(td, lay.vm_bugged, 1)  # KVM_BUG_ON
        left = left >> STEP_BITS
        if left == 0 and again:
            left = again
            again = 0
            relax(td, rules, me)
    return 0


@choice(two, says=("keeps its root", "has to load a root"))
def root_is_obsolete(td, lay, rules, me, random):
    """Whether kvm_mmu_reload() has to load a root now: in a race at one entry of 64."""
    return (random >> 20) & 63 == 0


@steps(span=host("root", "loads a root"))
def load_root(td, lay, rules, me):
    """kvm_mmu_reload(): where the root is obsolete, kvm_mmu_load(), which flushes for the new one."""
    loaded = own(td, reloads(lay, me.index))
    if loaded < rules.shootdowns and not vcpu_stopping(td, lay):
        if (yield root_is_obsolete(td, lay, rules, me)):
            set_own(td, reloads(lay, me.index), loaded + 1)
            yield from tdx_flush_tlb_current(td, lay, rules, me)
    return 0


PART = Part({mmu_reload: load_root}, of_vcpus={kick_out: kick_out_as_vcpu, seamcall: track_alone}, folds=False)
