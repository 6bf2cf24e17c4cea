import numpy as np
import pytest

from stress.errors import HarnessFault
from stress.processes.shared_words import checked, shared_words


def test_shared_words_are_zeroed_int64_on_a_line_of_their_own() -> None:
    words = shared_words(1000)

    assert (words.dtype, words.shape, int(words.sum())) == (np.int64, (1000,), 0)
    assert words.ctypes.data % 128 == 0


def test_an_array_of_another_type_is_refused_with_what_was_found() -> None:
    with pytest.raises(HarnessFault, match=r"expected int64 of shape \(8,\), found float64 of \(8,\)"):
        checked(np.zeros(8), 8)  # type: ignore[arg-type]


def test_an_array_of_another_size_is_refused() -> None:
    with pytest.raises(HarnessFault, match=r"expected int64 of shape \(8,\), found int64 of \(9,\)"):
        checked(np.zeros(9, np.int64), 8)


def test_every_second_word_of_an_array_is_refused() -> None:
    with pytest.raises(HarnessFault, match="one writable piece"):
        checked(np.zeros(16, np.int64)[::2], 8)


def test_an_array_that_starts_in_the_middle_of_a_line_is_refused() -> None:
    words = shared_words(64)

    with pytest.raises(HarnessFault, match="an address that 128 divides"):
        checked(words[1:9], 8)


def test_more_memory_than_there_is_is_one_line() -> None:
    with pytest.raises(HarnessFault, match=r"no \d+ MiB of shared memory"):
        shared_words(1 << 55)
