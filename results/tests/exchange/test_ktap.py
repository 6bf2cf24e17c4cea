"""KTAP: one test line an ordering, nothing but passed is ok, and no text of ours breaks a line."""

from pathlib import Path

import pytest

from results.kinds.files import ktap_text, write_ktap
from results.tests.builders.run import a_result, a_run


def test_a_document_has_version_plan_tests_and_totals():
    result = a_result(a_run(), a_run("no_kick", verdict="failed", reason="why", seen={"tracking_not_done": 3}))

    assert ktap_text(result).splitlines() == [
        "KTAP version 1",
        "1..2",
        "# 4,321 of 5,000 shootdowns met a vCPU",
        "ok 1 review.v18 # nothing forbidden in 4,321 shootdowns that met a vCPU",
        "# tracking_not_done: 3",
        "# 4,321 of 5,000 shootdowns met a vCPU",
        "not ok 2 review.no_kick # failed: why",
        "# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:0 error:0",
    ]


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("inconclusive", "inconclusive: w"), ("crashed", "ERROR crashed: w"), ("hung", "TIMEOUT hung: w")],
)
def test_whatever_did_not_pass_is_not_ok(verdict: str, said: str):
    assert f"\nnot ok 1 review.v18 # {said}\n" in ktap_text(a_result(a_run(verdict=verdict, reason="w")))


def test_a_broken_harness_is_counted_as_an_error():
    text = ktap_text(a_result(a_run(verdict="hung"), a_run("spec", verdict="inconclusive")))

    assert text.endswith("# Totals: pass:0 fail:1 xfail:0 xpass:0 skip:0 error:1\n")


def test_a_name_can_start_no_directive_and_no_line():
    text = ktap_text(a_result(a_run("a # SKIP\nok 2", reason="r # TODO\nnot ok 9", verdict="failed")))

    assert "\nnot ok 1 review.a_SKIP_ok_2 # failed: r % TODO not ok 9\n" in text


def test_the_file_is_written_whole(tmp_path: Path):
    write_ktap(a_result(a_run()), tmp_path / "out.ktap")

    assert (tmp_path / "out.ktap").read_text() == ktap_text(a_result(a_run()))
    assert [path.name for path in tmp_path.iterdir()] == ["out.ktap"]
