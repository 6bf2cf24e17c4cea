"""A kick in its parts: in a row they are the whole one; with TRACK in between IPIs are in flight meanwhile."""

import pytest

from kernels.search.explore import explore
from kernels.tdx import bits, words
from kernels.tdx.kvm.kick import IPI_SENT
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import AT_ONCE, LATER, STEP_BITS, STEP_MASK, Busy, Flow, Rules, Step
from kernels.tests.driver import enter, finish, page_state, read, seen, stands
from kernels.tests.orders import (
    FLAG_GATE,
    GATED,
    GOES_ON,
    PAIR,
    REQUESTS,
    SHARED,
    SPEC,
    V6_16,
    V18,
    busy,
    order,
    packed,
)
from kernels.tests.witnesses import shows
from kernels.tests.written_schedules import KICK_IPI, quick
from kernels.tests.written_schedules import TRACK as TRACK_CALL

PARTS = "request send wait"
PARALLEL = order("block gate_raise request send track gate_lower wait remove", serialized=1, wait=LATER, **GATED)
UNGATED = order("block request send track wait remove", serialized=1, wait=LATER, **REQUESTS)
# kvm_flush_remote_tlbs(), behind the removal of a range: a second kick of each zap.
FLUSHED = order("block track kick remove flush", serialized=1, entry_requests=1)
TWO, TWO_ZAPPERS = Size(2, 1), Size(1, 2, 2, 2)


def in_parts(rules: Rules) -> Rules:
    """The order with each whole kick in its parts, in a row."""
    left: int = rules.shootdown
    steps = ""
    while left:
        step = Step(left & STEP_MASK)
        steps += PARTS + " " if step == Step.KICK else step.name + " "
        left >>= STEP_BITS
    return rules._replace(shootdown=packed(steps))


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
    assert page_state(run) == bits.Sept.FREE
    assert seen(run) == {"stale_in_window"}


TRACKS_ITSELF = {"flow": int(Flow.FLUSH_CURRENT)}
# The retry of a TRACK that meets a vCPU keeps vCPUs out and kicks, with the ordering's own IPIs in flight.
RETRIES = {**busy(Busy.RETRY_WITHOUT_VCPUS, "track"), "entry_wait_for_sept_zap": 1}


test_track_beside_ipis_in_flight_is_safe = shows({
    "behind the gate": (PARALLEL, TWO, "", 142_887),
    "under mmu_lock": (PARALLEL, TWO_ZAPPERS, "", 218_260),
    "v18 under none": (V18, TWO_ZAPPERS, "", 413_620),
    "in a row": (in_parts(SPEC), TWO, "", 64_261),
    "retried": (PARALLEL._replace(**RETRIES), TWO, "", 188_311),
    "a batch": (PARALLEL._replace(**PAIR), Size(1, 1, 2, 2), "", 9_158),
    "a batch that yields": (PARALLEL._replace(**PAIR, resched=1), Size(1, 1, 2, 2), "", 23_242),
    "a shared page": (PARALLEL._replace(**SHARED), Size(1, 1), "", 991),
    "flushed behind": (FLUSHED, Size(1, 1), "", 2_903),
    "kicked twice": (order("block kick track kick remove", serialized=1), TWO, "", 91_543),
    "tracked twice": (order("block track kick track kick remove", serialized=1), TWO, "", 119_379),
    "sent twice": (order(f"block track {PARTS} {PARTS} remove", serialized=1), TWO, "", 92_702),
})  # fmt: skip


UNAWAITED = order("block request send remove", serialized=1, wait=0, **REQUESTS, **SHARED)
AT_ONCE_AND_EARLY = order("block request track send wait remove", serialized=1, wait=AT_ONCE)


@pytest.mark.parametrize(
    ("rules", "size", "shows"),
    [
        # A vCPU that answers soon is in again before TRACK.
        (UNGATED, TWO, "tracking_not_done"),
        *((UNGATED._replace(**PAIR, resched=yields), Size(1, 1, 2, 2), "tracking_not_done") for yields in (0, 1)),
        # Another TRACK meets vCPUs that have not left yet.
        (PARALLEL._replace(serialized=0), TWO_ZAPPERS, "previous_epoch_busy"),
        (PARALLEL._replace(**TRACKS_ITSELF), TWO, "previous_epoch_busy"),
        # Who looks who is inside and publishes the epoch afterwards misses a vCPU.
        (AT_ONCE_AND_EARLY, TWO, "tracking_not_done"),
        (UNAWAITED, Size(1, 1), "use_after_remove"),
        (order("block block track kick remove"), Size(1, 1), "already_blocked"),
    ],
)
def test_without_what_guards_it_a_vcpu_is_missed(rules, size, shows):
    assert shows in explore(*of_flow(rules), size, liveness=False, until=[shows]).outcomes


def test_ipis_that_are_never_waited_for_are_those_of_a_kick_without_wait():
    whole = explore(*of_flow(order("block track kick remove", serialized=1, wait=0)), TWO)
    parts = explore(*of_flow(order("block track request send remove", serialized=1, wait=0)), TWO)

    assert "tracking_not_done" in parts.outcomes
    assert (parts.states, parts.transitions) == (whole.states, whole.transitions)


def test_vcpus_that_track_themselves_take_the_kick_in_its_parts():
    whole, parts = (explore(*of_flow(one._replace(**TRACKS_ITSELF)), Size(1, 1)) for one in (V18, in_parts(V18)))

    assert (parts.states, parts.outcomes.keys()) == (whole.states, whole.outcomes.keys())


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
    assert page_state(run, 0) == bits.Sept.PENDING
    assert run.words[words.awaiting(run.lay, 0, 0)] == 0
