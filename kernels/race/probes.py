"""What memory and clock of a machine cost, in loops as tight as the actors' own: no actor, no step, no protocol.

`ping` and `pong` pass one line of memory to and fro between two CPUs; `store_then_load` is the litmus test SB (store
buffering: both sides store, then load what the other stores); `read_clock` pays for timestamps, `kicks` for the system
calls that interrupt another CPU, on which `beat` runs. Two processes that share the words run a pair of them, each
pinned to a CPU of its own; `meet` brings both to the start of the next one. The words: every word that one side writes
has a line of its own.
"""

import functools
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.language.atomics import (
    fence_seq_cst,
    load_acquire,
    load_relaxed,
    membarrier,
    monotonic_ns,
    set_own,
    signal_thread,
    store_relaxed,
    store_release,
    timestamp,
    yield_cpu,
)
from kernels.language.compile import compiled
from kernels.layout import LINE_WORDS

Words = NDArray[np.int64]
Probes = SimpleNamespace  # the loops below, compiled

# So many turns of a waiting loop between two looks at the clock, or before the CPU is given away.
PATIENCE = 1024


class Places(NamedTuple):
    """Offsets of the words that two processes share, for so many balls, batches of each and cells."""

    met: int  # two lines: what each side has come to
    told: int  # two lines: what each side has to say beside
    balls: int  # a line each
    ticks: int  # a word for each batch of each ball
    stored: int  # a line for each cell, of the first side and then of the second
    seen: int  # a word for each cell: what the first side loaded, then the second
    total_words: int


def places(balls: int, batches: int, cells: int) -> Places:
    """The layout; sizes from 1."""
    lines = (2, 2, balls, -(-balls * batches // LINE_WORDS), 2 * cells, 2 * -(-cells // LINE_WORDS))
    return Places(*(LINE_WORDS * sum(lines[:place]) for place in range(len(lines) + 1)))


def now(clock: int) -> int:
    """Ticks of one of the clocks of `kernels/race/ticks.py`."""
    return timestamp() if clock == 0 else monotonic_ns()


def read_clock(readings: int, clock: int) -> int:
    """Ticks that so many readings take."""
    began = now(clock)
    last = began
    for _ in range(readings):
        last = now(clock)
    return last - began


def clock_step(readings: int, clock: int) -> int:
    """The smallest step between two of so many readings that differ (0: none did)."""
    last, smallest = now(clock), 0
    for _ in range(readings):
        tick = now(clock)
        if tick > last and (smallest == 0 or tick - last < smallest):
            smallest = tick - last
        last = tick
    return smallest


def moves(words: Words, beats: int, most: int, clock: int) -> bool:
    """Whether the other side, in `beat`, has its CPU now, or gets it within so many ticks."""
    began, before = now(clock), load_relaxed(words, beats)
    while load_relaxed(words, beats) == before:
        if now(clock) - began > most:
            return False
    return True


def kicks(words: Words, beats: int, times: int, soon: int, most: int, thread: int, clock: int) -> int:
    """Ticks that so many interruptions of the other side take, by a signal to this thread, or where it is 0 by
    membarrier(2). Counted is a call before which it had its CPU, and within `soon` ticks behind: who has none is not
    interrupted, and the call returns at once. 0 where one is refused, or `most` ticks did not have so many.
    """
    began, taken, counted = now(clock), 0, 0
    while counted < times:
        if not moves(words, beats, most, clock) or now(clock) - began > most:
            return 0
        called = now(clock)
        refused = signal_thread(thread) if thread else membarrier()
        back = now(clock)
        if refused:
            return 0
        if moves(words, beats, soon, clock):
            taken += back - called
            counted += 1
    return taken


def beat(words: Words, beats: int, theirs: int, number: int) -> None:
    """Move the word all the time, for `kicks`, until the other side has come to this meeting."""
    turns = 0
    while load_acquire(words, theirs) < number:  # pairs with meet's store_release
        turns += 1
        store_relaxed(words, beats, turns)


def meet(words: Words, mine: int, theirs: int, number: int) -> None:
    """Wait until the other side has come to this meeting, too. Numbers grow."""
    store_release(words, mine, number)
    turns = 0
    while load_acquire(words, theirs) < number:  # pairs with the other side's store_release
        turns += 1
        if turns % PATIENCE == 0:
            yield_cpu()


def ping(words: Words, ball: int, ticks: int, batches: int, rounds: int, most: int, clock: int) -> int:
    """Pass the ball and wait for it `rounds` times a batch; ticks of each batch go into the words from `ticks`.

    Returns the batches done: fewer where all took longer than `most` ticks, as when the other side has lost its CPU.
    """
    began = now(clock)
    value, mark = 0, began
    for batch in range(batches):
        for _ in range(rounds):
            store_release(words, ball, value + 1)
            turns = 0
            while load_acquire(words, ball) != value + 2:  # pairs with pong's store_release
                turns += 1
                if turns % PATIENCE == 0:
                    if now(clock) - began > most:
                        return batch
            value += 2
        tick = now(clock)
        set_own(words, ticks + batch, tick - mark)
        mark = tick
    return batches


def pong(words: Words, ball: int, batches: int, rounds: int, most: int, clock: int) -> int:
    """Give the ball back as often as `ping` passes it, or for about `most` ticks. Returns how often."""
    began = now(clock)
    for passed in range(batches * rounds):
        turns = 0
        while load_acquire(words, ball) != 2 * passed + 1:  # pairs with ping's store_release
            turns += 1
            if turns % PATIENCE == 0:
                if now(clock) - began > most:
                    return passed
        store_release(words, ball, 2 * passed + 2)
    return batches * rounds


def store_then_load(words: Words, mine: int, theirs: int, seen: int, cells: int, number: int, fenced: int) -> None:
    """SB, `cells` times: store `number` into a line of `mine`, then load the same line of `theirs`.

    What was loaded goes into the words from `seen`: below `number` it missed the other side's store. Both sides may
    miss, unless a fence (`fenced`) stands between. Numbers grow from call to call, so that nothing has to be cleared.
    """
    for cell in range(cells):
        store_relaxed(words, mine + cell * LINE_WORDS, number)
        if fenced:
            fence_seq_cst()
        set_own(words, seen + cell, load_relaxed(words, theirs + cell * LINE_WORDS))


@functools.cache
def load_probes() -> Probes:
    """The loops above, compiled or from the cache; each runs without the GIL."""
    return compiled("probes", (read_clock, clock_step, kicks, beat, meet, ping, pong, store_then_load), {})
