"""Written-out interleavings on the step machine: where the right orders make somebody wait, and what a read is called
that comes before, or behind. What no interleaving shows is explored elsewhere, the wrong ones are in known_orders.
"""

import pytest

from kernels.tdx import bits
from kernels.tests.driver import enter, leave, page_state, read, seen, stands, start
from kernels.tests.orders import KICK_THEN_TRACK, NO_WAIT, SPEC, V18

TRACK = "mem_track.try_lock_exclusive_epoch_lock"
KICK_IPI = "kick.load_acquire_ipi"
LEAVES = "td_exit.fetch_add_seq_cst_epoch_tracking"


def test_spec_removes_the_page_once_the_kicked_vcpu_has_left_and_it_flushes_at_its_next_entry():
    run = start(SPEC)
    enter(run)
    read(run)
    run.until("zapper 0", KICK_IPI)
    run.step("vcpu 0", 1)  # a burst begins: the IPI is pending at its first look
    run.until("vcpu 0", LEAVES)
    run.step("zapper 0")

    assert stands(run, "zapper 0").name == KICK_IPI
    run.until("vcpu 0", "vcpu.store_seq_cst_mode")
    run.until("zapper 0", "populate.store_release_owner")
    assert page_state(run) == bits.Sept.FREE
    enter(run)
    assert run.words[run.lay.tlb] == 0
    assert seen(run) == set()


def test_v18_keeps_the_kicked_vcpu_outside_until_track_is_done():
    run = start(V18)
    enter(run)
    read(run)
    run.until("zapper 0", KICK_IPI)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "flush_tlb.load_acquire_gate")
    run.until("zapper 0", TRACK)
    for _ in range(6):
        run.step("vcpu 0")

    assert stands(run, "vcpu 0").function in ("flush_tlb", "acknowledge")
    run.until("zapper 0", "populate.store_release_owner")
    assert page_state(run) == bits.Sept.FREE
    enter(run)
    assert run.words[run.lay.tlb] == 0
    assert seen(run) == set()


@pytest.mark.parametrize(
    ("rules", "between", "shown"), [(SPEC, (), "stale_in_window"), (KICK_THEN_TRACK, (leave,), "stale_after_kick")]
)
def test_a_stale_read_before_track_is_called_by_whether_the_kick_is_over(rules, between, shown):
    run = start(rules)
    enter(run)
    read(run)
    for one in between:
        one(run)
    run.until("zapper 0", TRACK)
    enter(run)
    read(run)

    assert seen(run) == {shown}


def test_an_ipi_that_nobody_waits_for_ends_the_stay_once_it_arrives():
    run = start(NO_WAIT)
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    run.until("zapper 0", TRACK)
    enter(run)
    run.until("zapper 0", "end")
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "interrupted.arrives")
    run.step("vcpu 0", 1)

    assert stands(run, "vcpu 0").name == LEAVES


def test_the_ipi_of_a_kick_that_waits_could_as_well_have_been_sent_later_and_ends_it_at_once():
    run = start(SPEC)
    enter(run)
    run.until("zapper 0", KICK_IPI)
    run.step("vcpu 0", 1)
    run.step("vcpu 0")

    assert stands(run, "vcpu 0").name == LEAVES
