"""JUnit XML for continuous integration: one test case an ordering, under the scenario's name.

Whatever did not pass is a failure or, where the harness broke, an error; inconclusive is never shown as passed.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from results.exploration_verdict import failing, looked_at
from results.grades import FAILING
from results.store import write_file
from results.verdict import seen
from results.wording import plural

# What XML 1.0 cannot hold.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(NamedTuple):
    """One ordering's test case; `details` are what a failure says below its reason."""

    ordering: str
    verdict: str
    reason: str
    seconds: float
    details: Sequence[str]


def junit_xml(result: Mapping[str, Any]) -> str:
    """The document for the result of a run, as text."""
    return _document(str(result["scenario"].get("name", "run")), [_of_run(run) for run in result["runs"]])


def write_junit(result: Mapping[str, Any], path: Path) -> None:
    """Write the document of a run to a file, whole or not at all. Raises StoreError."""
    _write(junit_xml(result), path)


def write_exploration_junit(scenario: str, explorations: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the document of an exploration to a file, whole or not at all. Raises StoreError."""
    _write(_document(scenario, [_of_exploration(one) for one in explorations]), path)


def _of_run(run: Mapping[str, Any]) -> Case:
    counts = [f"{name}: {count}" for name, count in seen(run, *FAILING).items()]
    details = [*counts, f"shootdowns: {run['all_shootdowns']}", *run["notes"]]
    return Case(run["ordering"], run["verdict"], run["reason"], run["seconds"] + run["warmup_s"], details)


def _of_exploration(one: Mapping[str, Any]) -> Case:
    reached = [f"{name}: {plural(steps, 'step')}" for name, steps in failing(one).items()]
    return Case(
        one["ordering"], one["verdict"], one["reason"], one["seconds"], [*reached, f"looked at {looked_at(one)}"]
    )


def _document(scenario: str, cases: Sequence[Case]) -> str:
    broken = sum(case.verdict in ("crashed", "hung") for case in cases)
    failed = sum(case.verdict in ("failed", "inconclusive") for case in cases)
    name, seconds = _plain(scenario), sum(case.seconds for case in cases)
    totals = {"tests": str(len(cases)), "failures": str(failed), "errors": str(broken), "time": f"{seconds:.3f}"}
    suites = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"tdx-stress.{name}", **totals})
    for case in cases:
        _append(suite, name, case)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=False) + "\n"


def _append(suite: ElementTree.Element, scenario: str, case: Case) -> None:
    named = {"classname": scenario, "name": _plain(case.ordering), "time": f"{case.seconds:.3f}"}
    element = ElementTree.SubElement(suite, "testcase", named)
    if case.verdict == "passed":
        return
    kind = "error" if case.verdict in ("crashed", "hung") else "failure"
    report = ElementTree.SubElement(element, kind, {"type": case.verdict, "message": _plain(case.reason)})
    report.text = _plain("\n".join(case.details))


def _write(document: str, path: Path) -> None:
    text = '<?xml version="1.0" encoding="utf-8"?>\n' + document
    write_file(path, lambda file: file.write(text.encode("utf-8")))


def _plain(text: str) -> str:
    return _ILLEGAL.sub("?", text)
