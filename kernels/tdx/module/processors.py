"""Logical processors: whose TLB it is, which vCPU is associated with which, and what moving a vCPU takes.

Source: intel/tdx-module TDX_1.5.01 (tdh_vp_enter.c: association and last_tdvpr_pa; tdh_vp_flush.c;
tdh_mng_vpflushdone.c) and Linux arch/x86/kvm/vmx/tdx.c (tdx_vcpu_load, tdx_flush_vp, tdx_flush_vp_on_cpu,
tdx_mmu_release_hkid).
smp_call_function_single() is told by what it comes to: the processor is got out of the guest, and the function runs on
it while no vCPU does. Not here: the TDVPR lock, for which a vCPU's own thread alone asks, and IBPB.
"""

from kernels.language.atomics import (
    compare_exchange_seq_cst,
    fetch_add_seq_cst,
    load_acquire,
    own,
    pin_to,
    set_own,
    store_release,
)
from kernels.language.naming import Holds
from kernels.language.steps import choice, harness, local, op, steps
from kernels.layout import MOVES, VCPU_HISTS
from kernels.race.tally import count, count_status, note, now, outcome_of, record, relax
from kernels.tdx.kvm.kick import acknowledge
from kernels.tdx.module.locks import try_lock_shared, unlock_shared
from kernels.tdx.rules import Fault
from kernels.tdx.statuses import (
    FLUSHVP_NOT_DONE,
    OPERAND_BUSY,
    SUCCESS,
    TD_EPOCH,
    VCPU_ASSOCIATED,
    VCPU_NOT_ASSOCIATED,
    Leaf,
)
from kernels.tdx.words import (
    assoc_lpid,
    epoch_of,
    last_tdvpr,
    lp_ipi,
    lp_tlb,
    occupant,
    one_reference,
    vcpu_epoch,
)

NO_FLUSH_AT_ENTRY, NO_FLUSH_ON_SWITCH = int(Fault.NO_FLUSH_AT_ENTRY), int(Fault.NO_FLUSH_ON_SWITCH)
VP_FLUSH_WITHOUT_INVEPT, VP_FLUSH_KEEPS_LAST = int(Fault.VP_FLUSH_WITHOUT_INVEPT), int(Fault.VP_FLUSH_KEEPS_LAST)
MOVE_WITHOUT_VP_FLUSH = int(Fault.MOVE_WITHOUT_VP_FLUSH)
LEAF_FLUSH, LEAF_FLUSH_DONE = int(Leaf.TDH_VP_FLUSH), int(Leaf.TDH_MNG_VPFLUSHDONE)
H_MOVE, H_PIN = len(VCPU_HISTS), len(VCPU_HISTS) + 1
NOWHERE = -1


@op
def take(td, word, who):
    """Run on a processor that nobody runs on; returns 1 or 0."""
    return compare_exchange_seq_cst(td, word, 0, who) == 0


@op
def associate(td, word, here):
    """The module's compare-exchange of assoc_lpid; returns what it held: a processor and 1, or 0."""
    return compare_exchange_seq_cst(td, word, 0, here)


@steps
def invept_here(td, lay, rules, me, lp):
    """INVEPT on this processor, every ASID of the TD: its whole TLB."""
    for entry in range(lay.tlb_entries):
        yield store_release(td, lp_tlb(lay, lp, entry), 0)
    return 0


@steps
def vp_enter_here(td, lay, rules, me, lp):
    """TDH.VP.ENTER on a logical processor, up to VMLAUNCH: association, the epoch, the switch of vCPUs."""
    was: Holds[assoc_lpid] = yield associate(td, assoc_lpid(lay, me.index), lp + 1)
    if was != 0 and was != lp + 1:
        return VCPU_ASSOCIATED
    if was == 0:
        yield fetch_add_seq_cst(td, lay.num_assoc_vcpus, 1)
    if not (yield try_lock_shared(td, lay.epoch_lock)):
        return OPERAND_BUSY | TD_EPOCH
    # The shared lock keeps TRACK out between the sample and the increment.
    epoch = epoch_of((yield load_acquire(td, lay.epoch_tracking)))
    yield fetch_add_seq_cst(td, lay.epoch_tracking, one_reference(epoch & 1))
    yield unlock_shared(td, lay.epoch_lock)
    if epoch != own(td, vcpu_epoch(lay, me.index)):
        # A vCPU that is new here has nothing in this TLB; whoever was here before is flushed by the switch below.
        if was != 0 and not rules.faults & NO_FLUSH_AT_ENTRY:
            yield from invept_here(td, lay, rules, me, lp)
        set_own(td, vcpu_epoch(lay, me.index), epoch)
    if (yield load_acquire(td, last_tdvpr(lay, lp))) != me.index + 1:
        if not rules.faults & NO_FLUSH_ON_SWITCH:
            yield from invept_here(td, lay, rules, me, lp)
        yield store_release(td, last_tdvpr(lay, lp), me.index + 1)
    return SUCCESS


@steps
def vp_flush(td, lay, rules, me, lp):
    """TDH.VP.FLUSH on a processor: its TLB holds nothing of the vCPU any more, which is associated nowhere."""
    if (yield load_acquire(td, assoc_lpid(lay, me.index))) != lp + 1:
        return VCPU_NOT_ASSOCIATED
    if not rules.faults & VP_FLUSH_WITHOUT_INVEPT:
        yield from invept_here(td, lay, rules, me, lp)
    yield store_release(td, assoc_lpid(lay, me.index), 0)
    yield fetch_add_seq_cst(td, lay.num_assoc_vcpus, -1)
    if not rules.faults & VP_FLUSH_KEEPS_LAST:
        yield store_release(td, last_tdvpr(lay, lp), 0)
    return SUCCESS


@steps
def mng_vpflushdone(td, lay, rules, me):
    """TDH.MNG.VPFLUSHDONE: refused while a vCPU is associated with any processor."""
    if (yield load_acquire(td, lay.num_assoc_vcpus)) != 0:
        return FLUSHVP_NOT_DONE
    return SUCCESS


@steps
def take_processor(td, lay, rules, me, lp):
    """Be scheduled on a processor; interrupts are on while it is waited for."""
    while not (yield take(td, occupant(lay, lp), me.index + 1)):
        yield from acknowledge(td, lay, rules, me)
        relax(td, rules, me)
    return 0


@steps
def flush_vp_on_cpu(td, lay, rules, me, lp):
    """tdx_flush_vp_on_cpu(): TDH.VP.FLUSH on the processor where this vCPU was, by an IPI that is waited for."""
    while not (yield take(td, occupant(lay, lp), me.index + 1)):
        # Pairs with the guest's look at it: whoever runs there leaves.
        yield store_release(td, lp_ipi(lay, lp), 1)
        yield from acknowledge(td, lay, rules, me)
        relax(td, rules, me)
    status = yield from vp_flush(td, lay, rules, me, lp)
    count_status(td, me, LEAF_FLUSH, status)
    if status != SUCCESS:
        note(td, lay, me, -1, outcome_of(status))  # VCPU_NOT_ASSOCIATED: loaded there, and never entered
    yield store_release(td, lp_ipi(lay, lp), 0)
    yield store_release(td, occupant(lay, lp), 0)
    return 0


@local
def each_lp(td, lay, rules, me):
    """As many choices as there are processors."""
    return lay.lps


@choice(each_lp)
def next_lp(td, lay, rules, me, random, here, entered):
    """Where the host's scheduler puts this vCPU: in a race mostly where it was, if it has come into its guest there; if
    not, anywhere, as vcpu_run() is about to schedule.
    """
    if entered and (random >> 20) & 1:
        return here
    return (((random >> 32) & 0xFFFFFFFF) * lay.lps) >> 32


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
def vcpu_load(td, lay, rules, me, was, here):
    """tdx_vcpu_load() on another processor than before: what the module holds of the vCPU there is flushed first."""
    began = now(rules)
    if was != NOWHERE and not rules.faults & MOVE_WITHOUT_VP_FLUSH:
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
    count_status(td, me, LEAF_FLUSH_DONE, status)
    if status != SUCCESS:
        note(td, lay, me, -1, outcome_of(status))
    return 0
