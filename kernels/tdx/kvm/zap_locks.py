"""Locks that an ordering has of its own, for zaps under mmu_lock held for read: `sept_lock` and `track_lock` around
whichever of its steps, `sept_lock` for read around a fault's SEAMCALL, and `no_entry_lock` while vCPUs are kept out.

Source: a proposal in the RFC thread on TDX huge pages, May 2025. Differs: REMOVE holds `sept_lock` for write, as BLOCK.
"""

from kernels.language.atomics import fetch_add_seq_cst
from kernels.language.steps import steps
from kernels.race.tally import relax
from kernels.tdx.module.locks import try_lock_exclusive, write_unlock
from kernels.tdx.rules import Step
from kernels.tdx.spans import FOR_READ, LOCK, UNLOCKED

LOCK_SEPT, UNLOCK_SEPT, LOCK_TRACK = int(Step.LOCK_SEPT_LOCK), int(Step.UNLOCK_SEPT_LOCK), int(Step.LOCK_TRACK_LOCK)


@steps(
    at={
        "try_lock_exclusive_sept_lock": LOCK,
        "try_lock_exclusive_track_lock": LOCK,
        "write_unlock_sept_lock": UNLOCKED,
        "write_unlock_track_lock": UNLOCKED,
    }
)
def lock_step(td, lay, rules, me, what):
    """Take a lock, or give it back, as the step says."""
    if what == LOCK_SEPT:
        while not (yield try_lock_exclusive(td, lay.sept_lock)):
            relax(td, rules, me)
    elif what == LOCK_TRACK:
        while not (yield try_lock_exclusive(td, lay.track_lock)):
            relax(td, rules, me)
    elif what == UNLOCK_SEPT:
        yield write_unlock(td, lay.sept_lock)
    else:
        yield write_unlock(td, lay.track_lock)
    return 0


@steps(at={"fetch_add_seq_cst_sept_lock": FOR_READ})
def read_lock_sept(td, lay, rules, me):
    while (yield fetch_add_seq_cst(td, lay.sept_lock, 2)) & 1:
        yield fetch_add_seq_cst(td, lay.sept_lock, -2)
        relax(td, rules, me)
    return 0


@steps(at={"try_lock_exclusive_no_entry_lock": LOCK})
def lock_no_entry(td, lay, rules, me):
    while not (yield try_lock_exclusive(td, lay.no_entry_lock)):
        relax(td, rules, me)
    return 0
