"""The readers' oracle, one content of a page at a time, and the host's bookkeeping, without a race."""

import mmap
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.layout import HIST_WORDS, LINE_WORDS
from kernels.race.ticks import NS_SHIFT
from kernels.real.loops import REFUSED, load_loops
from kernels.real.words import (
    BEGUN,
    DONE,
    MET,
    PAGE_BYTES,
    SEEN,
    SHOOTDOWNS,
    SLOT,
    SOMEBODY_ELSE,
    Host,
    Places,
    Way,
    content,
    places,
)

Words = NDArray[np.int64]
PAGES = 4
# What is begun and done of the page, what stands in it, and what reading that is.
CONTENTS = [
    (7, 7, content(0, 7), "fresh"),
    (7, 6, content(0, 7), "fresh"),
    (7, 6, content(0, 8), "fresh"),
    (7, 6, content(0, 6), "stale_in_window"),
    (7, 7, content(0, 6), "stale_after_done"),
    (7, 6, content(0, 5), "stale_after_done"),
    (7, 7, 0, "fault"),
    (7, 7, content(1, 7), "use_after_remove"),
    (7, 6, SOMEBODY_ELSE, "use_after_remove"),
]


@pytest.fixture
def ground() -> Iterator[tuple[Words, Places, int, int]]:
    """Words, their places, the pages' file with generation 1 of each, and the file of somebody else."""
    where = places(readers=1, pages=PAGES)
    words = np.zeros(where.total_words, np.int64)
    file, others = os.memfd_create("pages"), os.memfd_create("others")
    os.ftruncate(file, (PAGES + 2) * PAGE_BYTES)
    os.ftruncate(others, (PAGES + 1) * PAGE_BYTES)
    for page in range(PAGES + 1):
        os.pwrite(file, content(page, 1).to_bytes(8, "little"), page * PAGE_BYTES)
        line = where.page + page * LINE_WORDS
        words[line + BEGUN] = words[line + DONE] = 1
        words[line + SLOT] = page
    words[where.spare] = PAGES + 1
    yield words, where, file, others
    os.close(file)
    os.close(others)


def run(words: Words, where: Places, word: int, *work: object) -> int:
    """A compiled loop in a thread, told to stop once a word has moved; what it returns."""
    loop, *arguments = work
    returned: list[int] = []
    thread = threading.Thread(target=lambda: returned.append(loop(*arguments)))  # type: ignore[operator]
    thread.start()
    while thread.is_alive() and words[word] == 0:
        time.sleep(0.001)
    words[where.stop] = 1
    thread.join()
    return returned[0]


@pytest.mark.parametrize(("begun", "done", "value", "outcome"), CONTENTS)
def test_a_read_is_told_by_what_was_published_before_it(begun: int, done: int, value: int, outcome: str) -> None:
    where = places(readers=1, pages=1)
    words, memory = np.zeros(where.total_words, np.int64), np.full(PAGE_BYTES // 8, value)
    words[where.page + BEGUN], words[where.page + DONE] = begun, done
    of_it = where.reader + SEEN.index(outcome)
    run(words, where, of_it, load_loops().read_pages, words, memory, where, 0, 3)

    counted = dict(zip(SEEN, words[where.reader :].tolist(), strict=False))
    assert {name for name, reads in counted.items() if reads} == {outcome}
    own = outcome in ("fresh", "stale_in_window", "stale_after_done")
    assert words[where.seen] == (value - content(0, 0) if own else 0)


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("holds", [True, False])
def test_the_host_puts_a_later_generation_into_every_page_and_counts_whom_it_met(
    ground: tuple[Words, Places, int, int], way: Way, holds: bool
) -> None:
    words, where, file, others = ground
    memory = np.frombuffer(mmap.mmap(file, (PAGES + 1) * PAGE_BYTES), dtype=np.int64)
    words[where.seen : where.seen + PAGES] = int(holds)  # the reader has read generation 1, and nothing since
    other = others if way == Way.hole else memory.ctypes.data
    host = words, memory, where, Host(int(way), words.ctypes.data, file, other, 0, 1 << NS_SHIFT, 0, 0), 5
    returned = run(words, where, where.host + SHOOTDOWNS, load_loops().take_pages, *host)

    lines = words[where.page : where.seen - LINE_WORDS].reshape(PAGES + 1, LINE_WORDS)
    shootdowns = int(words[where.host + SHOOTDOWNS])
    timed = words[where.histograms : where.histograms + 2 * HIST_WORDS].reshape(2, HIST_WORDS).sum(axis=1)
    gone = int((lines[:PAGES, DONE] > 1).sum())
    assert returned == 0
    assert memory[:: PAGE_BYTES // 8].tolist() == [content(page, int(lines[page, DONE])) for page in range(PAGES + 1)]
    assert (lines[:, DONE] == lines[:, BEGUN]).all()
    assert int((lines[:, DONE] - 1).sum()) == shootdowns
    assert words[where.host + MET] == timed[1] == (gone if holds else 0)
    assert timed.sum() == shootdowns


@pytest.mark.parametrize("way", Way)
def test_a_host_whose_call_is_refused_ends_with_a_code_of_its_own(
    ground: tuple[Words, Places, int, int], way: Way
) -> None:
    words, where, _, others = ground
    memory = np.zeros((PAGES + 1) * PAGE_BYTES // 8, np.int64)
    host = words, memory, where, Host(int(way), words.ctypes.data, -1, others, 0, 1 << NS_SHIFT, 0, 0), 5

    assert run(words, where, where.host + SHOOTDOWNS, load_loops().take_pages, *host) == REFUSED
