"""A BLOCK that is taken back where BUSY is handed up behind it: what that needs by the module, and without one."""

import pytest

from kernels.search.explore import Exploration, explore
from kernels.story.narrate import Narrator
from kernels.tdx.kvm.steps_left import followed_by
from kernels.tdx.outcomes import FORBIDDEN
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import STEP_BITS, Busy, Rules, Step, pack_steps
from kernels.tests.orders import (
    BLOCK,
    KICK,
    LOCKS,
    LOWER,
    PAIR,
    PLAIN_EPT,
    REMOVE,
    REQUESTS,
    TRACK,
    UNBLOCK,
    busy,
    order,
)
from kernels.tests.witnesses import ONE, errors

LOCK_TRACK, _, UNLOCK_TRACK = LOCKS[3:6]
BARE = {"undo": pack_steps([UNBLOCK])}
TRACKED = {"undo": pack_steps([TRACK, KICK, UNBLOCK])}
TRACK_UP = order(BLOCK, TRACK, KICK, REMOVE, serialized=1, **busy(Busy.HAND_UP, "track"))
REMOVE_UP = order(BLOCK, LOCK_TRACK, TRACK, KICK, UNLOCK_TRACK, REMOVE, **busy(Busy.HAND_UP, "remove"))
UNMAP_UP = order(BLOCK, KICK, REMOVE, **REQUESTS, **PLAIN_EPT, **busy(Busy.HAND_UP, "remove"))
TWO_ZAPPERS = Size(1, 2, 2)


def searched(rules: Rules, size: Size) -> tuple[Exploration, set[str]]:
    """A search up to the first forbidden outcome, or for as long as some memory lasts, and that outcome."""
    found = explore(*of_flow(rules), size, liveness=False, until=FORBIDDEN, memory_bytes=200 << 20)
    return found, {*found.outcomes, *found.broken} & {*FORBIDDEN}


@pytest.mark.parametrize(("rules", "size"), [(TRACK_UP, ONE), (REMOVE_UP, TWO_ZAPPERS), (UNMAP_UP, TWO_ZAPPERS)])
def test_a_shootdown_that_begins_again_finds_its_page_blocked(rules: Rules, size: Size):
    assert searched(rules, size)[1] == {"already_blocked"}


def test_behind_remove_it_is_right_as_the_block_is_tracked():
    found, shown = searched(REMOVE_UP._replace(**BARE), TWO_ZAPPERS)

    # Each round is another epoch: there is no end of states.
    assert shown == set() and not found.complete and found.states > 1_000_000


def test_behind_track_the_module_refuses_it_unless_it_tracks_itself():
    found, shown = searched(TRACK_UP._replace(**TRACKED), ONE)

    assert searched(TRACK_UP._replace(**BARE), ONE)[1] == {"tracking_not_done"}
    assert shown == set() and not found.complete and found.states > 1_000_000


@pytest.mark.parametrize(
    ("rules", "size", "states"), [(TRACK_UP._replace(**PLAIN_EPT), ONE, 2_316), (UNMAP_UP, TWO_ZAPPERS, 189_067)]
)
def test_without_a_module_it_is_right_wherever_busy_is_handed_up(rules: Rules, size: Size, states: int):
    assert errors(rules._replace(**BARE), size) == (set(), states)


def test_a_block_that_is_handed_up_itself_has_nothing_to_be_taken_back():
    up = order(BLOCK, LOCK_TRACK, TRACK, KICK, UNLOCK_TRACK, REMOVE, **busy(Busy.HAND_UP, "block"))

    assert errors(up, TWO_ZAPPERS)[1] == errors(up, TWO_ZAPPERS, **TRACKED)[1]


def test_of_a_batch_only_those_pages_are_taken_back_that_have_been_blocked():
    policies = busy(Busy.SPIN) | busy(Busy.HAND_UP, "block")
    up = TRACK_UP._replace(**PAIR, **PLAIN_EPT, **policies, shootdowns=2)

    assert errors(up, Size(1, 1, 2, 2))[0] == {"already_blocked"}
    assert errors(up, Size(1, 1, 2, 2), **BARE) == (set(), 24_213)


@pytest.mark.parametrize("held", [(), (UNLOCK_TRACK, LOWER)])
def test_locks_are_given_back_and_the_gate_is_lowered_before(held: tuple[Step, ...]):
    left = pack_steps([*held]) << STEP_BITS

    assert followed_by(left, BARE["undo"]) >> STEP_BITS == pack_steps([*held, UNBLOCK])


def test_a_story_tells_how_it_is_taken_back_and_that_it_begins_again():
    narrator = Narrator(*of_flow(TRACK_UP._replace(**BARE, **PLAIN_EPT)), ONE)
    held = narrator.run.lay.epoch_lock
    for _ in range(60):
        # Somebody has the epoch until the block is taken back.
        narrator.run.words[held] = len({span.name for span in narrator.story().spans if "UNBLOCK" in span.name}) == 0
        if narrator.run.site("zapper 0") is not None:
            narrator.step("zapper 0", 0)

    calls = [(span.name, span.status) for span in narrator.story().spans if span.name.startswith("TDH.MEM.")]
    assert calls[:4] == [
        ("TDH.MEM.RANGE.BLOCK", "SUCCESS"),
        ("TDH.MEM.TRACK", "OPERAND_BUSY|TD_EPOCH"),
        ("TDH.MEM.RANGE.UNBLOCK", "SUCCESS"),
        ("TDH.MEM.RANGE.BLOCK", "SUCCESS"),
    ]
