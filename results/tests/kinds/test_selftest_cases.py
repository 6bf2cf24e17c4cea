"""A selftest as JUnit XML: a test case a claim, and whatever did not pass is no pass."""

from pathlib import Path
from xml.etree import ElementTree

from results.kinds.files import write_selftest_junit
from results.tests.builders.exploration import explored
from results.tests.kinds.test_selftest import MISSED, found, not_found, run_of, safe, wrong


def test_a_claim_is_a_case_and_only_passed_is_a_pass(tmp_path: Path) -> None:
    crashed = safe(explored(), run=run_of("v18", {}, ending="crashed"))
    made = [wrong(found()), wrong(not_found()), wrong(found(), run=MISSED), crashed]

    write_selftest_junit(made, tmp_path / "junit.xml")

    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == ["no_kick: tracking_not_done"] * 3 + ["v18: nothing"]
    assert [[(child.tag, child.get("type")) for child in case] for case in cases] == [
        [],
        [("failure", "failed")],
        [("failure", "inconclusive")],
        [("error", "crashed")],
    ]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "2", "1")
    assert cases[0].attrib["classname"] == "selftest"
    assert cases[0].attrib["time"] == "0.251"  # explored for 1 ms, caught after 250 ms


def test_a_case_that_did_not_pass_lists_its_searches_and_its_race(tmp_path: Path) -> None:
    write_selftest_junit([wrong(not_found(), run=MISSED)], tmp_path / "junit.xml")

    (failure,) = ElementTree.parse(tmp_path / "junit.xml").getroot().iter("failure")
    lines = str(failure.text).splitlines()
    assert lines[0].startswith("exploring 2 vCPUs, 1 zapper, 1 page, 1 TLB entry, 1 shootdown: failed: known for ")
    assert lines[1].startswith("racing, 5,000 shootdowns in 5.000 s: inconclusive: known for tracking_not_done")
