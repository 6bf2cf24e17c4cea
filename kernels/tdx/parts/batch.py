"""A zapper that batches: it blocks a range of pages, tracks and kicks once, and removes them one by one.

Source: arch/x86/kvm/mmu/tdp_mmu.c, where a zap under mmu_lock gathers a pending flush over a GFN range, flushes once,
and flushes before it yields (tdp_mmu_iter_cond_resched()); the large-page series of KVM TDX, whose zapped SPTE keeps
its page until it is dropped; is_tlb_tracked() of the TDX module: the blocking epoch is a page's own, so that one TRACK
and one drain behind the last BLOCK track all of them. The merged code takes page after page: a batch of one.

The steps are those of the ordering: each BLOCK and each REMOVE of it is taken for every page of the range. A range is
`rules.batch` pages from a multiple of that, so that ranges do not overlap and its first page's mirror SPTE decides who
has it. With `rules.resched` every batch yields once, somewhere behind its first BLOCK, and has flushed before it does;
where it yields behind its last one (what is left of the range holds nothing to zap) nothing is left to flush. The fault
FLUSH_DROPPED_AT_YIELD is the bug of Linux a835429cda91 and its kin: it yields and forgets the flush that was pending.
"""

from kernels.language.atomics import own, store_release
from kernels.language.steps import choice, harness, local, steps
from kernels.race.tally import now, relax, stamp
from kernels.story.spans import host
from kernels.tdx.counters import PHASES_EVERY, SHOOTDOWNS
from kernels.tdx.kvm.kick import BLOCK, REMOVE, TRACK, kick
from kernels.tdx.kvm.shootdown import (
    FLUSH,
    FREE_PAGE,
    GATE_LOWER,
    GATE_RAISE,
    after_failure,
    is_awaited,
    is_kick,
    is_lock,
    lower_gate,
    parts_of,
    raise_gate,
    record_phases,
    record_whole,
    request_of,
    seamcall_step,
    shootdown,
    steps_of,
    tells_kick,
)
from kernels.tdx.kvm.zap_locks import lock_step
from kernels.tdx.kvm.zapper import claim, claim_page, put_back
from kernels.tdx.module.locks import write_lock_mmu, write_unlock
from kernels.tdx.part import Part
from kernels.tdx.rules import Fault
from kernels.tdx.spans import SHOOTDOWN
from kernels.tdx.statuses import EPT_ENTRY_STATE_INCORRECT, RCX, SUCCESS
from kernels.tdx.tally import collect_flags
from kernels.tdx.words import DONE, KICKED, PAGE_BLOCKED, SPTE_FROZEN, mirror, owner, phase_of, stage, stage_word

FLUSH_DROPPED_AT_YIELD = int(Fault.FLUSH_DROPPED_AT_YIELD)
RESCHED = 15  # a step that stands in no ordering: the batch yields


@local
def each_range(td, lay, rules, me):
    """As many choices as there are ranges."""
    return lay.pages // max(1, rules.batch)


@local
def nth_range(td, lay, rules, me, number):
    return number * rules.batch


@choice(each_range, nth_range, says=("takes range {}",))
def any_range(td, lay, rules, me, random):
    """The first page of the range to shoot down next."""
    return ((((random >> 32) & 0xFFFFFFFF) * (lay.pages // rules.batch)) >> 32) * rules.batch


@local
def each_place(td, lay, rules, me):
    return rules.batch


@choice(each_place, says=("will yield behind the last page", "will yield with pages left: {}"))
def pages_after_yield(td, lay, rules, me, random):
    """How many pages of the batch are still to be blocked where it yields; 0 where the yield comes behind the last."""
    return (((random >> 32) & 0xFFFFFFFF) * rules.batch) >> 32


@local
def yields(rules, repair):
    """Whether this pass over the range yields."""
    return not repair and (rules.resched or rules.faults & FLUSH_DROPPED_AT_YIELD)


@local
def is_blocked(td, lay, gpa):
    return phase_of(own(td, owner(lay, gpa))) == PAGE_BLOCKED


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
        yield store_release(td, mirror(lay, gpa), SPTE_FROZEN)
    for gpa in range(first, first + rules.batch):
        collect_flags(td, lay, me, gpa)
    return first


@local
def without_flush(left):
    """The steps left but for TRACK and kicks: where everything has been flushed nothing is pending."""
    kept = 0
    at = 0
    while left:
        if left & 15 != TRACK and (left & 15 == FLUSH or not is_kick(left & 15)):
            kept |= (left & 15) << at
            at += 4
        left >>= 4
    return kept


@local
def up_to_yield(shootdown, dropped):
    """What a batch does that yields behind a BLOCK: what the ordering does between BLOCK and REMOVE, which is the
    pending flush, unless it is dropped; and the yield. From that BLOCK on and around, so that locks are as they were.
    """
    made = 0
    at = 0
    first = 0
    while shootdown >> first and (shootdown >> first) & 15 != BLOCK:
        first += 4
    size = first
    while shootdown >> size:
        size += 4
    for place in range(0 if dropped else size >> 2):
        what = (shootdown >> (first + 4 * place) % size) & 15
        if what != BLOCK and what != REMOVE:
            made |= what << at
            at += 4
    return made | RESCHED << at


@local
def behind_yield(left, more):
    """The steps left behind a yield: with `more` pages to block, those at hand, else the others."""
    return left if more else without_flush(left >> 4)


@local
def is_error(status, what, repair):
    """Whether KVM does not expect it; a repair cares for REMOVE alone, and passes by what has been removed before."""
    if repair:
        return what == REMOVE and status != SUCCESS and status != EPT_ENTRY_STATE_INCORRECT | RCX
    return status != SUCCESS


@steps(span=host("resched", "yields"))
def cond_resched(td, lay, rules, me):
    """What tdp_mmu_iter_cond_resched() does once it has flushed: let mmu_lock go and take it again."""
    if rules.serialized:
        yield write_unlock(td, lay.mmu_lock)
        relax(td, rules, me)
        yield from write_lock_mmu(td, lay, rules, me)
    return 0


@steps(span=SHOOTDOWN)
def shoot_range(td, lay, rules, me, gpa, todo, repair, due):
    """Take the steps of `todo` over the range, as `shootdown` does over a page; returns what that does.

    BLOCK and REMOVE stay the step at hand until `gpa` has gone over the range. Times are of the whole batch.
    """
    first = gpa
    failed = SUCCESS
    lock = 0
    block = 0
    track = 0
    send = 0
    acknowledged = 0
    remove = 0
    window = 0
    last = first + rules.batch - 1
    yields_behind = -1
    resumed = 0
    if yields(rules, repair):
        later = yield pages_after_yield(td, lay, rules, me)
        yields_behind = last - later
    phases = measures_batch(td, rules, me, repair)
    began = now(rules)
    if rules.serialized:
        yield from write_lock_mmu(td, lay, rules, me)
        lock = stamp(rules, phases) - began
    mark = began + lock
    window_began = mark
    left = yield from steps_of(td, lay, rules, me, todo, first, repair)
    while left:
        what = left & 15
        if what == GATE_RAISE:
            yield from raise_gate(td, lay, rules, me)
        elif what == GATE_LOWER:
            yield from lower_gate(td, lay, rules, me)
        elif what == RESCHED:
            yield from cond_resched(td, lay, rules, me)
            left = resumed
            resumed = 0
            continue
        elif is_lock(what):
            yield from lock_step(td, lay, rules, me, what)
        elif is_kick(what):
            wait = repair or is_awaited(rules, left)
            request = yield from request_of(td, lay, rules, me, what, first, repair)
            sent = yield from kick(td, lay, rules, me, parts_of(what), request, wait, phases)
            send += sent - mark
            mark = stamp(rules, phases)
            acknowledged += mark - sent
            if gpa == first and tells_kick(td, lay, left, wait, first, repair):
                yield store_release(td, stage(lay, me.index), stage_word(first, own(td, owner(lay, first)), KICKED))
        else:
            if what == REMOVE and gpa == first and not repair and is_blocked(td, lay, first):
                # tdx_track() has returned for all of them: from here on a read through an old translation is forbidden.
                yield store_release(td, stage(lay, me.index), stage_word(first, own(td, owner(lay, first)), DONE))
                window = mark - window_began
            status = yield from seamcall_step(td, lay, rules, me, what, gpa, repair)
            spent = stamp(rules, phases) - mark
            mark += spent
            if what == BLOCK:
                block += spent
                window_began = mark
            elif what == TRACK:
                track += spent
            else:
                remove += spent
            if is_error(status, what, repair):
                failed = status
            if failed != SUCCESS and rules.on_error != FREE_PAGE:
                left = after_failure(left)
            elif what != TRACK:
                here = gpa
                more = here < last
                gpa = here + 1 if more else first
                if what == BLOCK and here == yields_behind:
                    resumed = behind_yield(left, more)
                    left = up_to_yield(todo, rules.faults & FLUSH_DROPPED_AT_YIELD)
                    continue
                if more:
                    continue
        left = left >> 4
    ended = now(rules)
    if rules.serialized:
        yield write_unlock(td, lay.mmu_lock)
    if phases:
        record_phases(td, rules, me, lock, block, track, send, acknowledged, remove, window)
    elif failed == SUCCESS and not repair:
        record_whole(td, rules, me, began, due, ended)
    return failed


@steps(in_place=True)
def put_range_back(td, lay, rules, me, gpa):
    """New host pages behind the range. The first page last: until it is there again nobody else takes the range."""
    for place in range(rules.batch):
        yield from put_back(td, lay, rules, me, gpa + rules.batch - 1 - place)
    return 0


PART = Part(
    {claim_page: claim_range, shootdown: shoot_range, put_back: put_range_back},
    not_with={"populate": "pages that faults map go down one by one"},
)
