"""A vCPU that faults at one instruction again and again: as in `kernels/tdx/parts/populate.py`, and RIP stays until it
is done.

Source: arch/x86/kvm/vmx/tdx.c of v6.16: tdx_handle_ept_violation() with its loop on RET_PF_RETRY, tdx_vcpu_run(),
tdx_exit_handlers_fastpath(), tdx_handle_exit(); before it RET_PF_RETRY went back to the guest. The guest touches a
page, or accepts it first, as Linux does with memory that it takes into use. One that is pending where it is touched
ends in #VE, whose handler accepts; in a TD with SEPT_VE_DISABLE, as Linux asks for, it is a TD exit, and KVM kills the
VM: a host that takes away a page which such a guest has accepted can only hope that it is never touched again.
TDX_HOST_PRIORITY_BUSY_TIMEOUT is an exit that v6.16 does not know: KVM_RUN ends with KVM_EXIT_INTERNAL_ERROR, for which
QEMU stops the VM. Here user space runs the vCPU again, and the guest turns to whatever comes next.
"""

from kernels.language.atomics import load_acquire, load_relaxed, load_seq_cst, own, store_release, store_seq_cst
from kernels.language.naming import Holds
from kernels.language.steps import choice, local, steps
from kernels.layout import DEADLINE, STOP_ENDLESS
from kernels.race.tally import count, finish, now, relax
from kernels.tdx.counters import ENTRIES
from kernels.tdx.kvm.kick import HELD_OUT, acknowledge, exit_requested, is_busy, process_requests
from kernels.tdx.kvm.page_fault import RETRY, handle_ept_violation
from kernels.tdx.kvm.vcpu_run import (
    EPT_VIOLATION,
    FAULT,
    IPI,
    LEAF_ENTER,
    TICK,
    count_stay,
    grade,
    interrupted,
    next_page,
    reads_before_tick,
    two,
)
from kernels.tdx.module.mem import td_exit, vp_enter
from kernels.tdx.module.sept import walk
from kernels.tdx.module.zero_step import forget_stepping, log_epf, tdcall_accept, zero_step_filter
from kernels.tdx.outcomes import Outcome
from kernels.tdx.parts.populate import first_read
from kernels.tdx.rules import Fault, FaultRetry
from kernels.tdx.spans import ENTRY, FAULTING, GUEST, OWN
from kernels.tdx.statuses import EPT_VIOLATION_EXIT, HOST_PRIORITY_BUSY_TIMEOUT, SUCCESS
from kernels.tdx.tally import (
    arm_tick_once,
    count_reads,
    count_status,
    note,
    outcome_of,
    share_cpu_at_tick,
    vcpu_stopping,
)
from kernels.tdx.words import (
    FREE,
    IN_GUEST_MODE,
    MAPPED,
    OUTSIDE_GUEST_MODE,
    PENDING,
    content_of,
    ipi,
    is_hit,
    last_epf_gpa,
    mode,
    owner,
    page_of,
    state_of,
    tlb,
    translation,
)

ACCESS_BEFORE_ACCEPT = int(Outcome.access_before_accept)
FASTPATH_REENTER, LOCAL = int(Fault.FASTPATH_REENTER), int(FaultRetry.LOCAL)
# Why the guest is left, beside those of `kernels/tdx/kvm/vcpu_run.py`, and above that the instruction at hand.
PRIORITY_TIMEOUT, PENDING_VIOLATION = 9, 10
WHY_BITS, WHY_MASK = 4, 15
# An instruction: 1, whether it accepts, and the guest page; NEXT where the one before is done.
NEXT = 0
NOT_ENTERED = -1


@local
def touching(gpa):
    return gpa << 2 | 1


@local
def accepting(gpa):
    return gpa << 2 | 3


@local
def accepts(at):
    return at & 2


@choice(two, says=("touches it", "accepts it first"))
def accepts_first(td, lay, rules, me, random):
    """Whether the guest accepts a page that it takes into use before it touches it."""
    return (random >> 21) & 1


@choice(two, says=("nothing else to do", "an event is pending"))
def event_pending(td, lay, rules, me):
    """kvm_vcpu_has_events() or signal_pending(): in a race the host's tick, or the end of the run."""
    if load_relaxed(td, lay.control + STOP_ENDLESS):
        return 1
    return rules.tick and now(rules) > own(td, me.tally + DEADLINE)


@steps(labelled=False, goal=True, span=GUEST)
def stepping_guest(td, lay, rules, me, at):
    """Instructions until an IPI is pending, the tick comes, one faults or stands back for too long; `at` is the one to
    execute first. Returns which, and the instruction at hand.
    """
    fresh = 0
    while True:
        burst = yield reads_before_tick(td, lay, rules, me)
        if burst == 0:
            count_reads(td, me, fresh)
            return TICK | at << WHY_BITS
        for _ in range(burst):
            if (yield load_acquire(td, ipi(lay, me.index))) != 0:
                if (yield from interrupted(td, lay, rules, me)):
                    count_reads(td, me, fresh)
                    return IPI | at << WHY_BITS
            gpa = at >> 2
            if at == NEXT:
                gpa = yield next_page(td, lay, rules, me)
            if accepts(at):
                status = yield from tdcall_accept(td, lay, rules, me, gpa)
                if status == HOST_PRIORITY_BUSY_TIMEOUT:
                    count_reads(td, me, fresh)
                    return PRIORITY_TIMEOUT
                if status == EPT_VIOLATION_EXIT:
                    count_reads(td, me, fresh)
                    return EPT_VIOLATION | at << WHY_BITS
                if not is_busy(status):
                    at = NEXT
                continue
            seen: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
            held = own(td, tlb(lay, me.index, gpa))
            if not is_hit(held, gpa):
                entry = yield from walk(td, lay, rules, me, gpa)
                pending = state_of(entry) == PENDING
                if at == NEXT:
                    at = touching(gpa)
                    if state_of(entry) == FREE:
                        pending = yield accepts_first(td, lay, rules, me)
                if rules.sept_ve_disable and state_of(entry) == PENDING:
                    count_reads(td, me, fresh)
                    return PENDING_VIOLATION | at << WHY_BITS
                if pending:
                    at = accepting(gpa)
                    forget_stepping(td, lay, me)
                    continue
                if state_of(entry) != MAPPED:
                    note(td, lay, me, gpa, FAULT)
                    log_epf(td, lay, rules, me, gpa)
                    count_reads(td, me, fresh)
                    return EPT_VIOLATION | at << WHY_BITS
                held = translation(gpa, page_of(entry))
                seen = yield from first_read(td, lay, rules, me, gpa, held)
            at = NEXT
            forget_stepping(td, lay, me)
            if held == translation(gpa, seen):
                fresh += 1
            else:
                yield from grade(td, lay, rules, me, gpa, content_of(held), seen)


@steps
def enter(td, lay, rules, me):
    """TDH.VP.ENTER with its 0-step filter, up to VMLAUNCH."""
    status = yield from vp_enter(td, lay, rules, me)
    if status == SUCCESS and own(td, last_epf_gpa(lay, me.index)):
        status = yield from zero_step_filter(td, lay, rules, me)
    count_status(td, me, LEAF_ENTER, status)
    if is_busy(status):
        note(td, lay, me, -1, outcome_of(status))
    return status


@steps(span=ENTRY)
def run_fast_path(td, lay, rules, me):
    """tdx_vcpu_run(): leaves the fast path where it is held out or the module is busy. Returns the status of the entry,
    or NOT_ENTERED. The fault FASTPATH_REENTER stays in it, and looks at neither mode nor IPI.
    """
    leaves = yield from exit_requested(td, lay, rules, me)
    if leaves == HELD_OUT and rules.faults & FASTPATH_REENTER:
        leaves = 0
        while (yield load_seq_cst(td, lay.wait_for_sept_zap)) != 0:
            relax(td, rules, me)
    status = NOT_ENTERED
    while not leaves:
        status = yield from enter(td, lay, rules, me)
        if is_busy(status):
            relax(td, rules, me)
        leaves = not is_busy(status) or not rules.faults & FASTPATH_REENTER
    return status


@steps(span=FAULTING)
def retry_fault(td, lay, rules, me, gpa):
    """tdx_handle_ept_violation(): in v6.16 RET_PF_RETRY stays in the host, with interrupts on, while there is nothing
    else to do.
    """
    while True:
        result = yield from handle_ept_violation(td, lay, rules, me, gpa)
        if result != RETRY or rules.fault_retry != LOCAL:
            break
        yield from acknowledge(td, lay, rules, me)
        if (yield event_pending(td, lay, rules, me)):
            break
        if (yield load_acquire(td, lay.vm_bugged)):
            break
        relax(td, rules, me)
    return 0


@steps(at={**OWN, "load_acquire_vm_bugged": ENTRY})
def stepping_vcpu(td, lay, rules, me):
    """vcpu_run(): as `faulting_vcpu`, and the guest goes on with the instruction that it was left at."""
    left = now(rules)
    at = NEXT
    while not vcpu_stopping(td, lay):
        if (yield load_acquire(td, lay.vm_bugged)):
            yield from acknowledge(td, lay, rules, me)
            relax(td, rules, me)
            continue
        if rules.entry_requests:
            yield from process_requests(td, lay, rules, me)
        yield store_seq_cst(td, mode(lay, me.index), IN_GUEST_MODE)
        entered = 0
        leaving = 0
        why = IPI
        status = yield from run_fast_path(td, lay, rules, me)
        if status == SUCCESS:
            entered = now(rules)
            count(td, me, ENTRIES, 1)
            arm_tick_once(td, rules, me, entered)
            went = yield from stepping_guest(td, lay, rules, me, at)
            at = went >> WHY_BITS
            why = went & WHY_MASK
            leaving = now(rules)
            yield from td_exit(td, lay, rules, me)
            if why == PRIORITY_TIMEOUT:
                count_status(td, me, LEAF_ENTER, HOST_PRIORITY_BUSY_TIMEOUT)
                note(td, lay, me, -1, outcome_of(HOST_PRIORITY_BUSY_TIMEOUT))
        elif status == EPT_VIOLATION_EXIT:
            why = EPT_VIOLATION
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
        yield from acknowledge(td, lay, rules, me)
        if entered:
            left = count_stay(td, rules, me, entered - left, leaving, why)
        if why == EPT_VIOLATION:
            yield from retry_fault(td, lay, rules, me, at >> 2)
        elif why == PENDING_VIOLATION:
            # tdx_handle_ept_violation(): an unexpected pending page; kvm_vm_dead().
            note(td, lay, me, at >> 2, ACCESS_BEFORE_ACCEPT)
            yield store_release(td, lay.vm_bugged, 1)
        share_cpu_at_tick(td, rules, me)
    yield from acknowledge(td, lay, rules, me)
    finish(td, me)
    return 0
