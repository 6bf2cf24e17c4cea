"""What a run leaves on disk: whole files or none, never in another run's way."""

import errno
import json
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results import store
from results.kinds.files import write_report
from results.kinds.run.record import read_result
from results.store import RunDirectory, StoreError, open_run_directory, write_file
from results.tests.builders.run import a_result, a_run

ARRAYS = {"v18/ages": np.arange(16)}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_run_leaves_its_result_its_arrays_and_all_that_is_made_of_them(tmp_path: Path):
    directory = open_run_directory(tmp_path / "out", "review")
    directory.write(a_result(a_run()), ARRAYS, draw=partial(write_report, result=a_result(a_run()), arrays=ARRAYS))

    assert names(tmp_path / "out") == [
        "latency.hgrm", "latency.hlog", "latency.png", "latency.svg", "raw.npz", "report.html", "result.json",
        "stale.png", "stale.svg",
    ]  # fmt: skip


def test_a_traced_run_leaves_its_trace_too(tmp_path: Path):
    trace = {"traceEvents": [{"name": "kick", "ph": "X"}], "displayTimeUnit": "ns"}
    open_run_directory(tmp_path, "review").write(a_result(a_run()), ARRAYS, trace=trace)

    assert names(tmp_path) == ["raw.npz", "result.json", "trace.json"]
    assert json.loads((tmp_path / "trace.json").read_text()) == trace


def test_what_was_written_is_read_back_and_what_nobody_draws_is_not_there(tmp_path: Path):
    open_run_directory(tmp_path, "review").write(a_result(a_run()), ARRAYS)
    stored = read_result(tmp_path)

    assert names(tmp_path) == ["raw.npz", "result.json"]
    assert stored.result == a_result(a_run())
    assert stored.arrays["v18/ages"].tolist() == list(range(16))


def test_a_later_write_takes_the_place_of_an_earlier_one(tmp_path: Path):
    directory = open_run_directory(tmp_path, "review")
    directory.write(a_result(a_run()), ARRAYS)
    directory.write(a_result(a_run(), a_run("spec")), ARRAYS)

    assert [run["ordering"] for run in read_result(tmp_path).result["runs"]] == ["v18", "spec"]
    assert names(tmp_path) == ["raw.npz", "result.json"]


def test_without_a_given_directory_a_run_makes_its_own_and_latest_points_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store.time, "strftime", lambda *_: "20240130T103406Z")
    directory = open_run_directory(None, "review")
    assert names(Path("runs")) == ["20240130T103406Z-review"]  # latest points there once something was written
    directory.write(a_result(a_run()), ARRAYS)

    assert directory.path == Path("runs/20240130T103406Z-review")
    assert os.readlink("runs/latest") == "20240130T103406Z-review"
    assert read_result(Path("runs/latest")).result == a_result(a_run())


def test_runs_of_one_second_have_directories_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store.time, "strftime", lambda *_: "20240130T103406Z")
    made = [open_run_directory(None, "review", tmp_path).path.name for _ in range(3)]

    assert made == ["20240130T103406Z-review", "20240130T103406Z-review-2", "20240130T103406Z-review-3"]


def test_a_directory_called_latest_is_left_alone(tmp_path: Path):
    (tmp_path / "latest").mkdir()
    open_run_directory(None, "review", tmp_path).write(a_result(a_run()), ARRAYS)

    assert (tmp_path / "latest").is_dir()
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("scenario", "end"),
    [("../../etc/passwd", "-passwd"), ("a b\n$c", "-a-b-c"), ("...", "-run"), ("x" * 300, "x" * 64)],
)
def test_a_scenario_of_any_name_gives_a_plain_directory_below_runs(tmp_path: Path, scenario: str, end: str):
    path = open_run_directory(None, scenario, tmp_path).path

    assert path.parent == tmp_path
    assert path.name.endswith(end)


def test_two_runs_in_one_directory_leave_the_files_of_one(tmp_path: Path):
    def write(ordering: str) -> None:
        directory = open_run_directory(tmp_path, "review")
        for _ in range(10):
            directory.write(a_result(a_run(ordering)), {ordering: np.zeros(5)})

    with ThreadPoolExecutor(2) as both:
        list(both.map(write, ["spec", "v18"]))
    stored = read_result(tmp_path)

    assert names(tmp_path) == ["raw.npz", "result.json"]
    assert list(stored.arrays) == [stored.result["runs"][0]["ordering"]]


def test_a_directory_that_was_removed_in_the_meantime_is_made_again(tmp_path: Path):
    directory = open_run_directory(tmp_path / "out", "review")
    directory.path.rmdir()
    directory.write(a_result(a_run()), ARRAYS)

    assert read_result(tmp_path / "out").result == a_result(a_run())


@pytest.mark.parametrize(("place", "why"), [("file/out", "Not a directory"), ("file", "File exists")])
def test_a_place_that_cannot_be_written_is_refused_in_one_line_before_the_race(tmp_path: Path, place: str, why: str):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError) as caught:
        open_run_directory(tmp_path / place, "review")
    assert str(caught.value) == f"{tmp_path}/{place}: cannot write: {why}; give another directory with --out"
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_is_noticed_before_the_race_and_nothing_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store.os, "fsync", no_space)

    with pytest.raises(StoreError, match="cannot write: No space left on device; give another directory with --out"):
        open_run_directory(None, "review", tmp_path / "runs")
    assert names(tmp_path) == []


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_during_the_race_leaves_the_files_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    directory = open_run_directory(tmp_path, "review")
    directory.write(a_result(a_run()), ARRAYS)
    monkeypatch.setattr(store.os, call, no_space)

    with pytest.raises(
        StoreError, match=r"raw.npz: cannot write: No space left on device; what was written before stands"
    ):
        directory.write(a_result(a_run("spec")), ARRAYS)
    assert read_result(tmp_path).result == a_result(a_run())
    assert names(tmp_path) == ["raw.npz", "result.json"]


def test_a_limit_of_the_system_on_file_sizes_is_noticed_before_the_race(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from results.store import StoreError, open_run_directory\n"
        "try: open_run_directory(Path(sys.argv[1]), 'review')\n"
        "except StoreError as error: print(error)"
    )
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))  # noqa: E731
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")], preexec_fn=limit, capture_output=True, text=True,
        check=True,
    )  # fmt: skip

    assert done.stdout == f"{tmp_path}/out: cannot write: File too large; give another directory with --out\n"
    assert names(tmp_path) == []


def test_a_full_device_is_one_line(tmp_path: Path):
    with pytest.raises(StoreError, match=r"/dev/full: cannot write: No space left on device"):
        write_file(Path("/dev/full"), b"x")


def test_what_is_no_regular_file_is_written_into(tmp_path: Path):
    write_file(Path("/dev/null"), b"x")

    assert Path("/dev/null").is_char_device()


def test_nan_is_never_written(tmp_path: Path):
    directory = RunDirectory(tmp_path)

    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        directory.write(a_result(a_run(seconds=float("nan"))), ARRAYS)
    assert "result.json" not in names(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "expected JSON, found something else"),
        (b'{"a": "\\ud83d"}', "expected JSON, found something else: 'utf-8' codec can't encode character"),
        (b"\xff\xfe\x00\x80", "expected JSON"),
        (b"[]", "expected schema tdx-stress/result/1, found None"),
        (b'{"schema": "tdx-stress/result/9"}', "expected schema tdx-stress/result/1, found tdx-stress/result/9"),
    ],
)
def test_a_result_of_another_kind_is_refused(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "result.json").write_bytes(content)

    with pytest.raises(StoreError, match=message):
        read_result(tmp_path)


def test_a_result_kept_without_its_arrays_is_read_without_them(tmp_path: Path):
    (tmp_path / "result.json").write_text(json.dumps(a_result(a_run())))

    stored = read_result(tmp_path)
    assert (stored.result["runs"][0]["ordering"], stored.arrays) == ("v18", {})


@pytest.mark.parametrize("raw", [b"", b"garbage", b"PK\x03\x04garbage"])
def test_arrays_that_are_not_whole_are_refused(tmp_path: Path, raw: bytes):
    (tmp_path / "result.json").write_text(json.dumps(a_result(a_run())))
    (tmp_path / "raw.npz").write_bytes(raw)

    with pytest.raises(StoreError, match=r"raw\.npz: expected the arrays of a run"):
        read_result(tmp_path)


def test_any_damage_to_the_arrays_is_one_line_that_names_them(tmp_path: Path):
    directory = open_run_directory(tmp_path, "review")
    directory.write(a_result(a_run()), {"v18/ages": np.zeros(16, dtype=np.int64)})
    whole = (tmp_path / "raw.npz").read_bytes()
    # Every prefix, and every byte turned into another: the archive's own headers hold fields that nobody reads.
    damaged = [whole[:end] for end in range(0, len(whole), 7)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 3)]
    lines = []
    for content in damaged:
        (tmp_path / "raw.npz").write_bytes(content)
        try:
            read_result(tmp_path)
        except StoreError as error:
            lines.append(str(error))

    assert len(lines) > 0.6 * len(damaged)
    assert all(line.startswith(f"{tmp_path}/raw.npz: ") and "\n" not in line for line in lines)
