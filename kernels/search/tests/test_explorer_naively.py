"""The explorer finds what the slow search finds: the same states, moves and outcomes, on machines drawn at random."""

import pytest
from hypothesis import given, settings

from kernels.search.explore import explore
from kernels.tdx.protocol import Size, of_flow
from kernels.tests.fingerprints import compare_states
from kernels.tests.naive import StepMachine, search
from kernels.tests.orders import SPEC
from kernels.tests.slow_search import found_alike, found_as_well
from kernels.tests.strategies import SIZES, orderings, small_enough

# Each drawn example is the same in every run: what is found here is found again.
REPEATED = {"derandomize": True, "deadline": None, "database": None}


@pytest.mark.parametrize(
    ("size", "strategy", "examples"),
    [
        pytest.param(Size(1, 1), orderings(), 12, id="one zapper"),
        pytest.param(Size(1, 1), orderings(2, may_gate=False), 4, id="two shootdowns"),
        pytest.param(Size(1, 1, 2, 1), orderings(), 2, id="two pages and a TLB for one"),
    ],
)
def test_one_vcpu_against_an_ordering_that_is_drawn(size, strategy, examples):
    """With a TLB for both pages: see two of a kind."""

    @settings(max_examples=examples, **REPEATED)  # type: ignore[arg-type]
    @given(strategy)
    def draw(rules):
        found_as_well(rules, size, found_alike(rules, size))

    draw()


@pytest.mark.parametrize(("size", "examples"), zip(SIZES, (3, 2, 1), strict=True))
def test_a_machine_with_two_of_a_kind(size, examples):
    @settings(max_examples=examples, **REPEATED)  # type: ignore[arg-type]
    @given(small_enough(size))
    def draw(rules):
        found_as_well(rules, size, found_alike(rules, size))

    draw()


def test_folding_leaves_one_state_for_all_that_differ_in_names_alone():
    """Two zappers that block a page and wait for one another. More of both are renamed in test_flows_naively."""
    machine = StepMachine(SPEC, Size(1, 2))

    compare_states(machine, search(machine), SPEC, Size(1, 2))


@pytest.mark.parametrize(("vcpus", "states"), [(2, 595), (3, 7140), (4, 66045)])
def test_idle_vcpus_folded_are_counted_as_a_set_with_repetition(vcpus, states):
    """34 states each: 34 * 35 / 2, times 36 / 3, times 37 / 4."""
    found = explore(*of_flow(SPEC._replace(shootdowns=0)), Size(vcpus, 1), reduction=False, threads=1, liveness=False)

    assert found.states == states


def test_a_choice_taken_with_the_step_before_it_leaves_no_state_in_between():
    """Of the 34 states of an idle vCPU four stand before a choice, the tick or the page, each with an empty and with a
    full TLB.
    """
    found = explore(*of_flow(SPEC._replace(shootdowns=0)), Size(1, 1), threads=1)

    assert found.states == 34 - 4
