"""The one shared mapping of a race: anonymous, so that nothing stands in /dev/shm and nothing can be left behind."""

import mmap

import numpy as np
from numpy.typing import NDArray

from kernels.layout import LINE_WORDS
from stress.errors import HarnessFault

Words = NDArray[np.int64]

WORD_BYTES = 8
LINE_BYTES = LINE_WORDS * WORD_BYTES


def shared_words(count: int) -> Words:
    """`count` zeroed int64 words, shape (count,), that a forked process shares; aligned to a line of 128 bytes.

    The mapping lives as long as the array does in any process. Raises HarnessFault where the memory is not to be had.
    """
    try:
        mapping = mmap.mmap(-1, count * WORD_BYTES)
    except OSError as error:
        raise HarnessFault(f"no {count * WORD_BYTES / 2**20:.0f} MiB of shared memory: {error.strerror}") from None
    words = np.frombuffer(mapping, dtype=np.int64, count=count)
    checked(words, count)
    return words


def checked(words: Words, count: int) -> None:
    """What jitted code takes for granted: an int64 vector of this size, in one piece, writable, each line on its own.

    Raises HarnessFault otherwise: an access outside of it would be an answer of garbage, not an error.
    """
    if words.dtype != np.int64 or words.ndim != 1 or words.size != count:
        raise HarnessFault(f"shared words: expected int64 of shape ({count},), found {words.dtype} of {words.shape}")
    if not (words.flags.c_contiguous and words.flags.writeable):
        raise HarnessFault("shared words: expected one writable piece of memory")
    if words.ctypes.data % LINE_BYTES:
        raise HarnessFault(f"shared words: expected an address that {LINE_BYTES} divides, found {words.ctypes.data:#x}")
