"""The directory of a bench: `bench.json`, `rounds/0001.npz` and so on, `rounds.csv`, pictures; each whole or not there.

A round's arrays are written before the record that names the round, so that a bench that was killed can go on.
"""

import contextlib
import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from results.bench_record import BENCH, Bench, round_file
from results.rounds_table import csv_text
from results.store import (
    MOST_JSON,
    RunDirectory,
    StoreError,
    open_run_directory,
    point_latest,
    read_arrays,
    shortened,
    stored_bytes,
    write_file,
    write_text,
)

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
        first = refused.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        said = shortened(first["msg"].removeprefix("Value error, "))
        raise StoreError(f"{where}: expected a bench of this version, found at {place}: {said}") from None


def read_round(directory: Path, number: int) -> dict[str, NDArray[Any]]:
    """The arrays of one round. Raises StoreError."""
    return read_arrays(round_file(directory, number), "a round")
