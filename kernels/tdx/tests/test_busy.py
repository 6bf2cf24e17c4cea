"""What KVM makes of BUSY, a policy for each SEAMCALL: where each is right, and what shows where it is wrong."""

from kernels.tdx.protocol import Size
from kernels.tdx.rules import Busy, Flow, Rules, tries
from kernels.tests.orders import PAIR, SPEC, UNSERIALIZED, V18, busy, two_levels
from kernels.tests.witnesses import ONE, shows

SPIN, EXACT, BUG, HAND_UP, SKIP = Busy.SPIN, Busy.SPIN_EXACT, Busy.BUG, Busy.HAND_UP, Busy.SKIP
WITHOUT_VCPUS = Busy.RETRY_WITHOUT_VCPUS
GIVEN_UP, BLOCKED_BEFORE = "busy_given_up", "already_blocked"


def locked(seamcall: str, policy: int) -> Rules:
    """Two shootdowns under mmu_lock, with this policy for one SEAMCALL."""
    return SPEC._replace(entry_wait_for_sept_zap=1, shootdowns=2, **busy(policy, seamcall))


# REMOVE meets nobody: whoever held the entry has left the guest by then.
test_under_mmu_lock_a_zapper_meets_vcpus_at_block_and_at_track = shows({
    f"{seamcall}, {policy!r}": (locked(seamcall, policy), ONE, harm, states)
    for seamcall, policy, harm, states in (
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
    )
})  # fmt: skip

test_without_mmu_lock_remove_meets_another_zappers_block = shows({
    repr(policy): (V18._replace(entry_wait_for_sept_zap=1, **busy(policy, "remove")), Size(1, 2, 2, 1), harm, states)
    for policy, harm, states in (
        (SPIN, "", 369_866),
        (EXACT, "", 369_866),
        (BUG, GIVEN_UP, 401_694),
        (tries(3), GIVEN_UP, 401_694),
        (WITHOUT_VCPUS, GIVEN_UP, 644_531),
        (HAND_UP, BLOCKED_BEFORE, 457_588),
        (SKIP, "entry_state_incorrect", 512_542),
    )
})  # fmt: skip

test_a_policy_is_that_of_how_mmu_lock_is_held = shows({
    "for write": (SPEC._replace(track_busy_read=int(BUG)), ONE, "", 1_742),
    "for read": (UNSERIALIZED._replace(track_busy_read=int(BUG)), ONE, GIVEN_UP, 1_641),
})  # fmt: skip

STEPPING = two_levels(SPEC, Flow.ZERO_STEP, epf_threshold=0, hp_lock_timeout=1)
test_a_fault_meets_the_0_step_filter_of_another_vcpu_and_its_accept = shows({
    **{
        f"{seamcall}, {policy!r}": (STEPPING._replace(**busy(policy, seamcall), shootdowns=0), Size(2, 1), harm, states)
        for seamcall, policy, harm, states in (
            ("aug", SPIN, "", 5_765),
            ("aug", HAND_UP, "", 7_984),
            ("aug", Busy.HAND_UP_EXACT, GIVEN_UP, 6_301),
            ("aug", tries(2), GIVEN_UP, 6_854),
            ("aug", BUG, GIVEN_UP, 5_875),
            ("aug", SKIP, "mirror_in_step", 6_816),
            ("sept_add", SPIN, "", 7_787),
            ("sept_add", HAND_UP, "", 7_984),
            ("sept_add", EXACT, "", 7_787),
            ("sept_add", BUG, GIVEN_UP, 8_025),
            ("sept_add", SKIP, "ept_walk_failed mirror_in_step", 8_283),
        )
    },
    "beside a zapper, which looks at what was skipped": (
        STEPPING._replace(**busy(SKIP, "aug")), Size(2, 1),
        "mirror_disagrees mirror_in_step entry_state_incorrect", 382_545,
    ),
})  # fmt: skip

# mmu_lock for write keeps BLOCK away, as it is held for a zap; it keeps nobody from entering.
CONCURRENT = two_levels(V18._replace(aug_busy_read=int(BUG)), Flow.POPULATE)
FOR_WRITE = {"fault_for_write": 1, "aug_busy_write": int(BUG)}
test_that_busy_of_aug_is_a_bug_for_write_holds_where_block_alone_takes_the_tree = shows({
    "for read": (CONCURRENT, Size(1, 1, 2, 1), GIVEN_UP, 39_007),
    "for write": (CONCURRENT._replace(**FOR_WRITE), Size(1, 1, 2, 1), "", 31_087),
    "beside a guest that is stepped": (STEPPING._replace(**FOR_WRITE, shootdowns=0), Size(2, 1), GIVEN_UP, 3_809),
})  # fmt: skip

OWN_TRACK = V18._replace(flow=int(Flow.FLUSH_CURRENT))
test_a_vcpu_that_tracks_has_the_policy_without_mmu_lock = shows({
    "tries": (OWN_TRACK._replace(**busy(tries(2), "track")), ONE, GIVEN_UP, 12_577),
    "hands up": (OWN_TRACK._replace(**busy(HAND_UP, "track")), ONE, BLOCKED_BEFORE, 11_685),
    "skips": (OWN_TRACK._replace(**busy(SKIP, "track")), ONE, "tracking_not_done", 13_325),
    "skips for write alone": (OWN_TRACK._replace(track_busy_write=int(SKIP)), ONE, "", 10_396),
})  # fmt: skip

BATCH = SPEC._replace(**PAIR, shootdowns=2)
test_a_batch_that_begins_again_finds_pages_that_it_has_blocked = shows({
    "block hands up": (BATCH._replace(**busy(HAND_UP, "block")), Size(1, 1, 2, 2), BLOCKED_BEFORE, 20_535),
    "block skips": (BATCH._replace(**busy(SKIP, "block")), Size(1, 1, 2, 2), "not_blocked", 33_331),
    "track hands up": (BATCH._replace(**busy(HAND_UP, "track")), Size(1, 1, 2, 2), BLOCKED_BEFORE, 20_865),
})  # fmt: skip
