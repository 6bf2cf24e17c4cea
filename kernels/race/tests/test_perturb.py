"""What a perturbed line does before a step, run by Python: when it yields, how long it is held up, what it counts."""

from typing import Any

import numpy as np
import pytest

from kernels.layout import (
    COST,
    COSTS,
    DELAY_ODDS_SHIFT,
    DELAYED,
    MAX_SITES,
    RNG,
    SLEEPS,
    SLEPT_NS,
    SPREAD,
    SPREADS,
    SPUN_TICKS,
    YIELDED,
)
from kernels.race import tally
from kernels.tdx.words import plan, zapper_actor

LAY = plan(1, 1, 1, 1)
SITE, CERTAIN = 7, 1 << 16
ME, AT = zapper_actor(LAY, 0).tally, LAY.perturb + SITE


class Machine:
    """The words of a machine; a clock that goes on by 10 ticks at each reading; what was yielded and slept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.words, self.now, self.did = np.zeros(LAY.total_words, np.int64), 0, list[Any]()
        self.words[ME + RNG] = 88172645463325252
        monkeypatch.setattr(tally, "timestamp", self._read)
        monkeypatch.setattr(tally, "sleep_ns", self.did.append)
        monkeypatch.setattr(tally, "yield_cpu", lambda: self.did.append("yield"))
        compiled = tally.xorshift  # shifts out of 64 bits
        monkeypatch.setattr(tally, "xorshift", lambda random: int(compiled(np.int64(random))))

    def _read(self) -> int:
        self.now += 10
        return self.now

    def declare(self, odds: int, least: int = 0, most: int = 0) -> None:
        self.words[[AT, AT + MAX_SITES, AT + 2 * MAX_SITES]] = odds, least, most

    def steps(self, count: int) -> None:
        for _ in range(count):
            tally.perturb(self.words, LAY.perturb, SITE, ME)

    def count(self, *counters: int) -> list[int]:
        return [int(self.words[ME + counter]) for counter in counters]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


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


def test_a_cost_is_spun_at_every_step_with_lengths_spread_about_its_median(machine: Machine):
    """Two lengths, half of the quantiles each: of 100 draws 20 to 80 are long, 6 standard deviations; the same in every
    run.
    """
    machine.declare(COSTS)
    machine.words[AT + COST] = 1000
    machine.words[LAY.perturb + SPREAD : LAY.perturb + SPREAD + SPREADS] = [CERTAIN // 2, CERTAIN * 2] * (SPREADS // 2)
    lengths = []
    for _ in range(100):
        began = machine.now
        machine.steps(1)
        lengths.append(machine.now - began)

    assert set(lengths) == {500 + 10, 2000 + 10}  # and the reading with which it begins
    assert 20 <= lengths.count(2010) <= 80
    assert (machine.did, machine.count(YIELDED, DELAYED, SPUN_TICKS, SLEPT_NS)) == ([], [0, 0, 0, 0])


def test_a_cost_comes_behind_a_yield_at_the_same_step(machine: Machine):
    machine.declare(COSTS | CERTAIN)
    machine.words[AT + COST] = 100
    machine.words[LAY.perturb + SPREAD : LAY.perturb + SPREAD + SPREADS] = CERTAIN
    machine.steps(1)

    assert (machine.did, machine.now) == (["yield"], 110)
