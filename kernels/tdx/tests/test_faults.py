"""Each fault, explored: the order under which it is caught, and the right orders that hide it."""

import pytest

from kernels.search import progress as endings
from kernels.search.explore import explore
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Fault, Rules
from kernels.tests.orders import (
    FLAG_GATE,
    KICK_THEN_TRACK,
    LOWERED_EARLY,
    NO_KICK,
    NO_WAIT,
    SPEC,
    TRACK_THEN_BLOCK,
    V6_16,
    V18,
)
from kernels.tests.witnesses import ONE, errors

TWO_ZAPPERS = Size(1, 2, 2)
TWICE = {"shootdowns": 2}
RIGHT = {"spec": SPEC, "v18": V18, "v6_16": V6_16, "flag_gate": FLAG_GATE}
ALL = tuple(RIGHT)

# By fault: an order that it breaks in a way of its own, a machine, the outcome; and the right orders that hide it.
KNOWN: dict[Fault, tuple[Rules, Size, str, tuple[str, ...]]] = {
    Fault.NO_FLUSH_AT_ENTRY: (SPEC, ONE, "use_after_remove", ()),
    Fault.REMOVE_WITHOUT_TRACKING: (KICK_THEN_TRACK, ONE, "use_after_remove", ALL),
    Fault.ENTRY_WITHOUT_EPOCH_LOCK: (NO_KICK, ONE, "use_after_remove", ALL),
    Fault.REMOVE_IGNORES_REFCOUNT: (NO_KICK, ONE, "use_after_remove", ALL),
    Fault.TRACK_IGNORES_REFCOUNT: (NO_KICK, TWO_ZAPPERS, "use_after_remove", ALL),
    Fault.BLOCK_STORES_EPOCH_FIRST: (LOWERED_EARLY, TWO_ZAPPERS, "use_after_remove", ALL),
    Fault.EXIT_LOWERS_CURRENT_EPOCH: (SPEC, ONE, "refcount_broken", ("v18", "flag_gate")),
    Fault.TORN_EPOCH_READ: (TRACK_THEN_BLOCK._replace(serialized=0), TWO_ZAPPERS, "use_after_remove", ALL),
    Fault.LOST_KICK: (V18, ONE, "tracking_not_done", ("spec",)),
    Fault.OUTSIDE_TOO_EARLY: (SPEC, ONE, "tracking_not_done", ()),
    Fault.ACKNOWLEDGED_TOO_EARLY: (SPEC, ONE, "tracking_not_done", ()),
    Fault.ENTRY_UNCHECKED: (V18, ONE, "tracking_not_done", ("spec",)),
    Fault.EXITING_NOT_AWAITED: (V18, TWO_ZAPPERS, "tracking_not_done", ("spec", "v6_16", "flag_gate")),
    Fault.REQUEST_CLEARED_LATE: (V18._replace(**TWICE), ONE, "tracking_not_done", ("spec", "v6_16")),
    Fault.GATE_WITHOUT_INTERRUPTS: (V18, ONE, "no_progress", ("spec", "v6_16")),
    Fault.LET_IN_TOO_EARLY: (V6_16, ONE, "busy_given_up", ("spec", "v18", "flag_gate")),
}
HIDDEN = [(fault, name) for fault, (_, _, _, names) in KNOWN.items() for name in names]


def forbidden(rules: Rules, size: Size, fault: Fault | int = 0) -> set[str]:
    return errors(rules, size, liveness=size == ONE, faults=int(fault))[0]


def test_every_fault_of_the_default_flow_is_known():
    elsewhere = range(Fault.FLUSH_DROPPED_AT_YIELD, Fault.ENTRY_WITHOUT_EPOCH_LOCK)
    of_default = [fault for fault in Fault if fault not in elsewhere and fault <= Fault.LET_IN_TOO_EARLY]

    assert list(KNOWN) == of_default


@pytest.mark.parametrize("fault", KNOWN, ids=lambda fault: fault.name.lower())
def test_a_fault_is_caught_and_its_order_shows_nothing_of_the_kind_without_it(fault):
    rules, size, outcome, _ = KNOWN[fault]

    assert outcome in forbidden(rules, size, fault)
    assert outcome not in forbidden(rules, size)


@pytest.mark.parametrize(("fault", "name"), HIDDEN, ids=lambda it: it if isinstance(it, str) else it.name.lower())
def test_a_right_order_hides_a_fault(fault, name):
    assert forbidden(RIGHT[name], TWO_ZAPPERS, fault) == set()
    assert forbidden(RIGHT[name]._replace(**TWICE), ONE, fault) == set()


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("spec", set()),
        ("v6_16", {"busy_given_up"}),
        ("v18", {"tracking_not_done", "stale_after_done"}),
        ("flag_gate", {"tracking_not_done", "stale_after_done"}),
    ],
)
def test_a_lost_kick_breaks_those_whose_vcpus_look_at_something_before_they_enter(name, outcomes):
    assert forbidden(RIGHT[name], ONE, Fault.LOST_KICK) == outcomes


def test_a_store_is_not_late_where_nothing_is_looked_at_behind_it():
    unchecked = V18._replace(faults=int(Fault.ENTRY_UNCHECKED))

    assert errors(unchecked) == errors(unchecked, faults=int(Fault.ENTRY_UNCHECKED | Fault.LOST_KICK))


def test_a_kick_that_does_not_wait_shows_what_a_guest_reads_while_the_ipi_is_in_flight():
    """A vCPU samples the epoch, the page goes, and the vCPU counts itself in and enters without a flush."""
    assert "use_after_remove" in forbidden(NO_WAIT, ONE, Fault.ENTRY_WITHOUT_EPOCH_LOCK)
    assert forbidden(NO_WAIT._replace(wait=1), ONE, Fault.ENTRY_WITHOUT_EPOCH_LOCK) == set()


def test_a_module_that_lets_every_track_through_makes_the_specified_order_right_without_mmu_lock():
    unserialized = SPEC._replace(serialized=0)

    assert forbidden(unserialized, TWO_ZAPPERS) == {"previous_epoch_busy"}
    assert forbidden(unserialized, TWO_ZAPPERS, Fault.TRACK_IGNORES_REFCOUNT) == set()


def test_the_way_to_a_livelock_is_found_whatever_stands_behind_the_graph(monkeypatch):
    room_for = endings._room_for

    def with_rubbish(states, words, guest):
        room = room_for(states, words, guest)
        room.first[:], room.target[:] = 0, 1
        return room

    monkeypatch.setattr(endings, "_room_for", with_rubbish)
    found = explore(*of_flow(V18._replace(faults=int(Fault.GATE_WITHOUT_INTERRUPTS))), ONE)

    assert found.liveness is not None
    assert found.liveness.livelocks > 0
    assert 0 < len(found.liveness.livelock) <= len(found.outcomes["no_progress"])
