"""The primitives: one meaning in three worlds, the typing rule's sentences, and what two processes see of them."""

import ctypes
import mmap
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from kernels.language import atomics
from kernels.language.atomics import ATOMIC, PLAIN, PYTHON, SEEN_COUNT, SEEN_ROOM
from kernels.language.compile import Native, engine_of
from kernels.language.entered import words_with_room
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import WORDS

bit_length: Any = atomics.bit_length
monotonic_ns: Any = atomics.monotonic_ns
pause: Any = atomics.pause
timestamp: Any = atomics.timestamp
yield_cpu: Any = atomics.yield_cpu

ADDS = 500_000
TRIALS = 20_000
MOST_SPINS = 1 << 30

OPERANDS = {
    "load_relaxed": 0,
    "load_acquire": 0,
    "load_seq_cst": 0,
    "store_relaxed": 1,
    "store_release": 1,
    "store_seq_cst": 1,
    "exchange_seq_cst": 1,
    "fetch_add_seq_cst": 1,
    "fetch_or_seq_cst": 1,
    "fetch_and_seq_cst": 1,
    "compare_exchange_seq_cst": 2,
    "own": 0,
    "set_own": 1,
}
WORLDS = ("atomic", "plain", "python")
# name, the word before, operands, what is returned, the word after
MEANINGS = [
    ("load_relaxed", 7, (), 7, 7),
    ("load_acquire", -7, (), -7, -7),
    ("load_seq_cst", 1 << 62, (), 1 << 62, 1 << 62),
    ("store_relaxed", 7, (-9,), None, -9),
    ("store_release", 7, (-(1 << 63),), None, -(1 << 63)),
    ("store_seq_cst", 7, ((1 << 63) - 1,), None, (1 << 63) - 1),
    ("exchange_seq_cst", 7, (9,), 7, 9),
    ("fetch_add_seq_cst", 7, (-9,), 7, -2),
    ("fetch_or_seq_cst", 0b0101, (0b0011,), 0b0101, 0b0111),
    ("fetch_or_seq_cst", 1, (-(1 << 63),), 1, 1 - (1 << 63)),
    ("fetch_and_seq_cst", 0b0101, (0b0011,), 0b0101, 0b0001),
    ("fetch_and_seq_cst", -1, (~(1 << 52),), -1, ~(1 << 52)),
    ("compare_exchange_seq_cst", 7, (7, 9), 7, 9),
    ("compare_exchange_seq_cst", 7, (8, 9), 7, 7),
    ("own", 7, (), 7, 7),
    ("set_own", 7, (9,), None, 9),
]


def compiled(primitive: Any, operands: int) -> Callable[..., Any]:
    """A jitted function that does one access and nothing else."""
    if operands == 0:
        return njit(lambda words, index: primitive(words, index))  # type: ignore[no-any-return]
    if operands == 1:
        return njit(lambda words, index, value: primitive(words, index, value))  # type: ignore[no-any-return]
    return njit(lambda words, index, expected, value: primitive(words, index, expected, value))  # type: ignore[no-any-return]


def noted(words: np.ndarray) -> np.ndarray:
    """The room before the words."""
    assert words.base is not None
    return words.base[:SEEN_ROOM]


def stepping(name: str, operands: int) -> Callable[..., Any]:
    """The same as step machines have it: index and operands stand in fields of the layout."""
    fields = ("vcpus", "zappers", "pages")[: 1 + operands]
    source = f"def access(td, lay, rules, me): return {name}(td, {', '.join(f'lay.{field}' for field in fields)})"
    native = Native(SHOOTDOWN.records, source, ATOMIC)
    entry = native.entry("access")
    engine = engine_of(native.text)
    enter = ctypes.CFUNCTYPE(ctypes.c_int64, *([ctypes.c_int64] * 8))(engine.get_function_address(entry))

    def access(words: np.ndarray, *given: int, engine: Any = engine) -> int | None:
        lay = np.array([*given, *[0] * len(WORDS.layout._fields)], np.int64)
        got = int(enter(words.ctypes.data, lay.ctypes.data, 0, 0, 0, 0, 0, 0))
        return None if "store" in name or name == "set_own" else got

    return access


@pytest.fixture(scope="module")
def accesses() -> dict[tuple[str, str], Callable[..., Any]]:
    """By world and name, each compiled once."""
    made: dict[tuple[str, str], Callable[..., Any]] = {}
    for name, count in OPERANDS.items():
        made["atomic", name] = compiled(ATOMIC[name], count)
        made["plain", name] = stepping(name, count)
        made["python", name] = PYTHON[name]
    return made


def test_the_list_of_primitives_here_is_whole():
    assert set(ATOMIC) == set(OPERANDS)
    assert set(OPERANDS) <= set(PLAIN)
    assert set(OPERANDS) <= set(PYTHON)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("name", "before", "operands", "returned", "after"), MEANINGS)
def test_an_access_means_the_same_in_every_world(accesses, world, name, before, operands, returned, after):
    words = words_with_room(3)
    words[:] = 111, before, 222

    got = accesses[world, name](words, 1, *operands)

    assert got == returned
    assert words.tolist() == [111, after, 222]


@pytest.mark.parametrize("name", OPERANDS)
def test_an_access_that_is_seen_writes_down_its_word_before_the_words(accesses, name):
    words = words_with_room(5)
    for index in (4, 2):
        accesses["plain", name](words, index, *([1] * OPERANDS[name]))

    before = noted(words)
    assert before[SEEN_COUNT] == 2
    assert before[SEEN_COUNT - 2 :][:2].tolist() == [2, 4]
    assert not before[: SEEN_COUNT - 2].any()


def test_what_is_written_down_ends_where_the_room_does(accesses):
    words = words_with_room(1)
    for _ in range(SEEN_ROOM + 10):
        accesses["plain", "own"](words, 0)

    assert noted(words)[SEEN_COUNT] == SEEN_ROOM - 2
    assert words.tolist() == [0]


READ_ONLY = np.zeros(4, np.int64)
READ_ONLY.flags.writeable = False
WRONG_WORDS = [
    (np.zeros(4), "found array(float64, 1d, C)"),
    (np.zeros(4, np.uint64), "found array(uint64, 1d, C)"),
    (np.zeros(4, np.int32), "found array(int32, 1d, C)"),
    (np.zeros((2, 2), np.int64), "found array(int64, 2d, C)"),
    (np.zeros(8, np.int64)[::2], "found array(int64, 1d, A)"),
    (READ_ONLY, "found readonly array(int64, 1d, C)"),
]


@pytest.mark.parametrize("name", ["load_acquire", "own"])
@pytest.mark.parametrize(("words", "found"), WRONG_WORDS)
def test_words_of_another_type_rank_or_layout_are_a_typing_error(accesses, name, words, found):
    said = f"{name}: words must be a writable C-contiguous one-dimensional int64 array, {found}"

    with pytest.raises(TypingError) as error:
        accesses["atomic", name](words, 0)

    assert said in str(error.value)


@pytest.mark.parametrize(("index", "found"), [(np.uint64(1), "uint64"), (1.0, "float64"), (True, "bool")])
def test_an_index_that_is_not_a_signed_integer_is_a_typing_error(accesses, index, found):
    with pytest.raises(TypingError) as error:
        accesses["atomic", "load_acquire"](np.zeros(4, np.int64), index)

    said = f"load_acquire: index and values must be signed integers of at most 64 bits, found {found}"
    assert said in str(error.value)


@pytest.mark.parametrize(("value", "found"), [(np.uint64(1), "uint64"), (1.0, "float64"), (True, "bool")])
def test_a_value_that_is_not_a_signed_integer_is_a_typing_error(accesses, value, found):
    with pytest.raises(TypingError) as error:
        accesses["atomic", "compare_exchange_seq_cst"](np.zeros(4, np.int64), 0, 0, value)

    said = f"compare_exchange_seq_cst: index and values must be signed integers of at most 64 bits, found {found}"
    assert said in str(error.value)


def test_a_small_signed_index_and_value_are_taken(accesses):
    words = np.zeros(4, np.int64)

    accesses["atomic", "store_release"](words, np.int32(2), np.int8(-3))

    assert words.tolist() == [0, 0, -3, 0]


def test_bit_length_counts_the_bits_of_an_integer():
    length = njit(lambda value: bit_length(value))

    assert [length(value) for value in (0, 1, 2, 255, 256, (1 << 40) - 1, (1 << 63) - 1)] == [0, 1, 2, 8, 9, 40, 63]


def test_bit_length_of_a_float_is_a_typing_error():
    length = njit(lambda value: bit_length(value))

    with pytest.raises(TypingError, match="bit_length: expected an integer, found float64"):
        length(1.0)


def test_a_pause_changes_nothing():
    @njit
    def waits(words):
        for _ in range(10):
            pause()
        return words[0]

    assert waits(np.array([7])) == 7


def test_timestamps_go_forward():
    @njit
    def backward(tries):
        found = 0
        for _ in range(tries):
            first = timestamp()
            for _ in range(50):
                pause()
            found += timestamp() <= first
        return found

    assert backward(1000) == 0


def test_monotonic_ns_is_the_raw_monotonic_clock():
    read = njit(lambda: monotonic_ns())
    read()

    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    inside = read()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)

    assert before <= inside <= after


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
def test_contended_adds_of_two_processes_lose_none():
    """A million adds to one word. Not atomic, they lose some hundred thousand where two CPUs run them."""
    add = ATOMIC["fetch_add_seq_cst"]

    @njit
    def adds(words, times):
        for _ in range(times):
            add(words, 0, 1)

    words = shared_words(1)
    adds(words, 0)

    beside(lambda: adds(words, ADDS), lambda: adds(words, ADDS))

    assert words[0] == 2 * ADDS


@pytest.mark.processes
def test_store_buffering_is_never_seen_with_seq_cst_stores():
    """Each process stores its own word and loads the other's; both loading the old value would be a buffered store.

    With plain stores 1 to 20 % of the trials show it where two CPUs run them: were the stores plain, 20,000 trials
    would pass with odds below 0.99 ** 20000. On a single CPU this can show nothing.
    Waits are bounded; a trial whose partner did not come ends the test with -1.
    """
    load, store, add = ATOMIC["load_seq_cst"], ATOMIC["store_seq_cst"], ATOMIC["fetch_add_seq_cst"]
    stored, seen, begun, ended = 0, 32, 64, 96  # the first two hold a word of each process, 16 words apart

    @njit
    def met(words, at, trial):
        add(words, at, 1)
        for spins in range(1, MOST_SPINS):
            if load(words, at) >= 2 * trial:
                return True
            if spins & 1023 == 0:
                yield_cpu()
        return False

    @njit
    def races(words, me, trials):
        both = 0
        for trial in range(1, trials + 1):
            if not met(words, begun, trial):
                return -1
            store(words, stored + 16 * me, trial)
            store(words, seen + 16 * me, load(words, stored + 16 * (1 - me)))
            if not met(words, ended, trial):
                return -1
            both += load(words, seen) < trial and load(words, seen + 16) < trial
        return both

    words = shared_words(128)
    races(words, 0, 0)
    found = []

    beside(lambda: races(words, 1, TRIALS), lambda: found.append(races(words, 0, TRIALS)))

    assert found == [0]
    assert words[ended] == 2 * TRIALS
