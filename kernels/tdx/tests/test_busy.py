"""What KVM makes of BUSY, a policy for each SEAMCALL: where each is right, and what shows where it is wrong."""

import pytest

from kernels.tdx.protocol import Size
from kernels.tdx.rules import Busy, Flow, tries
from kernels.tests.orders import SPEC, UNSERIALIZED, V18, busy, two_levels
from kernels.tests.witnesses import ONE, errors

SPIN, EXACT, BUG, HAND_UP, SKIP = Busy.SPIN, Busy.SPIN_EXACT, Busy.BUG, Busy.HAND_UP, Busy.SKIP
WITHOUT_VCPUS = Busy.RETRY_WITHOUT_VCPUS
GIVEN_UP, BLOCKED_BEFORE = "busy_given_up", "already_blocked"


@pytest.mark.parametrize(
    ("seamcall", "policy", "shows", "states"),
    [
        ("block", SPIN, "", 5_300),
        ("block", EXACT, GIVEN_UP, 5_355),
        ("block", tries(1), GIVEN_UP, 5_355),
        ("block", tries(2), GIVEN_UP, 5_471),
        ("block", WITHOUT_VCPUS, "", 5_590),
        ("block", HAND_UP, "", 5_387),
        ("block", SKIP, "not_blocked", 6_431),
        ("track", EXACT, GIVEN_UP, 5_537),
        ("track", tries(1), GIVEN_UP, 5_537),
        ("track", tries(1000), GIVEN_UP, 5_537),
        ("track", WITHOUT_VCPUS, "", 5_801),
        ("track", HAND_UP, BLOCKED_BEFORE, 6_169),
        ("track", SKIP, "tracking_not_done stale_after_done", 6_549),
        ("remove", BUG, "", 5_300),
        ("remove", SKIP, "", 5_300),
    ],
)
def test_under_mmu_lock_a_zapper_meets_vcpus_at_block_and_at_track(seamcall, policy, shows, states) -> None:
    """REMOVE meets nobody: whoever held the entry has left the guest by then."""
    rules = SPEC._replace(entry_wait_for_sept_zap=1, shootdowns=2, **busy(policy, seamcall))

    assert errors(rules, ONE) == ({*shows.split()}, states)


@pytest.mark.parametrize(
    ("policy", "shows"),
    [
        (SPIN, ""),
        (EXACT, ""),
        (BUG, GIVEN_UP),
        (tries(3), GIVEN_UP),
        (WITHOUT_VCPUS, GIVEN_UP),
        (HAND_UP, BLOCKED_BEFORE),
        (SKIP, "entry_state_incorrect"),
    ],
)
def test_without_mmu_lock_remove_meets_another_zappers_block(policy, shows) -> None:
    rules = V18._replace(entry_wait_for_sept_zap=1, **busy(policy, "remove"))

    assert errors(rules, Size(1, 2, 2, 1))[0] == {*shows.split()}


def test_a_policy_is_that_of_how_mmu_lock_is_held() -> None:
    wrong_for_read = {"track_busy_read": int(BUG)}

    assert errors(SPEC._replace(**wrong_for_read), ONE)[0] == set()
    assert errors(UNSERIALIZED._replace(**wrong_for_read), ONE)[0] == {GIVEN_UP}


STEPPING = two_levels(SPEC, Flow.ZERO_STEP, epf_threshold=0, hp_lock_timeout=1)


@pytest.mark.parametrize(
    ("seamcall", "policy", "shows"),
    [
        ("aug", SPIN, ""),
        ("aug", HAND_UP, ""),
        ("aug", Busy.HAND_UP_EXACT, GIVEN_UP),
        ("aug", tries(2), GIVEN_UP),
        ("aug", BUG, GIVEN_UP),
        ("aug", SKIP, "mirror_disagrees mirror_in_step entry_state_incorrect"),
        ("sept_add", SPIN, ""),
        ("sept_add", HAND_UP, ""),
        ("sept_add", EXACT, ""),
        ("sept_add", BUG, GIVEN_UP),
        ("sept_add", SKIP, "ept_walk_failed mirror_in_step"),
    ],
)
def test_a_fault_meets_the_0_step_filter_of_another_vcpu_and_its_accept(seamcall, policy, shows) -> None:
    assert errors(STEPPING._replace(**busy(policy, seamcall)), Size(2, 1))[0] == {*shows.split()}


def test_that_busy_of_aug_is_a_bug_for_write_holds_where_block_alone_takes_the_tree() -> None:
    """mmu_lock for write keeps BLOCK away, as it is held for a zap; it keeps nobody from entering."""
    for_write = {"fault_for_write": 1, "aug_busy_write": int(BUG)}
    concurrent = two_levels(V18._replace(aug_busy_read=int(BUG)), Flow.POPULATE)

    assert errors(concurrent, Size(1, 2, 2, 1))[0] == {GIVEN_UP}
    assert errors(concurrent._replace(**for_write), Size(1, 2, 2, 1)) == (set(), 914_950)
    assert errors(STEPPING._replace(**for_write), Size(2, 1))[0] == {GIVEN_UP}


@pytest.mark.parametrize(
    ("policy", "shows", "states"),
    [(tries(2), GIVEN_UP, 12_577), (HAND_UP, BLOCKED_BEFORE, 11_685), (SKIP, "tracking_not_done", 13_325)],
)
def test_a_vcpu_that_tracks_has_the_policy_without_mmu_lock(policy, shows, states) -> None:
    own_track = V18._replace(flow=int(Flow.FLUSH_CURRENT))

    assert errors(own_track._replace(**busy(policy, "track")), ONE) == ({shows}, states)
    assert errors(own_track._replace(track_busy_write=int(policy)), ONE)[0] == set()


@pytest.mark.parametrize(
    ("seamcall", "policy", "shows"),
    [("block", HAND_UP, BLOCKED_BEFORE), ("block", SKIP, "not_blocked"), ("track", HAND_UP, BLOCKED_BEFORE)],
)
def test_a_batch_that_begins_again_finds_pages_that_it_has_blocked(seamcall, policy, shows) -> None:
    rules = SPEC._replace(flow=int(Flow.BATCH), batch=2, shootdowns=2, **busy(policy, seamcall))

    assert errors(rules, Size(1, 1, 2, 2))[0] == {shows}
