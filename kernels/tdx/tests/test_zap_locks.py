"""Zaps under mmu_lock held for read: which of the proposed locks are enough, by what is done about BUSY."""

import functools

import pytest

from kernels.search.explore import explore
from kernels.story.narrate import Narrator
from kernels.tdx.kvm.steps_left import after_failure
from kernels.tdx.kvm.zap_locks import READ, WRITE, held_behind, how_held
from kernels.tdx.outcomes import FORBIDDEN
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import STEP_BITS, Busy, Flow, Lock, Rules, Step, pack_steps
from kernels.tests.orders import BLOCK, KICK, LOCKS, LOWER, RAISE, REMOVE, TRACK, busy, order

LOCK_SEPT, READ_SEPT, UNLOCK_SEPT, LOCK_TRACK, READ_TRACK, UNLOCK_TRACK = LOCKS[:6]
LOCK_MMU, _, UNLOCK_MMU = LOCKS[-3:]
SEPT, TRACKS, FAULTS, NO_ENTRY = "sept_lock", "track_lock", "fault_lock", "no_entry_lock"
ALL = {SEPT, TRACKS, FAULTS, NO_ENTRY}
TWO_ZAPPERS = Size(1, 2, 2)


def with_locks(locks: set[str], policy: Busy, flow: Flow = Flow.SHOOTDOWN, removes: Step = READ_SEPT) -> Rules:
    """The specification's order without mmu_lock, and these locks; REMOVE holds its own for read, as proposed."""
    sept, track = SEPT in locks, TRACKS in locks
    steps = [
        *[LOCK_SEPT] * sept, BLOCK, *[UNLOCK_SEPT] * sept,
        *[LOCK_TRACK] * track, TRACK, KICK, *[UNLOCK_TRACK] * track,
        *[removes] * sept, REMOVE, *[UNLOCK_SEPT] * sept,
    ]  # fmt: skip
    return order(
        *steps,
        flow=int(flow),
        **busy(policy),
        entry_wait_for_sept_zap=1,
        fault_lock=int(FAULTS in locks),
        no_entry_lock=int(NO_ENTRY in locks),
    )


RETRY = Busy.RETRY_WITHOUT_VCPUS
ENOUGH = with_locks(ALL, RETRY, removes=LOCK_SEPT)


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        # Where BUSY is tried again the lock around TRACK and kick is enough.
        (with_locks({TRACKS}, Busy.SPIN), set()),
        (with_locks({SEPT, FAULTS}, Busy.SPIN), {"previous_epoch_busy"}),
        # Where one more try without vCPUs must do it takes each of them.
        *((with_locks(ALL - {one}, RETRY), {"busy_given_up"}) for one in (SEPT, TRACKS, FAULTS)),
        (with_locks(ALL - {NO_ENTRY}, RETRY, Flow.POPULATE), {"busy_given_up"}),
        *((with_locks(ALL, RETRY, flow), set()) for flow in (Flow.SHOOTDOWN, Flow.POPULATE)),
        # REMOVE may hold its lock for write as well, and BLOCK not for read.
        (ENOUGH, set()),
        (ENOUGH._replace(shootdown=ENOUGH.shootdown - LOCK_SEPT + READ_SEPT), {"busy_given_up"}),
    ],
)
def test_what_comes_first_with_these_locks(rules: Rules, shown: set[str]):
    found = explore(*of_flow(rules), TWO_ZAPPERS, liveness=False, until=FORBIDDEN)

    assert {*found.outcomes, *found.broken} & {*FORBIDDEN} == shown
    assert shown or found.complete


@pytest.mark.parametrize(
    ("taken", "left", "done"),
    [
        ((LOCK_SEPT,), (BLOCK, LOWER, UNLOCK_SEPT), (UNLOCK_SEPT, LOWER)),
        ((LOCK_SEPT, UNLOCK_SEPT, READ_TRACK), (TRACK, UNLOCK_TRACK), (UNLOCK_TRACK,)),
        ((READ_SEPT, LOCK_TRACK), (TRACK, RAISE, LOWER), (UNLOCK_SEPT, UNLOCK_TRACK)),
        ((LOCK_SEPT, UNLOCK_SEPT), (LOCK_SEPT, REMOVE, UNLOCK_SEPT), ()),
        ((LOCK_MMU, LOCK_SEPT), (REMOVE, UNLOCK_SEPT, UNLOCK_MMU), (UNLOCK_SEPT, UNLOCK_MMU)),
    ],
)
def test_a_zapper_that_fails_gives_back_what_it_holds(
    taken: tuple[Step, ...], left: tuple[Step, ...], done: tuple[Step, ...]
):
    held = functools.reduce(held_behind, taken, 0)

    assert after_failure(pack_steps([*left]), held) >> STEP_BITS == pack_steps([*done])


@pytest.mark.parametrize("lock", Lock)
def test_a_lock_that_is_taken_for_read_is_held_so_until_it_is_given_back(lock: Lock):
    write, read, back = LOCKS[3 * lock : 3 * lock + 3]
    other = LOCKS[3 * ((lock + 1) % len(Lock))]

    assert how_held(held_behind(held_behind(0, other), write), lock) == WRITE
    assert how_held(held_behind(held_behind(0, other), read), lock) == READ
    assert held_behind(held_behind(held_behind(0, other), read), back) == held_behind(0, other)


def test_a_story_says_how_a_lock_is_taken():
    narrator = Narrator(*of_flow(with_locks({SEPT, TRACKS}, Busy.SPIN)), Size(1, 1))
    while narrator.run.site("zapper 0") is not None:
        narrator.step("zapper 0", 0)

    said = [span.name for span in narrator.story().spans if "_lock" in span.name]
    assert said == [
        "takes sept_lock for write", "gives sept_lock back",
        "takes track_lock for write", "gives track_lock back",
        "takes sept_lock for read", "gives sept_lock back",
    ]  # fmt: skip
