"""Shared pages beside private ones: flushed by a request or by tdx_track(), and checked by nobody."""

import pytest

from kernels.tdx.bits import HPA_SHIFT, RWX, SVE, Sept
from kernels.tdx.protocol import Size, explored
from kernels.tdx.rules import Fault, Flow, Module, Rules, SharedFlush
from kernels.tests.naive import Space, StepMachine, search
from kernels.tests.orders import BLOCK, GOES_ON, KICK, REMOVE, REQUESTS, SAFE, SPEC, V18, WRONG, order
from kernels.tests.orders import TRACK as TRACK_STEP

BESIDE = {"flow": int(Flow.SHARED_EPT), "shared_pages": 1, "entry_requests": 1}
TRACK, REQUEST = {"shared_flush": int(SharedFlush.TRACK)}, {"shared_flush": int(SharedFlush.REQUEST)}
NAMES_SHARED_ROOT = {"faults": int(Fault.INVEPT_SHARED_ROOT)}
STALE = {"stale_after_done", "use_after_remove"}
FORBIDDEN = {*STALE, "tracking_not_done", "previous_epoch_busy"}
# Wrong only where two zappers meet.
FOR_TWO = {"spec_unserialized", "flag_gate_unserialized"}
UNMAP_AND_KICK = order(BLOCK, KICK, REMOVE, serialized=1, **REQUESTS)
GIVEN_AWAY_FIRST = order(BLOCK, REMOVE, TRACK_STEP, KICK, serialized=1)


def machine(rules: Rules, *, pages: int = 1, **fields: int) -> StepMachine:
    """One vCPU, one zapper; the last page is shared, and with one page nothing else is."""
    size = Size(1, 1, pages, pages)
    return StepMachine(rules._replace(**{**BESIDE, **fields}), size)


def reached(rules: Rules, **fields: int) -> Space:
    return search(machine(explored(rules), **fields))


@pytest.mark.parametrize("flush", [TRACK, REQUEST], ids=["track", "request"])
@pytest.mark.parametrize("name", SAFE)
def test_a_safe_order_is_safe_beside_shared_pages_however_these_are_flushed(name, flush):
    space = reached(SAFE[name], pages=2, **flush)

    assert not space.outcomes.keys() & FORBIDDEN
    assert not space.hopeless


@pytest.mark.parametrize("name", sorted(WRONG.keys() - FOR_TWO - {"no_block"}))
def test_tdx_track_in_a_wrong_order_is_a_stale_read_of_a_shared_page_as_no_module_checks_it(name):
    shown = reached(WRONG[name], **TRACK).outcomes

    assert shown.keys() >= STALE
    assert "tracking_not_done" not in shown


def test_without_block_the_spte_goes_as_the_page_does_and_behind_the_flush():
    assert "use_after_remove" in reached(WRONG["no_block"], **TRACK).outcomes


@pytest.mark.parametrize("flush", [TRACK, REQUEST], ids=["track", "request"])
def test_a_page_that_is_given_away_before_the_flush_is_a_stale_read(flush):
    assert reached(GIVEN_AWAY_FIRST, **flush).outcomes.keys() >= STALE


def test_the_request_is_made_by_the_orderings_own_kick_at_its_place():
    assert not reached(WRONG["kick_then_track"], **REQUEST).outcomes.keys() & FORBIDDEN
    assert reached(WRONG["track_then_block"], **REQUEST).outcomes.keys() >= STALE
    assert reached(WRONG["no_kick"], **REQUEST).outcomes.keys() >= STALE


@pytest.mark.parametrize("module", [Module.TDX, Module.NONE], ids=["module", "plain EPT"])
def test_an_unmapped_shared_page_is_safe_where_the_kick_with_its_request_waits_and_not_where_it_does_not(module):
    assert not reached(UNMAP_AND_KICK, **REQUEST, module=int(module)).outcomes.keys() & FORBIDDEN
    assert reached(UNMAP_AND_KICK, **REQUEST, module=int(module), wait=0).outcomes.keys() >= STALE


@pytest.mark.parametrize("rules", [SPEC, V18], ids=["spec", "v18"])
def test_invept_of_the_shared_root_flushes_nothing(rules):
    assert "use_after_remove" in reached(rules, **REQUEST, **NAMES_SHARED_ROOT).outcomes


def test_a_refused_track_keeps_the_shared_page_until_a_repair_has_flushed():
    """TRACK and no kick, then on: the vCPU that stays behind is met by the next TRACK, and kicked by the repair."""
    space = search(machine(WRONG["no_kick"]._replace(shootdowns=2, **GOES_ON), **TRACK))

    assert "previous_epoch_busy" in space.outcomes
    assert not space.hopeless


def test_zapping_clears_the_spte_to_suppress_ve_alone_and_mapping_makes_a_present_leaf_of_the_new_page():
    moving = machine(SPEC, **REQUEST)
    state, entries = moving.start, [moving.start[moving.lay.sept]]
    while not moving.returned(state):
        (made, *_) = [move for move in moving.moves(state) if move.actor == "zapper 0"]
        state, _ = moving.after(state, made)
        if state[moving.lay.sept] != entries[-1]:
            entries.append(state[moving.lay.sept])

    present = [Sept.MAPPED | RWX | SVE | page << HPA_SHIFT for page in (1, 2)]
    assert entries == [present[0], SVE, present[1]]
