"""TDH.MEM.RANGE.UNBLOCK in an ordering: a page that is mapped again as it was, at the end or on the way."""

import pytest

from kernels.tdx.protocol import Size
from kernels.tdx.rules import Flow, SharedFlush
from kernels.tests.orders import (
    BLOCK,
    KICK,
    PAIR,
    PLAIN_EPT,
    REMOVE,
    REQUESTS,
    SHARED,
    TRACK,
    UNBLOCK,
    order,
    two_levels,
)
from kernels.tests.witnesses import ONE, errors

UNDONE = order(BLOCK, TRACK, KICK, UNBLOCK, serialized=1)
UNTRACKED = order(BLOCK, UNBLOCK, serialized=1)
TWICE = order(BLOCK, TRACK, KICK, UNBLOCK, BLOCK, TRACK, KICK, REMOVE, serialized=1)
BY_TRACK = {"shared_flush": int(SharedFlush.TRACK)}


def test_a_page_that_is_mapped_again_is_the_same_page_for_whoever_holds_it():
    assert errors(UNDONE) == (set(), 1_339)


def test_the_module_refuses_to_map_a_page_again_whose_block_is_not_tracked():
    assert "tracking_not_done" in errors(UNTRACKED)[0]


# By what is shown: an order, and a machine.
HARMS_NOBODY = {
    "two vCPUs": (UNDONE, Size(2, 1)),
    "two zappers": (UNDONE, Size(1, 2, 2)),
    "behind no flush at all without a module": (UNTRACKED._replace(**PLAIN_EPT), ONE),
    "a page that is blocked again, and goes": (TWICE, ONE),
    "each page of a batch": (UNDONE._replace(**PAIR), Size(1, 1, 2, 2)),
    "a shared page by its SPTE, which TRACK flushes": (UNDONE._replace(**SHARED, **BY_TRACK), ONE),
    "a shared page by its SPTE, which a request flushes": (UNDONE._replace(**SHARED, **REQUESTS), ONE),
    **{
        f"the mirror has the page again as well, serialized {held}": (
            two_levels(UNDONE._replace(serialized=held), Flow.POPULATE), Size(2, 1),
        )
        for held in (0, 1)
    },
}  # fmt: skip


@pytest.mark.parametrize(("rules", "size"), HARMS_NOBODY.values(), ids=HARMS_NOBODY)
def test_a_page_may_be_mapped_again(rules, size):
    assert errors(rules, size)[0] == set()
