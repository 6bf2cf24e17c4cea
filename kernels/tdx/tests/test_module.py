"""The TDX module, one call at a time: every status in reach, exactly, and the words afterwards."""

import pytest

from kernels.language.entered import entered
from kernels.race import lines as race
from kernels.race.weave import straight
from kernels.tdx.module.mem import is_tlb_tracked
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import (
    BLOCKED,
    FREE,
    HP,
    MAPPED,
    PENDING,
    PENDING_BLOCKED,
    RWX,
    STATE_MASK,
    SVE,
    TDEL,
    vcpu_actor,
)
from kernels.tests.orders import SPEC
from kernels.tests.single_calls import (
    ALREADY_BLOCKED,
    ANSWER,
    BUSY_ENTRY,
    BUSY_EPOCH,
    BUSY_TREE,
    NOT_BLOCKED,
    NOT_TRACKED,
    PREVIOUS_EPOCH_BUSY,
    STATE_INCORRECT,
    Machine,
    block,
    enter,
    remove,
    track,
    unpacked,
)

SUCCESS = 0
HOST_PAGE = 1 << 12  # what `prepare` puts behind guest page 0


@pytest.fixture
def m() -> Machine:
    return Machine()


def state(m: Machine) -> int:
    return m["sept"] & STATE_MASK


def test_block_takes_a_mapped_page_away_and_keeps_its_host_page(m):
    assert m.call(block) == SUCCESS
    assert m["sept"] == BLOCKED | SVE | HOST_PAGE


def test_block_of_a_pending_page_leaves_it_pending_and_blocked(m):
    m["sept"] = PENDING | SVE | HOST_PAGE

    assert m.call(block) == SUCCESS
    assert m["sept"] == PENDING_BLOCKED | SVE | HOST_PAGE


def test_block_remembers_the_epoch_and_changes_no_epoch(m):
    m.epochs(7, odd=1)

    assert m.call(block) == SUCCESS
    assert m["bepoch"] == 7
    assert unpacked(m["epoch_tracking"]) == (7, 0, 1)


def test_block_frees_its_locks(m):
    m.call(block)

    assert m["tree_lock"] == 0
    assert m["sept"] & TDEL == 0


@pytest.mark.parametrize("held", [1, 2, 4])
def test_block_is_busy_while_the_tree_is_held_in_any_way(m, held):
    m["tree_lock"] = held

    assert m.call(block) == BUSY_TREE
    assert m["tree_lock"] == held
    assert state(m) == MAPPED
    assert m["bepoch"] == 0


def test_block_is_busy_while_the_entry_is_held_and_asks_for_priority(m):
    m["sept"] = m["sept"] | TDEL

    assert m.call(block) == BUSY_ENTRY
    assert m["sept"] == MAPPED | RWX | SVE | HOST_PAGE | TDEL | HP
    assert m["tree_lock"] == 0
    assert m["bepoch"] == 0


def test_the_next_block_that_gets_the_entry_takes_its_priority_back(m):
    m["sept"] = m["sept"] | TDEL
    m.call(block)
    m["sept"] = m["sept"] & ~TDEL

    assert m.call(block) == SUCCESS
    assert m["sept"] == BLOCKED | SVE | HOST_PAGE


@pytest.mark.parametrize("blocked", [BLOCKED, PENDING_BLOCKED])
def test_block_says_that_a_page_is_blocked_already(m, blocked):
    m["sept"], m["bepoch"] = blocked | SVE, 5

    assert m.call(block) == ALREADY_BLOCKED
    assert m["sept"] == blocked | SVE
    assert m["bepoch"] == 5
    assert m["tree_lock"] == 0


def test_block_of_a_free_page_is_an_incorrect_state(m):
    m["sept"] = FREE | SVE

    assert m.call(block) == STATE_INCORRECT
    assert m["sept"] == FREE | SVE
    assert m["tree_lock"] == 0


def test_track_goes_one_epoch_on(m):
    assert m.call(track) == SUCCESS
    assert unpacked(m["epoch_tracking"]) == (2, 0, 0)
    assert m["epoch_lock"] == 0


@pytest.mark.parametrize(("epoch", "even", "odd"), [(3, 1, 0), (4, 0, 1)])
def test_track_is_refused_while_a_vcpu_runs_in_the_previous_epoch(m, epoch, even, odd):
    m.epochs(epoch, even, odd)

    assert m.call(track) == PREVIOUS_EPOCH_BUSY
    assert unpacked(m["epoch_tracking"]) == (epoch, even, odd)
    assert m["epoch_lock"] == 0


@pytest.mark.parametrize(("epoch", "even", "odd"), [(3, 0, 512), (4, 512, 0)])
def test_track_goes_on_while_vcpus_run_in_the_current_epoch(m, epoch, even, odd):
    m.epochs(epoch, even, odd)

    assert m.call(track) == SUCCESS
    assert unpacked(m["epoch_tracking"]) == (epoch + 1, even, odd)


@pytest.mark.parametrize("held", [1, 2])
def test_track_is_busy_while_the_epoch_is_held_in_any_way(m, held):
    m["epoch_lock"] = held

    assert m.call(track) == BUSY_EPOCH
    assert m["epoch_lock"] == held
    assert unpacked(m["epoch_tracking"]) == (1, 0, 0)


def tracked_page(m: Machine, entry: int = BLOCKED) -> None:
    """Blocked in epoch 1, tracked in epoch 2, nobody inside."""
    m["sept"], m["bepoch"] = entry | SVE | HOST_PAGE, 1
    m.epochs(2)


@pytest.mark.parametrize("entry", [BLOCKED, PENDING_BLOCKED])
def test_remove_frees_a_tracked_page(m, entry):
    tracked_page(m, entry)

    assert m.call(remove) == SUCCESS
    assert m["sept"] == FREE | SVE
    assert m["tree_lock"] == 0


@pytest.mark.parametrize("entry", [MAPPED | RWX, PENDING])
def test_remove_is_refused_where_the_page_is_not_blocked(m, entry):
    m["sept"] = entry | SVE

    assert m.call(remove) == NOT_BLOCKED
    assert m["sept"] == entry | SVE
    assert m["tree_lock"] == 0


def test_remove_of_a_free_page_is_an_incorrect_state(m):
    m["sept"] = FREE | SVE

    assert m.call(remove) == STATE_INCORRECT
    assert m["sept"] == FREE | SVE


def test_remove_is_refused_while_a_vcpu_from_before_track_is_inside(m):
    tracked_page(m)
    m.epochs(2, odd=1)

    assert m.call(remove) == NOT_TRACKED
    assert m["sept"] == BLOCKED | SVE | HOST_PAGE
    assert m["tree_lock"] == 0


def test_remove_is_refused_before_track(m):
    tracked_page(m)
    m.epochs(1)

    assert m.call(remove) == NOT_TRACKED


def test_remove_is_busy_while_the_tree_is_held_alone(m):
    tracked_page(m)
    m["tree_lock"] = 1

    assert m.call(remove) == BUSY_TREE
    assert m["sept"] == BLOCKED | SVE | HOST_PAGE


def test_remove_goes_on_beside_another_that_shares_the_tree(m):
    tracked_page(m)
    m["tree_lock"] = 2

    assert m.call(remove) == SUCCESS
    assert m["tree_lock"] == 2


def test_a_failed_shared_try_of_the_tree_leaves_its_count_until_the_exclusive_release_wipes_it(m):
    m.begin(block, "mem_range_block.load_acquire_sept")

    assert m.call(remove, 1) == BUSY_TREE
    assert m["tree_lock"] == 1 + 2
    assert m.end(block) == SUCCESS
    assert m["tree_lock"] == 0


def test_a_failed_shared_try_of_the_epoch_leaves_its_count_until_the_exclusive_release_wipes_it(m):
    m.begin(track, "mem_track.load_acquire_epoch_tracking")

    assert m.call(enter, 1) == BUSY_EPOCH
    assert m["epoch_lock"] == 1 + 2
    assert m.end(track) == SUCCESS
    assert m["epoch_lock"] == 0


def test_remove_is_busy_while_the_entry_is_held_and_asks_for_priority(m):
    tracked_page(m)
    m["sept"] = m["sept"] | TDEL

    assert m.call(remove) == BUSY_ENTRY
    assert m["sept"] == BLOCKED | SVE | HOST_PAGE | TDEL | HP
    assert m["tree_lock"] == 0


@pytest.mark.parametrize(
    ("epoch", "even", "odd", "blocked_in", "tracked"),
    [
        (5, 0, 0, 5, False),  # blocked in the current epoch: no TRACK yet
        (5, 0, 0, 6, False),  # an epoch to come
        (5, 0, 0, 4, True),  # TRACK ran, nobody of epoch 4 is inside
        (5, 1, 0, 4, False),  # one of epoch 4 still is
        (5, 0, 3, 4, True),  # those inside entered in epoch 5
        (6, 0, 1, 5, False),
        (6, 2, 0, 5, True),
        (5, 1, 1, 3, True),  # TRACK left epoch 4 behind, so epoch 3 is empty
        (5, 1, 1, 0, True),
        (1, 0, 0, 0, True),
        (1, 1, 0, 0, False),
        (1, 0, 0, 1, False),
    ],
)
def test_tracking_of_a_block_is_done(m, epoch, even, odd, blocked_in, tracked):
    m["sept"], m["bepoch"] = BLOCKED | SVE, blocked_in
    m.epochs(epoch, even, odd)

    assert bool(is_tlb_tracked(m["epoch_tracking"], blocked_in)) is tracked
    assert m.call(remove) == (SUCCESS if tracked else NOT_TRACKED)


@pytest.mark.parametrize(
    ("what", "words", "status"),
    [
        (track, {"epoch_tracking": 3 << 24 | 1}, PREVIOUS_EPOCH_BUSY),
        (track, {"epoch_lock": 2}, BUSY_EPOCH),
        (block, {"tree_lock": 2}, BUSY_TREE),
        (block, {"sept": MAPPED | SVE | TDEL}, BUSY_ENTRY),
        (remove, {"sept": BLOCKED | SVE, "bepoch": 1}, NOT_TRACKED),
        (remove, {}, NOT_BLOCKED),
    ],
)
def test_a_compiled_call_gives_the_same_status_and_leaves_the_same_words(compiled_calls, what, words, status):
    m, raced, stepped = Machine(), Machine(), Machine()
    for machine in (m, raced, stepped):
        for word, value in words.items():
            machine[word] = value
    me = vcpu_actor(m.lay, 0)
    lay, rules = race.record(m.lay), race.record(SPEC)
    run, step = compiled_calls[what]

    expected = m.call(what)
    run(raced.words, lay, rules, me)
    while step(stepped.words, lay, rules, me, 0):
        pass

    assert expected == status
    for machine in (raced, stepped):
        assert int(machine.words[me.tally + ANSWER]) & (1 << 64) - 1 == status
        assert (
            machine.words[m.lay.epoch_tracking : m.lay.mode].tolist()
            == m.words[m.lay.epoch_tracking : m.lay.mode].tolist()
        )


@pytest.fixture(scope="module")
def compiled_calls(tmp_path_factory: pytest.TempPathFactory):
    """By call, the straight line and the step machine; in a cache of its own, for the digest leaves tests out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TDX_STRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        made = {}
        for what in (track, block, remove):
            made[what] = straight(SHOOTDOWN, what), entered(what, SHOOTDOWN.records)[1].step
            m = Machine()
            given = m.words, race.record(m.lay), race.record(SPEC), vcpu_actor(m.lay, 0)
            made[what][0](*given)
            made[what][1](*given, 0)
    return made
