"""Rings read back: everybody's last entries in the order of time, none of them torn."""

import numpy as np
import pytest

from kernels.layout import TRACED, Layout
from kernels.race.ring import REPEAT_SHIFT, SITE_BITS, Entry, entries
from kernels.tdx.words import plan, vcpu_actor, zapper_actor

SIZE = 4


class Rings:
    """The rings of two vCPUs and one zapper, written as an actor writes them."""

    def __init__(self) -> None:
        self.lay: Layout = plan(2, 1, 1, 1, trace=SIZE)
        self.words = np.zeros(self.lay.total_words, np.int64)

    def write(self, place: int, ticks: int, label: int = 1, value: int = 0, operand: int = 0) -> None:
        """An entry of vCPU 0, vCPU 1 or, at place 2, the zapper."""
        tally = (vcpu_actor(self.lay, place) if place < 2 else zapper_actor(self.lay, 0)).tally
        written = int(self.words[tally + TRACED])
        at = self.lay.trace + place * self.lay.trace_stride + (written % SIZE) * 4
        self.words[at : at + 4] = ticks, label, value, operand
        self.words[tally + TRACED] = written + 1

    def ticks(self, actor: str) -> list[int]:
        return [entry.ticks for entry in self.read() if entry.actor == actor]

    def read(self) -> list[Entry]:
        return entries(self.words, self.lay)


@pytest.fixture
def rings() -> Rings:
    return Rings()


def test_empty_rings_hold_nothing(rings):
    assert rings.read() == []


def test_an_entry_is_read_as_it_was_written(rings):
    rings.write(2, 50, 3 << REPEAT_SHIFT | 700 << SITE_BITS | 9, -1, 5)

    assert rings.read() == [Entry("zapper 0", ticks=50, site=9, word=700, value=-1, operand=5, repeats=3)]


def test_entries_of_all_actors_stand_in_the_order_of_time(rings):
    for place, ticks in ((0, 10), (0, 40), (1, 20), (2, 30)):
        rings.write(place, ticks)

    assert [(entry.actor, entry.ticks) for entry in rings.read()] == [
        ("vcpu 0", 10),
        ("vcpu 1", 20),
        ("zapper 0", 30),
        ("vcpu 0", 40),
    ]


@pytest.mark.parametrize(("written", "read"), [(2, [1, 2]), (6, [4, 5, 6])])
def test_an_entry_torn_by_a_kill_is_not_read(rings, written, read):
    """It is the slot that is next in turn: of a full ring that one is never read."""
    for ticks in range(1, written + 1):
        rings.write(1, ticks)
    torn = rings.lay.trace + rings.lay.trace_stride + (written % SIZE) * 4
    rings.words[torn] = 999

    assert rings.ticks("vcpu 1") == read


def test_an_actor_whose_clock_went_back_keeps_its_order(rings):
    """It was moved to a CPU whose counter is some ticks behind."""
    for ticks, label in ((100, 1), (98, 2), (99, 3)):
        rings.write(0, ticks, label)

    assert [(entry.site, entry.ticks) for entry in rings.read()] == [(1, 100), (2, 100), (3, 100)]
