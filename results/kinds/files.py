"""What is made of a result, and stands beside it or is handed out: pictures, HdrHistogram's texts, the page, cases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from results.exchange.cases import Case, junit_document, ktap_document
from results.kinds.bench.directory import Hists
from results.kinds.bench.record import Bench
from results.kinds.exploration_views import exploration_cases
from results.kinds.run.tables import run_cases, suite_name
from results.kinds.selftest import selftest_cases
from results.store import write_file, write_text

PAGE, HGRM, HLOG = "report.html", "latency.hgrm", "latency.hlog"


def write_report(directory: Path, result: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Make all of a run's files from its result and arrays, in the place of those of before. Raises StoreError."""
    from results.exchange.hdr import write_hgrm, write_hlog
    from results.kinds.run.page import run_page
    from results.kinds.run.pictures import pictures
    from results.page import render

    _write_all(directory, pictures(result, arrays))
    write_file(directory / HGRM, lambda file: write_hgrm(result, arrays, file))
    write_file(directory / HLOG, lambda file: write_hlog(result, arrays, file))
    write_text(directory / PAGE, render(run_page(result, arrays)))


def write_bench_report(directory: Path, bench: "Bench", hists: "Hists | None" = None) -> None:
    """Make all of a bench's files from its record and its rounds' arrays, or `hists`. Raises StoreError."""
    from results.kinds.bench.directory import pooled
    from results.kinds.bench.page import bench_page
    from results.kinds.bench.pictures import bench_pictures
    from results.page import render

    _write_all(directory, bench_pictures(bench))
    write_text(directory / PAGE, render(bench_page(bench, hists or pooled(bench, directory))))


def _write_all(directory: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        write_file(directory / name, lambda file, content=content: file.write(content))  # type: ignore[misc]


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


def ktap_text(result: Mapping[str, Any]) -> str:
    """The document for a result, as text."""
    return ktap_document(suite_name(result), run_cases(result))


def write_ktap(result: Mapping[str, Any], path: Path) -> None:
    """Write the document to a file, whole or not at all. Raises StoreError."""
    write_text(path, ktap_text(result))
