"""JUnit XML: one test case an ordering, and nothing inconclusive passes."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from results.kinds.files import junit_xml, write_exploration_junit, write_junit
from results.tests.builders.exploration import explored
from results.tests.builders.run import a_result, a_run


def case(run: dict[str, Any]) -> ElementTree.Element:
    found = ElementTree.fromstring(junit_xml(a_result(run))).find("testsuite/testcase")
    assert found is not None
    return found


def test_an_ordering_that_passed_is_a_test_case_without_a_failure():
    found = case(a_run())

    assert found.attrib == {"classname": "review", "name": "v18", "time": "5.500"}
    assert list(found) == []


@pytest.mark.parametrize(
    ("verdict", "tag"), [("failed", "failure"), ("inconclusive", "failure"), ("crashed", "error"), ("hung", "error")]
)
def test_whatever_did_not_pass_is_a_failure_or_an_error(verdict: str, tag: str):
    found = case(a_run(verdict=verdict, reason="why"))

    assert [(child.tag, child.attrib) for child in found] == [(tag, {"type": verdict, "message": "why"})]


def test_a_failure_lists_the_forbidden_counts():
    found = case(a_run(verdict="failed", seen={"tracking_not_done": 3}, notes=["a note"]))

    assert found[0].text == "tracking_not_done: 3\n4,321 of 5,000 shootdowns met a vCPU\na note"


def test_the_suite_counts_failures_and_errors():
    runs = a_run(), a_run("a", verdict="failed"), a_run("b", verdict="hung"), a_run("c", verdict="inconclusive")
    suite = ElementTree.fromstring(junit_xml(a_result(*runs))).find("testsuite")

    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        "tdx-stress.review", "4", "2", "1",
    )  # fmt: skip


def test_characters_that_xml_cannot_hold_are_replaced():
    assert case(a_run("odd\x00<name>")).get("name") == "odd?<name>"


def test_the_file_is_written_whole(tmp_path: Path):
    write_junit(a_result(a_run()), tmp_path / "junit.xml")

    assert ElementTree.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


def test_an_exploration_lists_what_was_reached_and_what_was_looked_at(tmp_path: Path):
    entry = explored({"use_after_remove": 42})
    write_exploration_junit("small", [{**entry, "verdict": "failed", "reason": "why"}], tmp_path / "junit.xml")

    found = ElementTree.parse(tmp_path / "junit.xml").getroot().find("testsuite/testcase")
    assert found is not None
    assert found.attrib == {"classname": "small", "name": "v18", "time": "0.500"}
    assert [(child.tag, child.get("message")) for child in found] == [("failure", "why")]
    assert str(found[0].text).startswith("use_after_remove: 42 steps\nlooked at ")
