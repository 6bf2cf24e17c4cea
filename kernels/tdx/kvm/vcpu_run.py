"""A vCPU: its host thread in KVM and, between TDH.VP.ENTER and TD exit, the guest that reads memory through a TLB.

Source: arch/x86/kvm/x86.c vcpu_enter_guest(), arch/x86/kvm/vmx/tdx.c tdx_vcpu_run(). The guest's read is the oracle: a
page's word holds its generation and phase, the TLB entry holds the word at fill, one load compares them.
"""

from kernels.language.atomics import (
    load_acquire,
    load_relaxed,
    load_seq_cst,
    own,
    set_own,
    store_relaxed,
    store_release,
    store_seq_cst,
)
from kernels.language.naming import Holds
from kernels.language.steps import choice, harness, local, steps
from kernels.layout import DEADLINE as DEADLINE_WORD
from kernels.layout import STOP_ENDLESS
from kernels.race.ring import Mark, kept
from kernels.race.tally import count, finish, now, relax, two
from kernels.story.events import Kind
from kernels.story.spans import Deed
from kernels.tdx.counters import ENTRIES, EXITS, FAULT_EXITS, OUT_OF_GUEST_NS, READS, SEQUENCE, TICKS, VCPU_HISTS
from kernels.tdx.kvm.kick import (
    ENTRY_UNCHECKED,
    EXIT_REQUESTED,
    HELD_OUT,
    acknowledge,
    also_asked,
    exit_requested,
    looks_at_requests,
    process_requests,
)
from kernels.tdx.module.mem import mem_page_accept, td_exit, vp_enter
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Fault, Pattern
from kernels.tdx.spans import CPU_WALK, ENTRY, GUEST, GUEST_READ, OWN
from kernels.tdx.statuses import EPT_VIOLATION_EXIT, SUCCESS, Leaf
from kernels.tdx.tally import (
    arm_tick_once,
    count_age,
    count_reads,
    count_status,
    each_page,
    note,
    outcome_of,
    record,
    share_cpu_at_tick,
    uniform_page,
    vcpu_stopping,
)
from kernels.tdx.words import (
    DONE,
    EXITING_GUEST_MODE,
    IN_GUEST_MODE,
    KICKED,
    MAPPED,
    OUTSIDE_GUEST_MODE,
    PAGE_BLOCKED,
    PENDING,
    content_of,
    generation_of,
    ipi,
    is_hit,
    mode,
    owner,
    page_of,
    phase_of,
    requests,
    sept,
    shooter_of,
    stage,
    state_of,
    tlb,
    translation,
)

FAULT, USE_AFTER_REMOVE = int(Outcome.fault), int(Outcome.use_after_remove)
STALE_IN_WINDOW, STALE_AFTER_KICK = int(Outcome.stale_in_window), int(Outcome.stale_after_kick)
STALE_AFTER_DONE = int(Outcome.stale_after_done)
LEAF_ENTER, LEAF_ACCEPT = int(Leaf.TDH_VP_ENTER), int(Leaf.TDG_MEM_PAGE_ACCEPT)
LOST_KICK, OUTSIDE_TOO_EARLY = int(Fault.LOST_KICK), int(Fault.OUTSIDE_TOO_EARLY)
ACKNOWLEDGED_TOO_EARLY = int(Fault.ACKNOWLEDGED_TOO_EARLY)
UNIFORM, SEQUENTIAL = int(Pattern.UNIFORM), int(Pattern.SEQUENTIAL)
OUT_OF_GUEST = VCPU_HISTS.index("out_of_guest")
# How an access ends: why the guest is left, or that it is not. Above that stands the instruction at hand.
IPI, TICK, EPT_VIOLATION, SHARED_VIOLATION, VMCALL, PENDING_VIOLATION, PRIORITY_TIMEOUT = range(7)
READ, READ_NOT_CURRENT, AGAIN = range(7, 10)
WHY_BITS, WHY_MASK = 4, 15
# An instruction: 1, whether it accepts, and the page; NEXT where the one before is done.
NEXT, TOUCHES, ACCEPTS, PAGE_SHIFT = 0, 1, 3, 2
NOT_ENTERED = -1
BURST = 64


@choice(two, says=("the tick comes", "the guest reads on"))
def reads_before_tick(td, lay, rules, me, random):
    """How many reads until the guest looks at the clock again; 0 when the host's tick has come or the run ends."""
    if load_relaxed(td, lay.control + STOP_ENDLESS):
        return 0
    if rules.tick and now(rules) > own(td, me.tally + DEADLINE_WORD):
        return 0
    return BURST


@harness()
def patterned_page(td, lay, rules, me, random):
    """The next page in order, or one from a hot set that nine reads of ten go to."""
    if rules.pattern == SEQUENTIAL:
        gpa = own(td, me.tally + SEQUENCE)
        set_own(td, me.tally + SEQUENCE, gpa + 1 if gpa + 1 < lay.pages else 0)
        return gpa
    hot = max(1, lay.pages >> 3)
    return (((random >> 24) & 0xFFFFFFFF) * (hot if random & 1023 < 922 else lay.pages)) >> 32


@choice(each_page, says=("the guest turns to page {}",))
def next_page(td, lay, rules, me, random):
    """The guest page to read next."""
    return uniform_page(lay, random) if rules.pattern == UNIFORM else patterned_page(td, lay, rules, me, random)


@steps(oracle=True)
def grade(td, lay, rules, me, gpa, filled, seen):
    """Grade a read through a translation that is not current. `filled`, `seen`: the page's word at fill and at the
    read.

    Where the page is blocked the shooter's stage decides, and the read is taken again behind it: what is graded is an
    access that came after the stage was reached. This vCPU is in the guest all the while, so it acknowledges nothing.
    The stage speaks of this page, or of the batch that it is blocked in: its shooter has it at none while it blocks.
    """
    seen: Holds[owner]  # type: ignore[no-redef]
    outcome = USE_AFTER_REMOVE
    if generation_of(seen) == generation_of(filled) and phase_of(seen) == PAGE_BLOCKED:
        how_far: Holds[stage] = yield load_acquire(td, stage(lay, shooter_of(seen)))
        again: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
        if again == seen:
            outcome = STALE_IN_WINDOW
            if how_far & 3 == KICKED:
                outcome = STALE_AFTER_KICK
            elif how_far & 3 == DONE:
                outcome = STALE_AFTER_DONE
    note(td, lay, me, gpa, outcome)
    count(td, me, READS, 1)
    count_age(td, lay, me, gpa)
    return outcome


@steps
def accept(td, lay, rules, me, gpa):
    """The guest's #VE handler on a pending page: TDG.MEM.PAGE.ACCEPT. Returns its status."""
    status = yield from mem_page_accept(td, lay, rules, me, gpa)
    count_status(td, me, LEAF_ACCEPT, status)
    if status != SUCCESS:
        note(td, lay, me, gpa, outcome_of(status))
    return status


@local
def touching(gpa):
    """The instruction that touches a page."""
    return gpa << PAGE_SHIFT | TOUCHES


# Not in place, nor is what follows: what only a miss looks at would take registers from the reads that hit.
@steps(labelled=False, says={"load_acquire_sept": CPU_WALK})
def walk_to_leaf(td, lay, rules, me, gpa):
    """The CPU's walk: the S-EPT entry of a guest page."""
    return (yield load_acquire(td, sept(lay, gpa)))


@steps(labelled=False, in_place=True)
def cached(td, lay, rules, me, gpa):
    """What the TLB holds in the place of a page."""
    return own(td, tlb(lay, me.index, gpa))


@steps(labelled=False, in_place=True)
def fill(td, lay, rules, me, gpa, held):
    """Fill the TLB with a translation."""
    set_own(td, tlb(lay, me.index, gpa), held)
    return 0


@choice(two, says=("the IPI is still on its way", "the IPI arrives"))
def arrives(td, lay, rules, me, random):
    """Whether an IPI that was sent has come by now. In a race one look in 128 finds it: a microsecond of reads, about
    what one is in flight for.
    """
    return (random >> 20) & 127 == 0


@steps(labelled=False)
def interrupted(td, lay, rules, me):
    """Whether an IPI that was sent takes the vCPU out of the guest now: it is delivered some time later, and the guest
    reads on until then. A kicker that waits does nothing meanwhile, and could as well have sent it later: nobody can
    tell.
    """
    if rules.wait:
        return 1
    return (yield arrives(td, lay, rules, me))


@steps(labelled=False, says={"load_relaxed_owner": GUEST_READ})
def read_filled(td, lay, rules, me, gpa, held):
    """The read through a translation that was filled just now: the page's word, as it saw it."""
    return (yield load_relaxed(td, owner(lay, gpa)))


@steps(labelled=False)
def on_pending(td, lay, rules, me, at, gpa):
    """A guest that comes to a pending page: its #VE handler accepts it. Returns how the access ends."""
    status = yield from accept(td, lay, rules, me, gpa)
    return EPT_VIOLATION | touching(gpa) << WHY_BITS if status == EPT_VIOLATION_EXIT else AGAIN


@steps(labelled=False, in_place=True)
def on_violation(td, lay, rules, me, at, gpa, entry):
    """A guest that comes to a page which is not mapped: a TD exit. Returns how the access ends."""
    note(td, lay, me, gpa, FAULT)
    return EPT_VIOLATION | touching(gpa) << WHY_BITS


@steps(labelled=False)
def read_anew(td, lay, rules, me, at, gpa, held, seen):
    """A read that finds no current translation: it walks where it finds none. Returns how the access ends."""
    seen: Holds[owner]  # type: ignore[no-redef]
    if not is_hit(held, gpa):
        entry = yield from walk_to_leaf(td, lay, rules, me, gpa)
        if state_of(entry) == PENDING:
            return (yield from on_pending(td, lay, rules, me, at, gpa))
        if state_of(entry) != MAPPED:
            return (yield from on_violation(td, lay, rules, me, at, gpa, entry))
        held = translation(gpa, page_of(entry))
        yield from fill(td, lay, rules, me, gpa, held)
        seen = yield from read_filled(td, lay, rules, me, gpa, held)
        if held == translation(gpa, seen):
            return READ
    yield from grade(td, lay, rules, me, gpa, content_of(held), seen)
    return READ_NOT_CURRENT


@steps(labelled=False, in_place=True, says={"load_relaxed_owner": GUEST_READ})
def access(td, lay, rules, me, at, gpa):
    """The guest executes the instruction at hand, which reads a page. Returns how that ends."""
    # One load and one compare: a translation of this page, filled when the page's word was what it is now.
    seen: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
    held = yield from cached(td, lay, rules, me, gpa)
    ended = READ
    if held != translation(gpa, seen):
        ended = yield from read_anew(td, lay, rules, me, at, gpa, held, seen)
    return ended


@steps(labelled=False, in_place=True)
def next_instruction(td, lay, rules, me):
    """The page that another instruction reads."""
    gpa = yield next_page(td, lay, rules, me)
    return gpa


@steps(labelled=False, in_place=True)
def turn_to(td, lay, rules, me, at):
    """The page that the instruction at hand reads: here it is always another one."""
    gpa = yield from next_instruction(td, lay, rules, me)
    return gpa


@steps(in_place=True)
def processor_interrupted(td, lay, rules, me):
    """Whether an IPI that is not the vCPU's own takes its processor."""
    return 0


@steps(labelled=False, goal=True, span=GUEST)
def guest(td, lay, rules, me, at):
    """Executes instructions, first the one at hand, until an IPI arrives, the tick comes or one leaves the guest;
    returns how the last one ended.
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
            if (yield from processor_interrupted(td, lay, rules, me)):
                count_reads(td, me, fresh)
                return IPI | at << WHY_BITS
            gpa = yield from turn_to(td, lay, rules, me, at)
            ended = yield from access(td, lay, rules, me, at, gpa)
            at = ended >> WHY_BITS
            if ended & WHY_MASK == READ:
                fresh += 1
            elif ended & WHY_MASK < READ:
                count_reads(td, me, fresh)
                return ended


@kept(Mark.LEFT)
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
            yield store_relaxed(td, mode(lay, me.index), IN_GUEST_MODE)
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
        if (yield load_seq_cst(td, mode(lay, me.index))) == EXITING_GUEST_MODE:
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
        yield store_relaxed(td, mode(lay, me.index), IN_GUEST_MODE)
        yield from behind_mode(td, lay, rules, me)
    return leaves


@steps(span=Deed("early", "is seen to have left, early", Kind.exit))
def leave_too_early(td, lay, rules, me):
    """A vCPU that is reported outside, or that answers an IPI, before its TD exit."""
    if rules.faults & OUTSIDE_TOO_EARLY:
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
    if rules.faults & ACKNOWLEDGED_TOO_EARLY:
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
def handle_requests(td, lay, rules, me):
    """Where the ordering has requests looked at."""
    if looks_at_requests(rules):
        yield from process_requests(td, lay, rules, me)
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
        count_status(td, me, LEAF_ENTER, status)
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
        yield from handle_requests(td, lay, rules, me)
        yield from mmu_reload(td, lay, rules, me)
        yield from preempt_disable(td, lay, rules, me)
        # With nothing to look at there is no load that could come first.
        if rules.faults & (LOST_KICK | ENTRY_UNCHECKED) == LOST_KICK:
            leaves = yield from enter_unfenced(td, lay, rules, me)
        else:
            yield store_seq_cst(td, mode(lay, me.index), IN_GUEST_MODE)
            yield from behind_mode(td, lay, rules, me)
            leaves = yield from exit_requested(td, lay, rules, me)
        status = yield from enter_guest(td, lay, rules, me, leaves)
        ended = IPI | at << WHY_BITS
        entered = 0
        leaving = 0
        if status == SUCCESS:
            entered = now(rules)
            count(td, me, ENTRIES, 1)
            yield from resume(td, lay, rules, me, entered)
            arm_tick_once(td, rules, me, entered)
            ended = yield from guest(td, lay, rules, me, at)
            leaving = now(rules)
            if rules.faults & (OUTSIDE_TOO_EARLY | ACKNOWLEDGED_TOO_EARLY):
                yield from leave_too_early(td, lay, rules, me)
            yield from td_exit(td, lay, rules, me)
        elif status == EPT_VIOLATION_EXIT:
            ended = EPT_VIOLATION | at << WHY_BITS
        elif status != NOT_ENTERED:
            # BUSY: out of the fast path, or a kick that waits would wait for as long as BUSY lasts.
            note(td, lay, me, -1, outcome_of(status))
            relax(td, rules, me)
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
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
