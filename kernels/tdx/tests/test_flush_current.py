"""vCPUs that run tdx_track() themselves, beside a zapper and one another: what the gate is a counter for."""

import pytest

from kernels.layout import reading
from kernels.search.schedule import Schedule
from kernels.tdx.bits import BY_VCPU, epoch_of
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Flow, Rules
from kernels.tdx.statuses import Leaf, Status
from kernels.tests.driver import answered, finish, seen, stands, stepped
from kernels.tests.orders import FLAG_GATE, SPEC, V6_16, V18, order
from kernels.tests.witnesses import ALWAYS_LEGAL, ONE, shows

ROOT = "load_root.root_is_obsolete"
LOADS = {ROOT: 1}
TRACK = "mem_track.try_lock_exclusive_epoch_lock"
WAITS = "kick_as_vcpu.load_acquire_ipi"


def tracking(rules: Rules) -> Rules:
    """The order's rules in the flow; a vCPU tracks once, as a zapper does."""
    return rules._replace(flow=int(Flow.FLUSH_CURRENT))


def start(rules: Rules, vcpus: int = 2) -> Schedule:
    return stepped(tracking(rules), Size(vcpus=vcpus, zappers=1))


def tracked(run: Schedule, vcpu: str, status: Status) -> int:
    """How often a vCPU's own TRACK has ended so."""
    return answered(run, Leaf.TDH_MEM_TRACK, status, vcpu)


test_one_vcpu_that_tracks_beside_a_zapper_needs_a_counter_or_mmu_lock_for_each_track = shows({
    "v18": (tracking(V18), ONE, "", 10_396),
    "spec": (tracking(SPEC), ONE, "", 6_472),
    # A flag is lowered by whoever is first, even where zappers are serialized.
    "flag_gate": (tracking(FLAG_GATE), ONE, "tracking_not_done", 14_640),
    # One more try with vCPUs kept out meets another TRACK.
    "v6_16": (tracking(V6_16), ONE, "busy_given_up", 11_162),
}, liveness=1)  # fmt: skip


@pytest.mark.parametrize(("rules", "outcomes"), [(SPEC, {"previous_epoch_busy"}), (V18, set())], ids=["spec", "v18"])
def test_a_zapper_that_tracks_while_a_vcpu_kicks_is_refused_by_whoever_that_vcpu_has_yet_to_kick(rules, outcomes):
    """Behind the gate the other one's TRACK comes once all are out, and mmu_lock is of no use."""
    run = start(rules)
    run.until("vcpu 1", "guest.reads_before_tick")
    run.until("vcpu 0", "kick_as_vcpu.exiting_guest_mode_mode", LOADS)
    finish(run, "zapper 0", *([] if rules is SPEC else ["vcpu 1", "vcpu 0"]))

    assert seen(run) - ALWAYS_LEGAL == outcomes


def test_two_vcpus_that_track_at_once_contend_for_the_epoch_lock_and_the_loser_is_told_busy():
    run = start(V18)
    for vcpu in ("vcpu 0", "vcpu 1"):
        run.until(vcpu, ROOT)
    for vcpu in ("vcpu 0", "vcpu 1"):
        run.until(vcpu, TRACK, LOADS)
    run.step("vcpu 0")
    run.step("vcpu 1")
    run.until("vcpu 1", TRACK)

    assert tracked(run, "vcpu 1", Status.BUSY_TD_EPOCH) == 1
    assert seen(run) == {"operand_busy"}

    for vcpu in ("vcpu 0", "vcpu 1"):
        run.until(vcpu, "lower_gate.lower_gate")
    assert [tracked(run, vcpu, Status.SUCCESS) for vcpu in ("vcpu 0", "vcpu 1")] == [1, 1]
    assert epoch_of(int(run.words[run.lay.epoch_tracking])) == 3


def test_a_vcpu_that_waits_for_an_ipi_answers_the_one_that_was_sent_for_its_own_last_stay():
    run = start(order("block kick track remove"))
    for vcpu in ("vcpu 0", "vcpu 1"):
        run.until(vcpu, "guest.reads_before_tick")
    run.step("vcpu 0", 0)
    run.until("vcpu 0", "vcpu.store_release_mode")
    run.until("zapper 0", "kick.fetch_or_seq_cst_ipi")  # it has found both in the guest
    run.until("vcpu 0", WAITS, LOADS)
    run.step("zapper 0")
    sent = int(run.words[run.lay.ipi])
    for _ in range(3):
        run.step("vcpu 0")

    assert (sent, run.words[run.lay.ipi]) == (1, 0)
    assert stands(run, "vcpu 0").name == WAITS


def test_an_ipi_of_a_vcpu_says_so():
    run = start(SPEC)

    assert reading(run.lay, run.lay.ipi, BY_VCPU | 2) == "zapper 1, a vcpu"
    assert reading(run.lay, run.lay.ipi, BY_VCPU) == "a vcpu"
