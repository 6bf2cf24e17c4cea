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


FEW = an_unexpected(failing={"tracking_not_done": 1})
MOST = an_unexpected(failing=REFUSED, setting="4 vCPUs")
NEVER: dict[str, Any] = {"without": judged(10, 0, 1.0), "best": []}
STUCK = an_unexpected(ending="hung", failing={"no_progress": 1}, notes=["no progress for 5 s: zapper 0"])
STUCK_LATER = an_unexpected(ending="hung", failing={"no_progress": 1, **REFUSED})
CRASHED = an_unexpected(ending="crashed", notes=["vcpu 1 was ended by SIGKILL"])
# By what is shown: what is another in an entry, its verdict, how its reason begins, and the exit code.
JUDGED: dict[str, tuple[dict[str, Any], str, str, int]] = {
    "a wrong ordering that showed its outcome": (
        {}, "passed", "tracking_not_done showed, 16x as often a second with the best setting", 0,
    ),
    "an outcome that never showed": (NEVER, "inconclusive", "tracking_not_done did not show in 50 races", 6),
    "a catch is enough to have shown it": (
        NEVER | {"without": NEVER["without"] | {"catches_s": [None, 0.2]}}, "passed", "tracking_not_done showed", 0,
    ),
    "a safe ordering fails by a forbidden outcome that was not looked for": (
        SAFE | {"unexpected": [FEW, MOST]}, "failed",
        "declared safe, and showed tracking_not_done 4 times in 2 races; most often under 4 vCPUs", 1,
    ),
    "a wrong ordering may show other forbidden outcomes": (
        {"unexpected": [an_unexpected(failing={"stale_after_done": 1})]}, "passed", "tracking_not_done showed", 0,
    ),
    "but no unknown status": (
        {"unexpected": [an_unexpected(failing={"unknown_status": 1})]}, "failed",
        "showed what nobody declared: unknown_status", 1,
    ),
    "a race that hung is not passed over": (
        SAFE | {"unexpected": [STUCK]}, "hung", "no progress for 5 s: zapper 0; under 2 vCPUs, 1 zapper", 3,
    ),
    "nor is it of a wrong ordering": (
        {"unexpected": [STUCK]}, "hung", "no progress for 5 s: zapper 0; under 2 vCPUs, 1 zapper", 3,
    ),
    "a race that hung after it had failed": (SAFE | {"unexpected": [STUCK_LATER]}, "failed", "declared safe, ", 1),
    "or had shown what it was known for": ({"unexpected": [STUCK_LATER]}, "passed", "tracking_not_done showed", 0),
    "a crash is the gravest": (
        SAFE | {"unexpected": [MOST, CRASHED]}, "crashed", "vcpu 1 was ended by SIGKILL; under 2 vCPUs, 1 zapper", 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "verdict", "reason", "code"), JUDGED.values(), ids=JUDGED)
def test_an_ordering_is_judged_by_what_its_races_showed(changes: Any, verdict: str, reason: str, code: int):
    entry = a_judged_entry(**changes)

    assert (entry["verdict"], code_of(entry)) == (verdict, code)
    assert entry["reason"].startswith(reason)


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

    assert amplified_line(a_judged_entry()) == "Amplified kick_then_track tracking_not_done 16 passed"
    assert amplified_line(a_judged_entry(**never)) == "Amplified kick_then_track tracking_not_done >102 passed"
    assert amplified_line(a_judged_entry(**never, best=[])).endswith(" - inconclusive")


def test_a_case_an_ordering_says_what_showed_and_who_stood_where():
    stuck = an_unexpected(ending="hung", failing={"no_progress": 1}, notes=["zapper 0 at kick"])
    passed, hung = amplification_cases({"orderings": [a_judged_entry(), a_judged_entry(unexpected=[stuck])]})

    assert (passed.name, passed.state, passed.seconds) == ("kick_then_track", "passed", 60.0)
    assert (hung.state, hung.details) == ("hung", ["no_progress 1 time in 1 race", "50 races", "zapper 0 at kick"])
