import json
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from stress.tests.command import Command, Start

# Long enough that a run which ends was ended by what the test did.
REPORTED = ("--ordering", "v18", "--duration", "1h", "--warmup", "0s", "--out", "out")
FOREVER = (*REPORTED, "--no-report")
LONGEST_WAIT_S = 240

pytestmark = pytest.mark.processes


def racing(parent: subprocess.Popen[str], count: int = 3) -> list[psutil.Process]:
    """The workers, oldest first, once all of them have used some CPU: vCPUs before zappers."""
    until = time.monotonic() + LONGEST_WAIT_S
    while time.monotonic() < until:
        assert parent.poll() is None, parent.communicate()
        workers = sorted(psutil.Process(parent.pid).children(), key=lambda worker: worker.pid)
        if len(workers) == count and all(worker.cpu_times().user >= 0.05 for worker in workers):
            return workers
        time.sleep(0.02)
    raise TimeoutError(f"no {count} racing workers")


def ended(parent: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    stdout, stderr = parent.communicate(timeout=LONGEST_WAIT_S)
    return parent.returncode, stdout, stderr


def stored(directory: Path) -> dict[str, Any]:
    """The one run of the result that was written, and that nothing is half-written."""
    assert not [path for path in directory.iterdir() if path.name.endswith(".tmp")]
    runs = json.loads((directory / "result.json").read_text())["runs"]
    assert len(runs) == 1
    run: dict[str, Any] = runs[0]
    return run


@pytest.mark.parametrize(
    ("workers", "many", "victim", "name"),
    [("process", 3, 1, "vcpu 1"), ("process", 3, 2, "zapper 0"), ("thread", 1, 0, "threads of 3 actors")],
)
def test_a_killed_actor_ends_the_run_as_crashed(
    start_tdx_stress: Start, tmp_path: Path, workers: str, many: int, victim: int, name: str
) -> None:
    parent = start_tdx_stress("run", *FOREVER, "--workers", workers)
    actors = racing(parent, many)
    actors[victim].kill()

    code, stdout, _ = ended(parent)
    run = stored(tmp_path / "out")
    assert (code, run["verdict"]) == (3, "crashed")
    assert run["notes"][0] == f"{name} (pid {actors[victim].pid}) was ended by SIGKILL"
    assert run["shootdowns"] > 0
    assert f"<== CRASHED v18: {name} (pid " in stdout
    assert not any(actor.is_running() for actor in actors)


def test_a_crash_ends_the_whole_run_and_keeps_the_orderings_before_it(start_tdx_stress: Start, tmp_path: Path) -> None:
    # The first one ends with its zapper, at the first error.
    orderings = ("--ordering", "no_block", "--ordering", "v18", "--ordering", "spec", "--set", "on_error=stop")
    parent = start_tdx_stress("run", *orderings, "--duration", "1h", "--warmup", "0s", "--out", "out")
    while not (tmp_path / "out/result.json").exists():
        time.sleep(0.02)
    racing(parent)[0].kill()

    code, stdout, _ = ended(parent)
    runs = json.loads((tmp_path / "out/result.json").read_text())["runs"]
    assert code == 3
    assert [run["verdict"] for run in runs] == ["passed", "crashed"]
    assert "<== INCONCLUSIVE spec: its turn never came, as all ended before\n" in stdout
    assert "Broken: a worker died" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ended_amid_its_first_ordering_leaves_no_worker_and_goes_on_from_there(
    start_tdx_stress: Start, tmp_path: Path, number: signal.Signals
) -> None:
    parent = start_tdx_stress("run", "--ordering", "spec", *FOREVER)
    workers = racing(parent)
    parent.send_signal(number)
    _, _, said = ended(parent)
    _, alive = psutil.wait_procs(workers, timeout=LONGEST_WAIT_S)
    again = start_tdx_stress("run", "--resume", "out", "--no-report")
    racing(again)
    again.send_signal(signal.SIGINT)

    code, shown, _ = ended(again)
    left = (
        "2 of 2 pieces not ended: 00001-spec (here as far as it came), 00002-v18; "
        "to run them: tdx-stress run --resume out\n"
    )
    assert alive == []
    assert "    next: " not in shown  # beside how to go on
    assert number == signal.SIGKILL or said.endswith(left)
    assert (code, stored(tmp_path / "out")["ordering"]) == (130, "spec")
    assert (tmp_path / "out/pieces/job.json").exists()


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, False)])
def test_an_interrupted_run_writes_what_was_measured_and_exits_130(
    start_tdx_stress: Start, tmp_path: Path, number: signal.Signals, to_all: bool
) -> None:
    """A terminal sends Ctrl-C to everybody, and it is the parent that ends the race."""
    parent = start_tdx_stress("run", *FOREVER)
    workers = racing(parent)
    for process in (*(workers if to_all else ()), parent):
        process.send_signal(number)

    code, stdout, _ = ended(parent)
    run = stored(tmp_path / "out")
    assert (code, run["ending"], run["verdict"]) == (130, "interrupted", "inconclusive")
    assert run["shootdowns"] > 0
    assert "Observation v18 Never 0 " in stdout
    assert not any(worker.is_running() for worker in workers)


def test_a_second_ctrl_c_is_as_clean_as_the_first(start_tdx_stress: Start, tmp_path: Path) -> None:
    parent = start_tdx_stress("run", *REPORTED)
    racing(parent)
    while parent.poll() is None:
        parent.send_signal(signal.SIGINT)
        time.sleep(0.02)

    code, _, stderr = ended(parent)
    assert (code, stored(tmp_path / "out")["ending"]) == (130, "interrupted")
    assert "Traceback" not in stderr


def test_ctrl_c_before_anything_is_measured_is_one_line_and_exit_130(start_tdx_stress: Start, tmp_path: Path) -> None:
    parent = start_tdx_stress("run", "--set", "seed=1", *FOREVER)
    while not (tmp_path / "out").exists():
        time.sleep(0.001)
    parent.send_signal(signal.SIGINT)

    code, _, stderr = ended(parent)
    assert code == 130
    assert "Traceback" not in stderr


def test_an_actor_that_stands_still_ends_the_run_as_hung_and_everybody_is_named(
    start_tdx_stress: Start, tmp_path: Path
) -> None:
    parent = start_tdx_stress("run", *FOREVER, "--set", "watchdog_s=500ms")
    racing(parent)[0].suspend()

    code, stdout, _ = ended(parent)
    run = stored(tmp_path / "out")
    assert (code, run["verdict"]) == (3, "hung")
    assert run["notes"][0].startswith("no progress for 0.5 s: ")
    said = "; ".join(run["notes"][1:])
    assert "zapper 0 at " in said
    assert "vcpu 0-1 at " in said or ("vcpu 0 at " in said and "vcpu 1 at " in said)
    assert "(kernels/" in run["notes"][1]
    assert "<== HUNG v18: no progress for 0.5 s" in stdout


def test_a_run_that_was_suspended_is_not_taken_for_hung(start_tdx_stress: Start, tmp_path: Path) -> None:
    parent = start_tdx_stress("run", *FOREVER, "--set", "watchdog_s=2")
    everybody = [*(psutil.Process(worker.pid) for worker in racing(parent)), psutil.Process(parent.pid)]
    for process in everybody:
        process.suspend()
    time.sleep(2.5)
    for process in everybody:
        process.resume()
    time.sleep(0.5)
    parent.send_signal(signal.SIGINT)

    code, _, _ = ended(parent)
    run = stored(tmp_path / "out")
    assert (code, run["ending"]) == (130, "interrupted")
    assert any(note.startswith("suspended for ") for note in run["notes"])


LIMIT = "import resource\nresource.setrlimit(resource.RLIMIT_{}, ({}, {}))".format


def test_a_disk_that_fills_up_is_one_line_before_the_race(behind: Command, tmp_path: Path) -> None:
    done = behind(LIMIT("FSIZE", 65536, 65536), "run", *FOREVER)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tdx-stress: out: cannot write: File too large; give another directory with --out\n"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_during_the_race_is_one_line_and_the_tables_are_shown(
    start_tdx_stress: Start, tmp_path: Path
) -> None:
    parent = start_tdx_stress("run", *FOREVER)
    racing(parent)
    psutil.Process(parent.pid).rlimit(resource.RLIMIT_FSIZE, (64, 64))
    parent.send_signal(signal.SIGINT)

    code, stdout, stderr = ended(parent)
    assert code == 3
    assert "\ntdx-stress: out/raw.npz: cannot write: File too large" in stderr
    assert "Traceback" not in stderr
    assert "Observation v18 Never 0 " in stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_too_few_open_files_for_the_workers_are_one_line_and_exit_4(behind: Command) -> None:
    done = behind(LIMIT("NOFILE", 256, 256), "run", "--vcpus", "512", *FOREVER)

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("tdx-stress: 513 workers need 1090 open files, and the limit is 256; raise it")


def test_a_closed_stderr_does_not_end_the_race(behind: Command) -> None:
    options = "run --ordering no_block --shootdowns 100 --warmup 0s --no-report --json -"  # so tables are on stderr
    nobody = "import os\nreading, writing = os.pipe()\nos.close(reading)\nos.dup2(writing, 2)"

    done = behind(nobody, *options.split())

    (run,) = json.loads(done.stdout)["runs"]
    assert (done.returncode, run["verdict"]) == (0, "passed")
