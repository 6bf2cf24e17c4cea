"""vCPUs whose threads are moved among logical processors, whose TLBs they use in turn with others.

Source: arch/x86/kvm/x86.c vcpu_enter_guest(), arch/x86/kvm/vmx/tdx.c (tdx_vcpu_load, tdx_flush_vp, tdx_flush_vp_on_cpu,
tdx_mmu_release_hkid). A processor is held from preempt_disable() until interrupts are on again, so one vCPU at a time
is in its guest. smp_call_function_single() is told by what it comes to: the processor is got out of the guest, and the
function runs on it while no vCPU does. Where a vCPU's thread is, KVM keeps in vcpu->cpu, which nobody else looks at
here.
"""

from kernels.language.atomics import (
    compare_exchange_seq_cst,
    load_acquire,
    load_relaxed,
    own,
    pin_to,
    set_own,
    store_relaxed,
    store_release,
)
from kernels.language.steps import choice, harness, local, op, steps
from kernels.race.tally import count, drawn, now, relax
from kernels.story.events import Kind
from kernels.story.spans import Deed, host, wait
from kernels.tdx.counters import MOVES, VCPU_HISTS
from kernels.tdx.guest import cached, fill, processor_interrupted
from kernels.tdx.kvm.kick import acknowledge
from kernels.tdx.kvm.vcpu_run import preempt_disable, preempt_enable, vcpu_destroy, vcpu_load
from kernels.tdx.module.mem import vp_enter
from kernels.tdx.module.processors import mng_vpflushdone, processor_of, vp_enter_here, vp_flush
from kernels.tdx.part import Part
from kernels.tdx.rules import Fault
from kernels.tdx.statuses import Leaf
from kernels.tdx.tally import count_call, record
from kernels.tdx.words import cpu, lp_ipi, lp_tlb, occupant

H_MOVE, H_PIN = len(VCPU_HISTS), len(VCPU_HISTS) + 1
NOWHERE = -1


@op
def take(td, word, who):
    """Run on a processor that nobody runs on; returns 1 or 0."""
    return compare_exchange_seq_cst(td, word, 0, who) == 0


@steps(span=wait("schedule", "waits for the processor"))
def take_processor(td, lay, rules, me):
    """Be scheduled where the vCPU's thread is; interrupts are on while the processor is waited for."""
    lp = processor_of(td, lay, me)
    while not (yield take(td, occupant(lay, lp), me.index + 1)):
        yield from acknowledge(td, lay, rules, me)
        relax(td, rules, me)
    return 0


@steps(span=host("flush", "has itself flushed where it was"))
def flush_vp_on_cpu(td, lay, rules, me, lp):
    """tdx_flush_vp_on_cpu(): TDH.VP.FLUSH on the processor where this vCPU was, by an IPI that is waited for."""
    while not (yield take(td, occupant(lay, lp), me.index + 1)):
        # Pairs with the guest's look at it: whoever runs there leaves.
        yield store_release(td, lp_ipi(lay, lp), 1)
        yield from acknowledge(td, lay, rules, me)
        relax(td, rules, me)
    status = yield from vp_flush(td, lay, rules, me, lp)
    # VCPU_NOT_ASSOCIATED: loaded there, and never entered.
    yield from count_call(td, lay, rules, me, Leaf.TDH_VP_FLUSH, -1, status)
    yield store_release(td, lp_ipi(lay, lp), 0)
    yield store_release(td, occupant(lay, lp), 0)
    return 0


@local
def each_lp(td, lay, rules, me):
    return lay.lps


@choice(each_lp, says=("is scheduled on processor {}",))
def next_lp(td, lay, rules, me, random, here, entered):
    """Where the host's scheduler puts this vCPU: in a race mostly where it was, if it has come into its guest there; if
    not, anywhere, as vcpu_run() is about to schedule.
    """
    if entered and (random >> 20) & 1:
        return here
    return drawn(random, lay.lps)


@harness()
def run_on(td, lay, rules, me, lp):
    """Pin this worker to the CPU that stands for a processor, where it has one."""
    cpu = own(td, lay.lp_cpus + lp)
    if cpu:
        began = now(rules)
        pin_to(cpu - 1)
        record(td, rules, me, H_PIN, now(rules) - began)


@harness()
def count_move(td, rules, me, began):
    """A move from one processor to another."""
    count(td, me, MOVES, 1)
    record(td, rules, me, H_MOVE, now(rules) - began)


@steps(span=host("schedule", "is scheduled"))
def be_scheduled(td, lay, rules, me, entered):
    """tdx_vcpu_load() on whatever processor the host's scheduler chooses: where it is another one than before, what the
    module holds of the vCPU there is flushed first.
    """
    here = processor_of(td, lay, me)
    chosen = yield next_lp(td, lay, rules, me, here, entered)
    if chosen != here:
        began = now(rules)
        if here != NOWHERE and not rules.faults & Fault.MOVE_WITHOUT_VP_FLUSH:
            yield from flush_vp_on_cpu(td, lay, rules, me, here)
        run_on(td, lay, rules, me, chosen)
        if here != NOWHERE:
            count_move(td, rules, me, began)
        set_own(td, cpu(lay, me.index), chosen + 1)
    return 0


@steps(labelled=False)
def cached_here(td, lay, rules, me, gpa):
    """What the processor's TLB holds, which other vCPUs use as well."""
    return (yield load_relaxed(td, lp_tlb(lay, processor_of(td, lay, me), gpa)))


@steps(labelled=False)
def fill_here(td, lay, rules, me, gpa, held):
    yield store_relaxed(td, lp_tlb(lay, processor_of(td, lay, me), gpa), held)
    return 0


@steps(labelled=False)
def flush_interrupts(td, lay, rules, me):
    """Whether the processor is wanted for TDH.VP.FLUSH of another vCPU."""
    return (yield load_acquire(td, lp_ipi(lay, processor_of(td, lay, me))))


@steps(span=Deed("exit", "leaves the processor", Kind.exit))
def leave_processor(td, lay, rules, me):
    # Release pairs with take(): the processor's TLB is as this vCPU leaves it.
    yield store_release(td, occupant(lay, processor_of(td, lay, me)), 0)
    return 0


@steps
def be_released(td, lay, rules, me):
    """Flushed where it was last; then the TD's key is asked for, in vain until the last vCPU is."""
    here = processor_of(td, lay, me)
    if here != NOWHERE:
        yield from flush_vp_on_cpu(td, lay, rules, me, here)
    status = yield from mng_vpflushdone(td, lay, rules, me)
    yield from count_call(td, lay, rules, me, Leaf.TDH_MNG_VPFLUSHDONE, -1, status)
    return 0


PART = Part(
    {
        vcpu_load: be_scheduled,
        preempt_disable: take_processor,
        vp_enter: vp_enter_here,
        cached: cached_here,
        fill: fill_here,
        processor_interrupted: flush_interrupts,
        preempt_enable: leave_processor,
        vcpu_destroy: be_released,
    },
    not_with=dict.fromkeys(("shared_ept", "mmio"), "a request's INVEPT is of a TLB that the vCPU has to itself"),
    needs_module="vCPUs move by TDH.VP.FLUSH",
    folds=False,
)
