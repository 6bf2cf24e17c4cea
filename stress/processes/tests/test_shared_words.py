import numpy as np
import pytest

from stress.errors import HarnessFault
from stress.processes.shared_words import shared_words


def test_shared_words_are_zeroed_int64_on_a_line_of_their_own() -> None:
    words = shared_words(1000)

    assert (words.dtype, words.shape, int(words.sum())) == (np.int64, (1000,), 0)
    assert words.ctypes.data % 128 == 0


def test_more_memory_than_there_is_is_one_line() -> None:
    with pytest.raises(HarnessFault, match=r"no \d+ MiB of shared memory"):
        shared_words(1 << 55)
