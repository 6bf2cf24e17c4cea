import re
from typing import Any

import numpy as np
import pytest

from stress.errors import HarnessFault
from stress.processes.shared_words import checked, shared_words


def test_shared_words_are_zeroed_int64_on_a_line_of_their_own() -> None:
    words = shared_words(1000)

    assert (words.dtype, words.shape, int(words.sum())) == (np.int64, (1000,), 0)
    assert words.ctypes.data % 128 == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (np.zeros(8), "expected int64 of shape (8,), found float64 of (8,)"),
        (np.zeros(9, np.int64), "expected int64 of shape (8,), found int64 of (9,)"),
        (np.zeros(16, np.int64)[::2], "one writable piece"),
        (shared_words(64)[1:9], "an address that 128 divides"),
    ],
    ids=["another type", "another size", "every second word", "from the middle of a line"],
)
def test_an_array_of_another_kind_is_refused_with_what_was_found(words: Any, said: str) -> None:
    with pytest.raises(HarnessFault, match=re.escape(said)):
        checked(words, 8)


def test_more_memory_than_there_is_is_one_line() -> None:
    with pytest.raises(HarnessFault, match=r"no \d+ MiB of shared memory"):
        shared_words(1 << 55)
