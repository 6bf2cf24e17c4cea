"""Words that name zappers, renamed: each zapper's place in an order in place of its index. Compiled into a search."""

from kernels.search.fingerprint import place_in
from kernels.tdx.words import PAGE_BLOCKED, TAG_BITS


def page_with(plan, word, order):
    """The oracle's word of a page with its zapper's place in place of its index."""
    if word & 3 != PAGE_BLOCKED:
        return word
    return (word & ~(63 << 2)) | (place_in(plan, order, (word >> 2) & 63) << 2)


def stage_with(plan, word, order):
    """The same in a zapper's stage word."""
    if word == 0:
        return 0
    low = TAG_BITS + 2
    return (page_with(plan, word >> low, order) << low) | (word & ((1 << low) - 1))


def senders_with(plan, word, order):
    """The same for an IPI word, a bit each."""
    if word == 0 or order == 0:
        return word
    made = 0
    for zapper in range(plan.ending):
        made |= ((word >> zapper) & 1) << place_in(plan, order, zapper)
    return made
