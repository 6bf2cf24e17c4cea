"""Verdicts and exit codes from literal counts."""

from typing import Any

import pytest

from results.tests.builders.run import a_run
from results.verdict import (
    Ending,
    Exit,
    exit_code,
    exit_code_of,
    is_thin,
    judge,
    said,
    times_longer,
    whole,
    word_of,
)

WRONG: dict[str, Any] = {"expect": ["tracking_not_done"]}
CAUGHT_12 = WRONG | {"seen": {"tracking_not_done": 12}}
MET_NOBODY = {"met": {"kicks": 0, "shootdowns": 0}}
AMID: dict[str, Any] = {"seen": {"stale_after_done": 2, "no_progress": 1}}
STANDS: dict[str, Any] = {"seen": {"no_progress": 1}}
NOTHING = "nothing forbidden in 4,321 shootdowns that met a vCPU"
# By what is shown: what is another in a run than in a safe one that showed nothing, its verdict and the reason.
JUDGED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a safe ordering without a forbidden outcome": ({}, "passed", NOTHING),
    **{
        f"what is acceptable or interesting does not fail: {name}": ({"seen": {name: 1000}}, "passed", NOTHING)
        for name in ("stale_in_window", "stale_after_kick", "operand_busy")
    },
    "what is unknown does": (
        {"seen": {"unknown_status": 1000}}, "failed", "declared safe, and showed unknown_status 1,000 times",
    ),
    "one forbidden outcome fails a safe ordering whatever its rate": (
        {"seen": {"tracking_not_done": 1}, "all_shootdowns": 10**9}, "failed",
        "declared safe, and showed tracking_not_done once",
    ),
    "a forbidden outcome fails a safe ordering that met nobody too": (
        {"seen": {"tracking_not_done": 1}} | MET_NOBODY, "failed", "declared safe, and showed tracking_not_done once",
    ),
    "a safe ordering without a shootdown": ({"all_shootdowns": 0}, "inconclusive", "no shootdown was completed"),
    "a safe ordering with a vCPU that never entered": (
        {"vcpus_entered": 1}, "inconclusive", "only 1 of 2 vCPUs ever entered the guest",
    ),
    "an interrupted safe ordering": (
        {"ending": "interrupted"}, "inconclusive", "interrupted before its time; nothing forbidden until then",
    ),
    "an interrupted safe ordering that showed something forbidden": (
        {"ending": "interrupted", "seen": {"stale_after_done": 2}}, "failed",
        "declared safe, and showed stale_after_done 2 times",
    ),
    "a known wrong ordering that shows its outcome": (CAUGHT_12, "passed", "caught: tracking_not_done 12 times"),
    "however few met a vCPU": (
        WRONG | {"seen": {"tracking_not_done": 2}, "met": {"kicks": 3, "shootdowns": 2}}, "passed",
        "caught: tracking_not_done 2 times",
    ),
    "before an interrupt": (
        WRONG | {"seen": {"tracking_not_done": 1}, "ending": "interrupted"}, "passed",
        "caught: tracking_not_done once",
    ),
    "a known wrong ordering must show every outcome it names": (
        CAUGHT_12 | {"expect": ["tracking_not_done", "not_blocked", "stale_after_done"]}, "inconclusive",
        "known for not_blocked, stale_after_done, which did not show in this time",
    ),
    "a known wrong ordering may show other forbidden outcomes too": (
        WRONG | {"seen": {"tracking_not_done": 12, "previous_epoch_busy": 1}}, "passed",
        "caught: tracking_not_done 12 times",
    ),
    "a known wrong ordering that shows an unknown status": (
        WRONG | {"seen": {"tracking_not_done": 12, "unknown_status": 1}}, "failed",
        "showed what nobody declared: unknown_status once",
    ),
    "a right ordering that is known for what its machine shows fails by anything else": (
        {"expect": ["ve_on_memory"], "otherwise_safe": True, "seen": {"ve_on_memory": 12, "use_after_remove": 3}},
        "failed", "showed what nobody declared: use_after_remove 3 times",
    ),
    "an outcome that nobody counted did not show": (
        WRONG | {"outcomes": []}, "inconclusive", "known for tracking_not_done, which did not show in this time",
    ),
    "a crash wins over what was seen": (
        AMID | {"ending": "crashed"}, "crashed", "a worker died; until then stale_after_done 2 times",
    ),
    "a standstill does": (AMID | {"ending": "hung"}, "hung", "nothing progressed; until then stale_after_done 2 times"),
    "and says who stood where": (
        AMID | {"ending": "hung", "notes": ["zapper 0 at kick", "vcpu 1 at gate"]}, "hung",
        "zapper 0 at kick; vcpu 1 at gate; until then stale_after_done 2 times",
    ),
    "a standstill is what an ordering may be known for": (
        STANDS | {"expect": ["no_progress"], "ending": "hung"}, "passed", "caught: no_progress once",
    ),
    "a crash is not": (STANDS | {"expect": ["no_progress"], "ending": "crashed"}, "crashed", "a worker died"),
    "nor a standstill of an ordering that is known for something else": (
        STANDS | WRONG | {"ending": "hung"}, "hung", "nothing progressed",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "verdict", "reason"), JUDGED.values(), ids=JUDGED)
def test_a_run_is_judged_by_what_it_showed(changes: dict[str, Any], verdict: str, reason: str):
    assert judge(a_run(**changes)) == (verdict, reason)


def test_one_word_says_how_a_known_wrong_ordering_passed():
    run = a_run(**CAUGHT_12)

    assert (word_of(run), word_of(run | {"verdict": "failed"}), word_of(a_run())) == ("caught", "failed", "passed")


@pytest.mark.parametrize(
    ("met", "shootdowns", "own", "needed"),
    [
        (1, 1, None, "299 are needed"),
        (0, 7, None, "29,956 are needed where fewer than one in ten do"),
        (298, 2_980, None, "299 are needed"),
        (299, 2_990, None, ""),
        (299, 2_991, None, "29,956 are needed where fewer than one in ten do"),
        (29_955, 500_000, None, "29,956 are needed where fewer than one in ten do"),
        (29_956, 500_000, None, ""),
        (29_955, 30_001, 0.79, "29,956 are needed where others have the CPUs"),
        (29_956, 30_001, 0.79, ""),
        (299, 301, 0.8, ""),
    ],
)
def test_a_safe_ordering_whose_kicks_met_too_few_vcpus_is_inconclusive_and_exits_6(
    met: int, shootdowns: int, own: float | None, needed: str
):
    run = a_run(met={"kicks": 2 * met, "shootdowns": met}, all_shootdowns=shootdowns, own_share=own)
    found, reason = judge(run)

    assert (found, exit_code([run])) == (("inconclusive", 6) if needed else ("passed", 0))
    some = f"only {met:,} of {shootdowns:,} shootdowns met a vCPU, and {needed}; try a longer --duration or an idle"
    passed = f"nothing forbidden in {met:,} shootdowns that met a vCPU"
    assert reason == (f"{some} machine" if needed else passed)


@pytest.mark.parametrize(
    ("placement", "vcpus", "remedy"),
    [
        ("own", 3, "a longer --duration or an idle machine"),
        ("apart", 3, "a longer --duration, fewer --vcpus, or an idle machine"),
        ("apart", 1, "a longer --duration or an idle machine"),
        ("mixed", 3, "a longer --duration, --placement apart, fewer --vcpus, or an idle machine"),
        ("mixed", 1, "a longer --duration, --placement apart, or an idle machine"),
    ],
)
def test_nothing_is_to_be_tried_that_was_done_already(placement: str, vcpus: int, remedy: str):
    run = a_run(met={"kicks": 7, "shootdowns": 5}, placement=placement, vcpus=vcpus, vcpus_entered=vcpus)

    assert judge(run).reason.partition("; try ")[2] == remedy


@pytest.mark.parametrize(
    ("met", "shootdowns", "own", "times"),
    [
        (0, 40, None, 12.0),
        (26, 170, None, 17.25),
        (250, 700, 0.95, 2.0),
        (100, 2_000, None, 449.34),
        (600, 900, 0.5, 74.89),
    ],
)
def test_a_race_that_met_too_few_is_to_take_half_as_long_again_as_more_need(
    met: int, shootdowns: int, own: float | None, times: float
):
    run = a_run(met={"kicks": met, "shootdowns": met}, all_shootdowns=shootdowns, own_share=own)

    assert times_longer(run) == pytest.approx(times)


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


def test_how_many_met_a_vcpu_is_told_and_a_latency_is_theirs():
    assert said(a_run(all_shootdowns=5_000)) == "4,321 of 5,000 shootdowns met a vCPU"
    assert whole({"latency_ns": {"shootdown": {"n": 1}, "shootdown_met": {"n": 2}}})["n"] == 2


@pytest.mark.parametrize(
    ("reason", "met", "shootdowns", "thin"),
    [
        ("only 7 of 90 shootdowns met a vCPU, and 29,956 are needed", 7, 90, True),
        ("only 8 of 90 shootdowns met a vCPU, and 29,956 are needed", 7, 90, False),
        ("interrupted before its time", 7, 90, False),
        ("nothing forbidden in 4,321 shootdowns that met a vCPU", 4_321, 5_000, False),
    ],
)
def test_all_that_a_race_lacks_is_vcpus_met_by_its_reason(reason: str, met: int, shootdowns: int, thin: bool):
    assert is_thin(reason, met, shootdowns) is thin
