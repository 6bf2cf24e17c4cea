"""What a perturbed line does before a step, run by Python: when it yields, how long it is held up, what it counts."""

from types import FunctionType
from typing import Any, cast

import numpy as np
import pytest

from kernels.language.atomics import PYTHON
from kernels.language.worlds import World
from kernels.layout import DELAY_ODDS_SHIFT, DELAYED, MAX_SITES, RNG, SLEEPS, SLEPT_NS, SPUN_TICKS, YIELDED
from kernels.race import tally
from kernels.tdx.words import plan, zapper_actor

LAY = plan(1, 1, 1, 1)
ME, AT, CERTAIN = zapper_actor(LAY, 0).tally, LAY.perturb + 7, 1 << 16


class Machine:
    """The words of a machine; a clock that goes on by 10 ticks at each reading; what was yielded and slept."""

    def __init__(self) -> None:
        self.words, self.now, self.did = np.zeros(LAY.total_words, np.int64), 0, list[Any]()
        self.words[ME + RNG] = 88172645463325252
        world = World(PYTHON, lambda bound: bound)
        rebound = (world.rebound(cast(FunctionType, one)) for one in (tally.linger, tally.hold_up, tally.perturb))
        linger, hold_up, self._perturb = rebound
        linger.__globals__.update(timestamp=self._read, sleep_ns=lambda ns: self.did.append(ns), pause=lambda: None)
        self._perturb.__globals__.update(hold_up=hold_up)
        hold_up.__globals__.update(
            linger=linger,
            yield_cpu=lambda: self.did.append("yield"),
            xorshift=lambda random: int(tally.xorshift(np.int64(random))),  # shifted out of 64 bits as compiled
        )

    def _read(self) -> int:
        self.now += 10
        return self.now

    def declare(self, odds: int, least: int = 0, most: int = 0) -> None:
        self.words[[AT, AT + MAX_SITES, AT + 2 * MAX_SITES]] = odds, least, most

    def steps(self, count: int) -> None:
        for _ in range(count):
            self._perturb(self.words, AT, ME)

    def count(self, *counters: int) -> list[int]:
        return [int(self.words[ME + counter]) for counter in counters]


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_site_of_which_nothing_is_declared_draws_no_number(machine: Machine):
    machine.steps(3)

    assert (machine.did, machine.count(RNG)) == ([], [88172645463325252])


def test_a_yield_with_even_odds_comes_about_every_other_time(machine: Machine):
    """1,000 draws: 400 to 600 yields, 6 standard deviations; the same in every run."""
    machine.declare(CERTAIN // 2)
    machine.steps(1000)

    assert 400 < len(machine.did) < 600
    assert machine.count(YIELDED, DELAYED) == [len(machine.did), 0]


def test_a_certain_delay_spins_until_its_ticks_are_over(machine: Machine):
    machine.declare(CERTAIN << DELAY_ODDS_SHIFT, 500, 500)
    machine.steps(2)

    assert 2 * 500 <= machine.now <= 2 * 520
    assert machine.count(YIELDED, DELAYED, SPUN_TICKS, SLEPT_NS) == [0, 2, 1000, 0]


def test_a_delay_that_sleeps_is_drawn_from_its_least_to_its_most(machine: Machine):
    machine.declare((CERTAIN << DELAY_ODDS_SHIFT) + SLEEPS, 1000, 1003)
    machine.steps(200)

    assert set(machine.did) == {1000, 1001, 1002, 1003}
    assert machine.count(DELAYED, SPUN_TICKS, SLEPT_NS) == [200, 0, sum(machine.did)]
