"""SEAMCALLs and TDCALLs, one at a time: every status in reach, exactly, and all the words afterwards."""

from typing import Any

import pytest

from kernels.language.syntax import Steps
from kernels.tdx.bits import HP, ONE_EPOCH, RWX, STATE_MASK, SVE, TDEL, Sept
from kernels.tdx.module.mem import is_tlb_tracked, torn
from kernels.tdx.words import vcpu_actor
from kernels.tests.orders import PLAIN_EPT, SPEC
from kernels.tests.single_calls import (
    ALREADY_ACCEPTED,
    ALREADY_BLOCKED,
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


def ends_in(m: Machine, call: Steps, before: dict[str, Any], status: int, after: dict[str, Any]) -> None:
    """Check that a call behind these words ends in this status and changes no other words than these."""
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


@pytest.mark.parametrize(("call", "before", "status", "after"), CALLS.values(), ids=CALLS)
def test_a_call_ends_in_its_status_and_changes_these_words_and_no_others(m, call, before, status, after):
    ends_in(m, call, before, status, after)


@pytest.mark.parametrize(
    ("call", "before", "after"),
    [
        (track, {"epoch_tracking": epochs(4, odd=1)}, {"epoch_tracking": epochs(5, odd=1)}),
        (remove, {}, {"sept": FREE_ENTRY}),
    ],
    ids=["TRACK beside a vCPU of the epoch before", "REMOVE of a page that was never blocked"],
)
def test_without_a_module_nobody_refuses(call, before, after):
    ends_in(Machine(rules=SPEC._replace(**PLAIN_EPT)), call, before, SUCCESS, after)


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


@pytest.mark.parametrize(
    ("lock", "holds", "at", "refused", "status"),
    [
        ("tree_lock", block, "mem_range_block.load_acquire_sept", remove, BUSY_TREE),
        ("epoch_lock", track, "mem_track.load_acquire_epoch_tracking", enter, BUSY_EPOCH),
    ],
)
def test_a_failed_shared_try_leaves_its_count_until_the_exclusive_release_wipes_it(m, lock, holds, at, refused, status):
    m.begin(holds, at)

    assert (m.call(refused, 1), m[lock]) == (status, 1 + 2)
    assert (m.end(holds), m[lock]) == (SUCCESS, 0)


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
