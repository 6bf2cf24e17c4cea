"""What a search for amplifiers says of an ordering: the verdict, the exit code, the line to grep, the test case."""

from typing import Any

import pytest

from results.kinds.amplification import amplification_cases, amplified_line, is_unexpected, judged
from results.kinds.kind import BY_NAME
from results.tests.builders.amplification import a_judged_entry, an_unexpected
from results.tests.builders.run import a_run

REFUSED = {"tracking_not_done": 3}
SAFE: dict[str, Any] = {"expect": "safe", "outcome": "operand_busy", "forbidden": False}


def code_of(*entries: Any) -> int:
    return BY_NAME["amplification"].exit_code({"orderings": entries})


def verdict_of(**changes: Any) -> tuple[str, str, int]:
    entry = a_judged_entry(**changes)
    return entry["verdict"], entry["reason"], code_of(entry)


def test_a_wrong_ordering_that_showed_its_outcome_has_passed():
    assert verdict_of() == ("passed", "tracking_not_done showed, 320x as often with the best setting", 0)


def test_an_outcome_that_never_showed_is_inconclusive():
    assert verdict_of(without=judged(10, 0, 1.0), best=[]) == (
        "inconclusive",
        "tracking_not_done did not show in 50 races",
        6,
    )


def test_a_catch_is_enough_to_have_shown_it():
    without = judged(10, 0, 1.0) | {"catches_s": [None, 0.2]}

    assert verdict_of(without=without, best=[])[::2] == ("passed", 0)


def test_a_safe_ordering_fails_by_a_forbidden_outcome_that_was_not_looked_for():
    few, most = an_unexpected(failing={"tracking_not_done": 1}), an_unexpected(failing=REFUSED, setting="4 vCPUs")

    assert verdict_of(**SAFE, unexpected=[few, most]) == (
        "failed",
        "declared safe, and showed tracking_not_done 4 times in 2 races; most often under 4 vCPUs",
        1,
    )


def test_a_wrong_ordering_may_show_other_forbidden_outcomes_but_no_unknown_status():
    other, unknown = ([an_unexpected(failing={name: 1})] for name in ("stale_after_done", "unknown_status"))

    assert verdict_of(unexpected=other)[::2] == ("passed", 0)
    assert verdict_of(unexpected=unknown)[::2] == ("failed", 1)


def test_a_race_that_hung_is_not_passed_over():
    stuck = an_unexpected(ending="hung", failing={"no_progress": 1}, notes=["no progress for 5 s: zapper 0"])

    for expect in ("safe", ["tracking_not_done"]):
        assert verdict_of(**{**SAFE, "expect": expect}, unexpected=[stuck]) == (
            "hung",
            "no progress for 5 s: zapper 0; under 2 vCPUs, 1 zapper",
            3,
        )


def test_a_race_that_hung_after_it_had_failed_has_failed():
    stuck = an_unexpected(ending="hung", failing={"no_progress": 1, **REFUSED})

    assert verdict_of(**SAFE, unexpected=[stuck])[::2] == ("failed", 1)
    assert verdict_of(unexpected=[stuck])[::2] == ("passed", 0)


def test_a_crash_is_the_gravest():
    races = [an_unexpected(failing=REFUSED), an_unexpected(ending="crashed", notes=["vcpu 1 was ended by SIGKILL"])]

    assert verdict_of(**SAFE, unexpected=races) == (
        "crashed",
        "vcpu 1 was ended by SIGKILL; under 2 vCPUs, 1 zapper",
        3,
    )


@pytest.mark.parametrize(
    ("expect", "ending", "failing", "expected"),
    [
        ("safe", "finished", {}, False),
        ("safe", "finished", REFUSED, True),
        (["tracking_not_done"], "finished", REFUSED, False),
        (["tracking_not_done"], "hung", {"no_progress": 1}, True),
        (["no_progress"], "hung", {"no_progress": 1}, False),
        (["tracking_not_done"], "crashed", {}, True),
    ],
)
def test_what_an_ordering_is_known_for_is_not_unexpected(
    expect: Any, ending: str, failing: dict[str, int], expected: bool
):
    assert is_unexpected(a_run(expect=expect, ending=ending), failing) is expected


def test_the_exit_code_is_that_of_the_gravest_ordering():
    passed, failed = a_judged_entry(), a_judged_entry(**SAFE, unexpected=[an_unexpected(failing=REFUSED)])
    crashed = a_judged_entry(unexpected=[an_unexpected(ending="crashed")])

    assert code_of(passed, failed) == 1
    assert code_of(failed, crashed) == 3
    assert code_of() == 5


def test_the_line_to_grep_has_how_many_times_as_often_and_the_verdict():
    never = {"without": judged(1000, 0, 1.0)}

    assert amplified_line(a_judged_entry()) == "Amplified kick_then_track tracking_not_done 320 passed"
    assert amplified_line(a_judged_entry(**never)) == "Amplified kick_then_track tracking_not_done >204 passed"
    assert amplified_line(a_judged_entry(**never, best=[])).endswith(" - inconclusive")


def test_a_case_an_ordering_says_what_showed_and_who_stood_where():
    stuck = an_unexpected(ending="hung", failing={"no_progress": 1}, notes=["zapper 0 at kick"])
    passed, hung = amplification_cases({"orderings": [a_judged_entry(), a_judged_entry(unexpected=[stuck])]})

    assert (passed.name, passed.state, passed.seconds) == ("kick_then_track", "passed", 60.0)
    assert (hung.state, hung.details) == ("hung", ["no_progress 1 time in 1 race", "50 races", "zapper 0 at kick"])
