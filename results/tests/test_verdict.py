"""Verdicts and exit codes from literal counts."""

import pytest

from results.tests.builders.run import a_run, of_an_earlier_version
from results.verdict import (
    Ending,
    Exit,
    exit_code,
    exit_code_of,
    is_thin,
    judge,
    name_of,
    observation,
    said,
    whole,
    word_of,
)


def test_a_safe_ordering_without_a_forbidden_outcome_has_passed():
    assert judge(a_run()).verdict == "passed"


def test_one_forbidden_outcome_fails_a_safe_ordering_whatever_its_rate():
    judgement = judge(a_run(seen={"tracking_not_done": 1}, all_shootdowns=10**9))

    assert judgement == ("failed", "declared safe, and showed tracking_not_done once")


@pytest.mark.parametrize(
    ("name", "found"),
    [("stale_in_window", "passed"), ("stale_after_kick", "passed"), ("operand_busy", "passed"),
     ("unknown_status", "failed")],
)  # fmt: skip
def test_what_is_acceptable_or_interesting_does_not_fail_and_what_is_unknown_does(name: str, found: str):
    assert judge(a_run(seen={name: 1000})).verdict == found


def test_a_safe_ordering_without_a_shootdown_is_inconclusive():
    assert judge(a_run(all_shootdowns=0)) == ("inconclusive", "no shootdown was completed")
    assert judge(a_run(all_shootdowns=1, met={"kicks": 1, "shootdowns": 1})).reason.startswith("only 1 of 1 shootdowns")


@pytest.mark.parametrize(
    ("met", "shootdowns", "needed"),
    [
        (0, 7, "29,956 are needed where fewer than one in ten do"),
        (298, 2_980, "299 are needed"),
        (299, 2_991, "29,956 are needed where fewer than one in ten do"),
        (29_955, 500_000, "29,956 are needed where fewer than one in ten do"),
    ],
)
def test_a_safe_ordering_whose_kicks_met_too_few_vcpus_is_inconclusive_and_exits_6(
    met: int, shootdowns: int, needed: str
):
    run = a_run(met={"kicks": 2 * met, "shootdowns": met}, all_shootdowns=shootdowns)
    found, reason = judge(run)

    assert (found, exit_code([run | {"verdict": found}])) == ("inconclusive", 6)
    assert reason == (
        f"only {met:,} of {shootdowns:,} shootdowns met a vCPU, and {needed}; "
        "try a longer --duration, --vcpus, --placement apart, or an idle machine"
    )


@pytest.mark.parametrize(
    ("met", "own", "enough"), [(29_955, 0.79, False), (29_956, 0.79, True), (299, 0.8, True), (299, None, True)]
)
def test_where_others_have_the_cpus_more_must_have_met_a_vcpu(met: int, own: float | None, enough: bool):
    judged = judge(a_run(met={"kicks": met, "shootdowns": met}, all_shootdowns=met, own_share=own))

    assert judged.verdict == ("passed" if enough else "inconclusive")
    assert enough or "29,956 are needed where others have the CPUs; try " in judged.reason


@pytest.mark.parametrize(("met", "shootdowns"), [(299, 2_990), (29_956, 500_000)])
def test_so_many_shootdowns_that_met_a_vcpu_are_enough_to_pass(met: int, shootdowns: int):
    run = a_run(met={"kicks": 310, "shootdowns": met}, all_shootdowns=shootdowns)

    assert judge(run) == ("passed", f"nothing forbidden in {met:,} shootdowns that met a vCPU")


def test_a_result_of_an_earlier_version_claims_no_absence():
    assert judge(of_an_earlier_version(a_run())) == (
        "inconclusive",
        "made by an earlier version, which did not count the shootdowns that met a vCPU",
    )


def test_a_forbidden_outcome_fails_a_safe_ordering_that_met_nobody_too():
    run = a_run(seen={"tracking_not_done": 1}, met={"kicks": 0, "shootdowns": 0})

    assert judge(run).verdict == "failed"


def test_a_known_wrong_ordering_passes_however_few_met_a_vcpu():
    run = a_run(expect=["tracking_not_done"], seen={"tracking_not_done": 2}, met={"kicks": 3, "shootdowns": 2})

    assert judge(run).verdict == "passed"


def test_a_safe_ordering_with_a_vcpu_that_never_entered_is_inconclusive():
    assert judge(a_run(vcpus_entered=1)) == ("inconclusive", "only 1 of 2 vCPUs ever entered the guest")


def test_an_interrupted_safe_ordering_is_inconclusive():
    assert judge(a_run(ending="interrupted")) == (
        "inconclusive", "interrupted before its time; nothing forbidden until then",
    )  # fmt: skip


def test_an_interrupted_safe_ordering_that_showed_something_forbidden_has_failed():
    assert judge(a_run(ending="interrupted", seen={"stale_after_done": 2})).verdict == "failed"


@pytest.mark.parametrize(
    ("ending", "notes", "said"),
    [
        ("crashed", [], "a worker died"),
        ("hung", [], "nothing progressed"),
        ("hung", ["zapper 0 at kick", "vcpu 1 at gate"], "zapper 0 at kick; vcpu 1 at gate"),
    ],
)
def test_a_crash_and_a_standstill_win_over_what_was_seen(ending: str, notes: list[str], said: str):
    run = a_run(ending=ending, seen={"stale_after_done": 2, "no_progress": 1}, notes=notes)

    assert judge(run) == (ending, f"{said}; until then stale_after_done 2 times")


@pytest.mark.parametrize(
    ("expect", "ending", "found"),
    [
        (["no_progress"], "hung", ("passed", "caught: no_progress once")),
        (["no_progress"], "crashed", ("crashed", "a worker died")),
        (["tracking_not_done"], "hung", ("hung", "nothing progressed")),
    ],
)
def test_a_standstill_is_what_an_ordering_may_be_known_for_and_a_crash_is_not(
    expect: list[str], ending: str, found: tuple[str, str]
):
    assert judge(a_run(expect=expect, ending=ending, seen={"no_progress": 1})) == found


def test_a_known_wrong_ordering_that_shows_its_outcome_has_passed():
    run = a_run(expect=["tracking_not_done"], seen={"tracking_not_done": 12})

    assert judge(run) == ("passed", "caught: tracking_not_done 12 times")


def test_a_known_wrong_ordering_must_show_every_outcome_it_names():
    run = a_run(expect=["tracking_not_done", "not_blocked", "stale_after_done"], seen={"tracking_not_done": 12})

    assert judge(run) == ("inconclusive", "known for not_blocked, stale_after_done, which did not show in this time")
    assert (word_of(run), word_of(run | {"verdict": "failed"}), word_of(a_run())) == ("caught", "failed", "passed")


def test_a_known_wrong_ordering_may_show_other_forbidden_outcomes_too():
    run = a_run(expect=["tracking_not_done"], seen={"tracking_not_done": 12, "previous_epoch_busy": 1})

    assert judge(run).verdict == "passed"


def test_a_right_ordering_that_is_known_for_what_its_machine_shows_fails_by_anything_else():
    run = a_run(expect=["ve_on_memory"], otherwise_safe=True, seen={"ve_on_memory": 12, "use_after_remove": 3})

    assert judge(run) == ("failed", "showed what nobody declared: use_after_remove 3 times")


def test_a_known_wrong_ordering_that_shows_an_unknown_status_has_failed():
    run = a_run(expect=["tracking_not_done"], seen={"tracking_not_done": 12, "unknown_status": 1})

    assert judge(run).verdict == "failed"


def test_an_interrupted_known_wrong_ordering_that_was_caught_before_has_passed():
    run = a_run(expect=["tracking_not_done"], seen={"tracking_not_done": 1}, ending="interrupted")

    assert judge(run).verdict == "passed"


PASSED, FAILED = a_run(), a_run(seen={"stale_after_done": 1})
CAUGHT = a_run(expect=["stale_after_done"], seen={"stale_after_done": 1})
INCONCLUSIVE, HUNG, CRASHED = a_run(all_shootdowns=0), a_run(ending="hung"), a_run(ending="crashed")
INTERRUPTED = a_run(ending="interrupted")


@pytest.mark.parametrize(
    ("runs", "code"),
    [
        ([], 5),
        ([PASSED], 0),
        ([PASSED, CAUGHT], 0),
        ([PASSED, FAILED], 1),
        ([FAILED, INCONCLUSIVE], 1),
        ([PASSED, INCONCLUSIVE], 6),
        ([FAILED, CRASHED], 3),
        ([HUNG, INCONCLUSIVE], 3),
        ([FAILED, CRASHED, INTERRUPTED], 130),
    ],
)
def test_the_exit_code_is_that_of_the_gravest(runs: list[dict], code: int):
    assert exit_code(runs) == code


def test_what_was_interrupted_before_anything_ran_was_interrupted() -> None:
    assert exit_code_of([], interrupted=True) == 130


def test_exit_codes_and_endings_are_those_of_the_documents() -> None:
    assert [code.value for code in Exit] == [0, 1, 3, 5, 6, 7, 130]
    assert [str(ending) for ending in Ending] == ["finished", "crashed", "hung", "interrupted"]


def test_how_many_met_a_vcpu_is_told_where_it_was_counted():
    assert said(a_run(all_shootdowns=5_000)) == "4,321 of 5,000 shootdowns met a vCPU"
    assert said(of_an_earlier_version(a_run(all_shootdowns=5_000))) == "5,000 shootdowns, not counted which met a vCPU"


def test_a_latency_is_that_of_the_shootdowns_that_met_a_vcpu_where_there_is_one():
    assert [whole({"latency_ns": one})["n"] for one in ({"shootdown": {"n": 1}, "shootdown_met": {"n": 2}},)] == [2]
    assert whole({"latency_ns": {"shootdown": {"n": 1}}})["n"] == 1


@pytest.mark.parametrize(
    ("reason", "met", "shootdowns", "thin"),
    [
        ("only 7 of 90 shootdowns met a vCPU, and 29,956 are needed", 7, 90, True),
        ("only 7 of 90 shootdowns met a vCPU, and 299 are needed", 7, 90, True),  # of an earlier version
        ("only 8 of 90 shootdowns met a vCPU, and 29,956 are needed", 7, 90, False),
        ("interrupted before its time", 7, 90, False),
        ("nothing forbidden in 4,321 shootdowns that met a vCPU", 4_321, 5_000, False),
        ("made by an earlier version", None, 90, False),
    ],
)
def test_all_that_a_race_lacks_is_vcpus_met_by_its_reason(reason: str, met: int | None, shootdowns: int, thin: bool):
    assert is_thin(reason, met, shootdowns) is thin


@pytest.mark.parametrize(
    ("forbidden", "other", "line"),
    [(0, 9, "Observation a Never 0 9"), (3, 9, "Observation a Sometimes 3 9"), (3, 0, "Observation a Always 3 0")],
)
def test_the_line_to_grep_says_how_often(forbidden: int, other: int, line: str):
    assert observation("a", forbidden, other) == line


def test_an_unsafe_ordering_is_marked_beside_every_number_of_it():
    assert name_of(a_run("v18")) == "v18"
    assert name_of(a_run("no_kick", expect=["tracking_not_done"])) == "no_kick (unsafe)"


def test_an_outcome_that_nobody_counted_did_not_show():
    run = a_run(expect=["tracking_not_done"])
    run["outcomes"] = [one for one in run["outcomes"] if one["id"] != "tracking_not_done"]

    assert judge(run) == ("inconclusive", "known for tracking_not_done, which did not show in this time")
