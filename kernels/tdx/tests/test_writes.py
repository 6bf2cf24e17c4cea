"""Guests that write, and a dirty log that write-protects pages: a write that nobody hears of."""

import pytest

from kernels.tdx.protocol import Size
from kernels.tdx.rules import Flow, Module
from kernels.tests.orders import BLOCK, FLUSH, KICK, PROTECT, REMOVE, REQUESTS, order
from kernels.tests.witnesses import whole

HARMLESS = {"fault", "stale_in_window", "operand_busy", "page_already_accepted"}
WRITES = {"flow": int(Flow.WRITES), "module": int(Module.NONE), "entry_requests": 1}
AGING, ELIDES = {"aging": 1}, {"elide_flush": 1}
DIRTY_LOG = order(PROTECT, FLUSH, serialized=1, **WRITES)
UNFLUSHED = order(PROTECT, serialized=1, **WRITES)
ONE, TWO_TURNS = Size(1, 1), {"shootdowns": 2}


def test_protection_and_a_flush_lose_no_write():
    found = whole(DIRTY_LOG._replace(**TWO_TURNS))

    assert (found.states, found.transitions) == (5_277, 10_995)
    assert found.outcomes.keys() <= HARMLESS
    assert not found.deadlocks


UNAWAITED = order(PROTECT, KICK, wait=0, serialized=1, **WRITES, request=1)


@pytest.mark.parametrize("rules", [UNFLUSHED, UNAWAITED], ids=["without a flush", "a flush that nobody waits for"])
def test_what_a_cpu_writes_through_its_tlb_is_lost(rules):
    assert "write_lost" in whole(rules).outcomes


def test_a_flush_may_be_left_out_where_nothing_was_writable_and_nobody_ages_pages():
    assert whole(DIRTY_LOG._replace(**TWO_TURNS, **ELIDES)).outcomes.keys() <= HARMLESS


@pytest.mark.parametrize("size", [ONE, Size(1, 2)], ids=str)
def test_where_somebody_has_aged_the_page_without_a_flush_it_may_not(size):
    turns = {"shootdowns": 3 - size.zappers}

    assert "write_lost" in whole(DIRTY_LOG._replace(**turns, **ELIDES, **AGING), size).outcomes
    assert whole(DIRTY_LOG._replace(**turns, **AGING), size).outcomes.keys() <= HARMLESS


def test_a_guest_that_writes_meets_what_one_that_reads_does():
    plain = {**WRITES, **REQUESTS}

    assert whole(order(BLOCK, KICK, REMOVE, serialized=1, **plain)).outcomes.keys() <= HARMLESS | {"stale_after_kick"}
    assert "use_after_remove" in whole(order(BLOCK, REMOVE, KICK, serialized=1, **plain)).outcomes


def test_private_pages_of_a_td_are_not_protected_and_shared_ones_are():
    shared = {"flow": int(Flow.WRITES | Flow.SHARED_EPT), "module": int(Module.TDX), "shared_pages": 1}
    order = DIRTY_LOG._replace(**shared, **AGING, **TWO_TURNS)

    assert whole(order).outcomes.keys() <= HARMLESS
    assert "write_lost" in whole(order._replace(**ELIDES)).outcomes
    assert whole(UNFLUSHED._replace(**shared)).outcomes.keys() & {"write_lost"} == {"write_lost"}
