"""The vCPU of the flow `migrate`: its thread is moved among logical processors, whose TLBs it uses in turn with others.

Source: arch/x86/kvm/x86.c vcpu_enter_guest(), arch/x86/kvm/vmx/tdx.c tdx_vcpu_load(). The zapper is that of the default
flow. A processor is held from preempt_disable() until interrupts are on again, so one vCPU at a time is in its guest.
"""

from kernels.language.atomics import load_acquire, load_relaxed, store_relaxed, store_release, store_seq_cst
from kernels.language.naming import Holds
from kernels.language.steps import steps
from kernels.race.tally import count, finish, now, relax
from kernels.story.events import Kind
from kernels.story.spans import Deed, host
from kernels.tdx.counters import ENTRIES
from kernels.tdx.kvm.kick import acknowledge, exit_requested, process_requests
from kernels.tdx.kvm.vcpu_load import NOWHERE, next_lp, release_vcpu, take_processor, vcpu_load
from kernels.tdx.kvm.vcpu_run import (
    EPT_VIOLATION,
    FAULT,
    IPI,
    LEAF_ENTER,
    TICK,
    accept,
    count_stay,
    grade,
    interrupted,
    next_page,
    reads_before_tick,
)
from kernels.tdx.module.mem import td_exit
from kernels.tdx.module.processors import vp_enter_here
from kernels.tdx.spans import GUEST, OWN
from kernels.tdx.statuses import EPT_VIOLATION_EXIT, SUCCESS
from kernels.tdx.tally import arm_tick, count_reads, count_status, note, outcome_of, share_cpu, vcpu_stopping
from kernels.tdx.words import (
    IN_GUEST_MODE,
    MAPPED,
    OUTSIDE_GUEST_MODE,
    PENDING,
    content_of,
    ipi,
    is_hit,
    lp_ipi,
    lp_tlb,
    mode,
    occupant,
    owner,
    page_of,
    sept,
    state_of,
    translation,
)

STAYS = -1


@steps
def read_here(td, lay, rules, me, lp, gpa):
    """A guest read through the processor's TLB: 1 where it was current, 0 where not, EPT_VIOLATION, or STAYS."""
    seen: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
    held = yield load_relaxed(td, lp_tlb(lay, lp, gpa))
    if not is_hit(held, gpa):
        entry = yield load_acquire(td, sept(lay, gpa))
        if state_of(entry) == PENDING:
            status = yield from accept(td, lay, rules, me, gpa)
            return EPT_VIOLATION if status == EPT_VIOLATION_EXIT else STAYS
        if state_of(entry) != MAPPED:
            note(td, lay, me, gpa, FAULT)
            return EPT_VIOLATION
        held = translation(gpa, page_of(entry))
        yield store_relaxed(td, lp_tlb(lay, lp, gpa), held)
        seen = yield load_relaxed(td, owner(lay, gpa))
    if held == translation(gpa, seen):
        return 1
    yield from grade(td, lay, rules, me, gpa, content_of(held), seen)
    return 0


@steps(labelled=False, goal=True, span=GUEST)
def guest_here(td, lay, rules, me, lp):
    """Reads until an IPI for the vCPU or its processor is pending, the tick comes or a translation is missing."""
    fresh = 0
    while True:
        burst = yield reads_before_tick(td, lay, rules, me)
        if burst == 0:
            count_reads(td, me, fresh)
            return TICK
        for _ in range(burst):
            if (yield load_acquire(td, ipi(lay, me.index))) != 0:
                if (yield from interrupted(td, lay, rules, me)):
                    count_reads(td, me, fresh)
                    return IPI
            if (yield load_acquire(td, lp_ipi(lay, lp))) != 0:
                count_reads(td, me, fresh)
                return IPI
            gpa = yield next_page(td, lay, rules, me)
            how = yield from read_here(td, lay, rules, me, lp, gpa)
            if how == EPT_VIOLATION:
                count_reads(td, me, fresh)
                return EPT_VIOLATION
            fresh += how == 1


@steps(
    at={
        **OWN,
        "next_lp": host("schedule", "is scheduled"),
        "store_release_occupant": Deed("exit", "leaves the processor", Kind.exit),
    }
)
def migrating_vcpu(td, lay, rules, me):
    """vcpu_run() on whatever processor the host's scheduler chooses."""
    left = now(rules)
    here = NOWHERE
    entered = 0
    while not vcpu_stopping(td, lay):
        chosen = yield next_lp(td, lay, rules, me, here, entered)
        if chosen != here:
            yield from vcpu_load(td, lay, rules, me, here, chosen)
            here = chosen
        if rules.entry_requests:
            yield from process_requests(td, lay, rules, me)
        yield from take_processor(td, lay, rules, me, here)
        yield store_seq_cst(td, mode(lay, me.index), IN_GUEST_MODE)
        entered = 0
        leaving = 0
        why = IPI
        if not (yield from exit_requested(td, lay, rules, me)):
            status = yield from vp_enter_here(td, lay, rules, me, here)
            count_status(td, me, LEAF_ENTER, status)
            if status == SUCCESS:
                entered = now(rules)
                count(td, me, ENTRIES, 1)
                arm_tick(td, rules, me, entered)
                why = yield from guest_here(td, lay, rules, me, here)
                leaving = now(rules)
                yield from td_exit(td, lay, rules, me)
            else:
                note(td, lay, me, -1, outcome_of(status))
                relax(td, rules, me)
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
        yield from acknowledge(td, lay, rules, me)
        # Release pairs with take(): the processor's TLB is as this vCPU leaves it.
        yield store_release(td, occupant(lay, here), 0)
        if entered:
            left = count_stay(td, rules, me, entered - left, leaving, why)
        share_cpu(rules)
    yield from release_vcpu(td, lay, rules, me, here)
    yield from acknowledge(td, lay, rules, me)
    finish(td, me)
    return 0
