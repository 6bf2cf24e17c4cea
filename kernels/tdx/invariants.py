"""What holds in every state, however it was reached: looked at where a search expands it. Compiled into the search.

The references that the module counts in {td_epoch, refcount[2]} are those of the vCPUs between TDH.VP.ENTER and TD
exit. Where KVM has a mirror of the S-EPT, both say the same of a page as long as its SPTE is not frozen and nobody
holds mmu_lock for write, and the page behind an entry is the TD's own.
"""

from kernels.language.machine import DONE, Machine
from kernels.language.syntax import Site
from kernels.search.fingerprint import OF_LABEL, facts_of
from kernels.search.saying import over
from kernels.tdx.bits import Mirror, Phase, Sept, epoch_of, generation_of, page_of, phase_of, refcount_of, state_of
from kernels.tdx.rules import Flow
from kernels.tdx.words import mirror, owner, sept

# The most references of a label stand above the least.
MOST_SHIFT = 8
ENTERS = {f"{name}.fetch_add_seq_cst_epoch_tracking" for name in ("vp_enter", "vp_enter_here")}
LEAVES = {f"{name}.fetch_add_seq_cst_epoch_tracking" for name in ("td_exit", "revert_tlb_tracking")}


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
        references = 1 if made.goals[label] else 0 if _is_outside(site, calls) else references
        if references not in held[label]:
            held[label].add(references)
            name = site.name if site else ""
            behind = 1 if name in ENTERS else 0 if name in LEAVES else references
            waiting += [(after, behind) for after in made.follows[label]]
    return [min(one, default=0) | max(one, default=0) << MOST_SHIFT for one in held]


def _is_outside(site: Site | None, calls: tuple[str, ...]) -> bool:
    """Whether the step is the vCPU's own store of OUTSIDE_GUEST_MODE, behind its TD exit."""
    return site is not None and len(calls) == 1 and site.name == "vcpu.store_release_mode"


def references_lost(plan, memo, lay, row):
    """Whether the module counts fewer references than vCPUs inside, or more."""
    known = 0
    for vcpu in range(plan.endless):
        known += facts_of(plan, memo, row, vcpu)[OF_LABEL]
    epochs = row[plan.column[lay.epoch_tracking]]
    counted = refcount_of(epochs, 0) + refcount_of(epochs, 1)
    return counted < known & ((1 << MOST_SHIFT) - 1) or counted > known >> MOST_SHIFT


def has_mirror(lay):
    """Whether KVM's mirror says of every page what the S-EPT says; one that KVM_BUG_ON has ended need not."""
    return lay.tables and not lay.flow & Flow.TEARDOWN


def is_in_step(spte, state, is_table):
    """Whether a mirror SPTE that is not frozen and an S-EPT entry's state say the same of a page."""
    if spte == Mirror.NONPRESENT:
        return state == Sept.FREE
    return state == Sept.NL_MAPPED if is_table else state == Sept.PENDING or state == Sept.MAPPED


def mirror_lost(plan, memo, lay, row):
    """Whether a mirror SPTE and its S-EPT entry differ while nobody changes them."""
    if not has_mirror(lay) or over(plan, lay, row) or row[plan.column[lay.mmu_lock]] & 1:
        return 0
    column, lost = plan.column, 0
    for page in range(lay.pages + lay.tables):
        spte, entry = row[column[mirror(lay, page)]], row[column[sept(lay, page)]]
        lost |= spte != Mirror.FROZEN and not is_in_step(spte, state_of(entry), page >= lay.pages)
    return lost


def not_owned(plan, memo, lay, row):
    """Whether an S-EPT entry leads to a page that is not the TD's."""
    if not has_mirror(lay) or over(plan, lay, row):
        return 0
    column, lost = plan.column, 0
    for page in range(lay.pages + lay.tables):
        entry, owned = row[column[sept(lay, page)]], row[column[owner(lay, page)]]
        is_ours = page_of(entry) == generation_of(owned) << 8 and phase_of(owned) != Phase.FREE
        lost |= state_of(entry) != Sept.FREE and not is_ours
    return lost


def epoch_fell(lay, word, before, after):
    """Whether the epoch, which never falls, fell; but another TD begins in its first one."""
    return word == lay.epoch_tracking and epoch_of(after) < epoch_of(before) and not lay.flow & Flow.TEARDOWN
