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
from kernels.language.steps import choice, harness, steps
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
    exit_requested,
    process_requests,
)
from kernels.tdx.module.mem import mem_page_accept, td_exit, vp_enter
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Fault, Pattern
from kernels.tdx.spans import ENTRY, GUEST, OWN
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
# What guest() returns: why it was left, and above that the guest page of a fault.
IPI, TICK, EPT_VIOLATION = 0, 1, 2
WHY_BITS, WHY_MASK = 2, 3
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


# Not in place, nor is what follows: what only a miss looks at would take registers from the reads that hit.
@steps(labelled=False)
def walk_to_leaf(td, lay, rules, me, gpa):
    """The CPU's walk: the S-EPT entry of a guest page."""
    return (yield load_acquire(td, sept(lay, gpa)))


@steps(labelled=False)
def fill_and_read(td, lay, rules, me, gpa, held):
    """Fill the TLB with a translation and read through it; returns the page's word, as the read saw it."""
    set_own(td, tlb(lay, me.index, gpa), held)
    return (yield load_relaxed(td, owner(lay, gpa)))


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


@steps(labelled=False, goal=True, span=GUEST)
def guest(td, lay, rules, me):
    """Reads until an IPI arrives, the tick comes or a translation is missing; returns which, and of which page."""
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
            gpa = yield next_page(td, lay, rules, me)
            # One load and one compare: a translation of this page, filled when the page's word was what it is now.
            seen: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
            held = own(td, tlb(lay, me.index, gpa))
            if held == translation(gpa, seen):
                fresh += 1
                continue
            if not is_hit(held, gpa):
                entry = yield from walk_to_leaf(td, lay, rules, me, gpa)
                if state_of(entry) == PENDING:
                    status = yield from accept(td, lay, rules, me, gpa)
                    if status == EPT_VIOLATION_EXIT:
                        count_reads(td, me, fresh)
                        return EPT_VIOLATION | (gpa << WHY_BITS)
                    continue
                if state_of(entry) != MAPPED:
                    note(td, lay, me, gpa, FAULT)
                    count_reads(td, me, fresh)
                    return EPT_VIOLATION | (gpa << WHY_BITS)
                held = translation(gpa, page_of(entry))
                seen = yield from fill_and_read(td, lay, rules, me, gpa, held)
                if held == translation(gpa, seen):
                    fresh += 1
                    continue
            yield from grade(td, lay, rules, me, gpa, content_of(held), seen)


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


@steps
def may_drain(td, lay, rules, me, drained):
    """Whether the store of IN_GUEST_MODE is seen before the load at hand."""
    if not drained:
        drained = yield drains(td, lay, rules, me)
        if drained:
            yield store_relaxed(td, mode(lay, me.index), IN_GUEST_MODE)
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
    if rules.entry_requests:
        drained = yield from may_drain(td, lay, rules, me, drained)
        if (yield load_seq_cst(td, requests(lay, me.index))) != 0:
            return EXIT_REQUESTED
    if rules.entry_wait_for_sept_zap:
        drained = yield from may_drain(td, lay, rules, me, drained)
        if (yield load_seq_cst(td, lay.wait_for_sept_zap)) != 0:
            return HELD_OUT
    if not drained:
        yield store_relaxed(td, mode(lay, me.index), IN_GUEST_MODE)
    return 0


@steps(span=Deed("early", "is seen to have left, early", Kind.exit))
def leave_too_early(td, lay, rules, me):
    """A vCPU that is reported outside, or that answers an IPI, before its TD exit."""
    if rules.faults & OUTSIDE_TOO_EARLY:
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
    if rules.faults & ACKNOWLEDGED_TOO_EARLY:
        yield from acknowledge(td, lay, rules, me)
    return 0


@steps(in_place=True)
def mmu_reload(td, lay, rules, me):
    """kvm_mmu_reload(): the vCPU's root is there, and stays."""
    return 0


@steps(at=OWN)
def vcpu(td, lay, rules, me):
    """vcpu_run(): requests, IN_GUEST_MODE, VP.ENTER, the guest, TD exit, OUTSIDE_GUEST_MODE, interrupts on; again."""
    left = now(rules)
    while not vcpu_stopping(td, lay):
        if rules.entry_requests:
            yield from process_requests(td, lay, rules, me)
        yield from mmu_reload(td, lay, rules, me)
        # With nothing to look at there is no load that could come first.
        if rules.faults & (LOST_KICK | ENTRY_UNCHECKED) == LOST_KICK:
            leaves = yield from enter_unfenced(td, lay, rules, me)
        else:
            yield store_seq_cst(td, mode(lay, me.index), IN_GUEST_MODE)
            leaves = yield from exit_requested(td, lay, rules, me)
        entered = 0
        leaving = 0
        went = IPI
        if not leaves:
            status = yield from vp_enter(td, lay, rules, me)
            count_status(td, me, LEAF_ENTER, status)
            if status == SUCCESS:
                entered = now(rules)
                count(td, me, ENTRIES, 1)
                arm_tick_once(td, rules, me, entered)
                went = yield from guest(td, lay, rules, me)
                leaving = now(rules)
                if rules.faults & (OUTSIDE_TOO_EARLY | ACKNOWLEDGED_TOO_EARLY):
                    yield from leave_too_early(td, lay, rules, me)
                yield from td_exit(td, lay, rules, me)
            else:
                # BUSY: out of the fast path, or a kick that waits would wait for as long as BUSY lasts.
                note(td, lay, me, -1, outcome_of(status))
                relax(td, rules, me)
        yield store_release(td, mode(lay, me.index), OUTSIDE_GUEST_MODE)
        yield from acknowledge(td, lay, rules, me)
        if entered:
            left = count_stay(td, rules, me, entered - left, leaving, went & WHY_MASK)
        share_cpu_at_tick(td, rules, me)
    yield from acknowledge(td, lay, rules, me)
    finish(td, me)
    return 0
