"""A kick in its parts: in a row they are the whole one; with TRACK in between IPIs are in flight meanwhile."""

import pytest

from kernels.search.explore import explore
from kernels.tdx import bits, words
from kernels.tdx.kvm.kick import IPI_SENT
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import AT_ONCE, LATER, STEP_BITS, STEP_MASK, Busy, Flow, Rules, Step, pack_steps
from kernels.tests.driver import enter, finish, page_state, read, seen, stands
from kernels.tests.orders import (
    BLOCK,
    FLAG_GATE,
    GATED,
    GOES_ON,
    KICK,
    LOWER,
    RAISE,
    REMOVE,
    REQUEST,
    REQUESTS,
    SEND,
    SPEC,
    TRACK,
    V6_16,
    V18,
    WAIT,
    busy,
    order,
)
from kernels.tests.written_schedules import KICK_IPI, quick
from kernels.tests.written_schedules import TRACK as TRACK_CALL

PARTS = (REQUEST, SEND, WAIT)
PARALLEL = order(BLOCK, RAISE, REQUEST, SEND, TRACK, LOWER, WAIT, REMOVE, serialized=1, wait=LATER, **GATED)
UNGATED = order(BLOCK, REQUEST, SEND, TRACK, WAIT, REMOVE, serialized=1, wait=LATER, **REQUESTS)
HARMLESS = {"fault", "operand_busy", "stale_in_window", "stale_after_kick", "page_already_accepted"}
TWO = Size(2, 1)


def in_parts(rules: Rules) -> Rules:
    """The order with each whole kick in its parts, in a row."""
    left: int = rules.shootdown
    steps: list[Step] = []
    while left:
        steps += PARTS if left & STEP_MASK == KICK else [Step(left & STEP_MASK)]
        left >>= STEP_BITS
    return rules._replace(shootdown=pack_steps(steps))


def can_happen(rules: Rules, size: Size = TWO, until: str = "") -> set[str]:
    found = explore(*of_flow(rules), size, liveness=False, until=[until] if until else [])
    assert found.complete or until
    return {*found.outcomes, *found.broken}


@pytest.mark.parametrize("rules", [SPEC, V18, V6_16, FLAG_GATE], ids=["spec", "v18", "v6_16", "flag_gate"])
@pytest.mark.parametrize("size", [Size(2, 1), Size(1, 2)], ids=str)
def test_parts_in_a_row_have_the_states_of_a_whole_kick_one_by_one(rules, size):
    whole, parts = (explore(*of_flow(one), size) for one in (rules, in_parts(rules)))

    assert (parts.states, parts.transitions, parts.depth) == (whole.states, whole.transitions, whole.depth)
    assert {name: len(moves) for name, moves in parts.outcomes.items()} == {
        name: len(moves) for name, moves in whole.outcomes.items()
    }


def test_track_runs_while_the_ipi_is_in_flight_and_the_guest_reads_on_until_it_arrives():
    run = quick(PARALLEL)
    enter(run)
    read(run)
    run.until("zapper 0", KICK_IPI)
    epoch = bits.epoch_of(int(run.words[run.lay.epoch_tracking]))
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "guest.reads_before_tick", {"arrives.arrives": 0, "next_instruction.next_page": 0})
    run.step("zapper 0")
    waits = stands(run, "zapper 0").name
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "vcpu.store_seq_cst_mode", {"arrives.arrives": 1})
    run.until("zapper 0", "populate.store_release_owner")

    assert epoch == 2
    assert waits == KICK_IPI
    assert page_state(run) == bits.FREE
    assert seen(run) == {"stale_in_window"}


def test_track_beside_ipis_in_flight_is_safe_behind_the_gate_and_under_mmu_lock():
    assert can_happen(PARALLEL) <= HARMLESS
    assert can_happen(PARALLEL, Size(1, 2, 2, 2)) <= HARMLESS


def test_without_the_gate_a_vcpu_that_answers_soon_is_in_again_before_track():
    assert "tracking_not_done" in can_happen(UNGATED, TWO, "tracking_not_done")


def test_without_mmu_lock_another_track_meets_vcpus_that_have_not_left_yet():
    assert "previous_epoch_busy" in can_happen(PARALLEL._replace(serialized=0), Size(1, 2, 2, 2), "previous_epoch_busy")
    assert can_happen(V18, Size(1, 2, 2, 2)) <= HARMLESS


def test_who_looks_who_is_inside_and_publishes_the_epoch_afterwards_misses_a_vcpu():
    early = order(BLOCK, REQUEST, TRACK, SEND, WAIT, REMOVE, serialized=1, wait=AT_ONCE)

    assert "tracking_not_done" in can_happen(early, TWO, "tracking_not_done")
    assert can_happen(in_parts(SPEC)) <= HARMLESS


def test_ipis_that_are_never_waited_for_are_those_of_a_kick_without_wait():
    whole = explore(*of_flow(order(BLOCK, TRACK, KICK, REMOVE, serialized=1, wait=0)), TWO)
    parts = explore(*of_flow(order(BLOCK, TRACK, REQUEST, SEND, REMOVE, serialized=1, wait=0)), TWO)

    assert "tracking_not_done" in parts.outcomes
    assert (parts.states, parts.transitions) == (whole.states, whole.transitions)


@pytest.mark.parametrize("twice", [(KICK, TRACK, KICK), (TRACK, KICK, TRACK, KICK), (TRACK, *PARTS, *PARTS)], ids=str)
def test_a_step_may_stand_twice(twice):
    assert can_happen(order(BLOCK, *twice, REMOVE, serialized=1)) <= HARMLESS


def test_a_page_that_is_blocked_twice_is_told_so():
    assert Outcome.already_blocked.name in can_happen(order(BLOCK, BLOCK, TRACK, KICK, REMOVE), Size(1, 1))


def test_a_kick_within_track_waits_for_ipis_under_way_and_leaves_nothing_to_wait_for():
    """BUSY of the vCPU that enters; the retry keeps vCPUs out and kicks, with the ordering's own IPIs in flight."""
    retries = PARALLEL._replace(**busy(Busy.RETRY_WITHOUT_VCPUS, "track"), entry_wait_for_sept_zap=1)

    assert can_happen(retries) <= HARMLESS


@pytest.mark.parametrize("resched", [0, 1])
def test_a_batch_tracks_beside_ipis_in_flight_too(resched):
    pair = {"flow": int(Flow.BATCH), "batch": 2, "resched": resched}

    assert can_happen(PARALLEL._replace(**pair), Size(1, 1, 2, 2)) <= HARMLESS
    assert "tracking_not_done" in can_happen(UNGATED._replace(**pair), Size(1, 1, 2, 2))


def test_a_shared_page_that_a_request_flushes_takes_the_parts_of_the_kick():
    shared = {"flow": int(Flow.SHARED_EPT), "shared_pages": 1}

    assert can_happen(PARALLEL._replace(**shared), Size(1, 1)) <= HARMLESS
    assert "use_after_remove" in can_happen(
        order(BLOCK, REQUEST, SEND, REMOVE, serialized=1, wait=0, **REQUESTS, **shared), Size(1, 1)
    )


def test_vcpus_that_track_themselves_take_the_kick_in_its_parts():
    flow = {"flow": int(Flow.FLUSH_CURRENT)}
    whole, parts = (explore(*of_flow(one._replace(**flow)), Size(1, 1)) for one in (V18, in_parts(V18)))

    assert (parts.states, parts.outcomes.keys()) == (whole.states, whole.outcomes.keys())
    assert "previous_epoch_busy" in can_happen(PARALLEL._replace(**flow), TWO, "previous_epoch_busy")


def test_a_repair_waits_for_the_ipis_that_a_failed_shootdown_has_sent():
    """TRACK is refused between SEND and WAIT: the second, complete shootdown sends again, waits, and frees the page."""
    run = quick(PARALLEL._replace(serialized=0, **GOES_ON), vcpus=1, zappers=2, pages=2)
    enter(run)
    run.until("zapper 0", TRACK_CALL, {"claim_page.any_page": 0})
    run.until("zapper 1", KICK_IPI, {"claim_page.any_page": 1})
    run.until("zapper 0", "mem_range_block.try_lock_exclusive_tree_lock")
    in_flight = int(run.words[words.awaiting(run.lay, 0, 0)])
    refused = seen(run)
    finish(run, "zapper 0", "vcpu 0")

    assert in_flight == IPI_SENT
    assert refused == {"previous_epoch_busy"}
    assert page_state(run, 0) == bits.PENDING
    assert run.words[words.awaiting(run.lay, 0, 0)] == 0
