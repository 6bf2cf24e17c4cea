"""KTAP of a run, for people whose tools read kselftest and KUnit: one test line an ordering."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.cases import ktap_document
from results.run_cases import run_cases, suite_name
from results.store import write_text


def ktap_text(result: Mapping[str, Any]) -> str:
    """The document for a result, as text."""
    return ktap_document(suite_name(result), run_cases(result))


def write_ktap(result: Mapping[str, Any], path: Path) -> None:
    """Write the document to a file, whole or not at all. Raises StoreError."""
    write_text(path, ktap_text(result))
