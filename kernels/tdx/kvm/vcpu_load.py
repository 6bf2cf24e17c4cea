"""Moving a vCPU among logical processors, and what it takes.

Source: Linux arch/x86/kvm/vmx/tdx.c (tdx_vcpu_load, tdx_flush_vp, tdx_flush_vp_on_cpu, tdx_mmu_release_hkid).
smp_call_function_single() is told by what it comes to: the processor is got out of the guest, and the function runs on
it while no vCPU does.
"""

from kernels.language.atomics import compare_exchange_seq_cst, own, pin_to, store_release
from kernels.language.steps import choice, harness, local, op, steps
from kernels.race.tally import count, drawn, now, relax
from kernels.story.spans import host, wait
from kernels.tdx.counters import MOVES, VCPU_HISTS
from kernels.tdx.kvm.kick import acknowledge
from kernels.tdx.module.processors import mng_vpflushdone, vp_flush
from kernels.tdx.rules import Fault
from kernels.tdx.statuses import Leaf
from kernels.tdx.tally import count_call, record
from kernels.tdx.words import cpu, lp_ipi, occupant

H_MOVE, H_PIN = len(VCPU_HISTS), len(VCPU_HISTS) + 1
NOWHERE = -1


@op
def take(td, word, who):
    """Run on a processor that nobody runs on; returns 1 or 0."""
    return compare_exchange_seq_cst(td, word, 0, who) == 0


@steps(span=wait("schedule", "waits for the processor"))
def take_processor(td, lay, rules, me):
    """Be scheduled where the vCPU's thread is; interrupts are on while the processor is waited for."""
    lp = own(td, cpu(lay, me.index)) - 1
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
    yield from count_call(
        td, lay, rules, me, Leaf.TDH_VP_FLUSH, -1, status
    )  # VCPU_NOT_ASSOCIATED: loaded there, and never entered
    yield store_release(td, lp_ipi(lay, lp), 0)
    yield store_release(td, occupant(lay, lp), 0)
    return 0


@local
def each_lp(td, lay, rules, me):
    """As many choices as there are processors."""
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


@steps
def move_to(td, lay, rules, me, was, here):
    """tdx_vcpu_load() on another processor than before: what the module holds of the vCPU there is flushed first."""
    began = now(rules)
    if was != NOWHERE and not rules.faults & Fault.MOVE_WITHOUT_VP_FLUSH:
        yield from flush_vp_on_cpu(td, lay, rules, me, was)
    run_on(td, lay, rules, me, here)
    if was != NOWHERE:
        count_move(td, rules, me, began)
    return 0


@steps
def release_vcpu(td, lay, rules, me, here):
    """A vCPU is freed: flushed where it was last; then the TD's key is asked for, in vain until the last one is."""
    if here != NOWHERE:
        yield from flush_vp_on_cpu(td, lay, rules, me, here)
    status = yield from mng_vpflushdone(td, lay, rules, me)
    yield from count_call(td, lay, rules, me, Leaf.TDH_MNG_VPFLUSHDONE, -1, status)
    return 0
