"""What a bench hands out when it is over: the files that were named, and what stands on the screen."""

import sys
from collections.abc import Sequence
from pathlib import Path

from results.exchange.cases import junit_document, ktap_document
from results.kinds.bench.directory import csv_text, write_parquet
from results.kinds.bench.gate import Outcome, gate_lines
from results.kinds.bench.record import Bench
from results.kinds.bench.tables import bench_cases, bench_table, observation_lines
from results.store import write_text
from results.table import caveat_lines
from stress.bench_request import BenchRequest
from stress.report import MODEL
from stress.request import STDOUT, named_file
from stress.screen import Screen, write


def hand_out(request: BenchRequest, bench: Bench, outcomes: Sequence[Outcome]) -> None:
    """The bench in the files that were named. Raises StoreError."""
    name, cases = str(bench.scenario["name"]), bench_cases(bench, outcomes)
    texts = [
        (named_file(request.run.json), bench.json_text),
        (request.run.junit, lambda: junit_document(name, cases)),
        (named_file(request.run.ktap), lambda: ktap_document(name, cases)),
        (request.csv, lambda: csv_text(bench)),
    ]
    for path, text in texts:
        if path is not None:
            write_text(path, text())
    if request.parquet is not None:
        write_parquet(bench, request.parquet)


def show(request: BenchRequest, bench: Bench, outcomes: Sequence[Outcome], directory: Path) -> None:
    """The table, caveats, gates, the lines to grep, and where the files are."""
    run = request.run
    if run.json == STDOUT:
        write(sys.stdout, bench.json_text())
    if run.ktap == STDOUT:
        write(sys.stdout, ktap_document(str(bench.scenario["name"]), bench_cases(bench, outcomes)))
    data_on_stdout = STDOUT in (run.json, run.ktap)
    screen = Screen(sys.stderr if data_on_stdout else sys.stdout, color=run.color)
    if run.quiet:
        if not data_on_stdout:
            for line in observation_lines(bench):
                screen.line(line)
        return
    screen.show(bench_table(bench), "")
    if bench.caveats:
        screen.show(caveat_lines(bench.caveats), "")
    for gate in gate_lines(outcomes):
        screen.show(gate)
    for line in observation_lines(bench):
        screen.line(line)
    screen.line(f"\n{MODEL}\nFiles: {directory}/")
