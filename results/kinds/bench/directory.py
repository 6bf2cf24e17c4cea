"""The directory of a bench: `bench.json`, `rounds/0001.npz` and so on, `rounds.csv`, pictures; each whole or not there.

A round's arrays are written before the record that names the round, so that a bench that was killed can go on. The
figures of every race are a table, a row a race, CSV or Parquet, for people's own notebooks.
"""

import csv
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from kernels.files import nameless
from kernels.layout import HIST_WORDS
from results.kinds.bench.record import BENCH, MACHINE, Bench, array_name, round_file
from results.kinds.bench.wording import figures_in
from results.numbers.statistics import Counts
from results.store import (
    MOST_JSON,
    RunDirectory,
    StoreError,
    array_bytes,
    read_arrays,
    stored_bytes,
    trouble,
    write_file,
)
from results.verdict import MET
from results.words import installed_by

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TYPES = {
    "round": "BIGINT", "point": "VARCHAR", "place": "BIGINT", "arm": "VARCHAR", "ordering": "VARCHAR",
    "seed": "BIGINT", "verdict": "VARCHAR", "seconds": "DOUBLE", "all_shootdowns": "BIGINT",
    "forbidden_shootdowns": "BIGINT", "safe": "BOOLEAN",
}  # fmt: skip
PARQUET_HINT = f"needs DuckDB: {installed_by('history')}"


def columns(bench: Bench) -> dict[str, str]:
    """The columns by name, each with its type in Parquet, so that one of gaps has the same in every file: what the race
    was, the machine where there are several, the value of the sweep, then the figures with their units.
    """
    found = dict(TYPES)
    if len(bench.machines) > 1:
        found[MACHINE] = "VARCHAR"
    if bench.sweep:
        words = any(isinstance(value, str) for value in bench.sweep.values)
        found.setdefault(bench.sweep.key, "VARCHAR" if words else "DOUBLE")
    return found | {figure.id: "DOUBLE" for figure in figures_in(bench)}


def rows(bench: Bench) -> list[dict[str, Any]]:
    """A row a race, in the order in which they ran; None where a figure was not measured."""
    names, safe = columns(bench), {arm.arm: arm.safe for arm in bench.arms}
    made = []
    for race in bench.rounds:
        at = {bench.sweep.key: bench.sweep.value(race.point)} if bench.sweep else {}
        known = {**at, **race.model_dump(), "safe": safe[race.arm], **race.figures}
        made.append({name: known.get(name) for name in names})
    return made


def csv_text(bench: Bench) -> str:
    """The table as CSV with a header; an empty cell is a figure that was not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns(bench)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(bench))
    return text.getvalue()


def can_write_parquet() -> bool:
    """Whether the library for it is installed."""
    return importlib.util.find_spec("duckdb") is not None


def write_parquet(bench: Bench, path: Path) -> None:
    """The table as Parquet, whole or not at all. Raises StoreError."""
    if not can_write_parquet():
        raise StoreError(f"{path}: Parquet {PARQUET_HINT}")
    import duckdb

    # A thread would be one too many for a later fork.
    with nameless(csv_text(bench).encode()) as source, duckdb.connect(config={"threads": 1}) as database:
        database.read_csv(str(source), header=True, dtype=columns(bench)).to_view("rounds")
        content = copied(database, "rounds", "FORMAT parquet")
    write_file(path, content)


def copied(database: "DuckDBPyConnection", rows: str, form: str) -> bytes:
    """What DuckDB writes of these rows, a table or a query in brackets, in this form."""
    with nameless() as target:
        database.execute(f"COPY {rows} TO '{target}' ({form}, USE_TMP_FILE false)")
        return target.read_bytes()


CSV = "rounds.csv"
Arrays = Mapping[str, NDArray[Any]]


def write_bench(directory: RunDirectory, bench: Bench, arrays: Mapping[int, Arrays]) -> None:
    """The arrays of these of its rounds, then the record and the table of its figures. Raises StoreError."""
    for number, its in arrays.items():
        target = round_file(directory.path, number)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{target.parent}: cannot write: {error.strerror}; earlier rounds stand") from None
        write_file(target, array_bytes(its))
    directory.put({BENCH: bench.json_text().encode(), CSV: csv_text(bench).encode()})


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


def pooled(bench: Bench, directory: Path) -> Hists:
    """The histograms that are drawn, of all rounds together, by point and arm. Raises StoreError where one's are not
    whole.
    """
    sums: Hists = {(point, arm.arm): {} for point in bench.points for arm in bench.arms}
    for number in bench.numbers:
        arrays = read_round(directory, number)
        for (point, arm), found in sums.items():
            for name in (MET, "shootdown", "stale_window"):
                counts = arrays.get(array_name(point, arm, f"hist/{name}"))
                if counts is not None and counts.shape != (HIST_WORDS,):
                    where = round_file(directory, number)
                    raise StoreError(f"{where}: {arm}/hist/{name}: expected {HIST_WORDS} counts, found {counts.shape}")
                if counts is not None:
                    found[name] = found[name] + counts if name in found else counts.astype(np.int64)
    return sums
