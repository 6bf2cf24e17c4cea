"""The ring in which a traced actor keeps its last steps: what an entry holds, and all rings read in the order of time.

An entry is ENTRY_WORDS words: the ticks right behind the step; its label, the word << SITE_BITS | the site, and above
REPEAT_SHIFT how often the same step was taken again with the same result; what the step answered (what it wrote, where
it answers nothing); and its operand. What is no step has a `Mark` in the place of the site.

The ring of an actor has room for a power of two of entries and holds the last of them. Only the actor writes it: the
entry first, then the count of entries. So whoever reads behind a writer that was killed in the middle finds one slot
torn at most, the next in turn, and that one is never read. Read when the actors have stopped, or behind a freeze.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from kernels.layout import ENTRY_WORDS, TRACED, Layout, actors

SITE_BITS = 12
REPEAT_SHIFT = 48
MOST_REPEATS = (1 << 63 >> REPEAT_SHIFT) - 1
TICKS, LABEL, VALUE, OPERAND = range(ENTRY_WORDS)


class Mark(IntEnum):
    """What an entry is that is no step; sites are numbered from 1 and end far below."""

    STATUS = 4095  # of a SEAMCALL or TDCALL: its leaf in the place of the word, its status as value
    OUTCOME = 4094  # the outcome in the place of the word; the guest page as value, or -1
    OWN = 4093  # an endless actor wrote a word of its own, a TLB fill for example: the value
    FLUSHED = 4092  # the vCPU dropped its whole TLB
    LEFT = 4091  # the actor has left its goal: why as value


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a ring; `site` is a step's, or a `Mark`. `repeats`: how often the step was taken again at once."""

    actor: str  # "vcpu 0"
    ticks: int
    site: int
    word: int
    value: int
    operand: int
    repeats: int


def entries(words: NDArray[np.int64], lay: Layout) -> list[Entry]:
    """What all rings hold, oldest first; the entries of one actor stay in the order in which it wrote them."""
    found = [
        entry
        for place, (actor, _, me) in enumerate(actors(lay))
        for entry in _of_one(words, lay, actor, place, me.tally)
    ]
    return sorted(found, key=lambda entry: entry.ticks)


def _of_one(words: NDArray[np.int64], lay: Layout, actor: str, place: int, tally: int) -> Iterator[Entry]:
    start, size = lay.trace + place * lay.trace_stride, lay.trace_entries
    ring = words[start : start + size * ENTRY_WORDS].reshape(size, ENTRY_WORDS)
    end = int(words[tally + TRACED])
    latest = 0
    for number in range(max(0, end - size + 1), end):
        ticks, label, value, operand = map(int, ring[number & (size - 1)])
        latest = max(latest, ticks)  # the counters of two CPUs may differ by some ticks
        step = label & ((1 << REPEAT_SHIFT) - 1)
        yield Entry(
            actor, latest, step & ((1 << SITE_BITS) - 1), step >> SITE_BITS, value, operand, label >> REPEAT_SHIFT
        )
