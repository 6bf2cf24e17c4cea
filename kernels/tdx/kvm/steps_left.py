"""What the steps say that are left of a shootdown: which of them is at hand, what it belongs to, and what is still done
where the others are not.
"""

from kernels.language.steps import local
from kernels.tdx.kvm.kick import ASKS, SENDS, WAITS, WHOLE
from kernels.tdx.kvm.zap_locks import UNDOING, WRITE, how_held
from kernels.tdx.rules import FIRST_LOCK_STEP, STEP_BITS, STEP_MASK, STEPS_OF_LOCK, Busy, Lock, Step

LOCKS, FIRST_UNLOCK = len(Lock), FIRST_LOCK_STEP + STEPS_OF_LOCK - 1


@local
def ends_first(left, end, begin):
    """Whether of the steps left this end comes before another beginning: what it ends is at hand."""
    while left:
        if left & STEP_MASK == begin:
            return 0
        if left & STEP_MASK == end:
            return 1
        left >>= STEP_BITS
    return 0


@local
def after_failure(left, held):
    """What is still done once a status has failed: locks that are held are given back, and the gate is lowered if it is
    raised (v18: atomic_dec before KVM_BUG_ON).
    """
    made = Step.GATE_LOWER if ends_first(left, Step.GATE_LOWER, Step.GATE_RAISE) else 0
    lock = LOCKS
    while lock:
        lock -= 1
        if how_held(held, lock):
            made = made << STEP_BITS | FIRST_UNLOCK + lock * STEPS_OF_LOCK
    return made << STEP_BITS


@local
def followed_by(left, steps):
    """The steps left, the one at hand among them, and these behind them."""
    at = STEP_BITS
    while left >> at:
        at += STEP_BITS
    return left | steps << at


@local
def is_kick(what):
    return what == Step.KICK or (what >= Step.FLUSH and what <= Step.WAIT)


@local
def without_flush(left, but):
    """The steps left but for TRACK and kicks, of which this one stays: where nothing is pending nothing is flushed."""
    kept = 0
    at = 0
    while left:
        what = left & STEP_MASK
        if what == but or not (what == Step.TRACK or is_kick(what)):
            kept |= what << at
            at += STEP_BITS
        left >>= STEP_BITS
    return kept


@local
def parts_of(what):
    """The parts of a kick that are this step."""
    if what < Step.REQUEST:
        return WHOLE
    return ASKS if what == Step.REQUEST else SENDS if what == Step.SEND else WAITS


@local
def is_awaited(rules, left):
    """Whether the kick that the steps left begin with, or go on with, is waited for."""
    if left & STEP_MASK == Step.FLUSH:
        return 1
    if left & STEP_MASK == Step.KICK or not rules.wait:
        return rules.wait
    return ends_first(left, Step.WAIT, Step.KICK)


@local
def ends_kick(left, wait):
    """Whether the kick is over behind the step at hand."""
    what = left & STEP_MASK
    return what < Step.REQUEST or what == Step.WAIT or (what == Step.SEND and not wait)


@local
def is_last(left):
    """Whether REMOVE comes right after the step at hand."""
    return (left >> STEP_BITS) & STEP_MASK == Step.REMOVE


@local
def policy_of(rules, what, held):
    """What the zapper does where the SEAMCALL of this step is BUSY, with these locks held. Where a BLOCK is taken back
    nobody is there to hand it up to: it is tried again.
    """
    if held & UNDOING:
        return Busy.SPIN
    if rules.serialized or rules.zap_for_write or how_held(held, Lock.MMU_LOCK) == WRITE:
        if what == Step.TRACK:
            return rules.track_busy_write
        return rules.block_busy_write if what == Step.BLOCK else rules.remove_busy_write
    if what == Step.TRACK:
        return rules.track_busy_read
    return rules.block_busy_read if what == Step.BLOCK else rules.remove_busy_read
