"""A zapper that batches: it blocks a range of pages, tracks and kicks once, and removes them one by one.

Source: arch/x86/kvm/mmu/tdp_mmu.c, where a zap under mmu_lock gathers a pending flush over a GFN range, flushes once,
and flushes before it yields (tdp_mmu_iter_cond_resched()); the large-page series of KVM TDX, whose zapped SPTE keeps
its page until it is dropped; is_tlb_tracked() of the TDX module: the blocking epoch is a page's own, so that one TRACK
and one drain behind the last BLOCK track all of them. The merged code takes page after page: a batch of one.

The steps are those of the ordering: each BLOCK, REMOVE, WBINVD and UNBLOCK is taken for every page of the range, which
is `rules.batch` pages from a multiple of that, so that ranges do not overlap and its first page's mirror SPTE decides
who has it. With `rules.resched` every batch yields once, somewhere behind its first BLOCK, and has flushed before it
does; where it yields behind its last one (what is left of the range holds nothing to zap) nothing is left to flush. The
fault FLUSH_DROPPED_AT_YIELD is the bug of Linux a835429cda91 and its kin: it yields and forgets the pending flush.
"""

from kernels.language.atomics import own, set_own, store_release
from kernels.language.steps import choice, harness, local, steps
from kernels.race.tally import drawn, relax
from kernels.story.spans import host
from kernels.tdx.bits import Mirror, Phase, phase_of
from kernels.tdx.counters import PHASES_EVERY, SHOOTDOWNS
from kernels.tdx.kvm.shootdown import begins, goes_on, gone, onward, seamcall_step, steps_of, tells_kick
from kernels.tdx.kvm.steps_left import without_flush
from kernels.tdx.kvm.zap import give_all_away, give_or_keep, take, take_from
from kernels.tdx.kvm.zap_locks import UNDOING
from kernels.tdx.kvm.zapper import NONE, claim, claim_page, put_back
from kernels.tdx.module.locks import write_lock_mmu, write_unlock
from kernels.tdx.part import Part
from kernels.tdx.rules import STEP_BITS, STEP_MASK, Fault, Flow, Step
from kernels.tdx.statuses import EPT_ENTRY_STATE_INCORRECT, RCX, SKIPPED, SUCCESS
from kernels.tdx.tally import collect_flags
from kernels.tdx.words import ZAPPER, mirror, owner, with_any, word

# How far a batch that yields has come, with the pages that are still to be blocked behind the yield; 0 where none does.
BEFORE, YIELDING, GOING_ON, BEHIND = 1024, 2048, 3072, 4096
taken_pages = word(
    "taken_pages", ZAPPER, private=True, there=lambda sizes: sizes["flow"] & Flow.BATCH and sizes["tables"]
)
yielding = word("yielding", ZAPPER, private=True, there=with_any(Flow.BATCH))


@local
def each_range(td, lay, rules, me):
    return lay.pages // max(1, rules.batch)


@local
def nth_range(td, lay, rules, me, number):
    return number * rules.batch


@choice(each_range, nth_range, says=("takes range {}",))
def any_range(td, lay, rules, me, random):
    return drawn(random, lay.pages // rules.batch) * rules.batch


@local
def each_place(td, lay, rules, me):
    return rules.batch


@choice(each_place, says=("will yield behind the last page", "will yield with pages left: {}"))
def pages_after_yield(td, lay, rules, me, random):
    """How many pages of the batch are still to be blocked where it yields; 0 where the yield comes behind the last."""
    return drawn(random, rules.batch)


@local
def yields(rules, repair):
    """Whether this pass over the range yields."""
    return not repair and (rules.resched or rules.faults & Fault.FLUSH_DROPPED_AT_YIELD)


@local
def later_of(found):
    """How many pages are to be blocked behind the yield."""
    return found & 1023


@harness()
def measures_batch(td, rules, me, repair):
    """Whether this batch stamps its phases: one of PHASES_EVERY does, the others are stamped at both ends only."""
    return not repair and own(td, me.tally + SHOOTDOWNS) % (PHASES_EVERY * rules.batch) == 0


@steps(span=host("claim", "claims a range"))
def claim_range(td, lay, rules, me):
    """A range that no other zapper has; its mirror SPTEs are frozen. Returns its first page."""
    first = yield any_range(td, lay, rules, me)
    while not (yield claim(td, mirror(lay, first))):
        relax(td, rules, me)
        first = yield any_range(td, lay, rules, me)
    for gpa in range(first + 1, first + rules.batch):
        yield store_release(td, mirror(lay, gpa), Mirror.FROZEN)
    for gpa in range(first, first + rules.batch):
        collect_flags(td, lay, me, gpa)
    return first


@local
def from_block(steps):
    while steps and steps & STEP_MASK != Step.BLOCK:
        steps >>= STEP_BITS
    return steps


@local
def pending_flush(shootdown, dropped):
    """What a batch does that yields behind a BLOCK: what the ordering does between BLOCK and REMOVE, unless that is
    dropped. From that BLOCK on and around, so that locks are as they were.
    """
    made = 0
    at = 0
    first = 0
    while shootdown >> first and (shootdown >> first) & STEP_MASK != Step.BLOCK:
        first += STEP_BITS
    size = first
    while shootdown >> size:
        size += STEP_BITS
    for place in range(0 if dropped else size // STEP_BITS):
        what = (shootdown >> (first + STEP_BITS * place) % size) & STEP_MASK
        if what != Step.BLOCK and what != Step.REMOVE and what != Step.UNBLOCK and what != Step.WBINVD:
            made |= what << at
            at += STEP_BITS
    return made


@local
def is_error(status, what, repair):
    """Whether KVM does not expect it; a repair cares for REMOVE alone, and passes by what has been removed before."""
    if repair:
        return what == Step.REMOVE and status != SUCCESS and status != EPT_ENTRY_STATE_INCORRECT | RCX
    return status != SUCCESS and status != SKIPPED


@steps(span=host("resched", "yields"))
def cond_resched(td, lay, rules, me):
    """What tdp_mmu_iter_cond_resched() does once it has flushed: let mmu_lock go and take it again."""
    if rules.serialized:
        yield write_unlock(td, lay.mmu_lock)
        relax(td, rules, me)
        yield from write_lock_mmu(td, lay, rules, me)
    return 0


@steps
def begins_range(td, lay, rules, me, repair):
    """A batch that yields knows from the first on where it will."""
    if yields(rules, repair):
        later = yield pages_after_yield(td, lay, rules, me)
        set_own(td, yielding(lay, me.index), BEFORE + later)
    return measures_batch(td, rules, me, repair)


@local
def range_end(lay, rules, gpa):
    """Behind the last page of the range that this one is in; a page-table page goes down alone."""
    return gpa + 1 if gpa >= lay.pages else min(lay.pages, gpa - gpa % rules.batch + rules.batch)


@local
def is_mine(td, lay, rules, me, gpa):
    """Whether a page of the range is this zapper's: each is, but where faults populate those that were there."""
    return not lay.tables or gpa >= lay.pages or own(td, taken_pages(lay, me.index)) >> gpa % rules.batch & 1


@local
def is_spared(td, lay, page, held):
    """Whether a page has nothing to be taken back."""
    return held & UNDOING and phase_of(own(td, owner(lay, page))) != Phase.BLOCKED


@local
def first_at(lay, rules, gpa, what, found):
    """The first page of those that a step takes in turn: what has been blocked before a yield is blocked."""
    end = range_end(lay, rules, gpa)
    return end - later_of(found) if what == Step.BLOCK and found >= GOING_ON and found < BEHIND else gpa


@local
def end_at(lay, rules, gpa, what, found):
    """Behind the last one. TRACK is none's."""
    end = gpa + 1 if what == Step.TRACK else range_end(lay, rules, gpa)
    return end - later_of(found) if what == Step.BLOCK and found >= BEFORE and found < YIELDING else end


@steps
def step_of_range(td, lay, rules, me, what, gpa, repair, held):
    """A step of the ordering for every page of the range, in turn. Returns SUCCESS, or the last status that KVM does
    not expect.
    """
    found = own(td, yielding(lay, me.index))
    failed = SUCCESS
    page = first_at(lay, rules, gpa, what, found)
    while page < end_at(lay, rules, gpa, what, found):
        status = SUCCESS
        if is_mine(td, lay, rules, me, page) and not is_spared(td, lay, page, held):
            status = yield from seamcall_step(td, lay, rules, me, what, page, repair, held)
        page += 1
        if is_error(status, what, repair):
            failed = status
            if not goes_on(rules, status):
                break
    if what == Step.BLOCK and found >= GOING_ON and found < BEHIND:
        set_own(td, yielding(lay, me.index), BEHIND + later_of(found))
    return failed


@steps
def tells_kick_for_range(td, lay, rules, me, left, wait, gpa, repair):
    """Not where pages of the range are still to be blocked: the oracle is told of the whole of it."""
    found = own(td, yielding(lay, me.index))
    if found >= YIELDING and found < GOING_ON and later_of(found):
        return 0
    return (yield from tells_kick(td, lay, rules, me, left, wait, gpa, repair))


@steps
def onward_in_range(td, lay, rules, me, left, todo, gpa, repair):
    """Behind the BLOCK where the batch yields comes the pending flush, then the yield, then what was left."""
    what = left & STEP_MASK
    left = yield from onward(td, lay, rules, me, left, todo, gpa, repair)
    found = own(td, yielding(lay, me.index))
    if found and what:
        later = later_of(found)
        if what == Step.BLOCK and found < YIELDING:
            left = pending_flush(todo, rules.faults & Fault.FLUSH_DROPPED_AT_YIELD)
            found = YIELDING + later
        if left == 0 and found >= YIELDING and found < GOING_ON:
            yield from cond_resched(td, lay, rules, me)
            taken = yield from steps_of(td, lay, rules, me, todo, gpa, repair)
            left = from_block(taken) if later else without_flush(from_block(taken) >> STEP_BITS, Step.FLUSH)
            found = GOING_ON + later if later else BEHIND
        set_own(td, yielding(lay, me.index), found if left else 0)
    elif found:
        set_own(td, yielding(lay, me.index), 0)
    return left


@steps(in_place=True)
def range_gone(td, lay, rules, me, gpa):
    for page in range(gpa, range_end(lay, rules, gpa)):
        if is_mine(td, lay, rules, me, page):
            yield from gone(td, lay, rules, me, page)
    return 0


@steps
def take_range(td, lay, rules, me, gpa):
    """Of a range in a machine whose faults populate, the pages that are there."""
    page = gpa - gpa % rules.batch if gpa < lay.pages else gpa
    first = NONE
    taken = 0
    while page < range_end(lay, rules, gpa):
        if (yield from take(td, lay, rules, me, page)):
            taken |= 1 << page % rules.batch
            if first == NONE:
                first = page
        page += 1
    set_own(td, taken_pages(lay, me.index), taken)
    return first


@steps
def give_range_away(td, lay, rules, me, gpa):
    for page in range(gpa, range_end(lay, rules, gpa)):
        if is_mine(td, lay, rules, me, page):
            yield from give_or_keep(td, lay, rules, me, page)
    set_own(td, taken_pages(lay, me.index), 0)
    return 0


@steps(in_place=True)
def put_range_back(td, lay, rules, me, gpa):
    """New host pages behind the range. The first page last: until it is there again nobody else takes the range."""
    status = SUCCESS
    place = rules.batch
    while place > 0 and status == SUCCESS:
        place -= 1
        status = yield from put_back(td, lay, rules, me, gpa + place)
    return status


PART = Part(
    {
        claim_page: claim_range,
        begins: begins_range,
        seamcall_step: step_of_range,
        tells_kick: tells_kick_for_range,
        onward: onward_in_range,
        gone: range_gone,
        take_from: take_range,
        give_all_away: give_range_away,
        put_back: put_range_back,
    },
    above=("shared_ept",),
)
