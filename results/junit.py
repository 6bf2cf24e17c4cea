"""JUnit XML for continuous integration: one test case an ordering, under the scenario's name.

Whatever did not pass is a failure or, where the harness broke, an error; inconclusive is never shown as passed.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from results.grades import FAILING
from results.store import write_file
from results.verdict import seen

# What XML 1.0 cannot hold.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(result: Mapping[str, Any]) -> str:
    """The document for a result, as text."""
    runs = result["runs"]
    broken = sum(run["verdict"] in ("crashed", "hung") for run in runs)
    failed = sum(run["verdict"] in ("failed", "inconclusive") for run in runs)
    name = _plain(str(result["scenario"].get("name", "run")))
    seconds = sum(run["seconds"] + run["warmup_s"] for run in runs)
    totals = {"tests": str(len(runs)), "failures": str(failed), "errors": str(broken), "time": f"{seconds:.3f}"}
    suites = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"tdx-stress.{name}", **totals})
    for run in runs:
        _case(suite, name, run)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=False) + "\n"


def write_junit(result: Mapping[str, Any], path: Path) -> None:
    """Write the document to a file, whole or not at all. Raises StoreError."""
    text = '<?xml version="1.0" encoding="utf-8"?>\n' + junit_xml(result)
    write_file(path, lambda file: file.write(text.encode("utf-8")))


def _case(suite: ElementTree.Element, scenario: str, run: Mapping[str, Any]) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": scenario, "name": _plain(run["ordering"]), "time": f"{run['seconds'] + run['warmup_s']:.3f}"},
    )
    if run["verdict"] == "passed":
        return
    kind = "error" if run["verdict"] in ("crashed", "hung") else "failure"
    report = ElementTree.SubElement(case, kind, {"type": run["verdict"], "message": _plain(run["reason"])})
    counts = [f"{name}: {count}" for name, count in seen(run, *FAILING).items()]
    report.text = _plain("\n".join([*counts, f"shootdowns: {run['all_shootdowns']}", *run["notes"]]))


def _plain(text: str) -> str:
    return _ILLEGAL.sub("?", text)
