"""Claims from literal entries: verdicts, exit codes, and what stands on the terminal."""

import pytest

from results.kinds.selftest import claim, is_complete, raced, selftest_exit_code
from results.tests.builders.exploration import explored
from results.tests.builders.selftest import CAUGHT, KNOWN, MISSED, found, not_found, run_of, safe, wrong


def test_a_wrong_ordering_caught_twice_has_passed_and_says_both() -> None:
    made = wrong(found())

    assert made["verdict"] == "passed"
    assert made["reason"] == (
        "exploring: caught: tracking_not_done in 33 steps; racing: caught: tracking_not_done 3 times"
    )
    assert selftest_exit_code([made]) == 0


def test_the_time_and_the_shootdowns_are_those_to_the_first_catch() -> None:
    race = wrong(found())["race"]

    assert (race["caught"], race["seconds"], race["shootdowns"], race["met"]) == (True, 0.25, 59, 47)
    assert race["would_have_caught"] == pytest.approx(0.0617, abs=1e-4)  # 1 - 0.05 ** (1 / 47)


def test_without_a_catch_they_are_those_of_all_the_race() -> None:
    race = wrong(found(), run=MISSED)["race"]

    assert (race["caught"], race["seconds"], race["shootdowns"]) == (False, MISSED["seconds"], MISSED["all_shootdowns"])


def test_the_time_and_the_shootdowns_of_tries_that_another_error_stopped_count() -> None:
    stopped = run_of("no_kick", {}, expect=KNOWN, seconds=0.5, all_shootdowns=40, met={"kicks": 35, "shootdowns": 33})

    race = raced(claim("no_kick", KNOWN, (), [found()]), [stopped, stopped, CAUGHT], {})["race"]

    assert (race["caught"], race["seconds"], race["shootdowns"], race["tries"]) == (True, 1.25, 139, 3)
    assert race["met"] == 113
    assert race["would_have_caught"] == pytest.approx(0.0262, abs=1e-4)  # 1 - 0.05 ** (1 / 113)


def test_one_size_of_machine_that_shows_it_is_enough() -> None:
    assert wrong(not_found(), found())["verdict"] == "passed"


def test_what_no_search_shows_fails_with_exit_1() -> None:
    made = wrong(not_found(), not_found(vcpus=3))

    assert made["verdict"] == "failed"
    assert "cannot happen in a machine of this size (3 vCPUs" in made["reason"]
    assert selftest_exit_code([made]) == 1


def test_a_search_that_did_not_end_is_inconclusive_with_exit_6() -> None:
    made = wrong(not_found(), not_found(complete=False, stopped_by="memory"))

    assert made["verdict"] == "inconclusive"
    assert selftest_exit_code([made]) == 6


def test_only_a_race_that_did_not_see_it_is_inconclusive_with_exit_6() -> None:
    made = wrong(found(), run=MISSED)

    assert made["reason"] == "racing: known for tracking_not_done, which did not show in this time"
    assert selftest_exit_code([made, safe(explored())]) == 6


def test_a_safe_ordering_must_hold_on_every_size_of_machine() -> None:
    made = safe(explored(), explored({"tracking_not_done": 40}), explored())

    assert made["reason"] == "exploring: declared safe, and can happen: tracking_not_done in 40 steps"
    assert selftest_exit_code([made]) == 1


def test_a_safe_ordering_that_held_says_on_how_many_machines() -> None:
    reason = safe(explored(), explored())["reason"]

    assert reason.startswith("exploring: nothing forbidden can happen in all 100,000 states of 2 sizes of machine; ")


def test_a_safe_ordering_that_shows_something_in_a_race_fails_with_exit_1() -> None:
    made = safe(explored(), run=run_of("v18", {"stale_after_done": 1}))

    assert made["verdict"] == "failed"
    assert selftest_exit_code([wrong(found()), made]) == 1


def test_a_crash_is_graver_than_a_failure() -> None:
    crashed = safe(explored(), run=run_of("v18", {}, ending="crashed"))

    assert selftest_exit_code([crashed, wrong(not_found())]) == 3


def test_an_interrupt_is_graver_than_everything() -> None:
    interrupted = wrong(not_found(complete=False, stopped_by="interrupt"))

    assert selftest_exit_code([interrupted, wrong(not_found())]) == 130


def test_a_selftest_is_complete_once_each_claim_has_been_searched_and_raced_to_its_end() -> None:
    unraced = claim("no_kick", KNOWN, (), [found()])
    interrupted = wrong(not_found(complete=False, stopped_by="interrupt"))

    assert is_complete([wrong(found()), safe(explored())], 2)
    assert is_complete([claim("no_kick", KNOWN, (), [found()], to_race=False)], 1)
    assert not is_complete([wrong(found())], 2)
    assert not is_complete([unraced], 1)
    assert not is_complete([interrupted], 1)


def test_nothing_held_is_exit_5() -> None:
    assert selftest_exit_code([]) == 5


def test_a_claim_that_was_not_raced_is_inconclusive() -> None:
    assert claim("no_kick", KNOWN, (), [found()])["reason"] == "was not raced"
