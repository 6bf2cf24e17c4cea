"""A vCPU's host thread in KVM; what it does between TDH.VP.ENTER and TD exit is in `kernels/tdx/guest.py`.

Source: arch/x86/kvm/x86.c vcpu_enter_guest(), arch/x86/kvm/vmx/tdx.c tdx_vcpu_run(). Functions that do nothing, or
little, are open places: a part of a machine (`kernels/tdx/parts`) may have its own in them.
"""

from kernels.language.atomics import load_acquire, load_seq_cst, store_relaxed, store_release, store_seq_cst
from kernels.language.steps import choice, harness, local, steps
from kernels.race.tally import count, finish, now, relax, two
from kernels.race.trace import keep_left, kept
from kernels.story.events import Kind
from kernels.story.spans import Deed
from kernels.tdx.bits import Mode
from kernels.tdx.counters import ENTRIES, EXITS, FAULT_EXITS, OUT_OF_GUEST_NS, TICKS, VCPU_HISTS
from kernels.tdx.guest import EPT_VIOLATION, IPI, NEXT, TICK, WHY_MASK, ended_at, guest
from kernels.tdx.kvm.kick import (
    EXIT_REQUESTED,
    HELD_OUT,
    acknowledge,
    also_asked,
    entry_failed,
    exit_requested,
    give_lock_back_as_vcpu,
    looks_at_requests,
    process_requests,
    take_lock_as_vcpu,
)
from kernels.tdx.module.locks import meanwhile
from kernels.tdx.module.mem import td_exit, vp_enter
from kernels.tdx.rules import Fault
from kernels.tdx.spans import ENTRY, OWN
from kernels.tdx.statuses import EPT_VIOLATION_EXIT, SUCCESS, Leaf
from kernels.tdx.tally import arm_tick_once, count_status, note, outcome_of, record, share_cpu_at_tick, vcpu_stopping
from kernels.tdx.words import mode, requests

OUT_OF_GUEST = VCPU_HISTS.index("out_of_guest")
NOT_ENTERED = -1


@kept(keep_left)
@harness()
def count_stay(td, rules, me, outside, leaving, why):
    """The end of a stay in the guest, and the time outside before it; returns `leaving`. Behind the acknowledgement."""
    count(td, me, EXITS, 1)
    if why == EPT_VIOLATION:
        count(td, me, FAULT_EXITS, 1)
    elif why == TICK:
        count(td, me, TICKS, 1)
    count(td, me, OUT_OF_GUEST_NS, record(td, rules, me, OUT_OF_GUEST, outside))
    return leaving


@choice(two, says=("its store is still in the store buffer", "its store leaves the store buffer"))
def drains(td, lay, rules, me):
    """Whether the store buffer has drained by now. A race has a real one: there the store is issued at once."""
    return 1


@steps(in_place=True)
def behind_mode(td, lay, rules, me):
    """What is stored behind IN_GUEST_MODE, before the barrier."""
    return 0


@steps
def may_drain(td, lay, rules, me, drained):
    """Whether the store of IN_GUEST_MODE is seen before the load at hand."""
    if not drained:
        drained = yield drains(td, lay, rules, me)
        if drained:
            yield store_relaxed(td, mode(lay, me.index), Mode.IN_GUEST_MODE)
            yield from behind_mode(td, lay, rules, me)
    return drained


@steps(span=ENTRY)
def enter_unfenced(td, lay, rules, me):
    """IN_GUEST_MODE without the barrier behind it, then what exit_requested() looks at: a load may come before the
    store, which stands in the store buffer (x86-TSO). TDH.VP.ENTER begins with a locked access: there it is seen at the
    latest. The vCPU's own load of mode is answered from the buffer, and where it leaves, OUTSIDE_GUEST_MODE follows.
    """
    drained = yield from may_drain(td, lay, rules, me, 0)
    if drained:
        if (yield load_seq_cst(td, mode(lay, me.index))) == Mode.EXITING_GUEST_MODE:
            return EXIT_REQUESTED
    if looks_at_requests(rules):
        drained = yield from may_drain(td, lay, rules, me, drained)
        if (yield load_seq_cst(td, requests(lay, me.index))) != 0:
            return EXIT_REQUESTED
    if rules.entry_wait_for_sept_zap:
        drained = yield from may_drain(td, lay, rules, me, drained)
        if (yield load_seq_cst(td, lay.wait_for_sept_zap)) != 0:
            return HELD_OUT
    leaves = yield from also_asked(td, lay, rules, me)
    if not leaves and not drained:
        yield store_relaxed(td, mode(lay, me.index), Mode.IN_GUEST_MODE)
        yield from behind_mode(td, lay, rules, me)
    return leaves


@steps(span=Deed("early", "is seen to have left, early", Kind.exit))
def leave_too_early(td, lay, rules, me):
    """A vCPU that is reported outside, or that answers an IPI, before its TD exit."""
    if rules.faults & Fault.OUTSIDE_TOO_EARLY:
        yield store_release(td, mode(lay, me.index), Mode.OUTSIDE_GUEST_MODE)
    if rules.faults & Fault.ACKNOWLEDGED_TOO_EARLY:
        yield from acknowledge(td, lay, rules, me)
    return 0


@steps(in_place=True)
def stays_out(td, lay, rules, me):
    """Whether the vCPU does not enter now, before it has begun to; its processor still answers IPIs."""
    return 0


@steps(span=ENTRY)
def vm_is_dead(td, lay, rules, me):
    """KVM_REQ_VM_DEAD: whether the vCPU enters no more. Its processor still answers IPIs."""
    return (yield load_acquire(td, lay.vm_bugged))


@steps(in_place=True)
def vcpu_load(td, lay, rules, me, entered):
    """kvm_arch_vcpu_load(): the vCPU is on a processor of its own, and stays; `entered` as it came into its guest."""
    return 0


@steps(in_place=True)
def mmu_reload(td, lay, rules, me):
    """kvm_mmu_reload(): the vCPU's root is there, and stays."""
    return 0


@steps(in_place=True)
def preempt_disable(td, lay, rules, me):
    """From here on the processor is the vCPU's."""
    return 0


@steps(in_place=True)
def enter_guest(td, lay, rules, me, leaves):
    """tdx_vcpu_run() but where the vCPU `leaves`: returns the status of TDH.VP.ENTER, or NOT_ENTERED."""
    status = NOT_ENTERED
    if not leaves:
        status = yield from vp_enter(td, lay, rules, me)
        count_status(td, me, Leaf.TDH_VP_ENTER, status)
    return status


@steps(in_place=True)
def resume(td, lay, rules, me, entered):
    """The guest has been entered, at this time."""
    return 0


@steps(in_place=True)
def preempt_enable(td, lay, rules, me):
    """Behind the exit and its interrupts the processor may be anybody's."""
    return 0


@steps(in_place=True)
def handle_exit(td, lay, rules, me, ended, leaving):
    """vt_handle_exit(): how the last instruction of the stay `ended`, and when."""
    return 0


@steps(in_place=True)
def instruction_behind(td, lay, rules, me, ended):
    """The instruction with which the guest goes on: another one, whatever became of the last."""
    return NEXT


@steps(in_place=True)
def vcpu_destroy(td, lay, rules, me):
    """kvm_arch_vcpu_destroy(), as the run ends."""
    return 0


@local
def looks_locked(rules, interrupts_off):
    """Whether a vCPU takes a lock around its look at requests, interrupts on, or at what keeps it out, once they are
    off.
    """
    return rules.entry_lock and rules.irq_locks << 1 >> rules.entry_lock & 1 == interrupts_off


@steps(at=OWN)
def vcpu(td, lay, rules, me):
    """vcpu_run(): requests, IN_GUEST_MODE, VP.ENTER, the guest, TD exit, OUTSIDE_GUEST_MODE, interrupts on; again."""
    left = now(rules)
    at = NEXT
    entered = 0
    while not vcpu_stopping(td, lay):
        if (yield from stays_out(td, lay, rules, me)):
            yield from acknowledge(td, lay, rules, me)
            relax(td, rules, me)
            continue
        yield from vcpu_load(td, lay, rules, me, entered)
        if looks_locked(rules, 0):
            yield from take_lock_as_vcpu(td, lay, rules, me, rules.entry_lock - 1)
        if looks_at_requests(rules):
            yield from process_requests(td, lay, rules, me)
        if looks_locked(rules, 0):
            yield from give_lock_back_as_vcpu(td, lay, rules, me, rules.entry_lock - 1)
        yield from mmu_reload(td, lay, rules, me)
        yield from preempt_disable(td, lay, rules, me)
        # With nothing to look at there is no load that could come first, nor before a lock.
        if not looks_locked(rules, 1) and rules.faults & (Fault.LOST_KICK | Fault.ENTRY_UNCHECKED) == Fault.LOST_KICK:
            leaves = yield from enter_unfenced(td, lay, rules, me)
        else:
            yield store_seq_cst(td, mode(lay, me.index), Mode.IN_GUEST_MODE)
            yield from behind_mode(td, lay, rules, me)
            if looks_locked(rules, 1):
                yield from take_lock_as_vcpu(td, lay, rules, me, rules.entry_lock - 1)
            leaves = yield from exit_requested(td, lay, rules, me)
            if looks_locked(rules, 1):
                yield from give_lock_back_as_vcpu(td, lay, rules, me, rules.entry_lock - 1)
        status = yield from enter_guest(td, lay, rules, me, leaves)
        if status != SUCCESS:
            entry_failed(td, lay, rules, me)
        ended = ended_at(IPI, at)
        entered = 0
        leaving = 0
        if status == SUCCESS:
            entered = now(rules)
            count(td, me, ENTRIES, 1)
            yield from resume(td, lay, rules, me, entered)
            arm_tick_once(td, rules, me, entered)
            ended = yield from guest(td, lay, rules, me, at)
            leaving = now(rules)
            if rules.faults & (Fault.OUTSIDE_TOO_EARLY | Fault.ACKNOWLEDGED_TOO_EARLY):
                yield from leave_too_early(td, lay, rules, me)
            yield from td_exit(td, lay, rules, me)
        elif status == EPT_VIOLATION_EXIT:
            ended = ended_at(EPT_VIOLATION, at)
        elif status != NOT_ENTERED:
            # BUSY: out of the fast path, or a kick that waits would wait for as long as BUSY lasts.
            note(td, lay, me, -1, outcome_of(status))
            relax(td, rules, me)
        yield store_release(td, mode(lay, me.index), Mode.OUTSIDE_GUEST_MODE)
        yield from acknowledge(td, lay, rules, me)
        yield from preempt_enable(td, lay, rules, me)
        if entered:
            left = count_stay(td, rules, me, entered - left, leaving, ended & WHY_MASK)
        yield from handle_exit(td, lay, rules, me, ended, leaving)
        at = yield from instruction_behind(td, lay, rules, me, ended)
        share_cpu_at_tick(td, rules, me)
    yield from vcpu_destroy(td, lay, rules, me)
    yield from acknowledge(td, lay, rules, me)
    finish(td, me)
    return 0


# What a vCPU does where a zapper does nothing.
AS_VCPU = {meanwhile: acknowledge}
