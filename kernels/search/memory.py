"""The arrays of a search: reserved in address space, so that they need not be moved as they grow."""

import mmap

import numpy as np

from kernels.files import in_units
from kernels.search import state as own_words
from kernels.search import transitions as memo
from kernels.search.fingerprint import RELATIONS
from kernels.search.moves import Plan
from kernels.search.transitions import Memo

MAP_NORESERVE = 0x4000  # as in Linux on every architecture
LEAST_BITS = 10
# Of the words that a search may have, one thread's moves may have this part in each of their arrays.
PART = 16


def reserved(words: int) -> np.ndarray:
    """Zeroes in address space alone: the system gives memory as they are touched. Raises MemoryError."""
    try:
        space = mmap.mmap(-1, 8 * words, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    except OSError:
        raise MemoryError(f"{in_units(8 * words)} of address space for a search") from None
    return np.frombuffer(space, np.int64)


def zeroed(words: int) -> np.ndarray:
    """Zeroes that numpy asks huge pages for, which it does not for `zeros`: most of a probe is the page walk."""
    made = np.empty(words, np.int64)
    made.fill(0)
    return made


def memos(plan: Plan, threads: int, most_words: int) -> list[Memo]:
    """Room for the moves that each thread remembers, and for the actors' own words, which they share."""
    words = RELATIONS + max(plan.endless, plan.held)
    width = words + int((plan.stop - plan.start).max())
    part = max(most_words // PART, 1 << 16)
    bits = max(LEAST_BITS, (part // memo.EDGE_WORDS).bit_length() - 2)
    most_locals = part // width
    slot_bits = most_locals.bit_length() + 1
    common, locals_, slots = (
        np.zeros(own_words.COMMON, np.int64),
        reserved(most_locals * width),
        reserved(2 << slot_bits),
    )
    common[own_words.SLOT_BITS] = LEAST_BITS
    made = []
    for _ in range(threads):
        counters = np.zeros(memo.COUNTERS, np.int64)
        counters[memo.BITS] = LEAST_BITS
        counters[memo.POOL] = memo.EFFECT_WORDS + plan.shared * memo.WRITE_WORDS
        made.append(
            Memo(
                width=width,
                words=words,
                most_locals=most_locals,
                most_nodes=part // memo.NODE_WORDS,
                most_pool=part,
                most_bits=bits,
                common=common,
                locals=locals_,
                slots=slots,
                root=reserved(most_locals),
                nodes=reserved(part),
                edges=reserved(memo.EDGE_WORDS * (2 << bits)),
                pool=reserved(part),
                marks=np.zeros(plan.columns, np.int64),
                counters=counters,
            )
        )
    return made


def check(made: Memo) -> None:
    """Raise RuntimeError where a step machine did what no step may."""
    if made.common[own_words.STATE] & own_words.IMPOSSIBLE:
        raise RuntimeError("a step looked at other words than before in an equal state, or changed another actor's own")
