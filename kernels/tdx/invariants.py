"""What holds in every state, however it was reached: looked at where a search expands it.

The references that the module counts in {td_epoch, refcount[2]} are those of the vCPUs between TDH.VP.ENTER and TD
exit. Where KVM has a mirror of the S-EPT, both say the same of a page as long as its SPTE is not frozen and nobody
holds mmu_lock for write, and the page behind an entry is the TD's own.
"""

from kernels.language.atomics import words_at
from kernels.language.machine import DONE, Machine
from kernels.language.syntax import Site
from kernels.search.fingerprint import REFERENCES, facts_of
from kernels.tdx.words import (
    FREE,
    MAPPED,
    MIRROR_NONPRESENT,
    NL_MAPPED,
    PAGE_FREE,
    PENDING,
    SPTE_FROZEN,
    generation_of,
    page_of,
    phase_of,
    refcount_of,
    state_of,
)

# What is broken, a bit each; in the order of `kernels.search.frontier`.
REFERENCES_LOST, OUT_OF_STEP, NOT_OWNED = 1, 2, 4
# The most references of a label stand above the least.
MOST_SHIFT = 8
ENTERS = {f"{name}.fetch_add_seq_cst_epoch_tracking" for name in ("vp_enter", "vp_enter_new", "vp_enter_here")}
LEAVES = {f"{name}.fetch_add_seq_cst_epoch_tracking" for name in ("td_exit", "revert_tlb_tracking")}
INSIDE = frozenset({"guest", "guest_here", "guest_with_faults", "mmio_guest", "stepping_guest", "td_exit"})


def references_of(made: Machine) -> list[int]:
    """By label of a vCPU: the least and, from MOST_SHIFT on, the most references to an epoch that it may have there.

    It has one behind VP.ENTER's increment and none behind a decrement. By whichever way it came, it has one in the
    guest and none where it stores OUTSIDE_GUEST_MODE: so one that was not taken or not given back shows there.
    """
    held: list[set[int]] = [set() for _ in made.sites]
    waiting = [(0, 0)]
    while waiting:
        label, references = waiting.pop()
        if label == DONE:
            continue
        site, calls = made.sites[label], made.calls[label]
        references = 1 if INSIDE & set(calls) else 0 if _is_outside(site, calls) else references
        if references not in held[label]:
            held[label].add(references)
            name = site.name if site else ""
            behind = 1 if name in ENTERS else 0 if name in LEAVES else references
            waiting += [(after, behind) for after in made.follows[label]]
    return [min(one, default=0) | max(one, default=0) << MOST_SHIFT for one in held]


def _is_outside(site: Site | None, calls: tuple[str, ...]) -> bool:
    """Whether the step is the vCPU's own store of OUTSIDE_GUEST_MODE, behind its TD exit."""
    return site is not None and len(calls) == 1 and site.name == f"{calls[0]}.store_release_mode"


def references_lost(plan, memo, row):
    """Whether the module counts fewer references than vCPUs inside, or more."""
    known = 0
    for vcpu in range(plan.vcpus):
        known += facts_of(plan, memo, row, vcpu)[REFERENCES]
    counted = refcount_of(row[plan.epoch], 0) + refcount_of(row[plan.epoch], 1)
    return counted < known & ((1 << MOST_SHIFT) - 1) or counted > known >> MOST_SHIFT


def is_in_step(spte, state, is_table):
    """Whether a mirror SPTE that is not frozen and an S-EPT entry's state say the same of a page."""
    if spte == MIRROR_NONPRESENT:
        return state == FREE
    return state == NL_MAPPED if is_table else state == PENDING or state == MAPPED


def broken_in(plan, memo, row):
    """The invariants that a state breaks, a bit each; a VM that KVM_BUG_ON has ended keeps the first alone."""
    broken = 0
    if references_lost(plan, memo, row):
        broken = REFERENCES_LOST
    if plan.in_step and not row[plan.bugged]:
        written = row[plan.mmu_lock] & 1
        for page in range(plan.in_step):
            spte, entry = row[words_at(plan.mirror)[page]], row[words_at(plan.sept)[page]]
            state, owned = state_of(entry), row[words_at(plan.owner)[page]]
            if not written and spte != SPTE_FROZEN and not is_in_step(spte, state, page >= plan.guest_pages):
                broken |= OUT_OF_STEP
            if state != FREE and (page_of(entry) != generation_of(owned) << 8 or phase_of(owned) == PAGE_FREE):
                broken |= NOT_OWNED
    return broken
