"""The verb `report` as a user types it: from a directory alone, and one line for one that holds no result."""

import json
import re
import shutil
from pathlib import Path

import pytest

import results
from results.store import RunDirectory
from results.tests.builders.bench import a_bench, noisy
from results.tests.builders.run import Machine, a_result, recorded
from stress.tests.command import Command

REFERENCE = Path(results.__file__).parent / "reference"
KEPT = sorted(path.parent for name in ("result.json", "bench.json") for path in REFERENCE.rglob(name))
MADE = ["latency.hgrm", "latency.hlog", "latency.png", "latency.svg", "report.html", "stale.png", "stale.svg"]


@pytest.fixture
def left_by_a_run(tmp_path: Path) -> Path:
    """A directory with result.json and raw.npz and nothing made of them."""
    machine = Machine()
    machine.record("shootdown", *range(200, 900))
    run = recorded(machine, ordering="v18")
    RunDirectory(tmp_path / "run").write(a_result(run.json), run.arrays)
    return tmp_path / "run"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_copied_directory_alone_gives_tables_pictures_and_page_and_what_was_measured_is_only_read(
    here: Command, left_by_a_run: Path
) -> None:
    measured = [(left_by_a_run / name).read_bytes() for name in ("result.json", "raw.npz")]
    first = here("report", "run")
    shutil.copytree(left_by_a_run, left_by_a_run.parent / "copy")
    for name in MADE:
        (left_by_a_run.parent / "copy" / name).unlink()
    second = here("report", "copy")

    assert (first.returncode, first.stderr) == (0, "")
    assert measured == [(left_by_a_run / name).read_bytes() for name in ("result.json", "raw.npz")]
    assert names(left_by_a_run.parent / "copy") == sorted([*MADE, "raw.npz", "result.json"])
    assert second.stdout == first.stdout.replace("run/", "copy/")
    assert (left_by_a_run.parent / "copy/report.html").read_text() == (left_by_a_run / "report.html").read_text()


def test_others_are_made_where_one_cannot_be_read(here: Command, left_by_a_run: Path) -> None:
    done = here("report", "nowhere", "run")

    assert done.returncode == 2
    assert done.stderr == "tdx-stress: nowhere: expected the directory of a run, found no such directory\n"
    assert "report.html" in names(left_by_a_run)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("result.json", b"", "run/result.json: expected JSON, found something else: "),
        ("result.json", b"[" * 100_000, "run/result.json: expected JSON, found something else: "),
        ("result.json", b'{"schema": "tdx-stress/result/1"}', "run/result.json: host: Field required"),
        ("raw.npz", b"PK", "run/raw.npz: expected the arrays of a run: "),
        (
            "bench.json",
            b"{}",
            "run: expected a run or a bench, found result.json and bench.json; move one of them away",
        ),
    ],
)
def test_a_broken_file_is_one_line_that_names_it(
    here: Command, left_by_a_run: Path, name: str, content: bytes, said: str
) -> None:
    (left_by_a_run / name).write_bytes(content)
    done = here("report", "run")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tdx-stress: {said}")
    assert done.stderr.count("\n") == 1


def test_a_file_in_place_of_a_directory_is_one_line(here: Command, left_by_a_run: Path) -> None:
    done = here("report", "run/result.json")

    assert done.returncode == 2
    assert "run/result.json: expected the directory of a run, found no result.json in it" in done.stderr


def test_a_bench_is_found_again_from_its_rounds(here: Command, tmp_path: Path) -> None:
    import numpy as np

    bench = a_bench(12, noisy({"B": 1.5}))
    (tmp_path / "b/rounds").mkdir(parents=True)
    (tmp_path / "b/bench.json").write_text(bench.json_text())
    for number in range(1, 13):
        np.savez(tmp_path / f"b/rounds/{number:04d}.npz")
    done = here("report", "b")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Observation v18 Never 0 10800" in done.stdout
    assert names(tmp_path / "b") == ["bench.json", "ratios.png", "ratios.svg", "report.html", "rounds"]
    assert json.loads((tmp_path / "b/bench.json").read_text())["comparisons"] == []


def test_a_bench_without_a_round_is_one_line(here: Command, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/bench.json").write_text(a_bench(0, noisy({})).json_text())
    done = here("report", "b")

    assert done.returncode == 2
    assert done.stderr == "tdx-stress: b/bench.json: expected rounds, found none; tdx-stress bench --resume goes on\n"


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_what_is_shown_in_the_readme_is_read_by_report_compare_and_history(
    here: Command, tmp_path: Path, kept: Path
) -> None:
    shutil.copytree(kept, tmp_path / "kept")
    told = here("report", "kept")
    assert (told.returncode, told.stderr) == (0, "")
    assert re.search(r"^Observation spec(@\S+)? Never 0 [1-9]", told.stdout, re.MULTILINE)

    compared = here("compare", "kept", "kept", "--json", "-")
    assert compared.returncode == 0
    assert {one["finding"] for one in json.loads(compared.stdout)["comparisons"]} == {"no_difference"}

    listed = here("history", "kept")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "spec" in listed.stdout


def test_a_bench_kept_without_its_rounds_is_told_and_its_pictures_are_made_alone(here: Command, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/bench.json").write_text(a_bench(12, noisy({"B": 1.5})).json_text())
    done = here("report", "b")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Observation v18 Never 0 10800" in done.stdout
    assert done.stdout.endswith("without what was not kept here: rounds/\n")
    assert names(tmp_path / "b") == ["bench.json", "ratios.png", "ratios.svg"]


def test_without_a_directory_it_is_the_latest_run_and_quiet_leaves_only_the_lines_to_grep(
    here: Command, left_by_a_run: Path
) -> None:
    (left_by_a_run.parent / "runs").mkdir()
    (left_by_a_run.parent / "runs/latest").symlink_to(left_by_a_run)
    done = here("report", "-q")

    assert (done.returncode, done.stdout) == (0, "Observation v18 Never 0 0\n")
    assert "report.html" in names(left_by_a_run)
