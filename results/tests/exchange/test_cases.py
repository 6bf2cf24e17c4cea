"""Test cases as JUnit XML and as KTAP: nothing but passed passes, and no text of ours breaks a document."""

from xml.etree import ElementTree

import pytest

from results.exchange.cases import Case, failed_lines, junit_document, ktap_document

CASES = [
    Case("spec", "passed", "nothing forbidden", 1.5),
    Case("no # such", "failed", "showed it", 0.5, ("tracking_not_done: 3",)),
    Case("A/A", "inconclusive", "too\nfew"),
    Case("v18", "hung", "nobody moves"),
]


def junit(*cases: Case) -> ElementTree.Element:
    return ElementTree.fromstring(junit_document("review", cases))


def test_the_suite_counts_failures_and_errors() -> None:
    root = junit(*CASES)

    assert root.attrib == {"tests": "4", "failures": "2", "errors": "1", "time": "2.000"}
    assert {**root[0].attrib} == {"name": "tdx-stress.review", **root.attrib}
    assert root[0][1][0].text == "tracking_not_done: 3"


@pytest.mark.parametrize(
    ("state", "tag", "directive"),
    [
        ("failed", "failure", "failed: w"),
        ("inconclusive", "failure", "inconclusive: w"),
        ("crashed", "error", "ERROR crashed: w"),
        ("hung", "error", "TIMEOUT hung: w"),
    ],
)
def test_whatever_did_not_pass_is_a_failure_or_an_error_and_not_ok(state: str, tag: str, directive: str) -> None:
    one = Case("v18", state, "w")

    assert [(child.tag, child.attrib) for child in junit(one)[0][0]] == [(tag, {"type": state, "message": "w"})]
    assert f"\nnot ok 1 review.v18 # {directive}\n" in ktap_document("review", [one])


def test_ktap_has_a_line_a_case_and_the_totals() -> None:
    lines = ktap_document("review", CASES).splitlines()

    assert lines[:2] == ["KTAP version 1", "1..4"]
    assert [line.partition(" #")[0] for line in lines[2:] if not line.startswith("#")] == [
        "ok 1 review.spec",
        "not ok 2 review.no_such",
        "not ok 3 review.A/A",
        "not ok 4 review.v18",
    ]
    assert lines[-1] == "# Totals: pass:1 fail:2 xfail:0 xpass:0 skip:0 error:1"


def test_a_name_can_start_no_directive_and_no_line() -> None:
    text = ktap_document("review", [Case("a # SKIP\nok 2", "failed", "r # TODO\nnot ok 9")])

    assert "\nnot ok 1 review.a_SKIP_ok_2 # failed: r % TODO not ok 9\n" in text


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    assert junit(Case("odd\x00<name>", "passed", ""))[0][0].get("name") == "odd?<name>"


def test_what_did_not_pass_stands_with_its_reason_and_what_to_try_once_and_of_very_many_the_first() -> None:
    thin = [Case(name, "inconclusive", f"only {n} met a vCPU; try more", more="again") for n, name in enumerate("abc")]
    many = [Case(str(number), "inconclusive", "open") for number in range(30)]

    assert failed_lines([*thin, Case("d", "failed", "showed it", more="again"), Case("e", "passed", "")]) == [
        "<== FAILED d: showed it", "<== INCONCLUSIVE a: only 0 met a vCPU", "<== INCONCLUSIVE b: only 1 met a vCPU",
        "<== INCONCLUSIVE c: only 2 met a vCPU", "    try: more", "    next: again",
    ]  # fmt: skip
    assert failed_lines(many)[11:] == ["<== INCONCLUSIVE 11: open", "<== and 18 more inconclusive cases"]
