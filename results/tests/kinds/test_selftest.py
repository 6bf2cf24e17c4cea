"""Claims from literal entries: verdicts, exit codes, and what stands on the terminal."""

from typing import Any

import pytest

from results.kinds.selftest import claim, is_complete, raced, selftest_exit_code, selftest_lines, selftest_table
from results.tests.builders.exploration import explored
from results.tests.builders.run import a_run
from results.tests.kinds.test_run_tables import line_of, shown
from results.verdict import judge

KNOWN = ["tracking_not_done"]
CATCH = {"id": "tracking_not_done", "seconds": 0.25, "shootdowns": 59, "met": 47}


def run_of(ordering: str, seen: dict[str, int], **changes: Any) -> dict[str, Any]:
    """As a race leaves it, with its verdict."""
    run = a_run(ordering, seen, **changes)
    verdict, reason = judge(run)
    return run | {"verdict": verdict.value, "reason": reason}


CAUGHT = run_of("no_kick", {"tracking_not_done": 3}, expect=KNOWN, caught=CATCH)
MISSED = run_of("no_kick", {}, expect=KNOWN)


def found(**changes: Any) -> Any:
    return explored({"tracking_not_done": 33}, expect=KNOWN, vcpus=1, states=846, seconds=0.001, **changes)


def not_found(**changes: Any) -> Any:
    return explored({}, expect=KNOWN, **changes)


def wrong(*tried: Any, run: Any = CAUGHT) -> dict[str, Any]:
    return raced(claim("no_kick", KNOWN, (), tried), [run], {})


def safe(*tried: Any, run: Any = None) -> dict[str, Any]:
    return raced(claim("v18", "safe", (), tried), [run_of("v18", {}) if run is None else run], {})


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

    assert (race["caught"], race["seconds"], race["shootdowns"]) == (
        False,
        MISSED["seconds"],
        MISSED["all_shootdowns"],
    )


def test_the_time_and_the_shootdowns_of_tries_that_another_error_stopped_count() -> None:
    stopped = run_of("no_kick", {}, expect=KNOWN, seconds=0.5, all_shootdowns=40, met={"kicks": 35, "shootdowns": 33})

    race = raced(claim("no_kick", KNOWN, (), [found()]), [stopped, stopped, CAUGHT], {})["race"]

    assert (race["caught"], race["seconds"], race["shootdowns"], race["tries"]) == (True, 1.25, 139, 3)
    assert race["met"] == 113
    assert race["would_have_caught"] == pytest.approx(0.0262, abs=1e-4)  # 1 - 0.05 ** (1 / 113)


def test_tries_are_told_where_there_was_more_than_one() -> None:
    stopped = run_of("no_kick", {}, expect=KNOWN, seconds=0.5, all_shootdowns=40)
    again = raced(claim("no_kick", KNOWN, (), [found()]), [stopped, CAUGHT], {})

    said = "Begun anew after another error, and all tries counted: no_kick 2."
    assert said in [line.strip() for line in shown(selftest_table([again, safe(explored())]), 120)]
    assert "Begun anew" not in "".join(shown(selftest_table([wrong(found())]), 120))


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


def test_one_row_has_both_sides_on_a_wide_terminal() -> None:
    lines = shown(selftest_table([wrong(found())]), 120)

    assert line_of(lines, "no_kick").split() == [
        *("no_kick:", "tracking_not_done"),
        *("1x1", "33", "846", "1.00", "ms"),
        *("250", "ms", "59", "47", "6.18", "%", "passed"),
    ]


def test_a_narrow_terminal_gets_two_tables_and_nothing_is_cut() -> None:
    lines = shown(selftest_table([wrong(found())]), 80)

    assert len([line for line in lines if line.startswith(" no_kick: tracking_not_done ")]) == 2
    assert not [line for line in lines if "…" in line]


def test_faults_and_safe_orderings_stand_apart() -> None:
    fault = raced(claim("broken", KNOWN, ["no_flush_at_entry"], [found()]), [CAUGHT], {})

    lines = [line.strip() for line in shown(selftest_table([safe(explored()), fault, wrong(found())]), 120)]
    titles = [
        line for line in lines if line in ("known-wrong orderings", "faults of the module and of KVM", "safe orderings")
    ]
    assert titles == ["known-wrong orderings", "faults of the module and of KVM", "safe orderings"]
    assert (
        lines.index("faults of the module and of KVM")
        < lines.index(line_of(lines, "broken"))
        < lines.index("safe orderings")
    )


def test_a_fault_that_is_hidden_alone_is_told_with_those_beside_it_and_what_is_not_raced_is_counted() -> None:
    pair = claim("reclaim_early", KNOWN, ["reclaim_early", "keep_vcpus"], [found()], to_race=False)

    lines = [line.strip() for line in shown(selftest_table([pair]), 120)]

    assert "Hidden alone, and so shown with another fault: reclaim_early beside keep_vcpus." in lines
    assert "Of 1 known wrong 1 caught by exploring, 0 by racing (1 not raced); of 0 safe 0 showed nothing." in lines


def test_what_did_not_pass_is_said_below_and_counted() -> None:
    lines = shown(selftest_table([wrong(found(), run=MISSED), safe(explored())]), 120)

    assert line_of(lines, "INCONCLUSIVE") == (
        "  INCONCLUSIVE: no_kick: racing: known for tracking_not_done, which did not show in this time"
    )
    assert lines[-1] == "  Of 1 known wrong 1 caught by exploring, 0 by racing; of 1 safe 1 showed nothing."


def test_a_line_to_grep_for_each_claim() -> None:
    assert selftest_lines([wrong(found()), safe(explored())]) == [
        "Selftest no_kick tracking_not_done passed",
        "Selftest v18 nothing passed",
    ]
