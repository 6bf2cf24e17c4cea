"""What is made of a run and of a bench, and stands beside it: pictures, HdrHistogram's texts, and the page."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from results.kinds.bench.record import Bench
from results.store import write_file, write_text

PAGE, HGRM, HLOG = "report.html", "latency.hgrm", "latency.hlog"


Meanwhile = Callable[[Callable[[], object]], AbstractContextManager[None]]


@contextmanager
def afterwards(work: Callable[[], object]) -> Iterator[None]:
    """Do this behind the body."""
    yield
    work()


def write_report(
    directory: Path,
    result: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    *,
    kinds: Iterable[str] = ("png", "svg"),
    meanwhile: Meanwhile = afterwards,
) -> None:
    """Make all of a run's files from its result and arrays, in the place of those of before, the pictures in these
    formats and `meanwhile`. Raises StoreError.
    """
    from results.exchange.hdr import write_hgrm, write_hlog
    from results.kinds.run.page import pictures, run_page
    from results.page import render

    def draw() -> None:
        _write_all(directory, pictures(result, arrays, kinds))

    with meanwhile(draw):
        write_file(directory / HGRM, lambda file: write_hgrm(result, arrays, file))
        write_file(directory / HLOG, lambda file: write_hlog(result, arrays, file))
        write_text(directory / PAGE, render(run_page(result, arrays)))


def write_bench_report(directory: Path, bench: Bench) -> None:
    """Make all of a bench's files from its record and its rounds' arrays. Raises StoreError."""
    from results.kinds.bench.directory import pooled
    from results.kinds.bench.machines import parts
    from results.kinds.bench.page import bench_page
    from results.kinds.bench.pictures import bench_pictures
    from results.page import render

    _write_all(directory, bench_pictures(bench))
    write_text(directory / PAGE, render(bench_page(bench, *(pooled(part, directory) for part in parts(bench)))))


def write_real_report(directory: Path, result: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Make the picture and the page of a real run from its result and histograms. Raises StoreError."""
    from results.kinds.real.page import real_files

    _write_all(directory, real_files(result, arrays))


def _write_all(directory: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        write_file(directory / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
