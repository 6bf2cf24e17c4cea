"""How many times as often: rates, ratios and their ends, the first catch; and what is said of an ordering by that."""

from typing import Any

import pytest

from results.kinds.amplification import (
    amplification_cases,
    amplification_screen,
    amplified_line,
    factor,
    factor_per_s,
    first_catch_table,
    is_unexpected,
    judged,
    measured,
    median_catch,
    score,
    with_catches,
)
from results.kinds.kind import BY_NAME
from results.tests.builders.amplification import a_judged_entry, an_unexpected
from results.tests.builders.run import a_run, outcome
from results.tests.views import printed


def shown(entry: Any) -> str:
    return printed(*amplification_screen({"orderings": [entry]}), width=100)


@pytest.mark.parametrize(
    ("run", "of", "found"),
    [
        # Of shootdowns that met a vCPU and showed the outcome.
        (
            a_run(outcomes=[outcome("tracking_not_done", 9, 5, met=3)], all_shootdowns=5000, seconds=2.0),
            "tracking_not_done", {"hits": 3, "shootdowns": 4_321, "per_s": 1.5, "failing": {"tracking_not_done": 9}},
        ),
        # With whatever failed beside the outcome.
        (
            a_run(seen={"operand_busy": 7, "tracking_not_done": 2}, ending="hung"),
            "operand_busy", {"hits": 7, "failing": {"tracking_not_done": 2}, "ending": "hung"},
        ),
        # Events that belong to no shootdown count each as one.
        (a_run(outcomes=[outcome("refcount_broken", 4, None)]), "refcount_broken", {"hits": 4}),
    ],
)  # fmt: skip
def test_a_race_is_measured_by_its_shootdowns(run: dict[str, Any], of: str, found: dict[str, Any]):
    told = measured(run, of)

    assert {key: told[key] for key in found} == found
    assert told["ci95"][0] < told["hits"] / 4_321 < told["ci95"][1]


def test_races_to_the_first_catch_add_what_failed_in_them():
    found = measured(a_run(seen={"tracking_not_done": 2}), "operand_busy")
    more = with_catches(found, [(0.2, {"tracking_not_done": 1}), (None, {"no_progress": 1})])

    assert more["failing"] == {"tracking_not_done": 3, "no_progress": 1}
    assert (more["catches_s"], more["first_catch_s"]) == ([0.2, None], None)


def test_what_did_not_show_scores_nothing_and_the_same_rate_in_half_the_time_twice_as_much():
    assert score(judged(1000, 0, 1.0)) == 0
    assert score(judged(1000, 50, 1.0)) == pytest.approx(2 * score(judged(1000, 50, 2.0)))


def test_a_ratio_has_the_far_ends_of_both_intervals():
    base, amplified = judged(1000, 10, 1.0), judged(1000, 500, 1.0)
    ratio, least, most = factor(base, amplified)

    assert ratio == 50
    assert most is not None
    assert least == amplified["ci95"][0] / base["ci95"][1] < 50 < most == amplified["ci95"][1] / base["ci95"][0]
    assert factor(judged(1000, 0, 1.0), amplified)[::2] == (None, None)  # beside nothing only the least is known


def test_a_setting_that_costs_more_shootdowns_than_it_makes_tell_is_no_better_than_none():
    without, slow = judged(244, 60, 2.0), judged(22, 22, 2.0)
    entry = a_judged_entry(without=without, best=[{**slow, "setting": "8 vCPUs, 2 zappers"}])

    text = shown(entry)

    assert "1         100 % (84.6-100) 4.07x (2.77-5.18)       11 0.367x (0.25-0.467)" in text
    assert text.rstrip().endswith("CAUGHT: tracking_not_done showed; nothing is better than no amplifier")
    assert "\n1 again: tdx-stress run" in text
    assert amplified_line(entry) == "Amplified kick_then_track tracking_not_done 0.367 passed"
    assert printed(first_catch_table([entry]), width=100).count("24.6 % (19.3-30.5)") == 2


def test_a_ratio_of_a_second_counts_how_many_shootdowns_a_second_holds():
    base, amplified = judged(1000, 10, 1.0), judged(1000, 500, 2.0)

    assert factor_per_s(base, amplified) == tuple(end / 2 for end in factor(base, amplified) if end is not None)
    assert factor_per_s(judged(1000, 0, 1.0), amplified)[::2] == (None, None)
    assert factor_per_s(judged(0, 0, 0.0), amplified) == (None, 0.0, None)  # races that did nothing


@pytest.mark.parametrize(
    ("catches", "expected"), [([], None), ([0.3, None, 0.1], 0.3), ([None, 0.1, None], None), ([0.2, 0.1, 0.3], 0.2)]
)
def test_a_race_without_a_catch_counts_as_later_than_all(catches: list[float | None], expected: float | None):
    assert median_catch(catches) == expected


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

    assert (entry["verdict"], code_of(entry), code_of(), code_of(a_judged_entry(), entry)) == (verdict, code, 5, code)
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
