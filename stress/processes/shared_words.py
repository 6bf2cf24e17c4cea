"""The one shared mapping of a race: anonymous, so that nothing stands in /dev/shm and nothing can be left behind."""

import mmap

import numpy as np
from numpy.typing import NDArray

from stress.errors import HarnessFault

Words = NDArray[np.int64]

WORD_BYTES = 8


def shared_words(count: int) -> Words:
    """`count` zeroed int64 words, shape (count,), that a forked process shares; they begin with a page, so with a line.

    The mapping lives as long as the array does in any process. Raises HarnessFault where the memory is not to be had.
    """
    try:
        mapping = mmap.mmap(-1, count * WORD_BYTES)
    except OSError as error:
        raise HarnessFault(f"no {count * WORD_BYTES / 2**20:.0f} MiB of shared memory: {error.strerror}") from None
    return np.frombuffer(mapping, dtype=np.int64, count=count)
