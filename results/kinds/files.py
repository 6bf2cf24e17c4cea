"""What is made of a result and stands beside it: pictures, HdrHistogram's texts, and the page."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from results.kinds.bench.record import ROUNDS, Bench
from results.store import write_files

PAGE, HGRM, HLOG = "report.html", "latency.hgrm", "latency.hlog"
Arrays = Mapping[str, NDArray[Any]]


def write_report(directory: Path, result: Mapping[str, Any], arrays: Arrays) -> None:
    """Make all of a run's files from its result and arrays, in the place of those of before. Raises StoreError."""
    write_pictures(directory, result, arrays)
    write_texts(directory, result, arrays)


def write_pictures(
    directory: Path, result: Mapping[str, Any], arrays: Arrays, kinds: Iterable[str] = ("png", "svg")
) -> None:
    """The pictures of them, in these formats. Raises StoreError."""
    from results.draw.sheet import drawn
    from results.kinds.run.page import latency_sheet, stale_sheet

    makers = {"latency": latency_sheet, "stale": stale_sheet}
    write_files(directory, drawn({name: partial(make, result, arrays) for name, make in makers.items()}, kinds))


def write_texts(directory: Path, result: Mapping[str, Any], arrays: Arrays) -> None:
    """The others of them. Raises StoreError."""
    from results.exchange.hdr import hgrm_bytes, hlog_bytes
    from results.kinds.run.page import run_page
    from results.page import render

    page = render(run_page(result, arrays)).encode()
    write_files(directory, {HGRM: hgrm_bytes(result, arrays), HLOG: hlog_bytes(result, arrays), PAGE: page})


def write_bench_report(directory: Path, bench: Bench) -> None:
    """Make all of a bench's files from its record and its rounds' arrays; where these were not kept, the pictures.
    Raises StoreError.
    """
    from results.kinds.bench.directory import pooled
    from results.kinds.bench.page import bench_page
    from results.kinds.bench.pictures import bench_pictures
    from results.kinds.bench.tables import parts
    from results.page import render

    files = bench_pictures(bench)
    if (directory / ROUNDS).exists():
        page = render(bench_page(bench, *(pooled(part, directory) for part in parts(bench))))
        files[PAGE] = page.encode()
    write_files(directory, files)


def write_real_report(directory: Path, result: Mapping[str, Any], arrays: Arrays) -> None:
    """Make the picture and the page of a real run from its result and histograms. Raises StoreError."""
    from results.draw.sheet import drawn
    from results.kinds.real_page import latency_sheet, real_page
    from results.page import render

    page = render(real_page(result, arrays)).encode()
    write_files(directory, {**drawn({"latency": partial(latency_sheet, result, arrays)}), PAGE: page})


def draw_map(stem: str, directory: Path, document: Mapping[str, Any]) -> str:
    """Make the picture of an atlas or of a matrix, which need nothing else. Raises StoreError."""
    from results.draw.sheet import drawn
    from results.kinds.maps import atlas_picture, matrix_picture

    picture = {"atlas": atlas_picture, "matrix": matrix_picture}[stem]
    write_files(directory, drawn({stem: lambda: picture(document)}))
    return ""
