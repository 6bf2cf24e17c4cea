"""The verb `history`: the runs in a directory, with their verdicts and figures, filtered, plotted, queried."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.history import FILTERS, History, NoHistory, as_json
from results.store import StoreError, write_files
from results.table import Table
from results.verdict import Exit, named, word_of
from results.words import count, nanoseconds, per_second
from stress.errors import CannotRunHere, UsageFault
from stress.options import HistoryRequest
from stress.screen import Screen, write
from stress.session import STDOUT, check_writable, hand_out, named_file, reading_screen

PICTURES = (".png", ".svg", ".pdf")


def history(request: HistoryRequest) -> int:
    """List, plot or query; the exit code: 5 where nothing matched. Raises UsageFault and CannotRunHere."""
    _check(request)
    errors = Screen(sys.stderr, color=not request.no_color)
    try:
        tables = History(_directories(request))
        for skipped in tables.skipped:
            errors.line(f"tdx-stress: skipped {skipped}")
        if request.sql is not None:
            tables.rows(_filters(request), request.last)
            return _show_any(request, tables.query(request.sql))
        rows = tables.rows(_filters(request), request.last)
        if not rows:
            errors.line(f"tdx-stress: {_nothing(request, tables)}")
            return Exit.NOTHING_RAN.value
        if request.export is not None:
            tables.copy(request.export, _filters(request))
    except NoHistory as error:
        raise CannotRunHere(str(error)) from None
    except StoreError as error:
        raise UsageFault(str(error)) from None
    return _show(request, rows)


def _directories(request: HistoryRequest) -> tuple[Path, ...]:
    return request.directories or (Path("runs"),)


def _filters(request: HistoryRequest) -> dict[str, str]:
    """The filters that were typed, by name."""
    return {name: typed for name in FILTERS if (typed := getattr(request, name)) is not None}


def _check(request: HistoryRequest) -> None:
    """Before anything is read. Raises UsageFault."""
    from results.draw.over_time import FIGURES

    if request.plot is not None and request.plot not in FIGURES:
        raise UsageFault(f"--plot: expected one of {', '.join(FIGURES)}, found {request.plot}")
    if request.out is not None and request.plot is None:
        raise UsageFault("--out: expected --plot FIGURE beside it: it names the picture's file")
    if request.out is not None and request.out.suffix not in PICTURES:
        raise UsageFault(f"--out: expected a name that ends in {', '.join(PICTURES)}, found {request.out}")
    for option, path in (("--out", request.out), ("--export", request.export), ("--json", named_file(request.json))):
        if path is not None:
            check_writable(option, path)
    if request.last < 0:
        raise UsageFault(f"--last: expected 0 for all, or more, found {request.last}")


def _nothing(request: HistoryRequest, tables: History) -> str:
    """What was looked for, and what there is instead."""
    folders, filters = ", ".join(map(str, _directories(request))), _filters(request)
    if not filters:
        return f"{folders}: expected runs, found none; tdx-stress run leaves one"
    there = [f"{name} {', '.join(tables.values(name)[:8])}" for name in filters if name != "since"]
    asked = " ".join(f"--{name} {value}" for name, value in filters.items())
    return f"{folders}: nothing matches {asked}" + (f"; there is {'; '.join(there)}" if any(there) else "")


def _show(request: HistoryRequest, rows: Sequence[Mapping[str, Any]]) -> int:
    if request.json is not None:
        hand_out(request.json, as_json(list(map(dict, rows))))
    screen = reading_screen(request)
    screen.show(_table(rows))
    if request.plot is not None:
        screen.line(f"\nPicture: {_plotted(request, rows)}")
    return 0


def _plotted(request: HistoryRequest, rows: Sequence[Mapping[str, Any]]) -> Path:
    from results.draw.over_time import history_picture
    from results.draw.sheet import drawn

    path = request.out or _directories(request)[0] / f"history-{request.plot}.svg"
    picture = drawn({path.stem: lambda: history_picture(rows, str(request.plot))}, [path.suffix.removeprefix(".")])
    write_files(path.parent, picture)
    return path


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    head = ("STARTED", "scenario", "ordering", "verdict", "vCPUs", "shootdowns", "forbidden", "p50", "p99", "reads/s")
    bad = frozenset(place for place, row in enumerate(rows) if not row["safe"])
    several = len({row["machine"] for row in rows}) > 1
    cells = tuple(_row(row, f"on {row['machine']}" * (several and bool(row["machine"]))) for row in rows)
    return Table("", head, cells, frozenset(range(4, 10)), bad, least=(9, 4, 5, 8, 6, 0))


def _row(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    return (
        f"{row['started']:%Y-%m-%d %H:%M}" if row["started"] else "unknown",
        " ".join(filter(None, (row["scenario"], row["point"], "" if row["kind"] == "run" else row["kind"], where))),
        named(row["ordering"], row["safe"]),
        word_of({"verdict": row["verdict"], "expect": "safe" if row["safe"] else ""}),
        *("-" if row[key] is None else count(row[key]) for key in ("vcpus", "shootdowns", "forbidden")),
        nanoseconds(row["p50_ns"]),
        nanoseconds(row["p99_ns"]),
        "-" if row["reads_per_s"] is None else per_second(row["reads_per_s"]),
    )


def _show_any(request: HistoryRequest, rows: Sequence[Mapping[str, Any]]) -> int:
    """What a query gave: its own columns, as they are."""
    if request.json == STDOUT:
        write(sys.stdout, as_json(list(map(dict, rows))))
        return 0
    cells = tuple(tuple("-" if value is None else str(value) for value in row.values()) for row in rows)
    Screen(sys.stdout, color=not request.no_color).show(Table("", tuple(rows[0] if rows else ()), cells), wrap=False)
    return 0
