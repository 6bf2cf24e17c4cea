"""Batches and shared pages, step by step: what is done to which entry, and what a zapper does that goes on after an
error. Every order over them is in test_known_orders_elsewhere.
"""

import itertools

import pytest

from kernels.tdx import bits, words
from kernels.tdx.bits import HPA_SHIFT, RWX, SVE, Sept
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Rules, SharedFlush
from kernels.tests.naive import State, StepMachine, search
from kernels.tests.orders import GOES_ON, PAIR, SHARED, SPEC, WRONG

TWO_PAGES, ONE_PAGE = Size(1, 1, 2, 2), Size(1, 1, 1, 1)
BY_TRACK = {**SHARED, "shared_flush": int(SharedFlush.TRACK), "shootdowns": 2}


def alone(rules: Rules, size: Size) -> tuple[StepMachine, list[State]]:
    """The machine, and its states while a zapper takes its steps and nobody else does."""
    machine = StepMachine(rules, size)
    states = [machine.start]
    while not machine.returned(states[-1]):
        (made, *_) = [move for move in machine.moves(states[-1]) if move.actor == "zapper 0"]
        states.append(machine.after(states[-1], made)[0])
    return machine, states


def test_a_batch_of_two_is_blocked_page_by_page_tracked_once_and_removed_page_by_page():
    machine, states = alone(SPEC._replace(**PAIR), TWO_PAGES)
    names, calls = {Sept.BLOCKED: "block", Sept.FREE: "remove", Sept.PENDING: "add"}, []
    for before, after in itertools.pairwise(states):
        for gpa in range(2):
            was, now = (bits.state_of(state[words.sept(machine.lay, gpa)]) for state in (before, after))
            calls += [f"{names[now]} {gpa}"] if was != now else []
        epochs = {bits.epoch_of(state[machine.lay.epoch_tracking]) for state in (before, after)}
        calls += ["track"] if len(epochs) == 2 else []

    assert calls == ["block 0", "block 1", "track", "remove 0", "remove 1", "add 1", "add 0"]


def test_zapping_clears_the_spte_to_suppress_ve_alone_and_mapping_makes_a_present_leaf_of_the_new_page():
    machine, states = alone(SPEC._replace(**SHARED), ONE_PAGE)
    entries = [entry for entry, _ in itertools.groupby(state[machine.lay.sept] for state in states)]

    first, last = (Sept.MAPPED | RWX | SVE | page << HPA_SHIFT for page in (1, 2))
    assert entries == [first, SVE, last]


@pytest.mark.parametrize(
    ("fields", "size", "refused"),
    [(PAIR, TWO_PAGES, "tracking_not_done"), (BY_TRACK, ONE_PAGE, "previous_epoch_busy")],
    ids=["a batch", "a shared page"],
)
def test_who_goes_on_after_an_error_clears_every_page_by_a_second_complete_shootdown(fields, size, refused):
    """As in a race, KVM_BUG_ON does not end the zapper. No kick: a vCPU stays in the guest until REMOVE, or another
    TRACK, has been refused, and the repair kicks it out.
    """
    space = search(StepMachine(WRONG["no_kick"]._replace(**fields, **GOES_ON), size))

    assert refused in space.outcomes
    assert not space.hopeless
