"""A blind spot planted in the explorer is caught: what these comparisons say where two accesses are taken for one."""

import pytest

from kernels.language.syntax import Site
from kernels.search import breadth_first as breadth
from kernels.search import tables as plans
from kernels.search.explore import explore
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Fault
from kernels.tests.naive import StepMachine, search
from kernels.tests.orders import NO_WAIT

SIZE = Size(1, 1)
UNLOCKED = NO_WAIT._replace(faults=int(Fault.ENTRY_WITHOUT_EPOCH_LOCK))
COUNTING = "vp_enter.fetch_add_seq_cst_epoch_tracking"


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An explorer that takes an entry's count together with its sample of the epoch, as if counting were a choice."""
    really = plans.is_a_choice

    def or_a_count(site: Site | None) -> bool:
        return really(site) or (site is not None and site.name == COUNTING)

    monkeypatch.setattr(plans, "is_a_choice", or_a_count)
    monkeypatch.setattr(breadth, "is_a_choice", or_a_count)


def test_a_vcpu_that_has_sampled_the_epoch_before_a_page_went_reads_it_where_nothing_keeps_track_out():
    assert "use_after_remove" in search(StepMachine(UNLOCKED, SIZE)).outcomes
    assert "use_after_remove" in explore(*of_flow(UNLOCKED), SIZE, threads=1, liveness=False).outcomes


@pytest.mark.usefixtures("blind")
def test_an_explorer_that_takes_the_sample_and_the_count_for_one_loses_that_outcome():
    found = explore(*of_flow(UNLOCKED), SIZE, threads=1, liveness=False)

    assert found.complete
    assert search(StepMachine(UNLOCKED, SIZE)).outcomes.keys() - found.outcomes.keys() == {"use_after_remove"}
