"""Pages added and accepted, entries and exits, one call at a time: every status in reach, and the words afterwards."""

import pytest

from kernels.layout import OUTCOME_COUNTS
from kernels.tdx.outcomes import Outcome
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
from kernels.tests.orders import NO_FLUSH
from kernels.tests.single_calls import (
    ALREADY_ACCEPTED,
    BUSY_ENTRY,
    BUSY_EPOCH,
    BUSY_TREE,
    NOT_TRACKED,
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
    unpacked,
)

SUCCESS = 0
HOST_PAGE = 1 << 12  # what `prepare` puts behind guest page 0


@pytest.fixture
def m() -> Machine:
    return Machine()


def state(m: Machine) -> int:
    return m["sept"] & STATE_MASK


def test_aug_puts_a_pending_page_behind_a_free_entry(m):
    m["sept"], m["bepoch"] = FREE | SVE, 4

    assert m.call(aug) == SUCCESS
    assert m["sept"] == PENDING | SVE | 9 << 12
    assert m["bepoch"] == 0
    assert m["tree_lock"] == 0


@pytest.mark.parametrize("entry", [MAPPED | RWX, PENDING, BLOCKED, PENDING_BLOCKED])
def test_aug_of_a_page_in_use_is_an_incorrect_state(m, entry):
    m["sept"], m["bepoch"] = entry | SVE, 4

    assert m.call(aug) == STATE_INCORRECT
    assert m["sept"] == entry | SVE
    assert m["bepoch"] == 4
    assert m["tree_lock"] == 0


def test_aug_is_busy_while_the_tree_is_held_alone(m):
    m["sept"], m["tree_lock"] = FREE | SVE, 1

    assert m.call(aug) == BUSY_TREE
    assert m["sept"] == FREE | SVE


def test_aug_is_busy_while_the_entry_is_held_and_asks_for_priority(m):
    m["sept"] = FREE | SVE | TDEL

    assert m.call(aug) == BUSY_ENTRY
    assert m["sept"] == FREE | SVE | TDEL | HP
    assert m["tree_lock"] == 0


def test_accept_maps_a_pending_page(m):
    m["sept"] = PENDING | SVE | HOST_PAGE

    assert m.call(accept) == SUCCESS
    assert m["sept"] == MAPPED | RWX | SVE | HOST_PAGE


def test_accept_does_not_look_at_the_tree_lock(m):
    m["sept"], m["tree_lock"] = PENDING | SVE, 1

    assert m.call(accept) == SUCCESS
    assert m["tree_lock"] == 1


def test_accept_says_that_a_page_is_accepted_already(m):
    assert m.call(accept) == ALREADY_ACCEPTED
    assert m["sept"] == MAPPED | RWX | SVE | HOST_PAGE


@pytest.mark.parametrize("entry", [FREE, BLOCKED, PENDING_BLOCKED])
def test_accept_of_a_page_that_is_not_there_ends_in_an_ept_violation(m, entry):
    m["sept"] = entry | SVE

    assert m.call(accept) == VIOLATION
    assert m["sept"] == entry | SVE


def test_accept_is_busy_while_the_entry_is_held_and_asks_for_no_priority(m):
    m["sept"] = PENDING | SVE | TDEL

    assert m.call(accept) == BUSY_ENTRY
    assert m["sept"] == PENDING | SVE | TDEL


def test_the_guest_stands_back_where_the_host_has_asked_for_priority(m):
    m["sept"] = PENDING | SVE | HP

    assert m.call(accept) == BUSY_ENTRY
    assert m["sept"] == PENDING | SVE | HP


def test_the_guest_gets_the_entry_once_the_host_that_asked_has_had_it(m):
    m["sept"] = PENDING | SVE
    m.begin(accept, "mem_page_accept.load_acquire_sept", 1)
    asked = m.call(aug)
    m.end(accept, 1)
    m["sept"] = (m["sept"] & ~(STATE_MASK | RWX)) | PENDING

    assert asked == BUSY_ENTRY
    assert m.call(accept, 1) == BUSY_ENTRY
    assert m.call(aug) == STATE_INCORRECT
    assert m.call(accept, 1) == SUCCESS


@pytest.mark.parametrize(("epoch", "inside"), [(1, (1, 0, 1)), (2, (2, 1, 0))])
def test_an_entry_counts_the_vcpu_in_the_parity_of_its_epoch(m, epoch, inside):
    m.epochs(epoch)

    assert m.call(enter) == SUCCESS
    assert unpacked(m["epoch_tracking"]) == inside
    assert m["vcpu_epoch"] == epoch
    assert m["epoch_lock"] == 0


def test_an_entry_is_busy_while_track_holds_the_epoch(m):
    m["epoch_lock"] = 1

    assert m.call(enter) == BUSY_EPOCH
    assert unpacked(m["epoch_tracking"]) == (1, 0, 0)
    assert m["vcpu_epoch"] == 0


def test_entries_share_the_epoch(m):
    m["epoch_lock"] = 2

    assert m.call(enter) == SUCCESS
    assert m["epoch_lock"] == 2


def test_an_entry_in_a_new_epoch_flushes_the_whole_tlb(m):
    m["vcpu_epoch"] = 1
    m.words[m.lay.tlb : m.lay.tlb + 2] = (11, 12)
    m.epochs(2)
    m.call(enter)

    assert m.words[m.lay.tlb : m.lay.tlb + 2].tolist() == [0, 0]


def test_an_entry_flushes_no_other_tlb(m):
    other = m.lay.tlb + m.lay.vcpu_stride
    m.words[other : other + 2] = (11, 12)
    m.epochs(2)
    m.call(enter)

    assert m.words[other : other + 2].tolist() == [11, 12]


def test_an_entry_in_the_epoch_of_the_last_one_keeps_the_tlb(m):
    m["vcpu_epoch"] = 1
    m.words[m.lay.tlb : m.lay.tlb + 2] = (11, 12)
    m.call(enter)

    assert m.words[m.lay.tlb : m.lay.tlb + 2].tolist() == [11, 12]


def test_a_module_told_not_to_flush_keeps_the_tlb_in_a_new_epoch_and_counts_as_ever():
    m = Machine(rules=NO_FLUSH)
    m["tlb"] = 11
    m.epochs(2)
    m.call(enter)

    assert m["tlb"] == 11
    assert m["vcpu_epoch"] == 2
    assert unpacked(m["epoch_tracking"]) == (2, 1, 0)


def test_an_exit_leaves_the_epoch_of_the_entry_not_the_current_one(m):
    m.call(enter)
    m.call(track)

    assert unpacked(m["epoch_tracking"]) == (2, 0, 1)
    m.call(leave)
    assert unpacked(m["epoch_tracking"]) == (2, 0, 0)


def test_an_exit_changes_no_tlb(m):
    m.call(enter)
    m["tlb"] = 11
    m.call(leave)

    assert m["tlb"] == 11


def test_two_vcpus_are_counted_as_two(m):
    m.call(enter, 0)
    m.call(enter, 1)

    assert unpacked(m["epoch_tracking"]) == (1, 0, 2)
    m.call(leave, 1)
    assert unpacked(m["epoch_tracking"]) == (1, 0, 1)


def test_an_exit_that_nobody_entered_for_is_noted_as_a_broken_refcount(m):
    m["vcpu_epoch"] = 1
    m.call(leave)

    at = vcpu_actor(m.lay, 0).tally + OUTCOME_COUNTS + Outcome.refcount_broken
    assert m.words[at] == 1


def test_an_exit_behind_an_entry_breaks_no_refcount(m):
    m.call(enter)
    m.call(leave)

    at = vcpu_actor(m.lay, 0).tally + OUTCOME_COUNTS + Outcome.refcount_broken
    assert m.words[at] == 0


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

    assert states == [MAPPED, BLOCKED, BLOCKED, FREE, PENDING, MAPPED]
