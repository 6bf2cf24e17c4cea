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

from kernels.language.atomics import load_acquire, load_relaxed, load_seq_cst, own
from kernels.language.steps import choice, local, steps
from kernels.layout import DEADLINE, STOP_ENDLESS
from kernels.race.tally import now, relax, two
from kernels.tdx.bits import Sept, state_of
from kernels.tdx.guest import (
    ACCEPTS,
    AGAIN,
    EPT_VIOLATION,
    NEXT,
    PAGE_SHIFT,
    PENDING_VIOLATION,
    PRIORITY_TIMEOUT,
    READ,
    READ_NOT_CURRENT,
    WHY_MASK,
    access,
    ended_at,
    on_pending,
    on_violation,
    touching,
    turn_to,
)
from kernels.tdx.kvm.busy import is_busy
from kernels.tdx.kvm.instruction import kill_for_pending, same_instruction, turn_to_same
from kernels.tdx.kvm.kick import HELD_OUT, acknowledge
from kernels.tdx.kvm.page_fault import RETRY, handle_ept_violation
from kernels.tdx.kvm.vcpu_run import NOT_ENTERED, enter_guest, handle_exit, instruction_behind
from kernels.tdx.module.mem import vp_enter
from kernels.tdx.module.zero_step import forget_stepping, log_epf, tdcall_accept, zero_step_filter
from kernels.tdx.part import Part
from kernels.tdx.rules import Fault, FaultRetry
from kernels.tdx.spans import ENTRY, FAULTING
from kernels.tdx.statuses import EPT_VIOLATION_EXIT, HOST_PRIORITY_BUSY_TIMEOUT, SUCCESS, Leaf
from kernels.tdx.tally import count_call, count_status, note, outcome_of
from kernels.tdx.words import last_epf_gpa


@local
def accepting(gpa):
    return gpa << PAGE_SHIFT | ACCEPTS


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


@steps(labelled=False)
def execute(td, lay, rules, me, at, gpa):
    """The instruction at hand: TDG.MEM.PAGE.ACCEPT, or a read. Once it is done what was counted at it is forgotten."""
    if at & ACCEPTS == ACCEPTS:
        status = yield from tdcall_accept(td, lay, rules, me, gpa)
        if status == HOST_PRIORITY_BUSY_TIMEOUT:
            return PRIORITY_TIMEOUT
        if status == EPT_VIOLATION_EXIT:
            return ended_at(EPT_VIOLATION, at)
        return ended_at(AGAIN, at if is_busy(status) else NEXT)
    ended = yield from access(td, lay, rules, me, at, gpa)
    if ended == READ or ended == READ_NOT_CURRENT:
        forget_stepping(td, lay, me)
    return ended


@steps(labelled=False, in_place=True)
def goes_to_accept(td, lay, rules, me, at, gpa):
    """A page that is pending where it is touched: #VE, whose handler accepts; with SEPT_VE_DISABLE a TD exit."""
    ended = ended_at(PENDING_VIOLATION, touching(gpa))
    if not rules.sept_ve_disable:
        forget_stepping(td, lay, me)
        ended = ended_at(AGAIN, accepting(gpa))
    return ended


@steps(labelled=False)
def faults_or_accepts(td, lay, rules, me, at, gpa, entry):
    """A page that is not there: the guest takes it into use, or its touch is an EPT violation, which is counted."""
    if at == NEXT and state_of(entry) == Sept.FREE:
        if (yield accepts_first(td, lay, rules, me)):
            forget_stepping(td, lay, me)
            return ended_at(AGAIN, accepting(gpa))
    log_epf(td, lay, rules, me, gpa)
    return (yield from on_violation(td, lay, rules, me, at, gpa, entry))


@steps
def enter(td, lay, rules, me):
    """TDH.VP.ENTER with its 0-step filter, up to VMLAUNCH."""
    status = yield from vp_enter(td, lay, rules, me)
    if status == SUCCESS and own(td, last_epf_gpa(lay, me.index)):
        status = yield from zero_step_filter(td, lay, rules, me)
    count_status(td, me, Leaf.TDH_VP_ENTER, status)
    if is_busy(status):
        note(td, lay, me, -1, outcome_of(status))
    return status


@steps(span=ENTRY)
def run_fast_path(td, lay, rules, me, leaves):
    """tdx_vcpu_run(): leaves the fast path where it is held out or the module is busy. Returns the status of the entry,
    or NOT_ENTERED. The fault FASTPATH_REENTER stays in it, and looks at neither mode nor IPI.
    """
    if leaves == HELD_OUT and rules.faults & Fault.FASTPATH_REENTER:
        leaves = 0
        while (yield load_seq_cst(td, lay.wait_for_sept_zap)) != 0:
            relax(td, rules, me)
    status = NOT_ENTERED
    while not leaves:
        status = yield from enter(td, lay, rules, me)
        if is_busy(status):
            relax(td, rules, me)
        leaves = not is_busy(status) or not rules.faults & Fault.FASTPATH_REENTER
    return NOT_ENTERED if is_busy(status) else status


@steps(in_place=True)
def event_comes(td, lay, rules, me):
    """Whether an event ends the vCPU's stay in the host."""
    return (yield event_pending(td, lay, rules, me))


@steps(in_place=True)
def memslot_goes(td, lay, rules, me, gpa):
    """Whether the page's memslot is being deleted: none is."""
    return 0


@steps(span=FAULTING)
def retry_fault(td, lay, rules, me, gpa):
    """tdx_handle_ept_violation(): in v6.16 RET_PF_RETRY stays in the host, with interrupts on, while there is nothing
    else to do.
    """
    while True:
        result = yield from handle_ept_violation(td, lay, rules, me, gpa)
        if result != RETRY or rules.fault_retry == FaultRetry.REENTER:
            break
        yield from acknowledge(td, lay, rules, me)
        if (yield from event_comes(td, lay, rules, me)):
            break
        if (yield from memslot_goes(td, lay, rules, me, gpa)):
            break
        if (yield load_acquire(td, lay.vm_bugged)):
            break
        relax(td, rules, me)
    return result


@steps
def handle_stepping_exit(td, lay, rules, me, ended, leaving):
    """TDX_HOST_PRIORITY_BUSY_TIMEOUT, and an unexpected pending page, are exits of their own."""
    if ended & WHY_MASK == PRIORITY_TIMEOUT:
        yield from count_call(td, lay, rules, me, Leaf.TDH_VP_ENTER, -1, HOST_PRIORITY_BUSY_TIMEOUT)
    elif ended & WHY_MASK == PENDING_VIOLATION:
        yield from kill_for_pending(td, lay, rules, me, ended)
    else:
        yield from handle_exit(td, lay, rules, me, ended, leaving)
    return 0


PART = Part(
    {
        turn_to: turn_to_same,
        access: execute,
        on_pending: goes_to_accept,
        on_violation: faults_or_accepts,
        enter_guest: run_fast_path,
        handle_ept_violation: retry_fault,
        handle_exit: handle_stepping_exit,
        instruction_behind: same_instruction,
    },
    on="populate",
    above=("memslots",),
    needs_module="only a module takes a guest for stepped",
)
