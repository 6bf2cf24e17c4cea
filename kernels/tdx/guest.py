"""The guest, between TDH.VP.ENTER and TD exit: it reads memory through a TLB. Its read is the oracle: a page's word
holds its generation and phase, the TLB entry holds the word at fill, one load compares them.

Functions of steps are open places here: a part of a machine (`kernels/tdx/parts`) may have its own in them.
"""

from kernels.language.atomics import load_acquire, load_relaxed, own, set_own
from kernels.language.naming import Holds
from kernels.language.steps import choice, harness, local, steps
from kernels.layout import DEADLINE as DEADLINE_WORD
from kernels.layout import STOP_ENDLESS
from kernels.race.tally import count, drawn, now, two
from kernels.tdx.bits import (
    Phase,
    Sept,
    Stage,
    content_of,
    generation_of,
    is_hit,
    page_of,
    phase_of,
    shooter_of,
    state_of,
    translation,
)
from kernels.tdx.counters import READS, SEQUENCE
from kernels.tdx.module.mem import mem_page_accept
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import AT_ONCE, Pattern
from kernels.tdx.spans import CPU_WALK, GUEST, GUEST_READ
from kernels.tdx.statuses import EPT_VIOLATION_EXIT, Leaf
from kernels.tdx.tally import count_age, count_call, count_reads, each_page, note
from kernels.tdx.words import ipi, owner, sept, stage, tlb

# How an access ends: why the guest is left, or that it is not. Above that stands the instruction at hand.
IPI, TICK, EPT_VIOLATION, SHARED_VIOLATION, VMCALL, PENDING_VIOLATION, PRIORITY_TIMEOUT, WRITE_VIOLATION = range(8)
READ, READ_NOT_CURRENT, AGAIN = range(8, 11)
WHY_BITS, WHY_MASK = 4, 15
# An instruction: 1, whether it accepts, and the page; NEXT where the one before is done.
NEXT, TOUCHES, ACCEPTS, PAGE_SHIFT = 0, 1, 3, 2
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
    if rules.pattern == Pattern.SEQUENTIAL:
        gpa = own(td, me.tally + SEQUENCE)
        set_own(td, me.tally + SEQUENCE, gpa + 1 if gpa + 1 < lay.pages else 0)
        return gpa
    hot = max(1, lay.pages >> 3)
    return (((random >> 24) & 0xFFFFFFFF) * (hot if random & 1023 < 922 else lay.pages)) >> 32


@choice(each_page, says=("the guest turns to page {}",))
def next_page(td, lay, rules, me, random):
    return drawn(random, lay.pages) if rules.pattern == Pattern.UNIFORM else patterned_page(td, lay, rules, me, random)


@steps(oracle=True)
def grade(td, lay, rules, me, gpa, filled, seen):
    """Grade a read through a translation that is not current. `filled`, `seen`: the page's word at fill and at the
    read.

    Where the page is blocked the shooter's stage decides, and the read is taken again behind it: what is graded is an
    access that came after the stage was reached. This vCPU is in the guest all the while, so it acknowledges nothing.
    The stage speaks of this page, or of the batch that it is blocked in: its shooter has it at none while it blocks.
    """
    seen: Holds[owner]  # type: ignore[no-redef]
    outcome = Outcome.use_after_remove
    if generation_of(seen) == generation_of(filled) and phase_of(seen) == Phase.BLOCKED:
        how_far: Holds[stage] = yield load_acquire(td, stage(lay, shooter_of(seen)))
        again: Holds[owner] = yield load_relaxed(td, owner(lay, gpa))
        if generation_of(again) == generation_of(seen):
            outcome = Outcome.stale_in_window
            # Where the page has been unblocked meanwhile the read was in the window.
            if again == seen and how_far & 3 == Stage.KICKED:
                outcome = Outcome.stale_after_kick
            elif again == seen and how_far & 3 == Stage.DONE:
                outcome = Outcome.stale_after_done
    note(td, lay, me, gpa, outcome)
    count(td, me, READS, 1)
    count_age(td, lay, me, gpa)
    return outcome


@steps
def accept(td, lay, rules, me, gpa):
    """The guest's #VE handler on a pending page: TDG.MEM.PAGE.ACCEPT. Returns its status."""
    status = yield from mem_page_accept(td, lay, rules, me, gpa)
    yield from count_call(td, lay, rules, me, Leaf.TDG_MEM_PAGE_ACCEPT, gpa, status)
    return status


@local
def touching(gpa):
    return gpa << PAGE_SHIFT | TOUCHES


@local
def ended_at(why, at):
    """How an access ended, with the instruction at hand then."""
    return why | at << WHY_BITS


@local
def instruction_of(ended):
    return ended >> WHY_BITS


@local
def page_of_end(ended):
    return ended >> WHY_BITS + PAGE_SHIFT


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
    set_own(td, tlb(lay, me.index, gpa), held)
    return 0


@choice(two, says=("the IPI is still on its way", "the IPI arrives"))
def arrives(td, lay, rules, me, random):
    """Whether an IPI that was sent has come by now. In a race it has where it is waited for, as one of a whole kick;
    else one look in 128 finds it: a microsecond of reads, about what one is in flight for.
    """
    return rules.wait or (random >> 20) & 127 == 0


@steps(labelled=False)
def interrupted(td, lay, rules, me):
    """Whether an IPI that was sent takes the vCPU out of the guest now: it is delivered some time later, and the guest
    reads on until then. A kicker that waits at once does nothing meanwhile, and could as well have sent it later:
    nobody can tell.
    """
    if rules.wait == AT_ONCE:
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
    return ended_at(EPT_VIOLATION, touching(gpa)) if status == EPT_VIOLATION_EXIT else AGAIN


@steps(labelled=False, in_place=True)
def on_violation(td, lay, rules, me, at, gpa, entry):
    """A guest that comes to a page which is not mapped: a TD exit. Returns how the access ends."""
    note(td, lay, me, gpa, Outcome.fault)
    return ended_at(EPT_VIOLATION, touching(gpa))


@steps(labelled=False)
def read_anew(td, lay, rules, me, at, gpa, held, seen):
    """A read that finds no current translation: it walks where it finds none. Returns how the access ends."""
    seen: Holds[owner]  # type: ignore[no-redef]
    if not is_hit(held, gpa):
        entry = yield from walk_to_leaf(td, lay, rules, me, gpa)
        if state_of(entry) == Sept.PENDING:
            return (yield from on_pending(td, lay, rules, me, at, gpa))
        if state_of(entry) != Sept.MAPPED:
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
            return ended_at(TICK, at)
        for _ in range(burst):
            if (yield load_acquire(td, ipi(lay, me.index))) != 0:
                if (yield from interrupted(td, lay, rules, me)):
                    count_reads(td, me, fresh)
                    return ended_at(IPI, at)
            if (yield from processor_interrupted(td, lay, rules, me)):
                count_reads(td, me, fresh)
                return ended_at(IPI, at)
            gpa = yield from turn_to(td, lay, rules, me, at)
            ended = yield from access(td, lay, rules, me, at, gpa)
            at = instruction_of(ended)
            if ended & WHY_MASK == READ:
                fresh += 1
            elif ended & WHY_MASK < READ:
                count_reads(td, me, fresh)
                return ended
