"""Bugs that were published, and their mends, as orderings of a user's own."""

from pathlib import Path

import pytest

from kernels.search.explore import explore
from kernels.tdx.protocol import Size, of_flow
from results.verdict import FAILING, grade_of
from scenarios.loader import apply_settings, load_ordering, load_scenario
from stress.explore.witness import as_searched

CASES = Path(__file__).parent / "cases"
PLAIN_EPT = ("small", "module=none")
SHARED = ("shared_ept", "shared_pages=1")
SHARED_PLAIN = (*SHARED, "module=none")


def forbidden(case: str, machine: tuple[str, ...], *settings: str, vcpus: int = 1, zappers: int = 1) -> set[str]:
    """What is forbidden and can happen, with as many pages as zappers."""
    scenario, *its = machine
    sizes = (f"vcpus={vcpus}", f"zappers={zappers}", f"pages={zappers}", "tlb_entries=1", "shootdowns=1")
    file = CASES / f"{case}.toml"
    ordering = load_ordering(str(file) if file.exists() else case)
    small, (ordering,) = apply_settings(load_scenario(scenario), [ordering], (*its, *sizes, *settings))
    done = explore(*of_flow(as_searched(ordering, small)), Size(vcpus, zappers, zappers, 1), liveness=False)
    assert done.complete
    return {outcome for outcome in (*done.outcomes, *done.broken) if grade_of(outcome) in FAILING}


@pytest.mark.parametrize("machine", [PLAIN_EPT, SHARED_PLAIN, SHARED], ids=" ".join)
@pytest.mark.parametrize(("vcpus", "zappers"), [(1, 1), (2, 1), (1, 2)])
def test_a_kick_whose_request_flushes_and_that_waits_needs_nothing_else(machine, vcpus, zappers) -> None:
    if machine != SHARED or zappers == 1:  # with two pages one of them is private, and the module wants TRACK
        assert forbidden("unmap_and_kick", machine, vcpus=vcpus, zappers=zappers) == set()


@pytest.mark.parametrize("machine", [PLAIN_EPT, SHARED], ids=" ".join)
def test_who_looks_first_who_is_inside_and_unmaps_afterwards_misses_a_vcpu(machine) -> None:
    assert "use_after_remove" in forbidden("look_then_unmap", machine)


@pytest.mark.parametrize("machine", [PLAIN_EPT, SHARED], ids=" ".join)
def test_a_flush_that_is_handed_to_an_entry_outlives_one_that_fails(machine) -> None:
    lost = 'faults=["deferred_flush_lost"]'

    assert forbidden("unmap_and_kick", machine, "flush_at=entry") == set()
    assert "use_after_remove" in forbidden("unmap_and_kick", machine, "flush_at=entry", lost)


def test_two_zaps_for_read_meet_at_track_or_give_up_as_one_clears_the_flag_of_the_other() -> None:
    retry = ("track_busy=retry_without_vcpus", "sept_busy=retry_without_vcpus")

    assert "previous_epoch_busy" in forbidden("zap_for_read", ("small",), zappers=2)
    assert "busy_given_up" in forbidden("zap_for_read", ("small",), *retry, zappers=2)


def test_a_seamcall_that_fails_costs_v6_16_the_vm_and_gives_v6_19s_page_away_all_the_same() -> None:
    fault = 'faults=["let_in_too_early"]'

    assert forbidden("v6_16", ("small",), fault) == {"busy_given_up"}
    assert "use_after_remove" in forbidden("v6_19", ("small",), fault)


@pytest.mark.parametrize(("vcpus", "zappers"), [(2, 1), (1, 2)])
def test_what_linux_does_since_v6_19_shows_nothing(vcpus, zappers) -> None:
    assert forbidden("v6_19", ("small",), vcpus=vcpus, zappers=zappers) == set()
