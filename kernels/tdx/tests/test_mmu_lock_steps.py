"""KVM's mmu_lock around some of a shootdown's steps: what must be inside, and which policy for BUSY is in force."""

import pytest

from kernels.search.explore import explore
from kernels.story.narrate import Narrator
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.reads import reads
from kernels.tdx.rules import Busy, Step
from kernels.tests.orders import BLOCK, KICK, LOCKS, PAIR, REMOVE, SPEC, TRACK, order
from kernels.tests.witnesses import errors

LOCK, READ, UNLOCK = LOCKS[-3:]
WHOLE = order(LOCK, BLOCK, TRACK, KICK, REMOVE, UNLOCK)
TRACKED = order(BLOCK, LOCK, TRACK, KICK, UNLOCK, REMOVE)
TWO_ZAPPERS = Size(1, 2, 2)


def test_steps_around_the_whole_are_what_serialized_is():
    steps, key = (explore(*of_flow(rules), TWO_ZAPPERS, liveness=False) for rules in (WHOLE, SPEC))

    assert (steps.states, steps.transitions) == (key.states, key.transitions) == (97_337, 296_077)
    assert steps.outcomes.keys() == key.outcomes.keys()


def test_around_track_and_kick_alone_it_is_enough_and_for_read_it_is_not():
    shared = order(READ, BLOCK, TRACK, KICK, REMOVE, UNLOCK)

    assert errors(TRACKED, TWO_ZAPPERS)[0] == set()
    assert errors(shared, TWO_ZAPPERS)[0] == {"previous_epoch_busy"}


def test_a_batch_that_yields_lets_it_go():
    assert errors(WHOLE, Size(1, 1, 2, 2), **PAIR, resched=1)[0] == set()


@pytest.mark.parametrize(
    ("steps", "written", "read"),
    [
        ((LOCK, BLOCK, TRACK, KICK, REMOVE, UNLOCK), {"block", "track", "remove"}, set()),
        ((READ, BLOCK, TRACK, KICK, REMOVE, UNLOCK), set(), {"block", "track", "remove"}),
        ((BLOCK, LOCK, TRACK, KICK, UNLOCK, REMOVE), {"track"}, {"block", "remove"}),
        ((LOCK, BLOCK, UNLOCK, READ, TRACK, KICK, UNLOCK, REMOVE), {"block"}, {"track", "remove"}),
    ],
)
def test_what_becomes_of_busy_is_said_for_the_mode_in_which_it_is_held_at_that_step(
    steps: tuple[Step, ...], written: set[str], read: set[str]
):
    looked = reads(order(*steps)).fields

    assert {name.split("_")[0] for name in looked if name.endswith("_busy_write")} == written
    assert {name.split("_")[0] for name in looked if name.endswith("_busy_read")} == read


def test_a_policy_for_write_is_in_force_inside_alone():
    one_try = {"track_busy_write": int(Busy.BUG), "track_busy_read": int(Busy.SPIN)}

    assert errors(TRACKED._replace(**one_try))[0] == {"busy_given_up"}
    assert errors(order(LOCK, BLOCK, UNLOCK, TRACK, KICK, REMOVE, **one_try))[0] == set()


def test_a_story_says_how_it_is_taken():
    narrator = Narrator(*of_flow(order(LOCK, BLOCK, UNLOCK, READ, TRACK, KICK, UNLOCK, REMOVE)), Size(1, 1))
    while narrator.run.site("zapper 0") is not None:
        narrator.step("zapper 0", 0)

    said = [span.name for span in narrator.story().spans if "mmu_lock" in span.name]
    assert said[:4] == [
        "takes mmu_lock for write", "gives mmu_lock back", "takes mmu_lock for read", "gives mmu_lock back",
    ]  # fmt: skip
