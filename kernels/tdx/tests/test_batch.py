"""Batches: every order over two pages at once, a yield in the middle, and a yield that forgets the flush."""

import pytest

from kernels.tdx import bits, words
from kernels.tdx.protocol import Size, explored
from kernels.tdx.rules import Fault, Flow, Rules
from kernels.tests.naive import Space, StepMachine, search
from kernels.tests.orders import GOES_ON, SAFE, SPEC, WRONG

PAIR = {"flow": int(Flow.BATCH), "batch": 2}
DROPPED = {"faults": int(Fault.FLUSH_DROPPED_AT_YIELD)}
HARMLESS = {"fault", "operand_busy", "stale_in_window", "stale_after_kick", "page_already_accepted"}
# Wrong only where two zappers meet, which the slow search does not look at.
FOR_TWO = {"spec_unserialized", "flag_gate_unserialized"}
STALE = "use_after_remove"
KNOWN_FOR = {"no_block": "not_blocked", "free_despite_error": STALE, "no_flush_at_entry": STALE}


def machine(rules: Rules, **fields: int) -> StepMachine:
    """One vCPU, one zapper, and two pages that go down together."""
    return StepMachine(rules._replace(**{**PAIR, **fields}), Size(1, 1, 2, 2))


def reached(rules: Rules, **fields: int) -> Space:
    return search(machine(explored(rules), **fields))


@pytest.mark.parametrize("resched", [0, 1])
@pytest.mark.parametrize("name", SAFE)
def test_a_safe_order_is_safe_over_a_batch_that_yields_or_does_not(name, resched):
    space = reached(SAFE[name], resched=resched)

    assert space.outcomes.keys() <= HARMLESS
    assert not space.hopeless


@pytest.mark.parametrize("name", sorted(WRONG.keys() - FOR_TWO))
def test_a_wrong_order_over_a_batch_shows_what_it_is_known_for(name):
    assert KNOWN_FOR.get(name, "tracking_not_done") in reached(WRONG[name]).outcomes


@pytest.mark.parametrize("name", ["spec", "v18", "v6_16"])
def test_a_yield_that_drops_the_pending_flush_leaves_the_batch_untracked(name):
    space = reached(SAFE[name], **DROPPED)

    assert {"tracking_not_done", "stale_after_done"} <= space.outcomes.keys()


def test_a_yield_that_drops_the_pending_flush_is_a_stale_read_where_no_module_checks():
    assert "use_after_remove" in reached(SPEC, module=1, **DROPPED).outcomes


def test_a_batch_of_two_is_blocked_page_by_page_tracked_once_and_removed_page_by_page():
    moving = machine(SPEC._replace(shootdowns=1))
    state, calls = moving.start, []
    while not moving.returned(state):
        (made, *_) = [move for move in moving.moves(state) if move.actor == "zapper 0"]
        before, (state, _) = state, moving.after(state, made)
        calls += changed(moving, before, state)

    assert calls == ["block 0", "block 1", "track", "remove 0", "remove 1", "add 1", "add 0"]


def test_a_batch_goes_on_after_an_error_and_clears_every_page_of_it():
    """No kick, and a vCPU that stays in the guest until REMOVE has been refused: the repair removes both pages."""
    rules = WRONG["no_kick"]._replace(**GOES_ON)
    space = reached_going_on(rules)

    assert "tracking_not_done" in space.outcomes
    assert not space.hopeless


def reached_going_on(rules: Rules) -> Space:
    """As in a race: KVM_BUG_ON does not end the zapper."""
    return search(machine(rules._replace(gap=0)))


def changed(moving: StepMachine, before: tuple[int, ...], after: tuple[int, ...]) -> list[str]:
    """What this step did to the S-EPT entries and to the epoch."""
    lay, names = moving.lay, {bits.Sept.BLOCKED: "block", bits.Sept.FREE: "remove", bits.Sept.PENDING: "add"}
    done = []
    for gpa in range(lay.pages):
        states = [bits.state_of(state[words.sept(lay, gpa)]) for state in (before, after)]
        if states[0] != states[1]:
            done.append(f"{names[states[1]]} {gpa}")
    if bits.epoch_of(before[lay.epoch_tracking]) != bits.epoch_of(after[lay.epoch_tracking]):
        done.append("track")
    return done
