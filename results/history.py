"""All results of a directory as two tables of an embedded DuckDB, in memory: `runs` and `rounds`.

What was changed of an ordering or a scenario, by a fault or a setting, is part of its name.

`runs` has a row for each ordering of each result: of a run with its figures, for each arm and point of a bench with
medians over its rounds, of any other kind with its verdict. `rounds` has a row for each race of each bench. Nothing is
stored: the files are the history.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.figures import FIGURES
from results.kinds.bench.directory import copied, read_bench
from results.kinds.bench.record import Bench
from results.kinds.kind import KINDS
from results.kinds.run.record import read_result_json
from results.store import StoreError, write_file
from results.words import changes, installed_by, keys_set, with_changes

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


INSTALL = f"history needs DuckDB: {installed_by('history')}"
TABLES = """
CREATE TABLE runs (
  started TIMESTAMP, kind VARCHAR, directory VARCHAR, scenario VARCHAR, point VARCHAR, ordering VARCHAR, safe BOOLEAN,
  verdict VARCHAR, vcpus BIGINT, zappers BIGINT, rounds BIGINT, shootdowns BIGINT, forbidden BIGINT, p50_ns DOUBLE,
  p50_low_ns DOUBLE, p50_high_ns DOUBLE, p90_ns DOUBLE, p90_low_ns DOUBLE, p90_high_ns DOUBLE, p99_ns DOUBLE,
  p99_low_ns DOUBLE, p99_high_ns DOUBLE, max_ns DOUBLE, shootdowns_per_s DOUBLE, reads_per_s DOUBLE,
  out_of_guest_p50_ns DOUBLE, stale_window_p50_ns DOUBLE, track_retries DOUBLE, perturbed BOOLEAN, changed VARCHAR,
  host VARCHAR, machine VARCHAR, version VARCHAR, "commit" VARCHAR, seed BIGINT, place BIGINT
);
CREATE TABLE rounds (
  started TIMESTAMP, directory VARCHAR, scenario VARCHAR, machine VARCHAR, round BIGINT, point VARCHAR, arm VARCHAR,
  ordering VARCHAR, verdict VARCHAR, shootdowns BIGINT, forbidden BIGINT, p50_ns DOUBLE, p90_ns DOUBLE, p99_ns DOUBLE,
  max_ns DOUBLE, shootdowns_per_s DOUBLE, reads_per_s DOUBLE, out_of_guest_p50_ns DOUBLE, out_of_guest_share DOUBLE,
  stale_window_p50_ns DOUBLE, track_retries DOUBLE
);
"""
# How a copy is written, by the file's ending.
FORMATS = {".csv": "FORMAT csv, HEADER", ".parquet": "FORMAT parquet", ".json": "FORMAT json, ARRAY"}
KIND_OF = {kind.file: kind for kind in KINDS}
# Of these the record alone is read, whatever became of the arrays beside it.
RECORDS: Mapping[str, Callable[[Path], Any]] = {"run": read_result_json, "bench": read_bench}
FILTERS = {
    # By the plain name all are found, each under the name that says what was changed.
    "scenario": "(scenario GLOB $1 OR split_part(scenario, ' (', 1) GLOB $1)",
    "ordering": "(ordering GLOB $1 OR split_part(ordering, ' (', 1) GLOB $1)",
    "host": "contains(lower(concat_ws(' ', host, machine)), lower($1))",
    "version": "version GLOB $1",
    "verdict": "verdict = $1",
    "since": "started >= $1::TIMESTAMP",
}


class NoHistory(Exception):
    """DuckDB is not installed; `str()` is the line for the user."""


class History:
    """The tables, filled from the directories that were given. `skipped`: which files are no results, and why."""

    def __init__(self, directories: Sequence[Path]) -> None:
        """Raises NoHistory without DuckDB, and StoreError where a directory cannot be read."""
        self._tables = _connected()
        self.skipped: list[str] = []
        self._tables.execute(TABLES)
        for path in result_files(directories):
            self._load(path)

    def _load(self, path: Path) -> None:
        import duckdb

        kind = KIND_OF[path.name]
        try:
            document = RECORDS.get(kind.name, kind.read)(path.parent)
            its = dict(document)
            host = its.get("host") or {}
            cpus = f"{host['cpus_allowed']} CPUs" if host.get("cpus_allowed") else None
            about = {"started": its.get("started") or None, "directory": str(path.parent)}
            more = {key: its.get(key) for key in ("version", "commit", "seed")} | {
                "kind": kind.name,
                "point": "",
                "host": ", ".join(filter(None, (host.get("cpu_model"), cpus, host.get("hypervisor")))),
                "machine": host.get("id"),
            }
            rows = enumerate(kind.rows(document), start=1)
            self._insert("runs", [{**about, **more, **row, "place": place} for place, row in rows])
            if kind.name == "bench":
                self._insert("rounds", [{**about, **row} for row in _races(document)])
        except StoreError as error:
            self.skipped.append(f"{path}: {str(error).removeprefix(f'{path}: ')}")
        except (duckdb.Error, OSError) as error:
            self.skipped.append(f"{path}: {_first_line(error)}")

    def _insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of one result, which all have the same columns."""
        if rows:
            self._tables.execute(f"INSERT INTO {table} BY NAME SELECT unnest(?, max_depth := 2)", [rows])

    def rows(self, wanted: dict[str, str], last: int = 0) -> list[dict[str, Any]]:
        """The rows of `runs` that match all filters, the oldest first; with `last` only so many, the newest.

        Raises StoreError where a filter does not hold, such as a date that is none.
        """
        self._narrow(wanted)
        limit = f" LIMIT {last}" if last else ""
        newest = f"SELECT * FROM chosen ORDER BY started DESC, directory DESC, place DESC{limit}"
        return self.query(f"SELECT * EXCLUDE (place) FROM ({newest}) ORDER BY started, directory, place")

    def _narrow(self, wanted: dict[str, str]) -> None:
        self._tables.execute("CREATE OR REPLACE TEMP TABLE chosen AS SELECT * FROM runs")
        for name, value in wanted.items():
            if name == "since":
                value = _utc(value)
            condition = FILTERS[name].replace("$1", "?")
            values = [value] * condition.count("?")
            self._tables.execute(f"DELETE FROM chosen WHERE NOT coalesce({condition}, false)", values)

    def values(self, column: str) -> list[str]:
        """What there is to filter by."""
        found = self._tables.execute(f"SELECT DISTINCT {column} FROM runs WHERE {column} IS NOT NULL ORDER BY 1")
        return [str(value) for (value,) in found.fetchall()]

    def query(self, text: str) -> list[dict[str, Any]]:
        """Any SQL over `runs`, `rounds`, and `chosen`: the rows that passed the filters. Raises StoreError."""
        import duckdb

        try:
            done = self._tables.execute(text)
            names = [column[0] for column in done.description or ()]
            return [dict(zip(names, row, strict=True)) for row in done.fetchall()]
        except duckdb.Error as error:
            raise StoreError(f"--sql: {_first_line(error)}") from None

    def copy(self, path: Path, wanted: dict[str, str]) -> None:
        """The rows that match, as .csv, .parquet or .json. Raises StoreError."""
        if path.suffix not in FORMATS:
            raise StoreError(f"{path}: expected a name that ends in {', '.join(FORMATS)}")
        self._narrow(wanted)
        write_file(path, copied(self._tables, "(SELECT * EXCLUDE (place) FROM chosen)", FORMATS[path.suffix]))


def result_files(directories: Sequence[Path]) -> Iterator[Path]:
    """The results in these directories, each of which is one of a run or one that holds such; each file once."""
    seen: set[Path] = set()
    for directory in directories:
        try:
            folders = [directory, *sorted(path for path in directory.iterdir() if path.is_dir())]
        except OSError as error:
            raise StoreError(f"{directory}: cannot read: {error.strerror}; give a directory with runs in it") from None
        for path in (folder / name for folder in folders for name in KIND_OF):
            if not os.path.lexists(path):
                continue
            real = Path(os.path.realpath(path))  # unlike resolve() it takes a link to itself
            if real not in seen:
                seen.add(real)
                # A directory may be only a name for another, such as runs/latest.
                yield real if path.parent.is_symlink() else path


def _races(bench: Bench) -> list[dict[str, Any]]:
    """A row of `rounds` for each race."""
    scenario = with_changes(bench.scenario["name"], keys_set(bench.scenario))
    names = {arm.arm: with_changes(arm.ordering, changes(arm.its)) for arm in bench.arms}
    return [
        {
            "scenario": scenario, "ordering": names[race.arm], "verdict": race.verdict.value,
            "shootdowns": race.all_shootdowns, "forbidden": race.forbidden_shootdowns,
            **{key: getattr(race, key) for key in ("machine", "round", "point", "arm")},
            **{figure.id: race.figures.get(figure.id) for figure in FIGURES},
        }
        for race in bench.rounds
    ]  # fmt: skip


def _connected() -> "DuckDBPyConnection":
    try:
        import duckdb
    except ImportError:
        raise NoHistory(INSTALL) from None
    # Nothing is fetched from anywhere: what reads JSON and Parquet is part of the package.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "threads": "1",
    }
    return duckdb.connect(":memory:", config=settings)


def _utc(text: str) -> str:
    """A time as DuckDB reads it, in UTC as results have it. Raises StoreError."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise StoreError(f"--since: expected a time such as 2026-11-22 or 2026-11-22T14:00, found {text}") from None
    return (time.astimezone(UTC) if time.tzinfo else time).strftime("%Y-%m-%d %H:%M:%S")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a JSON array; times in ISO 8601."""
    return json.dumps(rows, indent=1, default=str, allow_nan=False) + "\n"
