"""Locks that steps of an ordering take, each for write or for read, and `no_entry_lock` while vCPUs are kept out. How
vCPUs take them stands in `kernels/tdx/kvm/kick.py`, beside their answer to an IPI.

Source: a proposal in the RFC thread on TDX huge pages, May 2025, for zaps under mmu_lock held for read; hosts whose
page-table lock is held around a flush.
"""

from kernels.language.atomics import fetch_add_seq_cst
from kernels.language.steps import local, op, steps
from kernels.race.tally import relax
from kernels.tdx.module.locks import meanwhile, read_lock_mmu, try_lock_exclusive, write_lock_mmu
from kernels.tdx.rules import FIRST_LOCK_STEP, STEPS_OF_LOCK, Lock
from kernels.tdx.spans import FOR_READ, FOR_WRITE, GIVEN_BACK, LOCK, UNLOCKED
from kernels.tdx.words import own_lock

# How a lock is held: what its holder has in the word.
WRITE, READ = 1, 2
HELD_BITS, HELD_MASK = 2, 3  # of each lock
UNDOING = 1 << HELD_BITS * len(Lock)  # above them: the steps at hand take a BLOCK back
LOCK_STEPS, UNLOCKS = FIRST_LOCK_STEP, STEPS_OF_LOCK - 1


@local
def is_lock(what):
    return what >= LOCK_STEPS


@local
def lock_of(what):
    return max(0, what - LOCK_STEPS) // STEPS_OF_LOCK


@local
def mode_of(what):
    """WRITE or READ where the step takes a lock, 0 where it gives one back."""
    taken = (what - LOCK_STEPS) % STEPS_OF_LOCK
    return 0 if taken == UNLOCKS else 1 + taken


@local
def how_held(held, lock):
    """WRITE, READ, or 0."""
    return held >> HELD_BITS * lock & HELD_MASK


@local
def held_behind(held, what):
    """The locks that are held behind a step that takes one or gives it back."""
    others = held & ~(HELD_MASK << HELD_BITS * lock_of(what))
    return others | mode_of(what) << HELD_BITS * lock_of(what)


@local
def mode_of_vcpu(rules, lock):
    """How a vCPU takes a lock of the ordering's own."""
    return WRITE if rules.spin_locks >> lock & 1 else READ


@local
def has_interrupts_off(rules, lock):
    return rules.irq_locks >> lock & 1


@op
def give_back(td, lock, mode):
    """Readers that came meanwhile have their 2 in the word and will take it back themselves."""
    fetch_add_seq_cst(td, lock, -mode)


@steps(at={"try_lock_exclusive_own_lock": FOR_WRITE, "fetch_add_seq_cst_own_lock": FOR_READ})
def take_lock(td, lay, rules, me, lock, mode, answers):
    """Wait for a lock of the ordering's own; where it `answers`, a vCPU does so meanwhile."""
    if mode == WRITE:
        while not (yield try_lock_exclusive(td, own_lock(lay, lock))):
            if answers:
                yield from meanwhile(td, lay, rules, me)
            relax(td, rules, me)
    else:
        while (yield fetch_add_seq_cst(td, own_lock(lay, lock), 2)) & 1:
            yield fetch_add_seq_cst(td, own_lock(lay, lock), -2)
            if answers:
                yield from meanwhile(td, lay, rules, me)
            relax(td, rules, me)
    return 0


@steps(at={"give_back_mmu_lock": UNLOCKED, "give_back_own_lock": GIVEN_BACK})
def lock_step(td, lay, rules, me, what, held):
    """Take a lock, or give it back as it was taken, as the step says. Returns the locks that are held behind it."""
    if lock_of(what) == Lock.MMU_LOCK:
        if mode_of(what) == WRITE:
            yield from write_lock_mmu(td, lay, rules, me)
        elif mode_of(what) == READ:
            yield from read_lock_mmu(td, lay, rules, me)
        else:
            yield give_back(td, lay.mmu_lock, how_held(held, Lock.MMU_LOCK))
    elif mode_of(what):
        yield from take_lock(td, lay, rules, me, lock_of(what), mode_of(what), 0)
    else:
        yield give_back(td, own_lock(lay, lock_of(what)), how_held(held, lock_of(what)))
    return held_behind(held, what)


@steps(at={"try_lock_exclusive_no_entry_lock": LOCK})
def lock_no_entry(td, lay, rules, me):
    while not (yield try_lock_exclusive(td, lay.no_entry_lock)):
        relax(td, rules, me)
    return 0
