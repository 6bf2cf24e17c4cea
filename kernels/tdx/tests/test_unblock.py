"""TDH.MEM.RANGE.UNBLOCK in an ordering: a page that is mapped again as it was, at the end or on the way."""

import pytest

from kernels.search.explore import Exploration, explore
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Flow, Module, Rules, SharedFlush
from kernels.tests.orders import BLOCK, KICK, REMOVE, REQUESTS, TRACK, UNBLOCK, order, two_levels

HARMLESS = {"fault", "operand_busy", "stale_in_window", "stale_after_kick", "page_already_accepted", "fault_retried"}
ONE = Size(1, 1)
UNDONE = order(BLOCK, TRACK, KICK, UNBLOCK, serialized=1)
UNTRACKED = order(BLOCK, UNBLOCK, serialized=1)
TWICE = order(BLOCK, TRACK, KICK, UNBLOCK, BLOCK, TRACK, KICK, REMOVE, serialized=1)
PAIR = {"flow": int(Flow.BATCH), "batch": 2}
SHARED = {"flow": int(Flow.SHARED_EPT), "shared_pages": 1}
BY_TRACK = {"shared_flush": int(SharedFlush.TRACK)}


def explored(rules: Rules, size: Size = ONE) -> Exploration:
    found = explore(*of_flow(rules), size)
    assert found.complete and not found.broken
    return found


def test_a_page_that_is_mapped_again_is_the_same_page_for_whoever_holds_it():
    found = explored(UNDONE)

    assert (found.states, found.transitions) == (1_339, 2_818)
    assert found.outcomes.keys() <= HARMLESS


@pytest.mark.parametrize("size", [Size(2, 1), Size(1, 2, 2)], ids=str)
def test_more_vcpus_and_zappers_break_nothing(size):
    assert explored(UNDONE, size).outcomes.keys() <= HARMLESS


def test_the_module_refuses_to_map_a_page_again_whose_block_is_not_tracked():
    assert "tracking_not_done" in explored(UNTRACKED).outcomes


def test_without_a_module_a_page_may_be_mapped_again_behind_no_flush_at_all():
    assert explored(UNTRACKED._replace(module=int(Module.NONE))).outcomes.keys() <= HARMLESS


def test_a_page_can_be_blocked_again_and_go():
    assert explored(TWICE).outcomes.keys() <= HARMLESS


@pytest.mark.parametrize("serialized", [0, 1])
def test_the_mirror_has_the_page_again_as_well(serialized):
    rules = two_levels(UNDONE._replace(serialized=serialized), Flow.POPULATE)

    assert explored(rules, Size(2, 1)).outcomes.keys() <= HARMLESS


def test_a_batch_maps_each_of_its_pages_again():
    assert explored(UNDONE._replace(**PAIR), Size(1, 1, 2, 2)).outcomes.keys() <= HARMLESS


@pytest.mark.parametrize("flush", [BY_TRACK, REQUESTS], ids=["track", "request"])
def test_a_shared_page_is_mapped_again_by_its_spte(flush):
    assert explored(UNDONE._replace(**SHARED, **flush)).outcomes.keys() <= HARMLESS
