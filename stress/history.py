"""The verb `history`: the runs in a directory, with their verdicts and figures, filtered, plotted, queried."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from results.history import FILTERS, History, NoHistory, as_json
from results.store import StoreError, write_file, write_text
from results.table import VERDICT_STYLES, Fitting, marked
from results.verdict import Exit
from results.words import count, nanoseconds
from stress.errors import CannotRunHere, UsageFault
from stress.request import STDOUT, check_writable, named_file
from stress.screen import Screen, write

PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of `history` as they were typed. `filters` holds those that were given, by name."""

    directories: tuple[Path, ...]
    filters: Mapping[str, str]
    last: int = 0
    plot: str | None = None
    out: Path | None = None
    export: Path | None = None
    sql: str | None = None
    json: str | None = None
    color: bool = True


def history(wanted: Wanted) -> int:
    """List, plot or query; the exit code: 5 where nothing matched. Raises UsageFault and CannotRunHere."""
    _check(wanted)
    errors = Screen(sys.stderr, color=wanted.color)
    try:
        tables = History(wanted.directories)
        for skipped in tables.skipped:
            errors.line(f"tdx-stress: skipped {skipped}")
        if wanted.sql is not None:
            tables.rows(dict(wanted.filters), wanted.last)
            return _show_any(wanted, tables.query(wanted.sql))
        rows = tables.rows(dict(wanted.filters), wanted.last)
        if not rows:
            errors.line(f"tdx-stress: {_nothing(wanted, tables)}")
            return Exit.NOTHING_RAN.value
        if wanted.export is not None:
            tables.copy(wanted.export, dict(wanted.filters))
    except NoHistory as error:
        raise CannotRunHere(str(error)) from None
    except StoreError as error:
        raise UsageFault(str(error)) from None
    return _show(wanted, rows)


def _check(wanted: Wanted) -> None:
    """Before anything is read. Raises UsageFault."""
    from results.draw.over_time import FIGURES

    if wanted.plot is not None and wanted.plot not in FIGURES:
        raise UsageFault(f"--plot: expected one of {', '.join(FIGURES)}, found {wanted.plot}")
    if wanted.out is not None and wanted.plot is None:
        raise UsageFault("--out: expected --plot FIGURE beside it: it names the picture's file")
    if wanted.out is not None and wanted.out.suffix not in PICTURES:
        raise UsageFault(f"--out: expected a name that ends in {', '.join(PICTURES)}, found {wanted.out}")
    for option, path in (("--out", wanted.out), ("--export", wanted.export), ("--json", named_file(wanted.json))):
        if path is not None:
            check_writable(option, path)
    if wanted.last < 0:
        raise UsageFault(f"--last: expected 0 for all, or more, found {wanted.last}")


def _nothing(wanted: Wanted, tables: History) -> str:
    """What was looked for, and what there is instead."""
    folders = ", ".join(map(str, wanted.directories))
    if not wanted.filters:
        return f"{folders}: expected runs, found none; tdx-stress run leaves one"
    there = [
        f"{name} {', '.join(tables.values(name)[:8])}" for name in wanted.filters if name in FILTERS and name != "since"
    ]
    asked = " ".join(f"--{name} {value}" for name, value in wanted.filters.items())
    return f"{folders}: nothing matches {asked}" + (f"; there is {'; '.join(there)}" if any(there) else "")


def _show(wanted: Wanted, rows: Sequence[Mapping[str, Any]]) -> int:
    if wanted.json == STDOUT:
        write(sys.stdout, as_json(list(map(dict, rows))))
    elif (path := named_file(wanted.json)) is not None:
        write_text(path, as_json(list(map(dict, rows))))
    screen = Screen(sys.stderr if wanted.json == STDOUT else sys.stdout, color=wanted.color)
    screen.show(_table(rows), wrap=False)
    if wanted.plot is not None:
        screen.line(f"\nPicture: {_plotted(wanted, rows)}")
    return 0


def _plotted(wanted: Wanted, rows: Sequence[Mapping[str, Any]]) -> Path:
    from results.draw.over_time import history_picture

    path = wanted.out or wanted.directories[0] / f"history-{wanted.plot}.svg"
    picture = history_picture(rows, str(wanted.plot), path.suffix.removeprefix("."))
    write_file(path, lambda file: file.write(picture))
    return path


def _table(rows: Sequence[Mapping[str, Any]]) -> Fitting:
    words = ("STARTED", "SCENARIO", "ORDERING", "VERDICT")
    numbers = ("vCPUs", "SHOOTDOWNS", "FORBIDDEN", "p50", "p99", "READS/s")
    columns = [*((name, "left") for name in words), *((name, "right") for name in numbers)]
    return Fitting(
        columns, [_row(row) for row in rows], ("READS/s", "vCPUs", "SHOOTDOWNS", "p99", "FORBIDDEN", "STARTED")
    )


def _row(row: Mapping[str, Any]) -> list[str | Text]:
    return [
        f"{row['started']:%Y-%m-%d %H:%M}" if row["started"] else "unknown",
        " ".join(filter(None, (row["scenario"], row["point"], "" if row["kind"] == "run" else row["kind"]))),
        marked(row["ordering"], row["safe"]),
        Text(row["verdict"], style=VERDICT_STYLES.get(row["verdict"], "")),
        *("-" if row[key] is None else count(row[key]) for key in ("vcpus", "shootdowns", "forbidden")),
        nanoseconds(row["p50_ns"]),
        nanoseconds(row["p99_ns"]),
        "-" if row["reads_per_s"] is None else count(row["reads_per_s"]),
    ]


def _show_any(wanted: Wanted, rows: Sequence[Mapping[str, Any]]) -> int:
    """What a query gave: its own columns, as they are."""
    if wanted.json == STDOUT:
        write(sys.stdout, as_json(list(map(dict, rows))))
        return 0
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for name in rows[0] if rows else ():
        table.add_column(name)
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    screen = Screen(sys.stdout, color=wanted.color)
    screen.show(table, wrap=False)
    return 0
