"""When a zapper's next shootdown is due, run by Python on a clock of the test's own."""

from typing import Any

import numpy as np
import pytest

from kernels.layout import NEXT_START, RNG
from kernels.tdx import tally
from kernels.tdx.rules import Rules
from kernels.tdx.words import plan, zapper_actor

LAY = plan(1, 2, 2, 1)
PERIOD = 1000
OPEN = Rules(*([0] * len(Rules._fields)))._replace(period=PERIOD)


class Turns:
    """The words of two zappers; a clock that goes on by 1 tick at each reading."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.words, self.now = np.zeros(LAY.total_words, np.int64), 12_345
        for place in range(2):
            self.words[zapper_actor(LAY, place).tally + RNG] = 88172645463325252 + place
        monkeypatch.setattr(tally, "now", self._read)
        compiled = tally.xorshift  # shifts out of 64 bits
        monkeypatch.setattr(tally, "xorshift", lambda random: int(compiled(np.int64(random))))

    def _read(self, *_: Any) -> int:
        self.now += 1
        return self.now

    def due(self, rules: Rules, zapper: int) -> int:
        return int(tally.wait_turn(self.words, LAY, rules, zapper_actor(LAY, zapper)))


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    return Turns(monkeypatch)


def test_turns_are_a_period_apart_from_the_first_arrival(turns: Turns):
    first = turns.due(OPEN, 0)

    assert (first, [turns.due(OPEN, 0) for _ in range(2)]) == (12_346, [13_346, 14_346])


def test_without_start_offsets_no_number_is_drawn(turns: Turns):
    before = turns.words[zapper_actor(LAY, 0).tally + RNG]
    turns.due(OPEN, 0)

    assert turns.words[zapper_actor(LAY, 0).tally + RNG] == before


def test_with_start_offsets_all_zappers_are_due_at_one_time_whenever_they_arrive(turns: Turns):
    together = OPEN._replace(start_offsets=1)
    first = turns.due(together, 0)

    assert (first, turns.now >= 13_000) == (13_000, True)
    assert [turns.due(together, 0), turns.due(together, 1)] == [14_000, 15_000]


def test_each_turn_is_put_off_by_a_length_drawn_anew_from_the_actors_own_seed(turns: Turns):
    """200 of 16 lengths: the odds that one of the ends does not come are 5 in a million; the same in every run."""
    put_off = OPEN._replace(start_offset=100, start_offsets=16)
    drawn = [[turns.due(put_off, zapper) % PERIOD for _ in range(200)] for zapper in range(2)]

    assert drawn[0] != drawn[1]
    assert (min(drawn[0]), max(drawn[0])) == (100, 115)


def test_a_turn_that_is_put_off_puts_off_no_later_one(turns: Turns):
    turns.due(OPEN._replace(start_offset=900, start_offsets=1), 0)

    assert turns.words[zapper_actor(LAY, 0).tally + NEXT_START] == 14_000
