"""The loops of a real race: readers, and the host that takes pages away under them.

A reader loads a word of a page, through the TLB of the CPU on which it runs; nothing of that is modelled. The host asks
the kernel to take the page away, and the kernel sends its own IPIs. When the call has returned the kernel has promised
that no CPU translates to the old page any more, which is what KVM relies on when it gives a page to somebody else. So
the host publishes that (`DONE`), and a reader who knows it must not see an older generation.

No false alarm can come of the order of a reader's loads. It loads `DONE` first, with acquire, and then the page. If
`DONE` says g, the call that took g - 1 away had returned before that load, and the load of the page stands behind it
in the program. A CPU may begin a load early, through an old translation; but the IPI of a shootdown arrives between
two instructions, and whatever was begun behind it begins anew. Either the load of `DONE` was over before that IPI, and
so before the call returned, and saw less than g; or both loads came behind the flush. (aarch64: TLBI and DSB promise
the same.) What the page holds is always one of these: nothing, if it is new; generation g or a later one; or, through
an old translation alone, what stood in the old page, or what its next owner has written there.

Compiled by `kernels/language/compile.py`: plain loops over the atomics, without the GIL.
"""

import functools
from types import SimpleNamespace
from typing import Any

from kernels.language.atomics import (
    exchange_seq_cst,
    fetch_or_seq_cst,
    load_acquire,
    load_relaxed,
    own,
    pause,
    set_own,
    store_relaxed,
    store_release,
    system_call,
    yield_cpu,
)
from kernels.language.compile import compiled
from kernels.language.llvm import system_call_number
from kernels.layout import HIST_WORDS, LINE_WORDS
from kernels.race.probes import now
from kernels.race.tally import bucket_of, nanoseconds_of, xorshift
from kernels.real.words import (
    BEGUN,
    DONE,
    FAULT,
    FRESH,
    MET,
    MET_IN,
    OWNER_SHIFT,
    PAGE_BYTES,
    PAGE_WORDS,
    SHOOTDOWNS,
    SHOWN,
    SHOWN_IN,
    SLOT,
    SOMEBODY_ELSE,
    STALE_AFTER_DONE,
    STALE_IN_WINDOW,
    USE_AFTER_REMOVE,
    Fault,
    Host,
    Places,
    Way,
)

# What is called, and with which flags.
FALLOCATE, MMAP, MPROTECT, PWRITE = map(system_call_number, ("fallocate", "mmap", "mprotect", "pwrite64"))
PUNCH_HOLE_KEEP_SIZE, READ_WRITE, SHARED_FIXED = 3, 3, 0x11
OUTCOMES = 5
BATCH = 1024  # reads between two looks at the word that ends it
REFUSED = 72


def page_of(random: int, pages: int) -> int:
    """A page, each as likely as the other."""
    return ((random & 0x7FFFFFFF) * pages) >> 31


def show(words: Any, at: int, mine: int, outcome: int) -> None:
    """Count a read that is not fresh, and mark the page's last shootdown with it."""
    set_own(words, mine + outcome, own(words, mine + outcome) + 1)
    if load_relaxed(words, at + SHOWN) & (1 << outcome) == 0:
        fetch_or_seq_cst(words, at + SHOWN, 1 << outcome)


def read_pages(words: Any, memory: Any, places: Any, reader: int, seed: int) -> int:
    """Read pages at random until told to stop; `memory` is the mapping, as words."""
    random, fresh = seed, 0
    mine, seen = places.reader + reader * LINE_WORDS, places.seen + reader * places.seen_stride
    while load_relaxed(words, places.stop) == 0:
        for _ in range(BATCH):
            random = xorshift(random)
            page = page_of(random, places.pages)
            at = places.page + page * LINE_WORDS
            done = load_acquire(words, at + DONE)  # pairs with the host's store_release behind its call
            begun = load_acquire(words, at + BEGUN)  # pairs with the one before its call
            value = load_relaxed(memory, page * PAGE_WORDS)  # behind both: see above
            generation = value - ((page + 1) << OWNER_SHIFT)
            if value == 0:
                show(words, at, mine, FAULT)
                continue
            if generation < 0 or generation >> OWNER_SHIFT:
                show(words, at, mine, USE_AFTER_REMOVE)
                continue
            if generation >= begun:
                fresh += 1
            elif generation >= done:
                show(words, at, mine, STALE_IN_WINDOW)
            else:
                show(words, at, mine, STALE_AFTER_DONE)
            if own(words, seen + page) != generation:
                store_relaxed(words, seen + page, generation)  # for the host, who counts whom it meets
        set_own(words, mine + FRESH, fresh)
    return 0


def held_by(words: Any, places: Any, page: int, generation: int) -> int:
    """How many readers have read this generation of the page: a TLB of theirs may still hold the translation."""
    holders = 0
    for reader in range(places.readers):
        holders += load_relaxed(words, places.seen + reader * places.seen_stride + page) == generation
    return holders


def close(words: Any, places: Any, page: int) -> None:
    """Count what the page's last shootdown has shown. A stale read, too, says that it met a reader."""
    shown = exchange_seq_cst(words, places.page + page * LINE_WORDS + SHOWN, 0)
    met, stale = shown & 1, shown & ~((1 << FAULT) | 1)
    set_own(words, places.host + MET, own(words, places.host + MET) + (met != 0 or stale != 0))
    for outcome in range(FAULT, OUTCOMES):
        if shown & (1 << outcome):
            at = places.host + SHOWN_IN + outcome
            set_own(words, at, own(words, at) + 1)
            at = places.host + MET_IN + outcome
            set_own(words, at, own(words, at) + (met != 0 or stale != 0))


def begin(words: Any, places: Any, page: int) -> int:
    """Say that the page is about to go; returns how many readers hold it."""
    at = places.page + page * LINE_WORDS
    close(words, places, page)
    generation = own(words, at + BEGUN)
    holders = held_by(words, places, page, generation)
    if holders:
        fetch_or_seq_cst(words, at + SHOWN, 1 << FRESH)  # its own bit: this one met a reader
    store_release(words, at + BEGUN, generation + 1)
    return holders


def end(words: Any, places: Any, host: Any, page: int, holders: int, ticks: int) -> None:
    """Say that the page is gone, and count the shootdown."""
    at = places.page + page * LINE_WORDS
    store_release(words, at + DONE, own(words, at + BEGUN))
    counted = places.histograms + holders * HIST_WORDS + bucket_of(nanoseconds_of(ticks, host.ticks_to_ns))
    set_own(words, counted, own(words, counted) + 1)
    set_own(words, places.host + SHOOTDOWNS, own(words, places.host + SHOOTDOWNS) + 1)


def write(words: Any, places: Any, host: Any, file: int, slot: int, value: int) -> bool:
    """Write the content of a page that no reader maps, through its file."""
    set_own(words, places.scratch, value)
    return system_call(PWRITE, file, host.address + 8 * places.scratch, 8, slot * PAGE_BYTES, 0, 0) == 8


def too_early(words: Any, memory: Any, places: Any, host: Any, page: int) -> None:
    """The planted faults: what has to wait for the call is done before it, and a reader gets time to look."""
    at = places.page + page * LINE_WORDS
    if host.fault == Fault.published_early:
        store_release(words, at + DONE, own(words, at + BEGUN))
    elif host.fault == Fault.reused_early:
        store_release(memory, page * PAGE_WORDS, SOMEBODY_ELSE)
    if host.fault:
        yield_cpu()


def prepare(words: Any, places: Any, host: Any, page: int, value: int) -> bool:
    """What comes before the call; False where the kernel refuses it.

    A page that a hole frees goes into another file before the next generation is written: as the kernel hands out
    first what it has got back last, the readers' own page would else come back, and show nothing but its new content.
    """
    if host.way == Way.map:
        return write(words, places, host, host.file, own(words, places.spare), value)
    if host.way == Way.hole:
        system_call(FALLOCATE, host.other, PUNCH_HOLE_KEEP_SIZE, page * PAGE_BYTES, PAGE_BYTES, 0, 0)
    return True


def take(words: Any, places: Any, host: Any, page: int) -> bool:
    """The call itself.

    MAP_FIXED takes the old page away and puts the new one there in one call. Between an munmap and an mmap a reader
    would fault where nothing is mapped, which ends a process; here it waits in its page fault until the call is over.
    """
    target = host.other + page * PAGE_BYTES
    if host.way == Way.hole:
        return system_call(FALLOCATE, host.file, PUNCH_HOLE_KEEP_SIZE, page * PAGE_BYTES, PAGE_BYTES, 0, 0) == 0
    if host.way == Way.map:
        spare = own(words, places.spare)
        return system_call(MMAP, target, PAGE_BYTES, READ_WRITE, SHARED_FIXED, host.file, spare * PAGE_BYTES) == target
    return system_call(MPROTECT, target, PAGE_BYTES, 0, 0, 0, 0) == 0


def give(words: Any, memory: Any, places: Any, host: Any, page: int, value: int) -> bool:
    """What comes behind the call: the old page has its next owner, and the readers a new generation.

    Into a hole it is stored through the host's own mapping, in one piece: a page that a reader has faulted in meanwhile
    is there already, and write(2) may copy byte by byte. The page that was replaced is the next one to be mapped,
    elsewhere. One that is protected nobody may look at, so that it is somebody else's until it is given back.
    """
    if host.way == Way.hole:
        written = write(words, places, host, host.other, page, SOMEBODY_ELSE)
        store_release(memory, page * PAGE_WORDS, value)
        return written
    if host.way == Way.map:
        at = places.page + page * LINE_WORDS + SLOT
        slot = own(words, at)
        set_own(words, at, own(words, places.spare))
        set_own(words, places.spare, slot)
        return True
    written = write(words, places, host, host.file, page, SOMEBODY_ELSE)
    written &= write(words, places, host, host.file, page, value)
    target = host.other + page * PAGE_BYTES
    return written and system_call(MPROTECT, target, PAGE_BYTES, READ_WRITE, 0, 0, 0) == 0


def take_pages(words: Any, memory: Any, places: Any, host: Any, seed: int) -> int:
    """Take pages at random away until told to stop, one of 64 times that which nobody reads. `memory` is the host's
    own mapping, as words.
    """
    random, works = seed, True
    while load_relaxed(words, places.stop) == 0 and works:
        for _ in range(host.gap):
            pause()
        random = xorshift(random)
        page = places.pages if (random >> 40) & 63 == 0 else page_of(random, places.pages)
        at = places.page + page * LINE_WORDS
        value = ((page + 1) << OWNER_SHIFT) + own(words, at + BEGUN) + 1
        works = prepare(words, places, host, page, value)
        holders = begin(words, places, page)
        too_early(words, memory, places, host, page)
        began = now(host.clock)
        works &= take(words, places, host, page)
        took = now(host.clock) - began
        if works:
            end(words, places, host, page, holders, took)
            works = give(words, memory, places, host, page, value)
    for page in range(places.pages + 1):
        close(words, places, page)
    return 0 if works else REFUSED


@functools.cache
def load_loops() -> SimpleNamespace:
    """Both sides' loops, `read_pages` and `take_pages`, compiled or from the cache."""
    return compiled("real", (read_pages, take_pages), {"places": Places._fields, "host": Host._fields})
