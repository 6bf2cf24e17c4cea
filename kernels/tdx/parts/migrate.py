"""vCPUs whose threads are moved among logical processors, whose TLBs they use in turn with others.

Source: arch/x86/kvm/x86.c vcpu_enter_guest(), arch/x86/kvm/vmx/tdx.c tdx_vcpu_load(). A processor is held from
preempt_disable() until interrupts are on again, so one vCPU at a time is in its guest. Where a vCPU's thread is, KVM
keeps in vcpu->cpu, which nobody else looks at here.
"""

from kernels.language.atomics import load_acquire, load_relaxed, own, set_own, store_relaxed, store_release
from kernels.language.steps import steps
from kernels.story.events import Kind
from kernels.story.spans import Deed, host
from kernels.tdx.guest import cached, fill, processor_interrupted
from kernels.tdx.kvm.vcpu_load import move_to, next_lp, release_vcpu, take_processor
from kernels.tdx.kvm.vcpu_run import preempt_disable, preempt_enable, vcpu_destroy, vcpu_load
from kernels.tdx.module.mem import vp_enter
from kernels.tdx.module.processors import vp_enter_here
from kernels.tdx.part import Part
from kernels.tdx.words import cpu, lp_ipi, lp_tlb, occupant


@steps(span=host("schedule", "is scheduled"))
def be_scheduled(td, lay, rules, me, entered):
    """On whatever processor the host's scheduler chooses."""
    here = own(td, cpu(lay, me.index)) - 1
    chosen = yield next_lp(td, lay, rules, me, here, entered)
    if chosen != here:
        yield from move_to(td, lay, rules, me, here, chosen)
        set_own(td, cpu(lay, me.index), chosen + 1)
    return 0


@steps
def enter_on_processor(td, lay, rules, me):
    """TDH.VP.ENTER where the vCPU's thread is."""
    return (yield from vp_enter_here(td, lay, rules, me, own(td, cpu(lay, me.index)) - 1))


@steps(labelled=False)
def cached_here(td, lay, rules, me, gpa):
    """What the processor's TLB holds, which other vCPUs use as well."""
    return (yield load_relaxed(td, lp_tlb(lay, own(td, cpu(lay, me.index)) - 1, gpa)))


@steps(labelled=False)
def fill_here(td, lay, rules, me, gpa, held):
    yield store_relaxed(td, lp_tlb(lay, own(td, cpu(lay, me.index)) - 1, gpa), held)
    return 0


@steps(labelled=False)
def flush_interrupts(td, lay, rules, me):
    """Whether the processor is wanted for TDH.VP.FLUSH of another vCPU."""
    return (yield load_acquire(td, lp_ipi(lay, own(td, cpu(lay, me.index)) - 1)))


@steps(span=Deed("exit", "leaves the processor", Kind.exit))
def leave_processor(td, lay, rules, me):
    # Release pairs with take(): the processor's TLB is as this vCPU leaves it.
    yield store_release(td, occupant(lay, own(td, cpu(lay, me.index)) - 1), 0)
    return 0


@steps
def be_released(td, lay, rules, me):
    yield from release_vcpu(td, lay, rules, me, own(td, cpu(lay, me.index)) - 1)
    return 0


PART = Part(
    {
        vcpu_load: be_scheduled,
        preempt_disable: take_processor,
        vp_enter: enter_on_processor,
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
