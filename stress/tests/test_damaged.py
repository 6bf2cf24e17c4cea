"""What is damaged, endless or not ours: one line, the right exit code, and nothing raced or written before."""

import io
import json
import resource
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.table import Table

from kernels.layout import HIST_WORDS
from results import store
from results.caveats import caveats
from results.kinds.bench.record import Bench, array_name
from results.kinds.run.record import read_result
from results.store import StoreError, read_arrays
from results.tests.builders.bench import a_bench, noisy
from results.tests.builders.run import HOST, a_result, a_run
from scenarios.loader import load_ordering, load_scenario
from stress.bench.verb import bench
from stress.errors import CannotRunHere, UsageFault
from stress.options import BenchRequest
from stress.processes import limits
from stress.processes import memory as sizes
from stress.processes.limits import check_address_space, limit_met
from stress.processes.memory import chosen_memory
from stress.provenance import commit, version
from stress.screen import Screen
from stress.tests.command import Command


@pytest.fixture
def kept_bench(tmp_path: Path) -> Path:
    """The directory of a bench of three rounds that could go on."""
    orderings = {arm: load_ordering(name) for arm, name in (("A", "spec"), ("A2", "spec"), ("B", "v18"))}
    made = a_bench(3, noisy({}))
    arms = tuple(arm.model_copy(update={"parameters": orderings[arm.arm].model_dump(mode="json")}) for arm in made.arms)
    scenario = {**load_scenario("review").model_dump(mode="json"), "orderings": ["spec", "v18"]}
    changes = {"arms": arms, "scenario": scenario, "version": version(), "commit": commit()}
    keep(tmp_path / "b", made.model_copy(update=changes))
    (tmp_path / "b/rounds").mkdir()
    for number in (1, 2, 3):
        arrays = {array_name("", arm, "hist/shootdown"): np.zeros(HIST_WORDS, np.int64) for arm in orderings}
        np.savez(tmp_path / f"b/rounds/{number:04d}.npz", **arrays)  # type: ignore[arg-type]
    return tmp_path / "b"


def keep(directory: Path, made: Bench) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "bench.json").write_text(made.json_text())


def goes_on(directory: Path) -> int:
    return bench(BenchRequest(rounds=12, resume=directory, quiet=True), None)


def test_a_bench_does_not_go_on_with_a_round_that_is_cut(kept_bench: Path) -> None:
    round_3 = kept_bench / "rounds/0003.npz"
    round_3.write_bytes(round_3.read_bytes()[:-100])
    before = (kept_bench / "bench.json").read_bytes()

    with pytest.raises(UsageFault, match=r"rounds/0003\.npz: expected the arrays of a round"):
        goes_on(kept_bench)
    assert (kept_bench / "bench.json").read_bytes() == before


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("arms", 0, "parameters", "shootdown"), ["blok"], "expected a scenario and orderings of this version"),
        (("arms", 0, "parameters", "shootdwn"), [], "expected a scenario and orderings of this version"),
        (("scenario", "vcpus"), "many", "expected a bench of this version"),
        (("arms", 1, "arm"), "B", "expected arms A, A2 and others once each"),
        (("rounds", 4, "round"), 9, "expected whole rounds, each point and arm once"),
        (("rounds", 4, "verdict"), "won", r"rounds\[4\]\.verdict"),
        (("rounds", 4, "figures", "p50_ns"), -1, r"rounds\[4\]\.figures\.p50_ns"),
    ],
)
def test_a_bench_does_not_go_on_with_a_wrong_record(
    kept_bench: Path, place: tuple[str | int, ...], value: Any, said: str
) -> None:
    record = json.loads((kept_bench / "bench.json").read_text())
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (kept_bench / "bench.json").write_text(json.dumps(record))

    with pytest.raises(UsageFault, match=said):
        goes_on(kept_bench)


def test_history_skips_a_run_without_a_verdict_and_a_link_to_itself(here: Command, tmp_path: Path) -> None:
    result = a_result(a_run("spec"))
    del result["runs"][0]["verdict"]
    for name in ("bad", "loop"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs/bad/result.json").write_text(json.dumps(result))
    (tmp_path / "runs/loop/result.json").symlink_to("result.json")
    done = here("history")

    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.splitlines() == [
        "tdx-stress: skipped runs/bad/result.json: runs[0].verdict: Field required",
        "tdx-stress: skipped runs/loop/result.json: cannot be read: too many levels of symbolic links",
        "tdx-stress: runs: expected runs, found none; tdx-stress run leaves one",
    ]


def test_a_result_without_end_is_refused_with_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_JSON", 1 << 20)
    (tmp_path / "result.json").symlink_to("/dev/zero")

    with pytest.raises(StoreError, match=r"expected the directory of a run of at most 1 MiB, found more"):
        read_result(tmp_path)


def test_arrays_that_unpack_to_more_than_the_bound_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_UNPACKED", 1 << 20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(2 << 20))
    (tmp_path / "raw.npz").write_bytes(packed.getvalue())

    assert len(packed.getvalue()) < 10_000
    with pytest.raises(StoreError, match=r"expected arrays of at most 1 MiB unpacked, .*, found 2 MiB in 1$"):
        read_arrays(tmp_path / "raw.npz", "a run")


def test_what_a_terminal_would_obey_is_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(box=None)
    table.add_column("NAME", no_wrap=True)
    table.add_row("a\x1b[2Jb", style="red")
    screen = Screen(sys.stdout, color=True)
    screen.show(table, "t\x07\u202eitle")
    screen.line("x\x9b31m\ry\nz")

    shown = capsys.readouterr().out
    assert "a\\x1b[2Jb" in shown
    assert "t\\u202eitle" in shown
    assert shown.endswith("x\\x9b31m\\ry\nz\n")
    assert all(c.isprintable() for line in shown.splitlines() for c in line)


@pytest.mark.parametrize("words", ["--help", "list"])
def test_a_stdout_that_is_full_is_one_line(words: str, new: Command) -> None:
    done = new("bash", "-c", f"{sys.executable} -m stress {words} >/dev/full")

    assert (done.returncode, done.stderr) == (3, "tdx-stress: stdout: cannot write: No space left on device\n")


FULL = """
import os, sys
from stress.__main__ import main

real, full = os.write, sys.argv[1]

def write(handle, content):
    if os.readlink(f"/proc/self/fd/{handle}").startswith(full):
        raise OSError(28, "No space left on device")
    return real(handle, content)

os.write = write
sys.argv[:2] = ["tdx-stress"]
main()
"""


@pytest.mark.processes
def test_a_command_whose_cache_is_full_says_so_and_takes_another_place(tmp_path: Path, python: Command) -> None:
    full, other = tmp_path / "cache", tmp_path / "temporary"
    other.mkdir()
    explore = ["explore", "--ordering", "spec", "--vcpus", "1", "--zappers", "1", "--out", "out"]

    done = python("-c", FULL, str(full), *explore, TDX_STRESS_CACHE=str(full), TMPDIR=str(other))

    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tdx-stress:")]
    assert "compiled code cannot be kept: no space left on device; it is in " in line
    assert not [path for path in full.rglob("*") if path.is_file() and not path.name.startswith("machine-")]
    assert list(other.glob("*/*/graph_*.code"))


def test_too_little_address_space_is_one_line_before_anything_is_imported(new: Command) -> None:
    done = new("bash", "-c", f"ulimit -v 300000; {sys.executable} -m stress run -q")

    assert (done.returncode, done.stderr) == (
        4,
        "tdx-stress: run needs 700 MiB of address space, and the limit is 293 MiB; raise it (ulimit -v)\n",
    )


def test_a_verb_that_the_limit_of_address_space_has_room_for_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600 << 20, 600 << 20))

    check_address_space(["report", "run"])
    check_address_space(["--help"])
    with pytest.raises(CannotRunHere, match="explore needs 700 MiB"):
        check_address_space(["explore"])


def test_a_search_takes_what_the_limit_of_address_space_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "memory_to_be_had", lambda: 8 << 30)
    monkeypatch.setattr(sizes, "address_space_left", lambda: (512 << 20) + 10 * (100 << 20))

    assert chosen_memory(None) == 100 << 20
    with pytest.raises(
        CannotRunHere, match=r"--memory: the limit of address space .* leaves room for 100.0 MiB, found"
    ):
        chosen_memory("200MiB")


def test_a_search_without_room_says_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "address_space_left", lambda: 1 << 30)

    with pytest.raises(CannotRunHere, match=r"reserves at least 1.1 GiB of address space, and the limit \(ulimit -v\)"):
        chosen_memory(None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("3 GiB of address space"), "no more memory is to be had: 3 GiB of address space; raise"),
        (OSError(12, "Cannot allocate memory"), "no more memory is to be had; raise"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "no more processes or threads are to be had: pids"),
        (RuntimeError("can't start new thread"), "no more processes or threads are to be had: pids leaves room for 0"),
        (OSError(24, "Too many open files"), "no more open files are to be had: the limit is "),
        (ImportError("x.so: failed to map segment from shared object"), "a library cannot be loaded"),
        (OSError("Could not find/load shared object file 'x.so'"), "a library cannot be loaded"),
    ],
)
def test_what_is_not_to_be_had_names_its_limit(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "least_room", lambda: ("pids", -1))

    assert str(limit_met(error)).startswith(said)


def test_c_that_returns_without_an_error_has_none_to_spare_where_memory_is_limited(monkeypatch) -> None:
    error = SystemError("error return without exception set")
    without = limit_met(error)
    monkeypatch.setattr(limits, "address_space", lambda: 300 << 20)

    assert (without, limit_met(ValueError("x"))) == (None, None)
    assert str(limit_met(error)).startswith("no more memory is to be had, under a limit of 300 MiB of address space")


def test_who_has_no_memory_to_tell_an_error_says_so_in_one_line(behind: Command) -> None:
    code = (
        "import stress.__main__ as command\n"
        "def without_memory(*_):\n    raise MemoryError\n"
        "command.explained = without_memory"
    )
    done = behind(code, "list", "nobody")

    assert done.returncode == 4
    assert done.stderr == "tdx-stress: no more memory is to be had; raise the limit, or try a smaller machine\n"


def test_random_schedules_of_batches_are_drawn_on_a_machine_with_room_for_one(here: Command) -> None:
    done = here("explore", "batch", "--ordering", "spec", "--vcpus", "1", "--random", "2", "-q")

    assert (done.returncode, done.stdout) == (6, "Observation spec Unknown 0 2\n")
    assert done.stderr.startswith("<== INCONCLUSIVE spec: ")


def test_a_round_trip_that_was_not_measured_is_a_caveat() -> None:
    host = {**HOST, "round_trip_ns": None, "round_trip_trouble": "probe 0 (pid 7) was ended by SIGKILL"}
    found = [one for one in caveats(host, {"vcpus": 1, "zappers": 1}, []) if one["id"] == "no_round_trip"]

    assert [one["seen"] for one in found] == [
        "a line's way from CPU to CPU and back was not measured: probe 0 (pid 7) was ended by SIGKILL"
    ]
