"""Which shootdowns met a vCPU: a zapper that runs alone beside vCPUs whose modes a test sets, compiled as in a race."""

import numpy as np
import pytest

from kernels.layout import HIST_WORDS, Layout
from kernels.race import lines as race
from kernels.race.straight import BARE
from kernels.tdx.bits import Mode
from kernels.tdx.counters import (
    HEAD_WORDS,
    KICKS_MET,
    OUTCOME_MET,
    OUTCOME_SHOOTDOWNS,
    SHOOTDOWNS,
    SHOOTDOWNS_MET,
    ZAPPER_HISTS,
)
from kernels.tdx.outcomes import OUTCOMES, Outcome
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import Flow, Rules
from kernels.tdx.words import plan, zapper_actor
from kernels.tests.orders import SPEC

# A kick that nobody waits for: the vCPUs stand still.
ALONE = SPEC._replace(wait=0)
MET = 1 << OUTCOMES


class Zapped:
    """One page, or as many as `pages`, shot down beside vCPUs in these modes; `flags` is what the page kept before."""

    def __init__(self, *modes: int, rules: Rules = ALONE, pages: int = 1, flags: int = 0) -> None:
        self.lay: Layout = plan(len(modes), 1, pages, pages, flow=rules.flow)
        self.words = np.zeros(self.lay.total_words, np.int64)
        SHOOTDOWN.prepare(self.words, self.lay, rules, 1)
        for vcpu, mode in enumerate(modes):
            self.words[self.lay.mode + vcpu * self.lay.vcpu_stride] = mode
        self.words[self.lay.page_flags] = flags
        self.me = zapper_actor(self.lay, 0)
        race.load_one(protocol_of(Flow(rules.flow)), "zapper", BARE)(self.words, self.lay, rules, self.me)

    def head(self, counter: int) -> int:
        """A counter of the zapper."""
        return int(self.words[self.me.tally + counter])

    def flags(self) -> list[int]:
        """What each page has kept."""
        return [int(flags) for flags in self.words[self.lay.page_flags :][: self.lay.pages]]

    def samples(self, name: str) -> int:
        """How many durations a histogram holds."""
        start = self.me.tally + HEAD_WORDS + ZAPPER_HISTS.index(name) * HIST_WORDS
        return int(self.words[start : start + HIST_WORDS].sum())


@pytest.mark.parametrize(
    ("modes", "met"),
    [
        ([Mode.OUTSIDE_GUEST_MODE], 0),
        ([Mode.IN_GUEST_MODE], 1),
        ([Mode.EXITING_GUEST_MODE], 1),
        ([Mode.IN_GUEST_MODE, Mode.OUTSIDE_GUEST_MODE, Mode.EXITING_GUEST_MODE], 2),
    ],
)
def test_a_kick_counts_the_vcpus_that_it_finds_in_or_on_their_way_out_of_the_guest(modes: list[int], met: int):
    zapped = Zapped(*modes)

    assert (zapped.head(SHOOTDOWNS), zapped.head(KICKS_MET)) == (1, met)


@pytest.mark.parametrize(
    ("mode", "flags"), [(Mode.OUTSIDE_GUEST_MODE, 0), (Mode.IN_GUEST_MODE, MET), (Mode.EXITING_GUEST_MODE, MET)]
)
def test_a_page_keeps_whether_its_shootdown_met_a_vcpu(mode: int, flags: int):
    assert Zapped(mode).flags() == [flags]


def test_a_shootdown_that_met_two_vcpus_is_one_and_collected_once_by_the_next_of_its_page():
    zapped = Zapped(Mode.IN_GUEST_MODE, Mode.IN_GUEST_MODE, rules=ALONE._replace(shootdowns=3))

    assert (zapped.head(SHOOTDOWNS), zapped.head(KICKS_MET)) == (3, 6)
    assert (zapped.head(SHOOTDOWNS_MET), zapped.flags()) == (2, [MET])


def test_a_later_shootdown_that_meets_nobody_does_not_keep_what_an_earlier_one_met():
    zapped = Zapped(Mode.OUTSIDE_GUEST_MODE, rules=ALONE._replace(shootdowns=3), flags=MET)

    assert (zapped.head(SHOOTDOWNS_MET), zapped.flags()) == (1, [0])


@pytest.mark.parametrize("stale", ["stale_in_window", "stale_after_kick", "stale_after_done", "use_after_remove"])
def test_a_read_through_the_old_translation_has_met_the_shootdown_though_no_kick_did(stale: str):
    zapped = Zapped(Mode.OUTSIDE_GUEST_MODE, flags=1 << Outcome[stale])

    assert (zapped.head(SHOOTDOWNS_MET), zapped.head(KICKS_MET)) == (1, 0)
    assert (zapped.head(OUTCOME_SHOOTDOWNS + Outcome[stale]), zapped.head(OUTCOME_MET + Outcome[stale])) == (1, 1)


@pytest.mark.parametrize(("flags", "met"), [(0, 0), (MET, 1)])
def test_another_outcome_is_of_those_that_met_a_vcpu_only_where_the_kick_did(flags: int, met: int):
    busy = Outcome.operand_busy
    zapped = Zapped(Mode.OUTSIDE_GUEST_MODE, flags=flags | 1 << busy)

    assert (zapped.head(OUTCOME_SHOOTDOWNS + busy), zapped.head(OUTCOME_MET + busy)) == (1, met)
    assert zapped.head(SHOOTDOWNS_MET) == met


def test_every_page_of_a_batch_has_met_whom_its_kick_met():
    batch = ALONE._replace(flow=int(Flow.BATCH), batch=2)
    zapped = Zapped(Mode.IN_GUEST_MODE, rules=batch, pages=2)

    assert (zapped.head(SHOOTDOWNS), zapped.head(KICKS_MET), zapped.flags()) == (2, 1, [MET, MET])


@pytest.mark.parametrize(("mode", "met", "stamped"), [(Mode.OUTSIDE_GUEST_MODE, 0, 0), (Mode.IN_GUEST_MODE, 14, 2)])
def test_a_latency_and_its_phases_are_of_shootdowns_that_met_a_vcpu(mode: int, met: int, stamped: int):
    """Of 16 shootdowns 2 are stamped between their phases, the others from end to end."""
    zapped = Zapped(mode, rules=ALONE._replace(shootdowns=16))
    phases = "lock", "block", "kick_send", "kick_ack", "kick", "track", "remove", "stale_window"

    assert (zapped.samples("shootdown"), zapped.samples("shootdown_met")) == (14, met)
    assert {zapped.samples(phase) for phase in phases} == {stamped}
