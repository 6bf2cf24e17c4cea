"""Logical processors: whose TLB it is, and which vCPU is associated with which.

Source: intel/tdx-module TDX_1.5.01, tdh_vp_enter.c (association and last_tdvpr_pa), tdh_vp_flush.c,
tdh_mng_vpflushdone.c. Not here: the TDVPR lock, for which a vCPU's own thread alone asks, and IBPB.
"""

from kernels.language.atomics import (
    compare_exchange_seq_cst,
    fetch_add_seq_cst,
    load_acquire,
    own,
    set_own,
    store_release,
)
from kernels.language.naming import Holds
from kernels.language.steps import local, op, steps
from kernels.tdx.bits import epoch_of, one_reference
from kernels.tdx.module.locks import try_lock_shared, unlock_shared
from kernels.tdx.rules import Fault
from kernels.tdx.spans import seamcall
from kernels.tdx.statuses import (
    FLUSHVP_NOT_DONE,
    OPERAND_BUSY,
    SUCCESS,
    TD_EPOCH,
    VCPU_ASSOCIATED,
    VCPU_NOT_ASSOCIATED,
    Leaf,
)
from kernels.tdx.words import assoc_lpid, cpu, last_tdvpr, lp_tlb, vcpu_epoch


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


@local
def processor_of(td, lay, me):
    """Where the vCPU's thread is."""
    return own(td, cpu(lay, me.index)) - 1


@seamcall(Leaf.TDH_VP_ENTER)
def vp_enter_here(td, lay, rules, me):
    """TDH.VP.ENTER on a logical processor, up to VMLAUNCH: association, the epoch, the switch of vCPUs."""
    lp = processor_of(td, lay, me)
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
        if was != 0 and not rules.faults & Fault.NO_FLUSH_AT_ENTRY:
            yield from invept_here(td, lay, rules, me, lp)
        set_own(td, vcpu_epoch(lay, me.index), epoch)
    if (yield load_acquire(td, last_tdvpr(lay, lp))) != me.index + 1:
        if not rules.faults & Fault.NO_FLUSH_ON_SWITCH:
            yield from invept_here(td, lay, rules, me, lp)
        yield store_release(td, last_tdvpr(lay, lp), me.index + 1)
    return SUCCESS


@seamcall(Leaf.TDH_VP_FLUSH)
def vp_flush(td, lay, rules, me, lp):
    """TDH.VP.FLUSH on a processor: its TLB holds nothing of the vCPU any more, which is associated nowhere."""
    if (yield load_acquire(td, assoc_lpid(lay, me.index))) != lp + 1:
        return VCPU_NOT_ASSOCIATED
    if not rules.faults & Fault.VP_FLUSH_WITHOUT_INVEPT:
        yield from invept_here(td, lay, rules, me, lp)
    yield store_release(td, assoc_lpid(lay, me.index), 0)
    yield fetch_add_seq_cst(td, lay.num_assoc_vcpus, -1)
    if not rules.faults & Fault.VP_FLUSH_KEEPS_LAST:
        yield store_release(td, last_tdvpr(lay, lp), 0)
    return SUCCESS


@seamcall(Leaf.TDH_MNG_VPFLUSHDONE)
def mng_vpflushdone(td, lay, rules, me):
    """TDH.MNG.VPFLUSHDONE: refused while a vCPU is associated with any processor."""
    if (yield load_acquire(td, lay.num_assoc_vcpus)) != 0:
        return FLUSHVP_NOT_DONE
    return SUCCESS
