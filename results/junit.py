"""JUnit XML for continuous integration: of a run or an exploration one test case an ordering, under its scenario; of
other results the cases that they make.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.cases import Case, junit_document
from results.exploration_cases import exploration_cases
from results.run_cases import run_cases, suite_name
from results.selftest_cases import selftest_cases
from results.store import write_text

XML = '<?xml version="1.0" encoding="utf-8"?>\n'


def junit_xml(result: Mapping[str, Any]) -> str:
    """The document for the result of a run, as text."""
    return junit_document(suite_name(result), run_cases(result))


def write_junit(result: Mapping[str, Any], path: Path) -> None:
    """Write the document of a run to a file, whole or not at all. Raises StoreError."""
    write_text(path, XML + junit_xml(result))


def write_exploration_junit(scenario: str, explorations: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the document of an exploration to a file, whole or not at all. Raises StoreError."""
    write_cases(scenario, exploration_cases(explorations), path)


def write_cases(suite: str, cases: Sequence[Case], path: Path) -> None:
    """Write the document of these cases to a file, whole or not at all. Raises StoreError."""
    write_text(path, XML + junit_document(suite, cases))


def write_selftest_junit(claims: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the document of a selftest to a file, whole or not at all. Raises StoreError."""
    write_cases("selftest", selftest_cases(claims), path)
