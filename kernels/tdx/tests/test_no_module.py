"""Plain EPT: the same orders where nobody refuses a TRACK or a REMOVE."""

import pytest

from kernels.search.explore import explore
from kernels.tdx.bits import Sept
from kernels.tdx.protocol import Size, explored, of_flow
from kernels.tdx.rules import Flow, Module, Rules
from kernels.tests.naive import StepMachine, search
from kernels.tests.orders import (
    BLOCK,
    KICK,
    NO_KICK,
    REMOVE,
    REQUESTS,
    SAFE,
    SPEC,
    TRACK_THEN_BLOCK,
    UNSERIALIZED,
    V18,
    WRONG,
    order,
    two_levels,
)
from kernels.tests.single_calls import Machine, remove, track

TDX, NONE = {"module": int(Module.TDX)}, {"module": int(Module.NONE)}
REFUSALS = {"tracking_not_done", "not_blocked", "previous_epoch_busy"}
STALE = {"stale_after_done", "use_after_remove"}
# Wrong only where two zappers meet, which the slow search does not look at.
FOR_TWO = {"spec_unserialized", "flag_gate_unserialized"}
# Wrong about TRACK alone: the handler of their kick's request flushes.
RIGHT_HERE = {"kick_then_track", "gate_lowered_early", "free_despite_error"}
UNMAP_AND_KICK = order(BLOCK, KICK, REMOVE, serialized=1, **REQUESTS)


def outcomes(rules: Rules) -> set[str]:
    """What one vCPU and one zapper can show."""
    return set(search(StepMachine(explored(rules)._replace(**NONE), Size(1, 1))).outcomes)


def test_track_goes_through_while_a_vcpu_runs_in_the_previous_epoch():
    m = Machine(rules=SPEC._replace(**NONE))
    m.epochs(4, odd=1)

    assert m.call(track) == 0
    assert m["epoch_tracking"] >> 24 == 5


def test_remove_takes_a_page_that_was_never_blocked():
    m = Machine(rules=SPEC._replace(**NONE))
    assert m["sept"] & Sept.MAPPED

    assert m.call(remove) == 0
    assert not m["sept"] & Sept.MAPPED


@pytest.mark.parametrize("name", SAFE)
def test_a_safe_order_stays_safe_where_nobody_checks_it(name):
    assert not outcomes(SAFE[name]) & (REFUSALS | STALE)


@pytest.mark.parametrize("name", sorted(RIGHT_HERE))
def test_an_order_that_is_wrong_about_track_alone_is_right_where_its_request_flushes(name):
    assert not outcomes(WRONG[name]) & (REFUSALS | STALE)


def test_a_kick_whose_request_flushes_is_enough_if_it_waits_and_is_not_where_it_does_not():
    assert not outcomes(UNMAP_AND_KICK) & (REFUSALS | STALE)
    assert outcomes(UNMAP_AND_KICK._replace(wait=0)) >= STALE


@pytest.mark.parametrize("name", sorted(WRONG.keys() - FOR_TWO - RIGHT_HERE))
def test_a_wrong_order_is_a_stale_read_where_nobody_refuses_it(name):
    shown = outcomes(WRONG[name])

    assert "use_after_remove" in shown
    assert not shown & REFUSALS


@pytest.mark.parametrize("size", [Size(1, 1), Size(1, 2, 2), Size(2, 1)], ids=str)
def test_the_module_refuses_what_is_a_stale_read_without_it(size):
    """A vCPU reads between the kick and BLOCK: the module counts it in and refuses REMOVE; nobody else would."""
    module, none = (explore(*of_flow(TRACK_THEN_BLOCK._replace(**by)), size, liveness=False) for by in (TDX, NONE))

    assert module.complete and none.complete
    assert "tracking_not_done" in module.outcomes
    assert "use_after_remove" not in module.outcomes
    assert "use_after_remove" in none.outcomes
    assert not none.outcomes.keys() & REFUSALS


def test_tracks_that_overtake_each_other_are_harmless_where_nobody_counts_them():
    """Two zappers, each of which waits for every vCPU after its own TRACK; the module refuses the second TRACK."""
    found = explore(*of_flow(UNSERIALIZED._replace(**NONE)), Size(1, 2, 2), liveness=False)

    assert found.complete
    assert not found.outcomes.keys() & (REFUSALS | STALE)


@pytest.mark.parametrize(("rules", "states"), [(SPEC, 5766), (V18, 10178), (UNMAP_AND_KICK, 5354)])
def test_page_table_pages_of_a_plain_ept_go_by_a_right_order(rules, states):
    freed = two_levels(rules, Flow.SEPT_PAGES, **NONE)

    found = explore(*of_flow(freed), Size(1, 1, 1, 2))

    assert (found.states, found.complete, found.deadlocks) == (states, True, 0)
    assert not found.outcomes.keys() & (REFUSALS | STALE | {"sept_use_after_free", "no_progress"})


@pytest.mark.parametrize("rules", [NO_KICK, UNMAP_AND_KICK._replace(wait=0)])
def test_by_a_wrong_one_a_walk_goes_on_in_a_page_table_page_of_someone_else(rules):
    freed = two_levels(rules, Flow.SEPT_PAGES, **NONE)

    assert explore(*of_flow(freed), Size(1, 1, 1, 2), until=("sept_use_after_free",)).outcomes.keys() >= {
        "sept_use_after_free"
    }
