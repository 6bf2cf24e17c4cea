"""Plain EPT: where nobody refuses a TRACK or a REMOVE. Every order there is in test_known_orders_elsewhere."""

import pytest

from kernels.tdx.bits import Sept
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Flow
from kernels.tests.orders import (
    BLOCK,
    KICK,
    NO_KICK,
    PLAIN_EPT,
    REMOVE,
    REQUESTS,
    SPEC,
    TRACK_THEN_BLOCK,
    UNSERIALIZED,
    V18,
    order,
    two_levels,
)
from kernels.tests.single_calls import Machine, remove, track
from kernels.tests.witnesses import ONE, errors

STALE = {"stale_after_done", "use_after_remove"}
UNMAP_AND_KICK = order(BLOCK, KICK, REMOVE, serialized=1, **REQUESTS)
TWO_ZAPPERS, BELOW = Size(1, 2, 2), Size(1, 1, 1, 2)


def test_track_goes_through_while_a_vcpu_runs_in_the_previous_epoch():
    m = Machine(rules=SPEC._replace(**PLAIN_EPT))
    m.epochs(4, odd=1)

    assert m.call(track) == 0
    assert m["epoch_tracking"] >> 24 == 5


def test_remove_takes_a_page_that_was_never_blocked():
    m = Machine(rules=SPEC._replace(**PLAIN_EPT))
    assert m["sept"] & Sept.MAPPED

    assert m.call(remove) == 0
    assert not m["sept"] & Sept.MAPPED


@pytest.mark.parametrize("size", [ONE, TWO_ZAPPERS, Size(2, 1)], ids=str)
def test_the_module_refuses_what_is_a_stale_read_without_it(size):
    """A vCPU reads between the kick and BLOCK: the module counts it in and refuses REMOVE; nobody else would."""
    assert errors(TRACK_THEN_BLOCK, size)[0] == {"tracking_not_done", "stale_after_done"}
    assert errors(TRACK_THEN_BLOCK, size, **PLAIN_EPT)[0] == STALE


def test_tracks_that_overtake_each_other_are_harmless_where_nobody_counts_them():
    """Two zappers, each of which waits for every vCPU after its own TRACK; the module refuses the second TRACK."""
    assert errors(UNSERIALIZED, TWO_ZAPPERS, **PLAIN_EPT)[0] == set()


@pytest.mark.parametrize(
    ("rules", "shown", "states"),
    [
        (SPEC, set(), 5_766),
        (V18, set(), 10_178),
        (UNMAP_AND_KICK, set(), 5_354),
        (NO_KICK, STALE | {"sept_use_after_free"}, 6_705),
        (UNMAP_AND_KICK._replace(wait=0), STALE | {"sept_use_after_free"}, 11_631),
    ],
)
def test_page_table_pages_of_a_plain_ept_go_by_a_right_order_and_by_a_wrong_one_beneath_a_walk(rules, shown, states):
    assert errors(two_levels(rules, Flow.SEPT_PAGES, **PLAIN_EPT), BELOW, liveness=True) == (shown, states)
