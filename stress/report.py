"""The verb `report`: tables, pictures and the page again, from directories that runs and benches left, and from these
alone."""

import sys
from pathlib import Path

from results.bench_findings import found
from results.bench_record import BENCH, ROUNDS
from results.bench_store import read_bench
from results.bench_tables import bench_table, observation_lines
from results.pooled_rounds import pooled
from results.report_files import write_bench_report, write_report
from results.store import RAW, RESULT, StoreError, read_result
from results.tables import caveat_lines
from stress.errors import UsageFault
from stress.options import ReportRequest
from stress.run.tables import run_lines, show_run
from stress.screen import Screen
from stress.session import RACED, last_lines

KEPT_WITHOUT = "Pictures and the page are not made again without what was not kept here"


class Unreadable(Exception):
    """A directory that holds no result; `str()` is the line for the user."""


def report(request: ReportRequest) -> int:
    """Every directory in turn; the exit code is 0.

    Those that can be read are shown and made again even where others cannot; then UsageFault is raised with what is
    wrong with these. A directory that cannot be written is shown, then StoreError is raised.
    """
    screen = Screen(sys.stdout, color=not request.no_color)
    refused: list[str] = []
    for directory in request.directories or [Path("runs/latest")]:
        there = [name for name in (RESULT, BENCH) if (directory / name).exists()]
        try:
            if len(there) == 2:
                both = f"{RESULT} and {BENCH}; move one of them away"
                raise Unreadable(f"{directory}: expected a run or a bench, found {both}")
            (_bench if there == [BENCH] else _run)(screen, directory, quiet=request.quiet)
        except Unreadable as error:
            refused.append(str(error))
    if refused:
        raise UsageFault("; ".join(refused))
    return 0


def _run(screen: Screen, directory: Path, *, quiet: bool) -> None:
    try:
        stored = read_result(directory)
    except StoreError as error:
        raise Unreadable(str(error)) from None
    if not quiet:
        show_run(screen, stored.result)
    for line in run_lines(stored.result, answer=not quiet):
        screen.line(line)
    if not quiet:
        last_lines(screen, RACED, directory)
    if stored.arrays:
        write_report(directory, stored.result, stored.arrays)
    elif not quiet:
        screen.line(f"{KEPT_WITHOUT}: {RAW}")


def _bench(screen: Screen, directory: Path, *, quiet: bool) -> None:
    """What the rounds say is found anew: a record holds it only for other readers."""
    try:
        bench = found(read_bench(directory))
        hists = pooled(bench, directory) if (directory / ROUNDS).exists() else None
    except StoreError as error:
        raise Unreadable(str(error)) from None
    if not bench.rounds:
        raise Unreadable(f"{directory / BENCH}: expected rounds, found none; tdx-stress bench --resume goes on")
    if not quiet:
        screen.show(bench_table(bench), "")
        if bench.caveats:
            screen.show(caveat_lines(bench.caveats), "")
    for line in observation_lines(bench):
        screen.line(line)
    if not quiet:
        last_lines(screen, RACED, directory)
    if hists is not None:
        write_bench_report(directory, bench, hists)
    elif not quiet:
        screen.line(f"{KEPT_WITHOUT}: {ROUNDS}/")
