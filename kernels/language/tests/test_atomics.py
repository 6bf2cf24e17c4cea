"""The primitives: one meaning raced, stepped and run by Python, and what two processes see of them."""

import mmap
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kernels.language import atomics
from kernels.language.atomics import (
    ACCESSES,
    bit_length,
    fetch_add_seq_cst,
    load_seq_cst,
    monotonic_ns,
    pause,
    store_seq_cst,
    timestamp,
    yield_cpu,
)
from kernels.language.compile import compiled
from kernels.language.entered import words_with_room
from kernels.language.llvm import SEEN_COUNT, SEEN_ROOM

ADDS = 500_000
TRIALS = 20_000
MOST_SPINS = 1 << 30

WAYS = ("raced", "stepped", "python")
# name, the word before, operands, what is returned (0 where nothing is), the word after
MEANINGS = [
    ("load_relaxed", 7, (), 7, 7),
    ("load_acquire", -7, (), -7, -7),
    ("load_seq_cst", 1 << 62, (), 1 << 62, 1 << 62),
    ("store_relaxed", 7, (-9,), 0, -9),
    ("store_release", 7, (-(1 << 63),), 0, -(1 << 63)),
    ("store_seq_cst", 7, ((1 << 63) - 1,), 0, (1 << 63) - 1),
    ("exchange_seq_cst", 7, (9,), 7, 9),
    ("fetch_add_seq_cst", 7, (-9,), 7, -2),
    ("fetch_add_seq_cst", (1 << 63) - 1, (1,), (1 << 63) - 1, -(1 << 63)),
    ("fetch_or_seq_cst", 0b0101, (0b0011,), 0b0101, 0b0111),
    ("fetch_or_seq_cst", 1, (-(1 << 63),), 1, 1 - (1 << 63)),
    ("fetch_and_seq_cst", 0b0101, (0b0011,), 0b0101, 0b0001),
    ("fetch_and_seq_cst", -1, (~(1 << 52),), -1, ~(1 << 52)),
    ("compare_exchange_seq_cst", 7, (7, 9), 7, 9),
    ("compare_exchange_seq_cst", 7, (8, 9), 7, 7),
    ("own", 7, (), 7, 7),
    ("set_own", 7, (9,), 0, 9),
]
OPERANDS = {name: len(operands) for name, _, operands, _, _ in MEANINGS}


@pytest.fixture(scope="module")
def accesses() -> dict[str, SimpleNamespace]:
    """By way, each primitive as a function of words, index and operands."""
    parameters = {name: ", ".join(("words", "index", *"ab"[:count])) for name, count in OPERANDS.items()}
    source = "\n".join(f"def {name}_({given}): return {name}({given})" for name, given in parameters.items())
    names, values = [f"{name}_" for name in OPERANDS], {name: getattr(atomics, name) for name in OPERANDS}
    raced, stepped = (compiled("accesses", names, {}, source, values, raced=raced) for raced in (True, False))
    return {"raced": raced, "stepped": stepped, "python": SimpleNamespace(**{f"{n}_": it for n, it in values.items()})}


def test_the_list_of_primitives_here_is_whole():
    assert {one.__name__ for one in ACCESSES} == {*OPERANDS, "prefetch_read", "prefetch_write"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "before", "operands", "returned", "after"), MEANINGS)
def test_an_access_means_the_same_every_way(accesses, way, name, before, operands, returned, after):
    words = words_with_room(3)
    words[:] = 111, before, 222

    got = getattr(accesses[way], f"{name}_")(words, 1, *operands)

    assert (got or 0) == returned
    assert words.tolist() == [111, after, 222]


def noted(words: np.ndarray) -> np.ndarray:
    """The room before the words."""
    assert words.base is not None
    return words.base[:SEEN_ROOM]


@pytest.mark.parametrize("name", OPERANDS)
def test_a_step_writes_down_the_word_of_its_access_before_the_words(accesses, name):
    words = words_with_room(5)
    for index in (4, 2):
        getattr(accesses["stepped"], f"{name}_")(words, index, *([1] * OPERANDS[name]))

    before = noted(words)
    assert before[SEEN_COUNT] == 2
    assert before[SEEN_COUNT - 2 :][:2].tolist() == [2, 4]
    assert not before[: SEEN_COUNT - 2].any()


def test_what_is_written_down_ends_where_the_room_does(accesses):
    words = words_with_room(1)
    for _ in range(SEEN_ROOM + 10):
        accesses["stepped"].own_(words, 0)

    assert noted(words)[SEEN_COUNT] == SEEN_ROOM - 2
    assert words.tolist() == [0]


def length(value):
    return bit_length(value)


def raw_clock():
    return monotonic_ns()


def backward(tries):
    found = 0
    for _ in range(tries):
        first = timestamp()
        for _ in range(50):
            pause()
        found += timestamp() <= first
    return found


def adds(words, times):
    for _ in range(times):
        fetch_add_seq_cst(words, 0, 1)


STORED, SEEN, BEGUN, ENDED = 0, 32, 64, 96  # the first two hold a word of each process, 16 words apart


def met(words, at, trial):
    fetch_add_seq_cst(words, at, 1)
    for spins in range(1, MOST_SPINS):
        if load_seq_cst(words, at) >= 2 * trial:
            return True
        if spins & 1023 == 0:
            yield_cpu()
    return False


def races(words, side, trials):
    both = 0
    for trial in range(1, trials + 1):
        if not met(words, BEGUN, trial):
            return -1
        store_seq_cst(words, STORED + 16 * side, trial)
        store_seq_cst(words, SEEN + 16 * side, load_seq_cst(words, STORED + 16 * (1 - side)))
        if not met(words, ENDED, trial):
            return -1
        both += load_seq_cst(words, SEEN) < trial and load_seq_cst(words, SEEN + 16) < trial
    return both


@pytest.fixture(scope="module")
def code() -> Any:
    """The functions above, compiled."""
    return compiled("primitives", (length, raw_clock, backward, adds, races), {})


def test_bit_length_counts_the_bits_of_an_integer(code):
    found = [code.length(value) for value in (0, 1, 2, 255, 256, (1 << 40) - 1, (1 << 63) - 1)]

    assert found == [0, 1, 2, 8, 9, 40, 63]


def test_clocks_go_forward_and_one_is_the_raw_monotonic_one(code):
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    inside = code.raw_clock()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)

    assert before <= inside <= after
    assert code.backward(1000) == 0


def shared_words(count: int) -> np.ndarray:
    """Zeroed int64 words that a forked process shares."""
    return np.frombuffer(mmap.mmap(-1, count * 8), np.int64)


def beside(child: Callable[[], object], parent: Callable[[], object]) -> None:
    """Run both at once, one of them in a forked process; fails where that ends with an error."""
    pid = os.fork()
    if pid == 0:
        try:
            child()
            os._exit(0)
        finally:
            os._exit(1)
    parent()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.processes
def test_contended_adds_of_two_processes_lose_none(code):
    """A million adds to one word. Not atomic, they lose some hundred thousand where two CPUs run them."""
    words = shared_words(1)

    beside(lambda: code.adds(words, ADDS), lambda: code.adds(words, ADDS))

    assert words[0] == 2 * ADDS


@pytest.mark.processes
def test_store_buffering_is_never_seen_with_seq_cst_stores(code):
    """Each process stores its own word and loads the other's; both loading the old value would be a buffered store.

    With plain stores 1 to 20 % of the trials show it where two CPUs run them: were the stores plain, 20,000 trials
    would pass with odds below 0.99 ** 20000. On a single CPU this can show nothing.
    Waits are bounded; a trial whose partner did not come ends the test with -1.
    """
    words, found = shared_words(128), []

    beside(lambda: code.races(words, 1, TRIALS), lambda: found.append(code.races(words, 0, TRIALS)))

    assert found == [0]
    assert words[ENDED] == 2 * TRIALS
