"""Guests that write, and a dirty log that write-protects pages: a write that nobody hears of."""

import pytest

from kernels.tdx.protocol import Size
from kernels.tdx.rules import Flow, Module
from kernels.tests.orders import BLOCK, FLUSH, KICK, PLAIN_EPT, PROTECT, REMOVE, REQUESTS, SHARED, order
from kernels.tests.witnesses import ONE, errors

WRITES = {"flow": int(Flow.WRITES), **PLAIN_EPT, "entry_requests": 1}
AGING, ELIDES = {"aging": 1}, {"elide_flush": 1}
DIRTY_LOG = order(PROTECT, FLUSH, serialized=1, **WRITES)
UNFLUSHED = order(PROTECT, serialized=1, **WRITES)
TWO_TURNS = {"shootdowns": 2}


def test_protection_and_a_flush_lose_no_write():
    assert errors(DIRTY_LOG, **TWO_TURNS, liveness=True) == (set(), 5_277)


UNAWAITED = order(PROTECT, KICK, wait=0, serialized=1, **WRITES, request=1)


@pytest.mark.parametrize("rules", [UNFLUSHED, UNAWAITED], ids=["without a flush", "a flush that nobody waits for"])
def test_what_a_cpu_writes_through_its_tlb_is_lost(rules):
    assert "write_lost" in errors(rules)[0]


def test_a_flush_may_be_left_out_where_nothing_was_writable_and_nobody_ages_pages():
    assert errors(DIRTY_LOG._replace(**TWO_TURNS, **ELIDES))[0] == set()


@pytest.mark.parametrize("size", [ONE, Size(1, 2)], ids=str)
def test_where_somebody_has_aged_the_page_without_a_flush_it_may_not(size):
    turns = {"shootdowns": 3 - size.zappers}

    assert "write_lost" in errors(DIRTY_LOG._replace(**turns, **ELIDES, **AGING), size)[0]
    assert errors(DIRTY_LOG._replace(**turns, **AGING), size)[0] == set()


def test_a_guest_that_writes_meets_what_one_that_reads_does():
    plain = {**WRITES, **REQUESTS}

    assert errors(order(BLOCK, KICK, REMOVE, serialized=1, **plain))[0] == set()
    assert "use_after_remove" in errors(order(BLOCK, REMOVE, KICK, serialized=1, **plain))[0]


def test_private_pages_of_a_td_are_not_protected_and_shared_ones_are():
    shared = {**SHARED, "flow": int(Flow.WRITES | Flow.SHARED_EPT), "module": int(Module.TDX)}
    order = DIRTY_LOG._replace(**shared, **AGING, **TWO_TURNS)

    assert errors(order)[0] == set()
    assert "write_lost" in errors(order._replace(**ELIDES))[0]
    assert "write_lost" in errors(UNFLUSHED._replace(**shared))[0]
