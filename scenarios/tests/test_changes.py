"""What options changed, against what the files say."""

from scenarios.loader import apply_settings, load_ordering, load_scenario, with_delays, with_faults, with_options
from scenarios.settings import changed


def test_what_was_set_is_told_by_key_and_sizes_times_and_faults_are_not() -> None:
    scenario, spec = load_scenario("review"), load_ordering("spec")
    settings = ("kick.wait=false", "pages=8", "tick_us=0", "vcpus=3", "duration_s=1s", "expect=safe")

    after, (ordering,) = apply_settings(scenario, [spec], settings)
    after = with_delays(with_options(after, seed=7, rate=1000.0), ("kick.load_acquire_ipi=200ns",))

    assert changed(spec, with_faults([ordering], ("lost_kick",))[0]) == {"kick.wait": False}
    assert changed(scenario, after) == {
        "pages": 8, "rate": 1000.0, "tick_us": 0, "delays.kick.load_acquire_ipi": "200ns",
    }  # fmt: skip


def test_an_option_that_says_what_the_file_says_changes_nothing() -> None:
    scenario, v18 = load_scenario("review"), load_ordering("v18")

    after, (ordering,) = apply_settings(scenario, [v18], ("kick.wait=true", "pages=64"))

    assert changed(v18, ordering) == {}
    assert changed(scenario, after) == {}


def test_of_the_keys_that_count_alone_others_are_left_out() -> None:
    scenario = load_scenario("review")

    assert changed(scenario, with_options(scenario, pages=8, module="none"), ("module",)) == {"module": "none"}
