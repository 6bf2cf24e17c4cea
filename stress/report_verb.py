"""The verb `report`: tables, pictures and the page again, from directories that runs and benches left, and from these
alone."""

import sys
from collections.abc import Sequence
from pathlib import Path

from results.kinds.bench.directory import pooled, read_bench
from results.kinds.bench.findings import found
from results.kinds.bench.record import BENCH, ROUNDS
from results.kinds.bench.tables import bench_table, observation_lines
from results.kinds.files import write_bench_report, write_report
from results.kinds.run.record import read_result
from results.store import RAW, RESULT, StoreError
from results.table import caveat_lines
from stress.errors import UsageFault
from stress.report import MODEL, observations, report
from stress.screen import Screen

KEPT_WITHOUT = "Pictures and the page are not made again without what was not kept here"


class Unreadable(Exception):
    """A directory that holds no result; `str()` is the line for the user."""


def report_again(directories: Sequence[Path], *, quiet: bool, color: bool) -> int:
    """Every directory in turn; the exit code is 0.

    Those that can be read are shown and made again even where others cannot; then UsageFault is raised with what is
    wrong with these. A directory that cannot be written is shown, then StoreError is raised.
    """
    screen = Screen(sys.stdout, color=color)
    refused: list[str] = []
    for directory in directories:
        try:
            _one(screen, directory, quiet=quiet)
        except Unreadable as error:
            refused.append(str(error))
    if refused:
        raise UsageFault("; ".join(refused))
    return 0


def _one(screen: Screen, directory: Path, *, quiet: bool) -> None:
    there = [name for name in (RESULT, BENCH) if (directory / name).exists()]
    if len(there) == 2:
        raise Unreadable(f"{directory}: expected a run or a bench, found {RESULT} and {BENCH}; move one of them away")
    if there == [BENCH]:
        _bench(screen, directory, quiet=quiet)
    else:
        _run(screen, directory, quiet=quiet)


def _run(screen: Screen, directory: Path, *, quiet: bool) -> None:
    try:
        stored = read_result(directory)
    except StoreError as error:
        raise Unreadable(str(error)) from None
    if quiet:
        observations(screen, stored.result)
    else:
        report(screen, stored.result, directory)
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
        screen.line(f"\n{MODEL}\nFiles: {directory}/")
    if hists is not None:
        write_bench_report(directory, bench, hists)
    elif not quiet:
        screen.line(f"{KEPT_WITHOUT}: {ROUNDS}/")
