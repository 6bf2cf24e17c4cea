"""Zaps under mmu_lock held for read: which of the proposed locks are enough, by what is done about BUSY."""

import pytest

from kernels.search.explore import explore
from kernels.tdx.kvm.shootdown import after_failure
from kernels.tdx.outcomes import FORBIDDEN
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import STEP_BITS, Busy, Flow, Rules, Step, pack_steps
from kernels.tests.orders import BLOCK, KICK, LOCKS, LOWER, REMOVE, TRACK, busy, order

LOCK_SEPT, UNLOCK_SEPT, LOCK_TRACK, UNLOCK_TRACK = LOCKS
SEPT, TRACKS, FAULTS, NO_ENTRY = "sept_lock", "track_lock", "fault_lock", "no_entry_lock"
ALL = {SEPT, TRACKS, FAULTS, NO_ENTRY}
TWO_ZAPPERS = Size(1, 2, 2)


def with_locks(locks: set[str], policy: Busy, flow: Flow = Flow.SHOOTDOWN) -> Rules:
    """The specification's order without mmu_lock, and these locks."""
    sept, track = SEPT in locks, TRACKS in locks
    steps = [
        *[LOCK_SEPT] * sept, BLOCK, *[UNLOCK_SEPT] * sept,
        *[LOCK_TRACK] * track, TRACK, KICK, *[UNLOCK_TRACK] * track,
        *[LOCK_SEPT] * sept, REMOVE, *[UNLOCK_SEPT] * sept,
    ]  # fmt: skip
    return order(
        *steps,
        flow=int(flow),
        **busy(policy),
        entry_wait_for_sept_zap=1,
        fault_lock=int(FAULTS in locks),
        no_entry_lock=int(NO_ENTRY in locks),
    )


def first_error(rules: Rules) -> set[str]:
    """The forbidden outcome that comes first; none where the search found none to its end."""
    found = explore(*of_flow(rules), TWO_ZAPPERS, liveness=False, until=FORBIDDEN)
    errors = {*found.outcomes, *found.broken} & set(FORBIDDEN)
    assert errors or found.complete
    return errors


def test_where_busy_is_tried_again_the_lock_around_track_and_kick_is_enough():
    assert first_error(with_locks({TRACKS}, Busy.SPIN)) == set()
    assert first_error(with_locks({SEPT, FAULTS}, Busy.SPIN)) == {"previous_epoch_busy"}


@pytest.mark.parametrize(
    ("without", "flow"),
    [(SEPT, Flow.SHOOTDOWN), (TRACKS, Flow.SHOOTDOWN), (FAULTS, Flow.SHOOTDOWN), (NO_ENTRY, Flow.POPULATE)],
)
def test_where_one_more_try_without_vcpus_must_do_it_takes_each_of_them(without: str, flow: Flow):
    assert first_error(with_locks(ALL - {without}, Busy.RETRY_WITHOUT_VCPUS, flow)) == {"busy_given_up"}


@pytest.mark.parametrize("flow", [Flow.SHOOTDOWN, Flow.POPULATE])
def test_all_of_them_are_enough_for_one_more_try(flow: Flow):
    assert first_error(with_locks(ALL, Busy.RETRY_WITHOUT_VCPUS, flow)) == set()


@pytest.mark.parametrize(
    ("left", "held"),
    [
        ((BLOCK, UNLOCK_SEPT, LOCK_TRACK, TRACK, UNLOCK_TRACK), (UNLOCK_SEPT,)),
        ((TRACK, UNLOCK_TRACK, LOCK_SEPT, REMOVE, UNLOCK_SEPT), (UNLOCK_TRACK,)),
        ((TRACK, LOWER, UNLOCK_TRACK, UNLOCK_SEPT), (UNLOCK_SEPT, UNLOCK_TRACK, LOWER)),
        ((LOCK_SEPT, REMOVE, UNLOCK_SEPT), ()),
    ],
)
def test_a_zapper_that_fails_gives_back_what_it_holds(left: tuple[Step, ...], held: tuple[Step, ...]):
    assert after_failure(pack_steps([*left])) >> STEP_BITS == pack_steps([*held])
