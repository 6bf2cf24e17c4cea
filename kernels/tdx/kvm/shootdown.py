"""One shootdown of a page, in the order that the rules give; who does one after the other is in `zapper.py` beside.

Source: arch/x86/kvm/vmx/tdx.c tdx_sept_zap_private_spte(), tdx_track(), tdx_sept_drop_private_spte();
arch/x86/kvm/mmu/tdp_mmu.c for mmu_lock. The steps are data: this file knows no ordering.
"""

from kernels.language.atomics import fetch_add_seq_cst, own, store_release, store_seq_cst
from kernels.language.steps import harness, local, op, steps
from kernels.race.tally import count, expect_write, now, relax, stamp
from kernels.story.spans import host
from kernels.tdx.bits import Phase, Stage, generation_of, phase_of, stage_word
from kernels.tdx.counters import BUG_ON, PHASES_EVERY, REPAIRS, SHOOTDOWNS, ZapperHist
from kernels.tdx.kvm.kick import kick, seamcall_until
from kernels.tdx.kvm.page_fault import allocated
from kernels.tdx.kvm.steps_left import (
    after_failure,
    ends_kick,
    followed_by,
    is_awaited,
    is_kick,
    is_last,
    parts_of,
    policy_of,
)
from kernels.tdx.kvm.zap_locks import UNDOING, is_lock, lock_step
from kernels.tdx.module.locks import write_lock_mmu, write_unlock
from kernels.tdx.rules import KVM_REQ_TLB_FLUSH, STEP_BITS, STEP_MASK, Busy, Gate, OnError, Step, pack_steps
from kernels.tdx.spans import SHOOTDOWN
from kernels.tdx.statuses import EPT_ENTRY_STATE_INCORRECT, EPT_PAGE_NOT_FREE, HANDED_UP, RCX, SKIPPED, SUCCESS, Leaf
from kernels.tdx.tally import blocked_at, keep_met, met, record, start_meeting
from kernels.tdx.words import bepoch, owner, stage

COMPLETE = pack_steps([Step.BLOCK, Step.TRACK, Step.KICK, Step.REMOVE])


@op
def lower(td, gate):
    fetch_add_seq_cst(td, gate, -1)


@local
def blocked_page(page, zapper):
    """The oracle's word of a page that this zapper has blocked."""
    return (generation_of(page) << 8) | (zapper << 2) | Phase.BLOCKED


@local
def next_page_word(page):
    """The word of a page that has gone to someone else: the next generation, free."""
    return ((generation_of(page) + 1) << 8) | Phase.FREE


@local
def goes_on(rules, status):
    """Whether the host takes the steps that are left, and frees the page, though this status is an error."""
    return rules.on_error == OnError.FREE_PAGE and status != HANDED_UP


@local
def leaf_of(lay, what, gpa):
    """The SEAMCALL of a step; that which removes the page may be of a page-table page."""
    if what == Step.REMOVE:
        return Leaf.TDH_MEM_PAGE_REMOVE if gpa < lay.pages else Leaf.TDH_MEM_SEPT_REMOVE
    if what == Step.WBINVD:
        return Leaf.TDH_PHYMEM_PAGE_WBINVD
    return (
        Leaf.TDH_MEM_RANGE_BLOCK
        if what == Step.BLOCK
        else Leaf.TDH_MEM_TRACK
        if what == Step.TRACK
        else Leaf.TDH_MEM_RANGE_UNBLOCK
    )


@harness()
def measures_phases(td, me, repair):
    """Whether this shootdown stamps its phases: one of PHASES_EVERY does, the others are stamped at both ends only."""
    return not repair and own(td, me.tally + SHOOTDOWNS) % PHASES_EVERY == 0


@harness()
def record_phases(td, rules, me, lock, block, track, send, acknowledge, remove, window):
    """Record the phases of one shootdown, in ticks, once its clock has stopped; those of one that met nobody say
    nothing.
    """
    if not met(td, me):
        return
    record(td, rules, me, ZapperHist.lock, lock)
    record(td, rules, me, ZapperHist.block, block)
    record(td, rules, me, ZapperHist.track, track)
    record(td, rules, me, ZapperHist.kick_send, send)
    record(td, rules, me, ZapperHist.kick_ack, acknowledge)
    record(td, rules, me, ZapperHist.kick, send + acknowledge)
    record(td, rules, me, ZapperHist.remove, remove)
    if window:
        record(td, rules, me, ZapperHist.stale_window, window)


@harness()
def record_whole(td, rules, me, began, due, end):
    """Record a whole shootdown, and once more where it met a vCPU, in an open loop with its time from the intended
    start.
    """
    record(td, rules, me, ZapperHist.shootdown, end - began)
    if met(td, me):
        record(td, rules, me, ZapperHist.shootdown_met, end - began)
        if due:
            record(td, rules, me, ZapperHist.response, end - due)


@steps(span=host("raise", "raises the gate"))
def raise_gate(td, lay, rules, me):
    if rules.gate == Gate.COUNTER:
        yield fetch_add_seq_cst(td, lay.gate, 1)
    else:
        yield store_seq_cst(td, lay.gate, 1)
    return 0


@steps(span=host("lower", "lowers the gate"))
def lower_gate(td, lay, rules, me):
    if rules.gate == Gate.COUNTER:
        yield lower(td, lay.gate)
    else:
        yield store_release(td, lay.gate, 0)
    return 0


@steps(in_place=True)
def begins(td, lay, rules, me, repair):
    """What comes before its clock starts: whether this shootdown stamps its phases."""
    return measures_phases(td, me, repair)


@steps(in_place=True)
def steps_of(td, lay, rules, me, todo, gpa, repair):
    """Those of `todo` that a shootdown takes which begins with this page."""
    return todo


@steps(in_place=True)
def request_of(td, lay, rules, me, what, gpa, repair):
    """The request that a kick of the shootdown makes."""
    return KVM_REQ_TLB_FLUSH if what == Step.FLUSH else 0 if repair else rules.request


@steps(in_place=True)
def protect(td, lay, rules, me, gpa, left):
    """Write-protect the page. Returns the steps left, this one first."""
    return left


@steps(in_place=True)
def seamcall_step(td, lay, rules, me, what, gpa, repair, held):
    """A step that is a SEAMCALL, under its policy for BUSY, and the page's word behind it. Returns the status."""
    policy = Busy.SPIN if repair else policy_of(rules, what, held)
    status = yield from seamcall_until(td, lay, rules, me, leaf_of(lay, what, gpa), gpa, policy, repair)
    if status == SUCCESS and what == Step.BLOCK and not repair:
        blocked_at(td, lay, gpa, own(td, bepoch(lay, gpa)))
        yield store_release(td, owner(lay, gpa), blocked_page(own(td, owner(lay, gpa)), me.index))
    elif what == Step.REMOVE and (status == SUCCESS or status == SKIPPED or (goes_on(rules, status) and not repair)):
        yield store_release(td, owner(lay, gpa), next_page_word(own(td, owner(lay, gpa))))
    elif what == Step.UNBLOCK and status == SUCCESS:
        yield store_release(td, owner(lay, gpa), allocated(own(td, owner(lay, gpa))))
        if own(td, stage(lay, me.index)):
            yield store_release(td, stage(lay, me.index), 0)
    return status


@steps(in_place=True)
def tells_kick(td, lay, rules, me, left, wait, gpa, repair):
    """Whether the oracle is told that the page, which is blocked, has been kicked for; REMOVE tells it more."""
    over = not (repair or is_last(left)) and ends_kick(left, wait)
    return over and phase_of(own(td, owner(lay, gpa))) == Phase.BLOCKED


@steps(in_place=True)
def onward(td, lay, rules, me, left, todo, gpa, repair):
    """The steps left behind the one at hand; there is none at hand behind a failure."""
    return left >> STEP_BITS


@steps(span=SHOOTDOWN)
def shootdown(td, lay, rules, me, gpa, todo, repair, due):
    """Take the steps of `todo`, STEP_BITS each. Returns SUCCESS, or the last status that KVM does not expect.

    After such a status the rest is left out, unless the rules say that the host goes on and frees the page all the
    same; and after BUSY that is handed up, too, for which HANDED_UP is returned, once a BLOCK before it is taken back
    where the rules say how.
    `repair` is the second, complete shootdown after a refusal: it counts nothing and its REMOVE decides. Times: one
    shootdown of PHASES_EVERY is stamped between phases, the others at both ends; gate steps and PROTECT belong to the
    phase after them, WBINVD to REMOVE; of a kick in its parts the wait is what WAIT takes; nothing is recorded before
    the end.
    """
    failed = SUCCESS
    lock = 0
    block = 0
    track = 0
    send = 0
    acknowledged = 0
    remove = 0
    window = 0
    held = 0
    phases = yield from begins(td, lay, rules, me, repair)
    expect_write(td, owner(lay, gpa))
    began = now(rules)
    if rules.serialized:
        yield from write_lock_mmu(td, lay, rules, me)
        lock = stamp(rules, phases) - began
    mark = began + lock
    window_began = mark
    left = yield from steps_of(td, lay, rules, me, todo, gpa, repair)
    while left:
        what = left & STEP_MASK
        if what == Step.GATE_RAISE:
            yield from raise_gate(td, lay, rules, me)
        elif what == Step.GATE_LOWER:
            yield from lower_gate(td, lay, rules, me)
        elif is_lock(what):
            held = yield from lock_step(td, lay, rules, me, what, held)
        elif what == Step.PROTECT:
            left = yield from protect(td, lay, rules, me, gpa, left)
        elif is_kick(what):
            wait = repair or is_awaited(rules, left)
            request = yield from request_of(td, lay, rules, me, what, gpa, repair)
            sent = yield from kick(td, lay, rules, me, parts_of(what), request, wait, phases)
            send += sent - mark
            mark = stamp(rules, phases)
            acknowledged += mark - sent
            if (yield from tells_kick(td, lay, rules, me, left, wait, gpa, repair)):
                yield store_release(td, stage(lay, me.index), stage_word(gpa, own(td, owner(lay, gpa)), Stage.KICKED))
        else:
            if what == Step.REMOVE and not repair and phase_of(own(td, owner(lay, gpa))) == Phase.BLOCKED:
                # tdx_track() has returned: from here on a read through the old translation is forbidden.
                yield store_release(td, stage(lay, me.index), stage_word(gpa, own(td, owner(lay, gpa)), Stage.DONE))
                window = mark - window_began
            elif what == Step.UNBLOCK and held & UNDOING and own(td, stage(lay, me.index)):
                # Nothing is done: from here on the page may be mapped again.
                yield store_release(td, stage(lay, me.index), 0)
            status = yield from seamcall_step(td, lay, rules, me, what, gpa, repair, held)
            if what == Step.WBINVD and status != SUCCESS and goes_on(rules, status):
                count(td, me, BUG_ON, 1)  # and REMOVE decides whether another shootdown has to clear the way
            elif status != SUCCESS and status != SKIPPED and (not repair or what == Step.REMOVE):
                failed = status
                if not goes_on(rules, status):
                    left = after_failure(left, held)
                    if status == HANDED_UP and rules.undo and phase_of(own(td, owner(lay, gpa))) != Phase.IN_USE:
                        left = followed_by(left, rules.undo)
                        held |= UNDOING
            spent = stamp(rules, phases) - mark
            mark += spent
            if what == Step.BLOCK:
                block += spent
                window_began = mark
            elif what == Step.TRACK:
                track += spent
            else:
                remove += spent
        left = yield from onward(td, lay, rules, me, left, todo, gpa, repair)
    ended = now(rules)
    if rules.serialized:
        yield write_unlock(td, lay.mmu_lock)
    if phases:
        record_phases(td, rules, me, lock, block, track, send, acknowledged, remove, window)
    elif failed == SUCCESS and not repair:
        record_whole(td, rules, me, began, due, ended)
    return failed


@steps(in_place=True)
def gone(td, lay, rules, me, gpa):
    """Count the pages that a shootdown took, and keep whether it met a vCPU."""
    count(td, me, SHOOTDOWNS, 1)
    keep_met(td, lay, me, gpa)
    return 0


@steps
def shoot_down(td, lay, rules, me, gpa, due):
    """One shootdown of a claimed page as the rules have it, with what they do after KVM_BUG_ON. Returns its status.

    Where BUSY is handed up this is the caller, which begins with the first step again: the SPTE stays as it is, and so
    does mmu_lock where it is taken around the whole of it.
    """
    todo = rules.shootdown
    repair = 0
    start_meeting(td, me)
    while True:
        status = yield from shootdown(td, lay, rules, me, gpa, todo, repair, due)
        if status == HANDED_UP:
            relax(td, rules, me)
            continue
        if not repair:
            yield from gone(td, lay, rules, me, gpa)
            if status != SUCCESS:
                count(td, me, BUG_ON, 1)
        # Another one would end as this one did: what stands below a page-table page is none of its shootdown's, and a
        # page that had gone before the error is in nobody's way.
        if status == SUCCESS or rules.on_error == OnError.STOP or status == EPT_PAGE_NOT_FREE | RCX:
            break
        if repair and status == EPT_ENTRY_STATE_INCORRECT | RCX:
            break
        todo = COMPLETE
        repair = 1
        count(td, me, REPAIRS, 1)
    return status
