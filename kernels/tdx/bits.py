"""What the bits of the shared words are: a word is a row of `words.py` beside."""

from enum import IntEnum

from kernels.language.naming import nameless
from kernels.language.steps import local

# Guest pages below one page-table page in a two-level flow, where the S-EPT has 512.
LEAVES_SHIFT = 3

# TDCS.epoch_tracking = {u64 td_epoch; u16 refcount[2]}, which the module updates by locked operations and reads as one
# 16-byte unit (lock cmpxchg16b). Here the unit is one packed int64: refcount[0] in bits 0-11, refcount[1] in bits
# 12-23, td_epoch above. One word is read and changed as one unit by every CPU, just as the module's is, and reading it
# does not need a locked write; 12 bits hold 4,095 vCPUs where the machine has at most 512, 39 bits of epoch last for
# days.
ONE_EPOCH = 1 << 24
REFCOUNT_BITS = 12

# S-EPT entry bits (TDX module 1.5.01): lock TDEL 11, host priority HP 52, and those that define the state.
TDEL, HP = 1 << 11, 1 << 52
RWX, LEAF = 0b111, 0xC0
SVE = -1 << 63
STATE_MASK = (0b1111 << 53) | (1 << 9) | LEAF
TDB = 1 << 55  # blocked, in every state that can be
HPA_SHIFT, HPA_MASK = 12, ((1 << 40) - 1) << 12


class Sept(IntEnum):
    """The state of an S-EPT entry."""

    FREE = 0x00E0000000000000
    MAPPED = LEAF
    BLOCKED = TDB | LEAF
    PENDING = 0x0100000000000000 | LEAF
    PENDING_BLOCKED = 0x0100000000000000 | TDB | LEAF
    # Above the leaves: a page-table page, RWX set or cleared.
    NL_MAPPED = 0
    NL_BLOCKED = TDB


class Mirror(IntEnum):
    """KVM's view of a private page or of a page-table page (mirror SPTE)."""

    NONPRESENT = 0
    PRESENT = 1
    FROZEN = 2


class Content(IntEnum):
    """What a guest page holds: zeroes, or what its last owner left. Only two-level flows have the word."""

    ZEROED = 0
    LEFT_BEHIND = 1


# The shared EPT (SPTEs of KVM): suppress #VE is bit 63, as in S-EPT entries. SHADOW_NONPRESENT_VALUE has nothing else;
# an MMIO SPTE of a TD is neither present nor suppressed, and holds the guest page.
SPTE_NONPRESENT, SPTE_GFN_SHIFT = SVE, 12
# A memslot: host page << 3 | settled << 2 | state. That a change is over is for the oracle alone.
SLOT_SETTLED, SLOT_PAGE_SHIFT = 4, 3


class Slot(IntEnum):
    """The state of a memslot."""

    NONE = 0
    VALID = 1
    INVALID = 2


class Srcu(IntEnum):
    """Whether a vCPU's thread is inside kvm->srcu, and awaited there."""

    OUTSIDE = 0
    READING = 1
    AWAITED = 2


class Mode(IntEnum):
    """vcpu->mode"""

    OUTSIDE_GUEST_MODE = 0
    IN_GUEST_MODE = 1
    EXITING_GUEST_MODE = 2


class TdState(IntEnum):
    """What a TD's TDR says of its key (TD_KEYS_CONFIGURED, TD_BLOCKED, TD_TEARDOWN), and of one with a key its TDCS
    (OP_STATE_INITIALIZED, OP_STATE_RUNNABLE).
    """

    INITIALIZED = 0
    RUNNABLE = 1
    TD_BLOCKED = 2
    TD_TEARDOWN = 3


# The oracle's word of a host page: generation << 8 | zapper << 2 | phase. A TLB entry holds the word of a page in use.
# How far the shootdown of a blocked page has come stands in its zapper's own word, `stage`: every read looks at the
# page's line, and a shooter that wrote it once more would wait for it once more.
TAG_BITS, TAG_MASK = 18, (1 << 18) - 1
WRITABLE = 1 << TAG_BITS + 7  # of a TLB entry whose guest may write; the bits below a generation are 0 in a fill


class Phase(IntEnum):
    """Of the oracle's word of a host page."""

    IN_USE = 0
    BLOCKED = 1
    FREE = 2


class Stage(IntEnum):
    """How far the shootdown of a blocked page has come."""

    KICKED = 1
    DONE = 2


# The sender that all vCPUs are in an IPI word; a zapper is its own bit below it.
BY_VCPU = 1 << 62


@local
def bits_in(mask):
    count = 0
    while mask:
        count += mask & 1
        mask >>= 1
    return count


@local
def epoch_of(epochs):
    return epochs >> 24


@local
def refcount_of(epochs, parity):
    return (epochs >> (REFCOUNT_BITS * parity)) & 4095


@local
def one_reference(parity):
    return 1 << (REFCOUNT_BITS * parity)


@local
def state_of(entry):
    return entry & STATE_MASK


@local
def page_of(entry):
    """The oracle's word that a translation through this S-EPT entry expects: the host page's generation, in use."""
    return ((entry & HPA_MASK) >> HPA_SHIFT) << 8


@local
@nameless
def generation_of(page):
    return page >> 8


@local
@nameless
def phase_of(page):
    return page & 3


@local
def shooter_of(page):
    return (page >> 2) & 63


@local
def table_of(lay, gpa):
    """The page-table page above a guest page; its words stand behind those of the guest pages."""
    return lay.pages + (gpa >> LEAVES_SHIFT)


@local
def first_below(lay, table):
    return table - lay.pages << LEAVES_SHIFT


@local
def end_below(lay, table):
    """Behind the last one."""
    return min(lay.pages, table - lay.pages + 1 << LEAVES_SHIFT)


@local
def translation(gpa, page):
    """A TLB entry: the page that it was filled with, and the guest page as tag; 0 is an empty one."""
    return (page << TAG_BITS) | (gpa + 1)


@local
def stage_word(gpa, page, how_far):
    """The shootdown of this page by this zapper has come so far."""
    return (translation(gpa, page) << 2) | how_far


@local
def is_hit(entry, gpa):
    return entry & TAG_MASK == gpa + 1


@local
def content_of(entry):
    return entry >> TAG_BITS
