"""The loops that measure a machine: each alone, two against each other in threads, and what they are compiled to."""

import itertools
import os
import re
import signal
import threading
from collections.abc import Callable

import numpy as np
import pytest

from kernels.language.compile import Native
from kernels.language.llvm import KICK_SIGNAL, THREAD_BITS
from kernels.layout import LINE_WORDS
from kernels.race import probes
from kernels.race.probes import Probes, load_probes, places
from kernels.race.ticks import Clock

TSC, MONOTONIC = int(Clock.TSC), int(Clock.MONOTONIC)
# Two threads on a CPU that others use, too: long enough for any test machine.
A_MINUTE_NS = 60 * 10**9


@pytest.fixture(scope="module")
def loops() -> Probes:
    return load_probes()


def both(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Run two loops at the same time; they hold no GIL."""
    other = threading.Thread(target=second)
    other.start()
    first()
    other.join(60)
    assert not other.is_alive()


def test_places_lie_behind_one_another_each_on_lines_of_its_own():
    where = places(balls=3, batches=20, cells=5)

    assert where == (0, 32, 64, 112, 176, 336, 368)
    assert all(start % LINE_WORDS == 0 for start in where)


@pytest.mark.parametrize("clock", [TSC, MONOTONIC])
def test_more_readings_of_the_clock_take_more_ticks(loops, clock):
    few, many = loops.read_clock(100, clock), loops.read_clock(100_000, clock)

    assert 0 < few < many
    assert 0 < loops.clock_step(100_000, clock) < many


def test_the_ball_goes_to_and_fro_as_often_as_asked_and_every_batch_has_a_time(loops):
    words = np.zeros(4 * LINE_WORDS, np.int64)
    done = []

    both(
        lambda: done.append(loops.ping(words, 0, LINE_WORDS, 5, 3, A_MINUTE_NS, MONOTONIC)),
        lambda: done.append(loops.pong(words, 0, 5, 3, A_MINUTE_NS, MONOTONIC)),
    )

    assert words[0] == 2 * 5 * 3
    assert sorted(done) == [5, 15]
    assert (words[LINE_WORDS : LINE_WORDS + 5] > 0).all()
    assert not words[LINE_WORDS + 5 :].any()


def test_a_ball_that_nobody_passes_or_gives_back_is_given_up(loops):
    words = np.zeros(2 * LINE_WORDS, np.int64)

    assert loops.pong(words, 0, 5, 3, 1000, MONOTONIC) == 0
    assert not words.any()
    assert loops.ping(words, 0, LINE_WORDS, 5, 3, 1000, MONOTONIC) == 0
    assert words[0] == 1
    assert not words[LINE_WORDS:].any()


def test_a_signal_to_a_thread_that_has_its_cpu_is_counted_and_takes_time(loops):
    words = np.zeros(3 * LINE_WORDS, np.int64)
    received, taken, other = [], [], os.getpid() << THREAD_BITS | threading.get_native_id()
    before = signal.signal(KICK_SIGNAL, lambda *_: received.append(1))

    def kick() -> None:
        taken.append(loops.kicks(words, LINE_WORDS, 5, A_MINUTE_NS, A_MINUTE_NS, other, MONOTONIC))
        words[0] = 1

    kicking = threading.Thread(target=kick)
    kicking.start()
    loops.beat(words, LINE_WORDS, 0, 1)
    kicking.join(60)
    signal.signal(KICK_SIGNAL, before)

    assert taken[0] > 0
    assert received


def test_who_has_no_cpu_is_not_interrupted_and_no_time_is_told(loops):
    words = np.zeros(LINE_WORDS, np.int64)

    assert loops.kicks(words, 0, 5, 1000, 1000, 0, MONOTONIC) == 0


def test_a_kick_behind_which_the_other_side_has_no_cpu_does_not_count(monkeypatch):
    """The loop itself, with another side that has its CPU before each call, and behind every second one alone."""
    has_its_cpu, ticks, called = itertools.cycle([True, True, True, False]), itertools.count(0, 10), []
    monkeypatch.setattr(probes, "moves", lambda *_: next(has_its_cpu))
    monkeypatch.setattr(probes, "now", lambda _: next(ticks))
    monkeypatch.setattr(probes, "membarrier", lambda: called.append(1))

    assert probes.kicks(np.zeros(1, np.int64), 0, 3, 1, 10_000, 0, TSC) == 3 * 10
    assert len(called) == 5


def test_nobody_leaves_a_meeting_before_the_other_has_come(loops):
    words = np.zeros(2 * LINE_WORDS, np.int64)
    left: list[str] = []

    def wait() -> None:
        loops.meet(words, 0, LINE_WORDS, 7)
        left.append("first")

    other = threading.Thread(target=wait)
    other.start()
    while words[0] != 7:
        pass
    before = list(left)
    loops.meet(words, LINE_WORDS, 0, 7)
    other.join(60)

    assert (before, left) == ([], ["first"])


@pytest.mark.parametrize("fenced", [0, 1])
def test_each_cell_is_stored_and_the_other_sides_cell_is_loaded(loops, fenced):
    words = np.zeros(8 * LINE_WORDS, np.int64)
    words[2 * LINE_WORDS], words[3 * LINE_WORDS] = 41, 43

    loops.store_then_load(words, 0, 2 * LINE_WORDS, 4 * LINE_WORDS, 2, 42, fenced)

    assert words[[0, LINE_WORDS]].tolist() == [42, 42]
    assert words[4 * LINE_WORDS : 4 * LINE_WORDS + 3].tolist() == [41, 43, 0]


@pytest.mark.processes
def test_with_a_fence_no_trial_has_both_sides_miss_the_others_store(loops):
    """The litmus test SB on two threads: a fence between store and load forbids it, so one miss in 51,200 fails."""
    cells, words = 256, np.zeros(2 * LINE_WORDS + 2 * 256 * LINE_WORDS + 2 * 256, np.int64)
    stored = (2 * LINE_WORDS, (2 + cells) * LINE_WORDS)
    seen = (2 + 2 * cells) * LINE_WORDS
    missed = []

    def side(mine: int) -> None:
        for number in range(1, 201):
            loops.meet(words, mine * LINE_WORDS, (1 - mine) * LINE_WORDS, 2 * number - 1)
            loops.store_then_load(words, stored[mine], stored[1 - mine], seen + mine * cells, cells, number, 1)
            loops.meet(words, mine * LINE_WORDS, (1 - mine) * LINE_WORDS, 2 * number)
            if mine == 0:
                missed.append(int((words[seen:].reshape(2, cells) < number).all(axis=0).sum()))

    both(lambda: side(0), lambda: side(1))

    assert missed == [0] * 200


def test_store_and_load_are_relaxed_and_only_a_fenced_trial_has_a_fence():
    native = Native({}, raced=True)
    native.exported(probes.store_then_load)

    accesses = re.findall(
        r"(?:load|store) atomic i64.* (monotonic|acquire|release|seq_cst),|\b(fence seq_cst)", native.text()
    )
    assert {order or fence for order, fence in accesses} == {"monotonic", "fence seq_cst"}
