"""What an ordering is known for where nobody refuses it."""

import pytest

from scenarios.expectations import expecting, otherwise_safe
from scenarios.loader import apply_settings, load_ordering, load_scenario


def expectation(name: str, *settings: str, scenario: str = "review") -> object:
    _, (ordering,) = apply_settings(load_scenario(scenario), [load_ordering(name)], settings)
    return ordering.expect


def test_on_the_module_an_ordering_is_known_for_what_its_file_says() -> None:
    assert expectation("kick_then_track") == ("tracking_not_done",)
    assert expectation("kick_then_track", "module=tdx") == ("tracking_not_done",)


def test_without_a_module_a_refusal_becomes_the_stale_read_that_it_kept_from_happening() -> None:
    assert expectation("no_kick", "module=none") == ("use_after_remove",)
    assert expectation("no_block", "module=none") == ("use_after_remove",)


def test_without_a_module_a_kick_whose_request_flushes_and_that_waits_is_enough() -> None:
    assert expectation("kick_then_track", "module=none") == "safe"
    assert expectation("free_despite_error", "module=none") == "safe"
    assert expectation("kick_then_track", "module=none", 'shootdown=["block", "kick", "remove"]') == "safe"
    assert expectation("kick_then_track", "module=none", "kick.wait=false") == ("use_after_remove",)
    assert expectation("kick_then_track", "module=none", 'shootdown=["kick", "block", "remove"]') == (
        "use_after_remove",
    )


def test_without_a_module_the_parts_of_such_a_kick_are_enough_between_block_and_remove() -> None:
    steps = 'shootdown=["block", "request", "track", "send", "wait", "remove"]'
    before = 'shootdown=["request", "block", "send", "wait", "remove"]'
    unawaited = 'shootdown=["block", "track", "request", "send", "remove", "wait"]'
    name, parts = "kick_then_track", 'kick={ request = "tlb_flush" }'

    assert expectation(name, "module=none", parts, steps) == "safe"
    assert expectation(name, "module=none", parts, before) == ("use_after_remove",)
    assert expectation(name, "module=none", parts, unawaited) == ("use_after_remove",)


def test_without_a_module_tracks_that_overtake_each_other_are_no_fault() -> None:
    assert expectation("spec_unserialized", "module=none") == "safe"
    assert expectation("wbinvd_before_kick", "module=none") == "safe"


def test_what_no_module_gives_is_expected_without_one_too() -> None:
    assert expectation("v6_16_entry_unchecked", "module=none") == ("busy_given_up",)
    assert expectation("spec", "module=none") == "safe"


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
