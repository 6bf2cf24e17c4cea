"""Actors with a blind spot, planted: one step does what takes several, hidden where the step language does not look."""

import dataclasses

from kernels.language.atomics import own, set_own
from kernels.language.steps import local, steps
from kernels.language.syntax import If, Loop, Statement, Steps, Sub
from kernels.tdx.bits import ONE_EPOCH, epoch_of, one_reference
from kernels.tdx.kvm.vcpu_run import vcpu
from kernels.tdx.kvm.zapper import zapper
from kernels.tdx.module.locks import try_lock_exclusive, try_lock_shared
from kernels.tdx.module.mem import invept, mem_track, vp_enter
from kernels.tdx.statuses import OPERAND_BUSY, SUCCESS, TD_EPOCH
from kernels.tdx.words import vcpu_epoch


@local
def advance(td, lay):
    """What no op may do: accesses hidden where the language does not look for any."""
    set_own(td, lay.epoch_tracking, own(td, lay.epoch_tracking) + ONE_EPOCH)
    set_own(td, lay.epoch_lock, 0)


@steps
def track_at_once(td, lay, rules, me):
    """TDH.MEM.TRACK that never holds its lock between two steps; it trusts that the previous epoch is empty."""
    if not (yield try_lock_exclusive(td, lay.epoch_lock)):
        return OPERAND_BUSY | TD_EPOCH
    advance(td, lay)
    return SUCCESS


@local
def count_in(td, lay, me):
    """The rest of an entry: sample the epoch, count, release the lock, flush."""
    epochs = own(td, lay.epoch_tracking)
    set_own(td, lay.epoch_tracking, epochs + one_reference(epoch_of(epochs) & 1))
    set_own(td, lay.epoch_lock, own(td, lay.epoch_lock) - 2)
    set_own(td, vcpu_epoch(lay, me.index), epoch_of(epochs))
    invept(td, lay, me)


@steps
def enter_at_once(td, lay, rules, me):
    """TDH.VP.ENTER that never holds the lock between two steps either."""
    if not (yield try_lock_shared(td, lay.epoch_lock)):
        return OPERAND_BUSY | TD_EPOCH
    count_in(td, lay, me)
    return SUCCESS


def replanted(function: Steps, planted: dict[Steps, Steps]) -> Steps:
    """The same function of steps, wherever it goes, with others in place of some."""

    def one(statement: Statement) -> Statement:
        match statement:
            case Sub():
                callee = planted.get(statement.function) or replanted(statement.function, planted)
                return dataclasses.replace(statement, function=callee)
            case If():
                return If(statement.test, tuple(map(one, statement.body)), tuple(map(one, statement.orelse)))
            case Loop():
                return Loop(tuple(map(one, statement.body)), tuple(map(one, statement.step)))
        return statement

    return dataclasses.replace(function, body=tuple(map(one, function.body)))


BLIND_VCPU = replanted(vcpu, {vp_enter: enter_at_once})
BLIND_ZAPPER = replanted(zapper, {mem_track: track_at_once})
