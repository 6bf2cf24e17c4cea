"""The verb `history` as a user types it."""

import json
from pathlib import Path

import pytest

from results.tests.builders.run import a_result, a_run
from stress.tests.command import Command


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """`runs` with one run of two orderings, one of which did not pass, and one older run."""
    for name, started, runs in (
        ("old", "2025-06-01T00:00:00Z", [a_run("spec")]),
        ("new", "2026-11-22T14:41:49Z", [a_run("spec"), a_run("v18", verdict="failed", seen={"tracking_not_done": 3})]),
    ):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "result.json").write_text(json.dumps(a_result(*runs, started=started)))
    return tmp_path / "runs"


def test_runs_are_listed_with_verdict_and_key_figures(here: Command, two_runs: Path) -> None:
    done = here("history")
    rows = [line.split() for line in done.stdout.splitlines()]

    assert (done.returncode, done.stderr) == (0, "")
    when = ["2025-06-01", "00:00", "review"]
    assert rows[1] == [*when, "spec", "passed", "5,000", "0", "667", "ns", "6.85", "us"]
    assert rows[3][:7] == ["2026-11-22", "14:41", "review", "v18", "failed", "5,000", "3"]


def test_filters_and_the_newest_rows(here: Command, two_runs: Path) -> None:
    listed = json.loads(here("history", "--ordering", "spec", "--last", "1", "--json", "-").stdout)

    assert [row["started"] for row in listed] == ["2026-11-22 14:41:49"]


def test_nothing_that_matches_is_exit_5_and_says_what_there_is(here: Command, two_runs: Path) -> None:
    done = here("history", "--ordering", "v81")

    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "tdx-stress: runs: nothing matches --ordering v81; there is ordering spec, v18\n"


def test_a_figure_over_time_is_drawn_beside_the_runs(here: Command, two_runs: Path) -> None:
    done = here("history", "--plot", "p99")

    assert done.stdout.endswith("Picture: runs/history-p99.svg\n")
    assert (two_runs / "history-p99.svg").read_text().startswith("<?xml")


def test_a_query_answers_as_a_table_and_as_json(here: Command, two_runs: Path) -> None:
    query = "SELECT ordering, count(*) AS n FROM runs GROUP BY 1 ORDER BY 1"

    assert here("history", "--sql", query).stdout.split() == ["ordering", "n", "spec", "2", "v18", "1"]
    assert json.loads(here("history", "--sql", query, "--json", "-").stdout) == [
        {"ordering": "spec", "n": 2},
        {"ordering": "v18", "n": 1},
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: cannot read: No such file or directory; give a directory with runs in it"),
        (["--plot", "p98"], "--plot: expected one of p50, p90, p99, "),
        (["--out", "x.svg"], "--out: expected --plot FIGURE beside it"),
        (["--plot", "p50", "--out", "x.gif"], "--out: expected a name that ends in .png, .svg, .pdf, found x.gif"),
        (["--last", "-1"], "--last: expected 0 for all, or more, found -1"),
        (["--since", "tuesday"], "--since: expected a time such as 2026-11-22 or 2026-11-22T14:00, found tuesday"),
        (["--sql", "SELEC"], "--sql: Parser Error"),
        (["--sql", "SELECT nothing FROM runs"], "--sql: Binder Error"),
        (["--export", "x.xlsx"], "x.xlsx: expected a name that ends in .csv, .parquet, .json"),
        (["--json", "/proc/nowhere/x"], "--json: /proc/nowhere/x: cannot write"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(here: Command, two_runs: Path, arguments: list[str], said: str) -> None:
    done = here("history", *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith(f"tdx-stress: {said}")
    assert done.stderr.count("\n") == 1


def test_a_broken_file_among_the_runs_is_named_and_the_others_are_listed(here: Command, two_runs: Path) -> None:
    (two_runs / "old/result.json").write_text('{"schema": "tdx-')
    done = here("history")

    assert done.returncode == 0
    assert done.stderr.startswith("tdx-stress: skipped runs/old/result.json: ")
    assert len(done.stdout.splitlines()) == 3


def test_without_duckdb_one_line_says_how_to_install_it(behind: Command, two_runs: Path) -> None:
    done = behind("import sys\nsys.modules['duckdb'] = None", "history")

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "tdx-stress: history needs DuckDB: pip install 'tdx-stress[history]', or in a clone pip install '.[history]'\n"
    )
