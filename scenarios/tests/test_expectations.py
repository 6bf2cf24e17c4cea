"""What an ordering is known for where nobody refuses it."""

from scenarios.loader import apply_settings, load_ordering, load_scenario


def expectation(name: str, *settings: str) -> object:
    _, (ordering,) = apply_settings(load_scenario("review"), [load_ordering(name)], settings)
    return ordering.expect


def test_on_the_module_an_ordering_is_known_for_what_its_file_says() -> None:
    assert expectation("kick_then_track") == ("tracking_not_done",)
    assert expectation("kick_then_track", "module=tdx") == ("tracking_not_done",)


def test_without_a_module_a_refusal_becomes_the_stale_read_that_it_kept_from_happening() -> None:
    assert expectation("kick_then_track", "module=none") == ("use_after_remove",)
    assert expectation("no_block", "module=none") == ("use_after_remove",)


def test_without_a_module_tracks_that_overtake_each_other_are_no_fault() -> None:
    assert expectation("spec_unserialized", "module=none") == "safe"


def test_what_no_module_gives_is_expected_without_one_too() -> None:
    assert expectation("v6_16_entry_unchecked", "module=none") == ("busy_given_up",)
    assert expectation("free_despite_error", "module=none") == ("use_after_remove",)
    assert expectation("spec", "module=none") == "safe"
