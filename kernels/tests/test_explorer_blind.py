"""A blind spot planted in the explorer is caught: what these comparisons say where two accesses are taken for one."""

import pytest

from kernels import breadth, plans
from kernels.explorer import Size, explore
from kernels.language import Site
from kernels.tests.naive import StepMachine, search
from kernels.tests.orders import NO_WAIT

SIZE = Size(1, 1)
READING = {
    "guest.load_relaxed_owner",
    "walk_to_leaf.load_acquire_sept",
    "fill_and_read.load_relaxed_owner",
    "grade.load_acquire_stage",
    "grade.load_relaxed_owner",
}


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An explorer that takes a guest's read together with its look for an IPI, as if reading were a choice."""
    really = plans.is_a_choice

    def or_a_read(site: Site | None) -> bool:
        return really(site) or (site is not None and site.name in READING)

    monkeypatch.setattr(plans, "is_a_choice", or_a_read)
    monkeypatch.setattr(breadth, "is_a_choice", or_a_read)


def test_a_guest_that_looked_just_before_a_kick_which_does_not_wait_reads_on():
    assert "stale_after_done" in search(StepMachine(NO_WAIT, SIZE)).outcomes
    assert "stale_after_done" in explore(NO_WAIT, SIZE, threads=1, liveness=False).outcomes


@pytest.mark.usefixtures("blind")
def test_an_explorer_that_takes_the_look_and_the_read_for_one_loses_that_outcome():
    found = explore(NO_WAIT, SIZE, threads=1, liveness=False)

    assert found.complete
    assert search(StepMachine(NO_WAIT, SIZE)).outcomes.keys() - found.outcomes.keys() == {"stale_after_done"}
