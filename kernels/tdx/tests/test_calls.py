"""SEAMCALLs and TDCALLs, one at a time: every status in reach, exactly, and all the words afterwards."""

import pytest

from kernels.language.compile import words_of
from kernels.language.entered import entered
from kernels.layout import OUTCOME_COUNTS
from kernels.race.straight import straight
from kernels.tdx.bits import HP, ONE_EPOCH, RWX, STATE_MASK, SVE, TDEL, Sept
from kernels.tdx.module.mem import is_tlb_tracked, torn
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import vcpu_actor
from kernels.tests.orders import NO_FLUSH, SPEC
from kernels.tests.single_calls import (
    ALREADY_ACCEPTED,
    ALREADY_BLOCKED,
    ANSWER,
    BUSY_ENTRY,
    BUSY_EPOCH,
    BUSY_TREE,
    METADATA_INCORRECT,
    NOT_BLOCKED,
    NOT_TRACKED,
    NOT_TRACKED_TREE,
    PREVIOUS_EPOCH_BUSY,
    STATE_INCORRECT,
    VIOLATION,
    Machine,
    accept,
    aug,
    block,
    enter,
    leave,
    remove,
    track,
    unblock,
    unpacked,
    wbinvd,
)

SUCCESS = 0
HOST_PAGE = 1 << 12  # what `prepare` puts behind guest page 0
MAPPED_PAGE, FREE_ENTRY = Sept.MAPPED | RWX | SVE | HOST_PAGE, Sept.FREE | SVE
PENDING_PAGE, BLOCKED_PAGE = Sept.PENDING | SVE | HOST_PAGE, Sept.BLOCKED | SVE | HOST_PAGE
UNACCEPTED = Sept.PENDING_BLOCKED | SVE | HOST_PAGE


def epochs(epoch: int, even: int = 0, odd: int = 0) -> int:
    """The TD epoch, and how many vCPUs are inside that entered in even and in odd epochs."""
    return epoch * ONE_EPOCH | odd << 12 | even


def tracked(sept: int = BLOCKED_PAGE, **words: int) -> dict[str, int]:
    """Blocked in epoch 1, tracked in epoch 2, nobody inside."""
    return {"sept": sept, "bepoch": 1, "epoch_tracking": epochs(2), **words}


# By what is shown: the call, words before it, its status, and every word that is another afterwards. An exclusive try
# that fails leaves the lock as it is, a shared one its 2.
CALLS = {
    "BLOCK takes a mapped page away, keeps its host page": (block, {}, SUCCESS, {"sept": BLOCKED_PAGE, "bepoch": 1}),
    "BLOCK of a pending page": (block, {"sept": PENDING_PAGE}, SUCCESS, {"sept": UNACCEPTED, "bepoch": 1}),
    "BLOCK remembers the epoch": (
        block, {"epoch_tracking": epochs(7, odd=1)}, SUCCESS, {"sept": BLOCKED_PAGE, "bepoch": 7},
    ),
    **{
        f"BLOCK is busy while the tree is held in any way: {held}": (block, {"tree_lock": held}, BUSY_TREE, {})
        for held in (1, 2, 4)
    },
    "BLOCK is busy while the entry is held and asks for priority": (
        block, {"sept": MAPPED_PAGE | TDEL}, BUSY_ENTRY, {"sept": MAPPED_PAGE | TDEL | HP},
    ),
    "the next BLOCK that gets the entry takes its priority back": (
        block, {"sept": MAPPED_PAGE | HP}, SUCCESS, {"sept": BLOCKED_PAGE, "bepoch": 1},
    ),
    "BLOCK of a blocked page": (block, {"sept": BLOCKED_PAGE, "bepoch": 5}, ALREADY_BLOCKED, {}),
    "BLOCK of a pending blocked page": (block, {"sept": UNACCEPTED, "bepoch": 5}, ALREADY_BLOCKED, {}),
    "BLOCK of a free page": (block, {"sept": FREE_ENTRY}, STATE_INCORRECT, {}),
    "UNBLOCK maps a tracked page again": (unblock, tracked(), SUCCESS, {"sept": MAPPED_PAGE}),
    "UNBLOCK of one that nobody has accepted": (unblock, tracked(UNACCEPTED), SUCCESS, {"sept": PENDING_PAGE}),
    "UNBLOCK of a mapped page": (unblock, {}, STATE_INCORRECT, {}),
    "UNBLOCK of a free page": (unblock, {"sept": FREE_ENTRY}, STATE_INCORRECT, {}),
    "UNBLOCK before TRACK": (unblock, tracked(epoch_tracking=epochs(1)), NOT_TRACKED_TREE, {}),
    "UNBLOCK while a vCPU from before TRACK is inside": (
        unblock, tracked(epoch_tracking=epochs(2, odd=1)), NOT_TRACKED_TREE, {},
    ),
    **{
        f"UNBLOCK is busy while the tree is held in any way: {held}": (unblock, tracked(tree_lock=held), BUSY_TREE, {})
        for held in (1, 2)
    },
    "UNBLOCK is busy while the entry is held and asks for priority": (
        unblock, tracked(BLOCKED_PAGE | TDEL), BUSY_ENTRY, {"sept": BLOCKED_PAGE | TDEL | HP},
    ),
    "TRACK goes one epoch on": (track, {}, SUCCESS, {"epoch_tracking": epochs(2)}),
    "TRACK is refused while a vCPU of an even epoch before is inside": (
        track, {"epoch_tracking": epochs(3, even=1)}, PREVIOUS_EPOCH_BUSY, {},
    ),
    "TRACK is refused while a vCPU of an odd epoch before is inside": (
        track, {"epoch_tracking": epochs(4, odd=1)}, PREVIOUS_EPOCH_BUSY, {},
    ),
    "TRACK goes on while vCPUs are inside in an odd epoch": (
        track, {"epoch_tracking": epochs(3, odd=512)}, SUCCESS, {"epoch_tracking": epochs(4, odd=512)},
    ),
    "TRACK goes on while vCPUs are inside in an even epoch": (
        track, {"epoch_tracking": epochs(4, even=512)}, SUCCESS, {"epoch_tracking": epochs(5, even=512)},
    ),
    "TRACK is busy while another tracks": (track, {"epoch_lock": 1}, BUSY_EPOCH, {}),
    "TRACK is busy while a vCPU enters": (track, {"epoch_lock": 2}, BUSY_EPOCH, {}),
    "REMOVE frees a tracked page": (remove, tracked(), SUCCESS, {"sept": FREE_ENTRY}),
    "REMOVE frees one that nobody has accepted": (remove, tracked(UNACCEPTED), SUCCESS, {"sept": FREE_ENTRY}),
    "REMOVE of a mapped page": (remove, {}, NOT_BLOCKED, {}),
    "REMOVE of a pending page": (remove, {"sept": PENDING_PAGE}, NOT_BLOCKED, {}),
    "REMOVE of a free page": (remove, {"sept": FREE_ENTRY}, STATE_INCORRECT, {}),
    "REMOVE while a vCPU from before TRACK is inside": (
        remove, tracked(epoch_tracking=epochs(2, odd=1)), NOT_TRACKED, {},
    ),
    "REMOVE before TRACK": (remove, tracked(epoch_tracking=epochs(1)), NOT_TRACKED, {}),
    "REMOVE is busy while the tree is held alone": (remove, tracked(tree_lock=1), BUSY_TREE, {"tree_lock": 3}),
    "REMOVE goes on beside another that shares the tree": (
        remove, tracked(tree_lock=2), SUCCESS, {"sept": FREE_ENTRY},
    ),
    "REMOVE is busy while the entry is held and asks for priority": (
        remove, tracked(BLOCKED_PAGE | TDEL), BUSY_ENTRY, {"sept": BLOCKED_PAGE | TDEL | HP},
    ),
    "WBINVD of a free page takes no lock": (wbinvd, {"sept": FREE_ENTRY | TDEL, "tree_lock": 1}, SUCCESS, {}),
    **{
        f"WBINVD of a page that a TD has: {entry:#x}": (wbinvd, {"sept": entry}, METADATA_INCORRECT, {})
        for entry in (MAPPED_PAGE, PENDING_PAGE, BLOCKED_PAGE, UNACCEPTED)
    },
    "AUG puts a pending page behind a free entry": (
        aug, {"sept": FREE_ENTRY, "bepoch": 4}, SUCCESS, {"sept": Sept.PENDING | SVE | 9 << 12, "bepoch": 0},
    ),
    **{
        f"AUG of a page in use: {entry:#x}": (aug, {"sept": entry, "bepoch": 4}, STATE_INCORRECT, {})
        for entry in (MAPPED_PAGE, PENDING_PAGE, BLOCKED_PAGE, UNACCEPTED)
    },
    "AUG is busy while the tree is held alone": (
        aug, {"sept": FREE_ENTRY, "tree_lock": 1}, BUSY_TREE, {"tree_lock": 3},
    ),
    "AUG is busy while the entry is held and asks for priority": (
        aug, {"sept": FREE_ENTRY | TDEL}, BUSY_ENTRY, {"sept": FREE_ENTRY | TDEL | HP},
    ),
    "ACCEPT maps a pending page": (accept, {"sept": PENDING_PAGE}, SUCCESS, {"sept": MAPPED_PAGE}),
    "ACCEPT does not look at the tree lock": (
        accept, {"sept": PENDING_PAGE, "tree_lock": 1}, SUCCESS, {"sept": MAPPED_PAGE},
    ),
    "ACCEPT of an accepted page": (accept, {}, ALREADY_ACCEPTED, {}),
    **{
        f"ACCEPT of a page that is not there ends in an EPT violation: {entry:#x}": (
            accept, {"sept": entry}, VIOLATION, {},
        )
        for entry in (FREE_ENTRY, BLOCKED_PAGE, UNACCEPTED)
    },
    "ACCEPT is busy while the entry is held and asks for no priority": (
        accept, {"sept": PENDING_PAGE | TDEL}, BUSY_ENTRY, {},
    ),
    "ACCEPT stands back where the host has asked for priority": (accept, {"sept": PENDING_PAGE | HP}, BUSY_ENTRY, {}),
    "an entry in an odd epoch": (enter, {}, SUCCESS, {"epoch_tracking": epochs(1, odd=1), "vcpu_epoch": 1}),
    "an entry in a new even epoch flushes the whole TLB": (
        enter, {"epoch_tracking": epochs(2), "vcpu_epoch": 1, "tlb": (11, 12)}, SUCCESS,
        {"epoch_tracking": epochs(2, even=1), "vcpu_epoch": 2, "tlb": (0, 0)},
    ),
    "an entry in the epoch of the last one keeps the TLB, a second vCPU is counted": (
        enter, {"epoch_tracking": epochs(1, odd=1), "vcpu_epoch": 1, "tlb": (11, 12)}, SUCCESS,
        {"epoch_tracking": epochs(1, odd=2)},
    ),
    "an entry is busy while TRACK holds the epoch": (enter, {"epoch_lock": 1}, BUSY_EPOCH, {"epoch_lock": 3}),
    "entries share the epoch": (
        enter, {"epoch_lock": 2}, SUCCESS, {"epoch_tracking": epochs(1, odd=1), "vcpu_epoch": 1},
    ),
    "an exit leaves the epoch of the entry, not the current one, and its TLB": (
        leave, {"epoch_tracking": epochs(2, even=1, odd=2), "vcpu_epoch": 1, "tlb": (11, 12)}, SUCCESS,
        {"epoch_tracking": epochs(2, even=1, odd=1)},
    ),
}  # fmt: skip


@pytest.fixture
def m() -> Machine:
    return Machine()


def state(m: Machine) -> int:
    return m["sept"] & STATE_MASK


@pytest.mark.parametrize(("call", "before", "status", "after"), CALLS.values(), ids=CALLS)
def test_a_call_ends_in_its_status_and_changes_these_words_and_no_others(m, call, before, status, after):
    me, other = vcpu_actor(m.lay, 0), m.lay.tlb + m.lay.vcpu_stride

    def put(words, changes):
        for name, value in changes.items():
            at, values = getattr(m.lay, name), value if isinstance(value, tuple) else (value,)
            words[at : at + len(values)] = values

    m.words[other : other + 2] = 13, 14
    put(m.words, before)
    expected = m.words[: m.lay.state_words].copy()
    put(expected, after)

    assert m.call(call) == status
    expected[[me.pc, *range(me.register, me.register + 8)]] = m.words[[me.pc, *range(me.register, me.register + 8)]]
    assert m.words[: m.lay.state_words].tolist() == expected.tolist()


def test_the_guest_gets_the_entry_once_the_host_that_asked_has_had_it(m):
    m["sept"] = Sept.PENDING | SVE
    m.begin(accept, "mem_page_accept.load_acquire_sept", 1)
    asked = m.call(aug)
    m.end(accept, 1)
    m["sept"] = (m["sept"] & ~(STATE_MASK | RWX)) | Sept.PENDING

    assert asked == BUSY_ENTRY
    assert m.call(accept, 1) == BUSY_ENTRY
    assert m.call(aug) == STATE_INCORRECT
    assert m.call(accept, 1) == SUCCESS


def test_a_module_told_not_to_flush_keeps_the_tlb_in_a_new_epoch_and_counts_as_ever():
    m = Machine(rules=NO_FLUSH)
    m["tlb"] = 11
    m.epochs(2)
    m.call(enter)

    assert m["tlb"] == 11
    assert m["vcpu_epoch"] == 2
    assert unpacked(m["epoch_tracking"]) == (2, 1, 0)


@pytest.mark.parametrize(("entered", "broken"), [(True, 0), (False, 1)])
def test_an_exit_that_nobody_entered_for_is_noted_as_a_broken_refcount(m, entered, broken):
    m["vcpu_epoch"] = 1
    if entered:
        m.call(enter)
    m.call(leave)

    assert m.words[vcpu_actor(m.lay, 0).tally + OUTCOME_COUNTS + Outcome.refcount_broken] == broken


def test_block_track_exit_remove_is_refused_until_the_vcpu_has_left(m):
    m.call(enter)
    m.call(block)
    m.call(track)

    assert m.call(remove) == NOT_TRACKED
    assert m.call(track) == PREVIOUS_EPOCH_BUSY
    m.call(leave)
    assert m.call(remove) == SUCCESS


def test_a_page_goes_from_mapped_over_free_and_pending_to_mapped(m):
    states = [state(m)]
    for what in (block, track, remove, aug, accept):
        assert m.call(what) == SUCCESS
        states.append(state(m))

    assert states == [Sept.MAPPED, Sept.BLOCKED, Sept.BLOCKED, Sept.FREE, Sept.PENDING, Sept.MAPPED]


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


@pytest.mark.parametrize(
    ("epoch", "even", "odd", "blocked_in", "done"),
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
def test_tracking_of_a_block_is_done(m, epoch, even, odd, blocked_in, done):
    m["sept"], m["bepoch"] = Sept.BLOCKED | SVE, blocked_in
    m.epochs(epoch, even, odd)

    assert bool(is_tlb_tracked(m["epoch_tracking"], blocked_in)) is done
    assert m.call(remove) == (SUCCESS if done else NOT_TRACKED)


def test_a_torn_read_has_the_vcpus_of_the_first_and_the_epoch_of_the_second():
    assert torn(epochs(4, even=3, odd=5), epochs(6, even=2, odd=1)) == epochs(6, even=3, odd=5)


@pytest.mark.parametrize(
    ("what", "words", "status"),
    [
        (track, {"epoch_tracking": 3 << 24 | 1}, PREVIOUS_EPOCH_BUSY),
        (track, {"epoch_lock": 2}, BUSY_EPOCH),
        (block, {"tree_lock": 2}, BUSY_TREE),
        (block, {"sept": Sept.MAPPED | SVE | TDEL}, BUSY_ENTRY),
        (remove, {"sept": Sept.BLOCKED | SVE, "bepoch": 1}, NOT_TRACKED),
        (remove, {}, NOT_BLOCKED),
    ],
)
def test_a_compiled_call_gives_the_same_status_and_leaves_the_same_words(compiled_calls, what, words, status):
    m, raced, stepped = Machine(), Machine(), Machine()
    for machine in (m, raced, stepped):
        for word, value in words.items():
            machine[word] = value
    me = vcpu_actor(m.lay, 0)
    run, step = compiled_calls[what]

    expected = m.call(what)
    run(*map(words_of, (raced.words, m.lay, SPEC, me)))
    while step(stepped.words, m.lay, SPEC, me, 0):
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
            made[what] = straight(SHOOTDOWN, what), entered(what, SHOOTDOWN.records).step
            m = Machine()
            made[what][0](*map(words_of, (m.words, m.lay, SPEC, vcpu_actor(m.lay, 0))))
    return made
