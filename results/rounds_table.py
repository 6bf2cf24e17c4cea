"""The figures of every race as a table for people's own notebooks: a row a race, CSV or Parquet."""

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any

from results.bench_record import Bench
from results.figures import FIGURES
from results.store import StoreError, write_file

FACTS = (
    "round",
    "point",
    "place",
    "arm",
    "ordering",
    "seed",
    "verdict",
    "seconds",
    "all_shootdowns",
    "forbidden_shootdowns",
)
TYPES = dict.fromkeys(("round", "place", "seed", "all_shootdowns", "forbidden_shootdowns"), "BIGINT") | {
    "seconds": "DOUBLE"
}
PARQUET_HINT = "needs DuckDB, which is an extra: pip install duckdb"


def columns(bench: Bench) -> list[str]:
    """The names of the columns: what the race was, the value of the sweep, then the figures with their units."""
    axis = [bench.sweep.key] if bench.sweep and bench.sweep.key not in FACTS else []
    return [*FACTS, "safe", *axis, *(figure.id for figure in FIGURES)]


def rows(bench: Bench) -> list[list[Any]]:
    """A row a race, in the order in which they ran; None where a figure was not measured."""
    safe = {arm.arm: arm.safe for arm in bench.arms}
    values = dict(zip(bench.points, bench.sweep.values, strict=True)) if bench.sweep else {}
    axis = [bench.sweep.key] if bench.sweep and bench.sweep.key not in FACTS else []
    return [
        [
            *(getattr(race, name) for name in FACTS),
            safe[race.arm],
            *(values[race.point] for _ in axis),
            *(race.figures.get(figure.id) for figure in FIGURES),
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
    kinds = dict.fromkeys((figure.id for figure in FIGURES), "DOUBLE")
    axis: dict[str, str] = {}
    if bench.sweep and bench.sweep.key not in FACTS:
        numbers = all(isinstance(value, int | float) for value in bench.sweep.values)
        axis[bench.sweep.key] = "DOUBLE" if numbers else "VARCHAR"
    words = dict.fromkeys(("point", "arm", "ordering", "verdict"), "VARCHAR")
    return {**words, **TYPES, "safe": "BOOLEAN", **axis, **kinds}
