"""What a real race shares beside its pages: who publishes what, and where it stands.

A page's content is one word that names its owner and the owner's generation, so that whoever reads it knows whose page
it was, and since when. Zero is a page that nobody has written yet.
"""

from enum import IntEnum
from typing import NamedTuple

from kernels.layout import HIST_WORDS, LINE_WORDS

PAGE_BYTES, PAGE_WORDS = 4096, 512
OWNER_SHIFT = 40  # of a content: above it the owner, below it the generation
SOMEBODY_ELSE = 1 << 62  # a content of whoever got a page that was taken away

# Of a page, on a line of its own: the generation that the host has begun to put there, the one whose shootdown is done
# (all before it are gone), the outcomes of its last shootdown, a bit each; and for the host alone, which page of the
# memfd is mapped there.
BEGUN, DONE, SHOWN, SLOT = 0, 1, 2, 3
# Of a reader: what it read, by outcome.
FRESH, FAULT, STALE_IN_WINDOW, STALE_AFTER_DONE, USE_AFTER_REMOVE = range(5)
SEEN = ("fresh", "fault", "stale_in_window", "stale_after_done", "use_after_remove")
# Of a virtual machine: requests to flush all its TLBs, those that kicked a vCPU, exits, page faults and those mended.
KVM = ("remote_tlb_flush_requests", "remote_tlb_flush", "exits", "pf_taken", "pf_fixed")
# Of the host: shootdowns, those that met a reader, in how many each outcome showed, in how many of those that met one.
SHOOTDOWNS, MET, SHOWN_IN, MET_IN = 0, 1, 2, 2 + len(SEEN)
HOST_WORDS = 2 + 2 * len(SEEN)


class Fault(IntEnum):
    """What the host does wrong on purpose."""

    none = 0
    published_early = 1
    reused_early = 2


class Places(NamedTuple):
    """Sizes, and offsets in words into the one array. Behind the pages that are read stands one that nobody reads."""

    readers: int
    pages: int
    go: int
    stop: int
    page: int  # a line each
    reader: int  # a line each
    seen: int  # of each reader, by page: the last generation that it read there
    seen_stride: int
    host: int
    scratch: int  # what the host writes into a page
    spare: int  # which page of the memfd is mapped nowhere
    kvm: int  # what a virtual machine's own statistics say
    histograms: int  # of the call's latency, by how many readers held the page
    total_words: int


class Way(IntEnum):
    """How the host takes a page away."""

    hole = 0
    map = 1
    protect = 2


class Host(NamedTuple):
    """What the host works with: the way, the address of the words, the file of the pages, and of whoever gets freed
    ones or, where readers are threads, the address of their mapping; the clock, the pauses between two pages, and what
    it does wrong.
    """

    way: int
    address: int
    file: int
    other: int
    clock: int
    ticks_to_ns: int
    gap: int
    fault: int


def places(readers: int, pages: int) -> Places:
    """The layout for so many readers and pages."""
    stride = (pages // LINE_WORDS + 1) * LINE_WORDS
    sizes = (
        *(LINE_WORDS, LINE_WORDS, (pages + 1) * LINE_WORDS, readers * LINE_WORDS, readers * stride),
        *(LINE_WORDS, LINE_WORDS, LINE_WORDS, LINE_WORDS, (readers + 1) * HIST_WORDS),
    )
    go, stop, page, reader, seen, *rest = (sum(sizes[:place]) for place in range(len(sizes) + 1))
    return Places(readers, pages, go, stop, page, reader, seen, stride, *rest)


def content(page: int, generation: int) -> int:
    """What stands in a page of this generation."""
    return ((page + 1) << OWNER_SHIFT) + generation
