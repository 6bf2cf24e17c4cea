"""The locks: the module's try-locks, which answer at once, and KVM's mmu_lock, for which one waits.

Source: tdx-module 1.5.01, src/common/helpers/tdx_locks.h (sharex_lock: bit 0 exclusive, the count in steps of 2 above
it; a failed shared acquire leaves its 2 behind, the exclusive release wipes it) and the S-EPT entry lock (bit 11, host
priority bit 52).
"""

from kernels.language.atomics import (
    compare_exchange_seq_cst,
    exchange_seq_cst,
    fetch_add_seq_cst,
    fetch_and_seq_cst,
    fetch_or_seq_cst,
)
from kernels.language.steps import local, op, steps
from kernels.race.tally import relax
from kernels.tdx.bits import HP, TDEL
from kernels.tdx.spans import READ_LOCK, WRITE_LOCK
from kernels.tdx.statuses import BUSY_HOST_PRIORITY, OPERAND_BUSY, RCX, SUCCESS
from kernels.tdx.words import sept


@op
def try_lock_exclusive(td, lock):
    return compare_exchange_seq_cst(td, lock, 0, 1) == 0


@op
def try_lock_shared(td, lock):
    return (fetch_add_seq_cst(td, lock, 2) & 1) == 0


@op
def unlock_exclusive(td, lock):
    exchange_seq_cst(td, lock, 0)


@op
def unlock_shared(td, lock):
    fetch_add_seq_cst(td, lock, -2)


@op
def unlock_entry(td, entry):
    """lock btr 11."""
    fetch_and_seq_cst(td, entry, ~TDEL)


@steps
def lock_entry(td, lay, rules, me, gpa):
    """The host's try: failing it asks for priority over the guest; success takes that back. Returns 1 or 0."""
    if (yield fetch_or_seq_cst(td, sept(lay, gpa), TDEL)) & TDEL:
        yield fetch_or_seq_cst(td, sept(lay, gpa), HP)
        return 0
    yield fetch_and_seq_cst(td, sept(lay, gpa), ~HP)
    return 1


@steps
def lock_entry_as_guest(td, lay, rules, me, gpa):
    """The guest's try: stands back where the host has asked for priority. Returns the status of the TDCALL that it
    fails, or SUCCESS.
    """
    entry = yield fetch_or_seq_cst(td, sept(lay, gpa), TDEL)
    if entry & TDEL:
        return OPERAND_BUSY | RCX
    if entry & HP:
        yield unlock_entry(td, sept(lay, gpa))
        return BUSY_HOST_PRIORITY | RCX
    return SUCCESS


@local
def for_guest(status):
    """The TDCALL dispatcher's answer: TDs that know no host priority are told of a busy operand."""
    return OPERAND_BUSY | RCX if status == BUSY_HOST_PRIORITY | RCX else status


@steps(in_place=True)
def meanwhile(td, lay, rules, me):
    """A turn of a wait with interrupts on: in this place a vCPU answers IPIs, of which a zapper is sent none."""
    return 0


@steps(span=WRITE_LOCK)
def write_lock_mmu(td, lay, rules, me):
    while not (yield try_lock_exclusive(td, lay.mmu_lock)):
        yield from meanwhile(td, lay, rules, me)
        relax(td, rules, me)
    return 0


@steps(span=READ_LOCK)
def read_lock_mmu(td, lay, rules, me):
    while (yield fetch_add_seq_cst(td, lay.mmu_lock, 2)) & 1:
        yield fetch_add_seq_cst(td, lay.mmu_lock, -2)
        yield from meanwhile(td, lay, rules, me)
        relax(td, rules, me)
    return 0


@op
def write_unlock(td, lock):
    """Readers that came meanwhile have their 2 in the word and will take it back themselves."""
    fetch_add_seq_cst(td, lock, -1)


@op
def read_unlock(td, lock):
    fetch_add_seq_cst(td, lock, -2)
