"""The directory of a bench: `bench.json`, `rounds/0001.npz` and so on, `rounds.csv`, pictures; each whole or not there.

A round's arrays are written before the record that names the round, so that a bench that was killed can go on. The
figures of every race are a table, a row a race, CSV or Parquet, for people's own notebooks.
"""

import contextlib
import csv
import fcntl
import importlib.util
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from kernels.layout import HIST_WORDS
from results.kinds.bench.record import BENCH, Bench, array_name, round_file
from results.kinds.bench.wording import figures_in
from results.numbers.statistics import Counts
from results.store import (
    MOST_JSON,
    RunDirectory,
    StoreError,
    open_run_directory,
    point_latest,
    read_arrays,
    stored_bytes,
    trouble,
    write_file,
    write_text,
)
from results.verdict import MET

TYPES = {
    "round": "BIGINT", "point": "VARCHAR", "place": "BIGINT", "arm": "VARCHAR", "ordering": "VARCHAR",
    "seed": "BIGINT", "verdict": "VARCHAR", "seconds": "DOUBLE", "all_shootdowns": "BIGINT",
    "forbidden_shootdowns": "BIGINT", "safe": "BOOLEAN",
}  # fmt: skip
FACTS = tuple(name for name in TYPES if name != "safe")
PARQUET_HINT = "needs DuckDB, which is an extra: pip install duckdb"


def columns(bench: Bench) -> list[str]:
    """The names of the columns: what the race was, the value of the sweep, then the figures with their units."""
    return [*FACTS, "safe", *_axis(bench), *(figure.id for figure in figures_in(bench))]


def _axis(bench: Bench) -> list[str]:
    """The key of the sweep, where it has a column of its own."""
    return [bench.sweep.key] if bench.sweep and bench.sweep.key not in FACTS else []


def rows(bench: Bench) -> list[list[Any]]:
    """A row a race, in the order in which they ran; None where a figure was not measured."""
    safe = {arm.arm: arm.safe for arm in bench.arms}
    values = dict(zip(bench.points, bench.sweep.values, strict=True)) if bench.sweep else {}
    return [
        [
            *(getattr(race, name) for name in FACTS),
            safe[race.arm],
            *(values[race.point] for _ in _axis(bench)),
            *(race.figures.get(figure.id) for figure in figures_in(bench)),
        ]
        for race in bench.rounds
    ]


def csv_text(bench: Bench) -> str:
    """The table as CSV with a header; an empty cell is a figure that was not measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(bench))
    writer.writerows(rows(bench))
    return text.getvalue()


def can_write_parquet() -> bool:
    """Whether the library for it is installed."""
    return importlib.util.find_spec("duckdb") is not None


def write_parquet(bench: Bench, path: Path) -> None:
    """The table as Parquet, whole or not at all. Raises StoreError."""
    if not can_write_parquet():
        raise StoreError(f"{path}: Parquet {PARQUET_HINT}")
    import tempfile

    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "rounds.csv"), Path(folder, "rounds.parquet")
        source.write_text(csv_text(bench), encoding="utf-8")
        with duckdb.connect(config={"threads": 1}) as database:  # a thread would be one too many for a later fork
            table = database.read_csv(str(source), header=True, dtype=_types(bench))
            table.write_parquet(str(target))
        content = target.read_bytes()
    write_file(path, lambda file: file.write(content))


def _types(bench: Bench) -> dict[str, str]:
    """The type of each column, so that a column of gaps has the same one in every file."""
    words = not all(isinstance(value, int | float) for value in (bench.sweep.values if bench.sweep else ()))
    axis = dict.fromkeys(_axis(bench), "VARCHAR" if words else "DOUBLE")
    return {name: {**TYPES, **axis}.get(name, "DOUBLE") for name in columns(bench)}


CSV = "rounds.csv"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class BenchDirectory:
    """Where one bench leaves its files; its own until `close`. `latest`: the link to point here at the first write."""

    path: Path
    latest: Path | None
    lock: int

    def close(self) -> None:
        """Let others write here. A directory made for this bench that got no file goes."""
        os.close(self.lock)
        if self.latest is not None:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def write_round(self, bench: Bench, arrays: Arrays) -> None:
        """The arrays of the record's last round, then the record. Raises StoreError."""
        target = round_file(self.path, bench.finished_rounds)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{target.parent}: cannot write: {error.strerror}; earlier rounds stand") from None
        write_file(target, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]
        self.write(bench)

    def write(self, bench: Bench) -> None:
        """The record and the table of its figures. Raises StoreError."""
        write_text(self.path / BENCH, bench.json_text())
        write_text(self.path / CSV, csv_text(bench))
        if self.latest is not None:
            point_latest(self.latest, self.path.name)
            self.latest = None


def open_bench_directory(out: Path | None, scenario_name: str) -> BenchDirectory:
    """A new directory, as a run's; refused where another bench stands in it. Raises StoreError."""
    if out is not None and (out / BENCH).exists():
        raise StoreError(f"{out}: holds a bench already; give another directory, or go on with it: --resume {out}")
    made: RunDirectory = open_run_directory(out, scenario_name)
    return BenchDirectory(made.path, made.latest, _locked(made.path))


def reopen_bench_directory(path: Path) -> BenchDirectory:
    """The directory of a bench that goes on. Raises StoreError where it cannot be written."""
    made: RunDirectory = open_run_directory(path, "")
    return BenchDirectory(made.path, None, _locked(made.path))


def _locked(path: Path) -> int:
    """A handle that keeps other benches out of the directory, where its file system has locks."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreError(f"{path}: another bench writes here now; wait for it, or give another directory") from None
    except OSError:
        pass
    return handle


def read_bench(directory: Path) -> Bench:
    """The record of a bench's directory. Raises StoreError where there is no whole one."""
    where = directory / BENCH
    content = stored_bytes(where, MOST_JSON, "the directory of a bench")
    try:
        return Bench.model_validate_json(content)
    except ValidationError as refused:
        raise StoreError(f"{where}: expected a bench of this version, found at {trouble(refused)}") from None


def read_round(directory: Path, number: int) -> dict[str, NDArray[Any]]:
    """The arrays of one round. Raises StoreError."""
    return read_arrays(round_file(directory, number), "a round")


Hists = dict[tuple[str, str], dict[str, Counts]]


def pooled(bench: Bench, directory: Path, names: Sequence[str] = (MET, "shootdown", "stale_window")) -> Hists:
    """The histograms of all rounds together, by point and arm. Raises StoreError where a round's are not whole."""
    sums: Hists = {(point, arm.arm): {} for point in bench.points for arm in bench.arms}
    for number in range(1, bench.finished_rounds + 1):
        arrays = read_round(directory, number)
        for (point, arm), found in sums.items():
            for name in names:
                counts = arrays.get(array_name(point, arm, f"hist/{name}"))
                if counts is not None and counts.shape != (HIST_WORDS,):
                    where = round_file(directory, number)
                    raise StoreError(f"{where}: {arm}/hist/{name}: expected {HIST_WORDS} counts, found {counts.shape}")
                if counts is not None:
                    found[name] = found[name] + counts if name in found else counts.astype(np.int64)
    return sums
