"""Guests that write, pages of KVM's own that are write-protected for a dirty log, and pages that are aged meanwhile.

Source: Linux arch/x86/kvm/mmu/mmu.c fast_page_fault(), fast_pf_fix_direct_spte(); arch/x86/kvm/mmu/tdp_mmu.c
wrprot_gfn_range(), age_gfn_range(), mark_spte_for_access_track() of a host without accessed and dirty bits; Linux
b64d740ea7dd. KVM's own are pages of a plain EPT and the shared ones of a TD: no SEAMCALL write-protects a page of a TD
that runs, so PROTECT passes by private ones.

PROTECT collects the page's bit of the dirty log and takes the write permission from its SPTE. Behind the last step user
space has copied the page: from there on a write is lost that comes neither through an SPTE that lets it, nor behind a
fault, which sets the bit. A zapper may age a page in a turn of its own (clear_young()): the SPTE lets nobody access
it, which no TLB is told. Where the next one finds it so, nothing is writable, and `rules.elide_flush` leaves the flush
out, as KVM did. A CPU's walk caches what the SPTE lets it do, and an access that this does not let walks again.

A write to a private page leaves lines of it in caches, with the TD's key: one that is written back when the page has
its next owner overwrites what is his (Linux arch/x86/kvm/vmx/tdx.c tdx_sept_drop_private_spte(),
tdh_phymem_page_wbinvd_hkid()). The word `dirty_lines` has the host page of which some are dirty. A vCPU sets it before
it leaves the guest: behind a kick that has drained all of them it is set, and WBINVD leaves it clear. It is there where
the ordering has the step WBINVD: one without it says nothing of caches, and is not judged for them. When a line is
written back by itself nobody knows: one that is dirty where the shootdown is over is late.
"""

from kernels.language.atomics import fetch_and_seq_cst, load_acquire, load_relaxed, own, store_release
from kernels.language.naming import Holds
from kernels.language.steps import choice, local, steps
from kernels.race.tally import count, two
from kernels.story.spans import host
from kernels.tdx.bits import (
    RWX,
    WRITABLE,
    Phase,
    Sept,
    content_of,
    generation_of,
    is_hit,
    page_of,
    phase_of,
    state_of,
    translation,
)
from kernels.tdx.counters import READS
from kernels.tdx.guest import (
    EPT_VIOLATION,
    READ,
    READ_NOT_CURRENT,
    WHY_MASK,
    WRITE_VIOLATION,
    access,
    ended_at,
    fill,
    grade,
    on_pending,
    on_violation,
    page_of_end,
    touching,
    walk_to_leaf,
)
from kernels.tdx.kvm.shootdown import gone, protect
from kernels.tdx.kvm.steps_left import ends_first, without_flush
from kernels.tdx.kvm.vcpu_run import handle_exit
from kernels.tdx.kvm.zapper import any_page, does_otherwise, put_back
from kernels.tdx.module.lifecycle import write_lines_back
from kernels.tdx.module.mem import replace
from kernels.tdx.outcomes import Outcome
from kernels.tdx.part import Part
from kernels.tdx.rules import Flow, Module, Step
from kernels.tdx.spans import FAULTING, FREE, GUEST_READ, GUEST_WRITE, NEXT
from kernels.tdx.tally import note
from kernels.tdx.words import PAGE, owner, sept, tlb, with_any, word

# EPT's write permission; and for the oracle alone that a page which is aged had it, of which KVM keeps the others.
W, HAD_W = 0b010, 1 << 57
# A page's bit of the dirty log: set, collected, or collected and the page copied since by user space.
DIRTY, COLLECTED, COPIED = 0, 1, 2
LOG = {DIRTY: "dirty", COLLECTED: "collected", COPIED: "collected and copied"}
dirty_log = word("dirty_log", PAGE, there=with_any(Flow.WRITES), reads=lambda value: LOG.get(value, str(value)))
dirty_lines = word(
    "dirty_lines",
    PAGE,
    there=lambda sizes: sizes["flow"] & Flow.WRITES and sizes["wbinvd"],
    reads=lambda value: f"of hpa {value}" if value else "none",
)


@local
def is_kvms(lay, rules, gpa):
    """Whether a page's entry is an SPTE of KVM's own."""
    return rules.module == Module.NONE or gpa >= lay.pages - rules.shared_pages


@local
def lets(entry, writes):
    """Whether an SPTE lets an access through, or a TLB entry made of it."""
    return entry & W if writes else entry & RWX


@local
def aged_form(entry):
    """mark_spte_for_access_track(): nobody gets through."""
    return entry & ~RWX | (HAD_W if entry & W else 0)


@local
def filled(gpa, entry):
    """What a walk that has found this entry leaves in the TLB."""
    return translation(gpa, page_of(entry)) | (WRITABLE if entry & W else 0)


@choice(two, says=("the guest reads", "the guest writes"))
def reads_or_writes(td, lay, rules, me, random):
    """Whether the next access writes: one in two does."""
    return (random >> 20) & 1


@steps(labelled=False, says={"load_relaxed_owner": GUEST_WRITE, "load_relaxed_owner_2": GUEST_READ})
def touch(td, lay, rules, me, gpa, writes):
    """The access itself: the page's word, as it was then."""
    if writes:
        return (yield load_relaxed(td, owner(lay, gpa)))
    return (yield load_relaxed(td, owner(lay, gpa)))


@steps(oracle=True)
def is_logged(td, lay, rules, me, gpa):
    """Whether a write to this page is in the dirty log, or will be, as a fault has just let writes through. The log is
    looked at twice: a vCPU in its guest keeps whoever protects the page in between from the end of his flush.
    """
    if (yield load_acquire(td, dirty_log(lay, gpa))) == COPIED:
        if not (yield load_acquire(td, sept(lay, gpa))) & (W | HAD_W):
            return (yield load_acquire(td, dirty_log(lay, gpa))) != COPIED
    return 1


@steps(labelled=False)
def read_or_write(td, lay, rules, me, at, gpa):
    """The guest executes the instruction at hand, which reads a page or writes to it. Returns how that ends."""
    writes = yield reads_or_writes(td, lay, rules, me)
    seen: Holds[owner] = yield from touch(td, lay, rules, me, gpa, writes)
    held = own(td, tlb(lay, me.index, gpa))
    if not is_hit(held, gpa) or (writes and not held & WRITABLE):
        entry = yield from walk_to_leaf(td, lay, rules, me, gpa)
        if state_of(entry) == Sept.PENDING:
            return (yield from on_pending(td, lay, rules, me, at, gpa))
        if state_of(entry) != Sept.MAPPED or not lets(entry, writes):
            ended = yield from on_violation(td, lay, rules, me, at, gpa, entry)
            return ended_at(WRITE_VIOLATION, touching(gpa)) if writes else ended
        held = filled(gpa, entry)
        yield from fill(td, lay, rules, me, gpa, held)
        seen = yield from touch(td, lay, rules, me, gpa, writes)
    if writes and lay.wbinvd and not is_kvms(lay, rules, gpa):
        # Here the write leaves the store buffer for the cache; a TD exit comes behind, by which it can be seen.
        yield store_release(td, dirty_lines(lay, gpa), generation_of(content_of(held)))
    if held & ~WRITABLE != translation(gpa, seen):
        yield from grade(td, lay, rules, me, gpa, content_of(held & ~WRITABLE), seen)
        return READ_NOT_CURRENT
    if writes:
        if not (yield from is_logged(td, lay, rules, me, gpa)):
            note(td, lay, me, gpa, Outcome.write_lost)
            count(td, me, READS, 1)
            return READ_NOT_CURRENT
    return READ


@steps(span=FAULTING)
def fast_page_fault(td, lay, rules, me, gpa, writes):
    """Give an SPTE back what was taken from it; a page that lets writes through again is marked dirty behind that."""
    spte = yield load_acquire(td, sept(lay, gpa))
    if state_of(spte) == Sept.MAPPED and not lets(spte, writes):
        fixed = yield replace(td, sept(lay, gpa), spte, spte & ~HAD_W | RWX if writes else spte | RWX & ~W)
        if fixed and writes:
            yield store_release(td, dirty_log(lay, gpa), DIRTY)
    return 0


@steps
def fix_access(td, lay, rules, me, ended, leaving):
    """On an EPT violation KVM's own SPTE may only lack a permission."""
    why = ended & WHY_MASK
    if (why == EPT_VIOLATION or why == WRITE_VIOLATION) and is_kvms(lay, rules, page_of_end(ended)):
        yield from fast_page_fault(td, lay, rules, me, page_of_end(ended), why == WRITE_VIOLATION)
    yield from handle_exit(td, lay, rules, me, ended, leaving)
    return 0


@steps(span=host("protect", "write-protects the page"))
def write_protect(td, lay, rules, me, gpa, left):
    """wrprot_gfn_range() of one page, whose bit of the dirty log is collected before."""
    if is_kvms(lay, rules, gpa):
        yield store_release(td, dirty_log(lay, gpa), COLLECTED)
        found = yield fetch_and_seq_cst(td, sept(lay, gpa), ~(W | HAD_W))
        if rules.elide_flush and not found & W:
            return without_flush(left, 0)
    return left


@steps(at={"replace_dirty_log": host("copy", "the page is copied")})
def copy_page(td, lay, rules, me, gpa):
    """Behind the flush of a page that is protected user space copies it. Returns the status."""
    protected = ends_first(rules.shootdown, Step.PROTECT, 0)
    if protected and is_kvms(lay, rules, gpa) and phase_of(own(td, owner(lay, gpa))) != Phase.FREE:
        yield replace(td, dirty_log(lay, gpa), COLLECTED, COPIED)
    return (yield from put_back(td, lay, rules, me, gpa))


@steps(in_place=True)
def write_lines_of_guest_back(td, lay, rules, me, gpa):
    """None of the page's lines is dirty any more."""
    if lay.wbinvd:
        yield store_release(td, dirty_lines(lay, gpa), 0)
    return 0


@steps(span=FREE, oracle=True)
def judge_lines(td, lay, rules, me, gpa):
    """A page that has gone is its next owner's from here on: whether lines of it are still dirty."""
    if lay.wbinvd and not is_kvms(lay, rules, gpa) and phase_of(own(td, owner(lay, gpa))) == Phase.FREE:
        lines = yield load_acquire(td, dirty_lines(lay, gpa))
        if lines == generation_of(own(td, owner(lay, gpa))) - 1:
            note(td, lay, me, gpa, Outcome.written_back_late)
    yield from gone(td, lay, rules, me, gpa)
    return 0


@choice(two, says=("does what the ordering says", "ages a page"))
def shoots_or_ages(td, lay, rules, me, random):
    """What the VMM does next: 0 is a shootdown of the ordering's."""
    return (random >> 40) & 1


AGES = host("age", "ages a page")


@steps(at={"shoots_or_ages": NEXT, "any_page": NEXT, "load_acquire_sept": AGES, "replace_sept": AGES})
def may_age(td, lay, rules, me):
    """A turn that goes to clear_young(): accesses fault from now on, but for those that a TLB lets through."""
    otherwise = yield from does_otherwise(td, lay, rules, me)
    if rules.aging and not otherwise:
        otherwise = yield shoots_or_ages(td, lay, rules, me)
        if otherwise:
            gpa = yield any_page(td, lay, rules, me)
            if is_kvms(lay, rules, gpa):
                spte = yield load_acquire(td, sept(lay, gpa))
                if state_of(spte) == Sept.MAPPED and spte & RWX:
                    yield replace(td, sept(lay, gpa), spte, aged_form(spte))
    return otherwise


PART = Part(
    {
        access: read_or_write,
        handle_exit: fix_access,
        protect: write_protect,
        write_lines_back: write_lines_of_guest_back,
        gone: judge_lines,
        put_back: copy_page,
        does_otherwise: may_age,
    },
    not_with={
        "populate": "its faults map pages, and give no permission back",
        "migrate": "private pages of a TD are not write-protected, and it has no others",
        "mmio": "its shared pages are read alone",
        "batch": "a range is not write-protected",
    },
)
