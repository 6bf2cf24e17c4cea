import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stress.processes.own_time import EVERY_S, OwnTime, Spell, own_share

FIRST, SECOND, BOTH = frozenset({0}), frozenset({1}), frozenset({0, 1})
NONE_IDLE = {0: 0.0, 1: 0.0}


def test_all_time_counts_for_who_spins_with_a_cpu_to_itself() -> None:
    assert own_share(2.0, [Spell(FIRST, 2.0, 0.0)], NONE_IDLE) == 1.0


def test_what_others_held_of_the_only_cpu_does_not_count() -> None:
    assert own_share(2.0, [Spell(FIRST, 0.5, 1.5)], NONE_IDLE) == 0.25


def test_all_time_counts_for_who_neither_runs_nor_waits() -> None:
    assert own_share(2.0, [Spell(FIRST, 0.0, 0.0), Spell(BOTH, 0.0, 0.0)], NONE_IDLE) == 1.0


def test_all_time_counts_for_workers_that_wait_for_each_other() -> None:
    assert own_share(2.0, [Spell(FIRST, 0.5, 1.5), Spell(FIRST, 1.25, 0.75), Spell(FIRST, 0.25, 1.75)], {0: 0.0}) == 1.0


def test_workers_that_share_a_cpu_with_others_lose_what_these_got() -> None:
    assert own_share(2.0, [Spell(FIRST, 0.75, 1.25), Spell(FIRST, 0.25, 1.75)], NONE_IDLE) == 0.5


def test_where_workers_got_least_decides() -> None:
    spells = [Spell(FIRST, 2.0, 0.0), Spell(SECOND, 0.2, 1.8), Spell(BOTH, 0.0, 0.0)]

    assert own_share(2.0, spells, NONE_IDLE) == pytest.approx(0.1)


def test_workers_that_wake_together_on_an_idle_machine_lose_nothing() -> None:
    spells = [Spell(FIRST, 0.25, 0.0), Spell(FIRST, 0.25, 0.75), Spell(FIRST, 0.25, 1.25)]

    assert own_share(2.0, spells, {0: 1.25, 1: 2.0}) == 1.0


def test_two_cpus_are_all_that_three_workers_can_want() -> None:
    spells = [Spell(BOTH, 1.0, 1.0), Spell(BOTH, 1.0, 1.0), Spell(BOTH, 1.0, 1.0)]

    assert own_share(2.0, spells, NONE_IDLE) == 0.75


def test_a_short_wait_of_who_mostly_sleeps_costs_no_more_than_itself() -> None:
    assert own_share(2.0, [Spell(FIRST, 0.25, 0.5)], NONE_IDLE) == 0.75


def test_a_wait_that_began_before_costs_no_more_than_all() -> None:
    assert own_share(2.0, [Spell(FIRST, 0.5, 7.5)], NONE_IDLE) == 0.25


def test_a_twentieth_counts_of_who_gives_its_cpu_away_all_the_time() -> None:
    assert own_share(2.0, [Spell(FIRST, 0.002, 1.998)], NONE_IDLE) == 0.05


@contextmanager
def spinning(count: int) -> Iterator[list[int]]:
    """So many processes that keep one CPU busy, the same for all."""
    cpu = min(os.sched_getaffinity(0))
    pids = []
    try:
        for _ in range(count):
            if (pid := os.fork()) == 0:
                os.sched_setaffinity(0, {cpu})
                while True:
                    pass
            pids.append(pid)
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def until_counted(own: OwnTime, seconds: float) -> float:
    """How long that takes."""
    began = time.monotonic()
    while own.seconds < seconds:
        time.sleep(EVERY_S / 4)
        own.advance()
    return time.monotonic() - began


@pytest.mark.processes
def test_beside_three_others_on_its_cpu_a_fourth_or_so_of_the_time_is_a_workers_own() -> None:
    with spinning(4) as (worker, *_):
        until_counted(own := OwnTime(lambda: [worker]), 0.2)
        before, began = own.seconds, time.monotonic()
        until_counted(own, before + 0.5)
        share = (own.seconds - before) / (time.monotonic() - began)

    # No more than a third, whatever else is busy: the scheduler is fair to within a tenth over a second.
    assert 0 < share < 1 / 3
