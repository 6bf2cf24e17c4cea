"""What an ordering is known for where nobody refuses it."""

import pytest

from scenarios.expectations import expecting, otherwise_safe
from scenarios.loader import apply_settings, load_ordering, load_scenario


def expectation(name: str, *settings: str, scenario: str = "review") -> object:
    _, (ordering,) = apply_settings(load_scenario(scenario), [load_ordering(name)], settings)
    return ordering.expect


NONE, STALE = "module=none", ("use_after_remove",)
PARTS = 'kick={ request = "tlb_flush" }'


@pytest.mark.parametrize(
    ("name", "settings", "known_for"),
    [
        # On the module, what its file says.
        ("kick_then_track", (), ("tracking_not_done",)),
        ("kick_then_track", ("module=tdx",), ("tracking_not_done",)),
        # Without one a refusal becomes the stale read that it kept from happening.
        ("no_kick", (NONE,), STALE),
        ("no_block", (NONE,), STALE),
        # A kick whose request flushes and that waits is enough between BLOCK and REMOVE, and so are its parts.
        ("kick_then_track", (NONE,), "safe"),
        ("free_despite_error", (NONE,), "safe"),
        ("kick_then_track", (NONE, 'shootdown=["block", "kick", "remove"]'), "safe"),
        ("kick_then_track", (NONE, "kick.wait=false"), STALE),
        ("kick_then_track", (NONE, 'shootdown=["kick", "block", "remove"]'), STALE),
        ("kick_then_track", (NONE, PARTS, 'shootdown=["block", "request", "track", "send", "wait", "remove"]'), "safe"),
        ("kick_then_track", (NONE, PARTS, 'shootdown=["request", "block", "send", "wait", "remove"]'), STALE),
        ("kick_then_track", (NONE, PARTS, 'shootdown=["block", "track", "request", "send", "remove", "wait"]'), STALE),
        # TRACKs that overtake each other are no fault.
        ("spec_unserialized", (NONE,), "safe"),
        ("wbinvd_before_kick", (NONE,), "safe"),
        # What no module gives is expected without one too.
        ("v6_16_entry_unchecked", (NONE,), ("busy_given_up",)),
        ("spec", (NONE,), "safe"),
    ],
)
def test_an_ordering_is_known_for_what_happens_with_a_module_or_without(name, settings, known_for) -> None:
    assert expectation(name, *settings) == known_for


@pytest.mark.parametrize("name", ["spec", "v18", "v6_16"])
def test_every_order_is_known_for_what_kvm_leaves_where_a_memslot_comes_and_for_nothing_with_the_zap(name: str) -> None:
    assert expectation(name, scenario="mmio") == ("ve_on_memory",)
    assert expectation(name, "memslot_zap=mmio", scenario="mmio") == "safe"
    assert expectation(name, "sept_ve_disable=true", scenario="mmio") == ("access_before_accept",)


def test_who_reenters_with_a_frozen_spte_is_known_for_a_guest_that_comes_in_no_more() -> None:
    assert expectation("v18", scenario="zero_step") == ("no_progress",)
    assert expectation("v18", "module=tdx_1_5_24", scenario="zero_step") == "safe"
    assert expectation("v18", "fault_retry=local", scenario="zero_step") == "safe"
    assert expectation("spec", scenario="zero_step") == "safe"
    assert expectation("v6_16", scenario="zero_step") == "safe"
    assert expectation("no_kick", scenario="zero_step") == expectation("no_kick")


def test_only_a_right_order_is_otherwise_safe_where_the_machine_itself_shows_something() -> None:
    mmio, small = load_scenario("mmio"), load_scenario("small")
    right, wrong = (expecting(one, mmio) for one in map(load_ordering, ("spec", "kick_then_track")))

    assert otherwise_safe(right, mmio)
    assert not otherwise_safe(wrong, mmio)
    assert not otherwise_safe(expecting(load_ordering("spec"), small), small)
