"""What is made of a result and stands beside it: pictures, HdrHistogram's texts, and the page."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from results.store import write_file, write_text

if TYPE_CHECKING:
    from results.bench_record import Bench
    from results.pooled_rounds import Hists

PAGE, HGRM, HLOG = "report.html", "latency.hgrm", "latency.hlog"


def write_report(directory: Path, result: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Make all of a run's files from its result and arrays, in the place of those of before. Raises StoreError."""
    from results.hdr import write_hgrm, write_hlog
    from results.page import render
    from results.plots import pictures
    from results.run_page import run_page

    _write_all(directory, pictures(result, arrays))
    write_file(directory / HGRM, lambda file: write_hgrm(result, arrays, file))
    write_file(directory / HLOG, lambda file: write_hlog(result, arrays, file))
    write_text(directory / PAGE, render(run_page(result, arrays)))


def write_bench_report(directory: Path, bench: "Bench", hists: "Hists | None" = None) -> None:
    """Make all of a bench's files from its record and its rounds' arrays, or `hists`. Raises StoreError."""
    from results.bench_page import bench_page
    from results.bench_plots import bench_pictures
    from results.page import render
    from results.pooled_rounds import pooled

    _write_all(directory, bench_pictures(bench))
    write_text(directory / PAGE, render(bench_page(bench, hists or pooled(bench, directory))))


def _write_all(directory: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        write_file(directory / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
