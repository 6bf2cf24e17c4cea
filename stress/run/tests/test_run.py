import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from stress.pieces.tests.changed import change
from stress.tests.command import Command, Start, printed
from stress.tests.lengthened import answered, run_until, verdicts

SHORT = ("--duration", "300ms", "--warmup", "100ms", "--no-report", "--json", "-")

pytestmark = pytest.mark.processes


def responded(result: dict[str, Any]) -> bool:
    """Whether a shootdown that met a vCPU was timed from when it was due."""
    return "response" in result["runs"][0]["latency_ns"]


def test_the_review_races_three_orderings_and_answers(tdx_stress: Command) -> None:
    done, result = run_until(tdx_stress, holds=answered)

    assert [run["ordering"] for run in result["runs"]] == ["spec", "v18", "v6_16"]
    assert verdicts(done, result) == ["passed"] * 3
    assert done.returncode == 6 or "TRACK before the kick (spec)" in done.stderr


def test_a_result_says_where_it_comes_from_what_doctor_says_of_its_machine_and_what_it_measured_after_the_warm_up(
    tdx_stress: Command, tmp_path: Path
) -> None:
    def counted_on_both_sides(result: dict[str, Any]) -> bool:
        return 0 < result["runs"][0]["shootdowns"] < result["runs"][0]["all_shootdowns"]

    asked = ("--ordering", "v18", "--seed", "7", "--out", "out")
    _, result = run_until(tdx_stress, *asked, holds=counted_on_both_sides)

    assert result["schema"] == "tdx-stress/result/1"
    assert result["command"][:-4] == ["tdx-stress", "run", *asked, "--warmup", "100ms", "--duration"]
    assert (result["seed"], result["scenario"]["seed"], result["scenario"]["orderings"]) == (7, 7, ["v18"])
    assert result["runs"][0]["parameters"]["gate"] == "counter"
    assert all(key in result for key in ("version", "commit", "started", "host", "caveats"))
    measured = {"round_trip_ns", "round_trip_range_ns", "timer_ns", "empty_shootdown_ns", "clock_error_ppm"}
    assert measured | {"round_trip_after_ns"} <= set(result["host"])
    assert result["runs"][0]["trace"] is None
    assert result["runs"][0]["seconds"] >= 0.3
    assert counted_on_both_sides(result)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "raw.npz"}


def test_an_ordering_with_a_fault_or_a_setting_is_not_shown_as_the_unmodified_one(tdx_stress: Command) -> None:
    options = ("--fault", "no_flush_at_entry", "--set", "kick.wait=false", "--set", "tick_us=0", "--duration", "300ms")
    done = tdx_stress("run", "--ordering", "spec", *options, "--no-report")

    shown = " ".join(done.stdout.split())
    assert "; faults: no_flush_at_entry; set: kick.wait=false, tick_us=0 " in shown
    assert "FAILED spec (changed)" in shown
    assert "FAILED spec: with no_flush_at_entry, kick.wait=false: declared safe" in shown
    assert "Observation spec Sometimes" in shown or "Observation spec Always" in shown


def test_a_number_of_shootdowns_ends_the_race(tdx_stress: Command) -> None:
    options = ("--shootdowns", "500", "--warmup", "1h", "--no-report", "--json", "-")
    run = printed(tdx_stress("run", "--ordering", "spec", *options))["runs"][0]

    assert (run["all_shootdowns"], run["shootdowns"], run["ending"]) == (500, 500, "finished")
    assert "the last zapper ended before the warm-up did" in run["notes"][0]


@pytest.mark.parametrize(("options", "vcpus"), [(("--workers", "thread"), 2), (("--vcpus", "1"), 1)])
def test_actors_can_be_threads_and_one_vcpu_is_enough(
    tdx_stress: Command, options: tuple[str, ...], vcpus: int
) -> None:
    done, result = run_until(tdx_stress, "--ordering", "v18", *options, holds=answered)

    assert (verdicts(done, result), result["runs"][0]["vcpus_entered"]) == (["passed"], vcpus)


def test_128_vcpus_line_up_race_where_linux_places_them_and_are_reaped(tdx_stress: Command) -> None:
    """More than a word has bits; 512 take 20 s, of which most is 512 forks and the turn of each at the end."""
    many = ("--vcpus", "128", "--placement", "mixed", "--set", "watchdog_s=30", "--shootdowns", "1", "--warmup", "0s")
    done = tdx_stress("run", "--ordering", "spec", *many, "--no-report", "--json", "-")

    found = printed(done)
    (run,) = found["runs"]
    assert (run["vcpus"], run["all_shootdowns"], run["ending"]) == (128, 1, "finished")
    assert (found["scenario"]["placement"], run["placement"]) == ("mixed", "mixed")


def test_declared_yields_and_delays_mark_the_run_as_perturbed_and_say_how_much(tdx_stress: Command) -> None:
    perturbed = (
        *("--set", "yields={ 'kick.load_acquire_ipi' = 0.5 }"),
        *("--delay", "mem_track.load_acquire_epoch_tracking=2us"),
    )

    done = tdx_stress("run", "--ordering", "spec", *perturbed, "--shootdowns", "100", "--no-report", "--json", "-")

    (run,) = printed(done)["runs"]
    done_to_it = run["perturbation"]
    assert run["perturbed"] is True
    assert done_to_it["declared"]["mem_track.load_acquire_epoch_tracking"] == "delay 2us"
    assert done_to_it["delays"] >= run["all_shootdowns"] > 0
    assert 1900 < done_to_it["delayed_ns"] / done_to_it["delays"] < 2100


def test_an_open_loop_measures_from_the_intended_start_and_a_start_offset_perturbs_it(tdx_stress: Command) -> None:
    together = ("--zappers", "2", "--rate", "200", "--set", "start_offset=0-2us")

    _, result = run_until(tdx_stress, "--ordering", "spec", *together, holds=responded)

    (run,) = result["runs"]
    assert (run["ending"], run["perturbation"]["declared"]) == ("finished", {"start_offset": "0-2us"})
    assert run["latency_ns"]["response"]["n"] > 0
    assert {"start_offset"} == {one["id"] for one in result["caveats"]} & {"start_offset", "perturbed"}


def test_two_runs_at_once_in_one_directory_leave_one_whole_result(start_tdx_stress: Start, tmp_path: Path) -> None:
    options = ("--ordering", "no_block", "--shootdowns", "300", "--out", "out")
    both = [start_tdx_stress("run", *options) for _ in range(2)]
    said = [one.communicate()[1] for one in both]

    assert [one.returncode for one in both] == [0, 0], said
    assert json.loads((tmp_path / "out/result.json").read_text())["runs"][0]["ordering"] == "no_block"
    assert np.load(tmp_path / "out/raw.npz").files
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("result.json", "raw.npz", "report.html"),
        *("latency.png", "latency.hgrm", "latency.hlog", "stale.png"),
    }


def test_two_runs_at_once_without_a_directory_have_one_each(start_tdx_stress: Start, tmp_path: Path) -> None:
    both = [start_tdx_stress("run", "--ordering", "no_block", "--shootdowns", "300", "--no-report") for _ in range(2)]
    for one in both:
        one.communicate()

    assert len([path for path in (tmp_path / "runs").iterdir() if not path.is_symlink()]) == 2
    assert (tmp_path / "runs/latest/result.json").exists()


STEPPING_CLOCK = """
import itertools, time
steps = itertools.cycle([-86400.0, 86400.0, 0.0])
real = time.time
time.time = lambda: real() + next(steps)
time.time_ns = lambda: int(time.time() * 1e9)
"""


def test_steps_of_the_system_clock_change_nothing(behind: Command) -> None:
    done = behind(STEPPING_CLOCK, "run", "--ordering", "spec", *SHORT)

    run = printed(done)["runs"][0]
    assert (run["ending"], run["verdict"] in ("passed", "inconclusive")) == ("finished", True)  # too few meet at a load
    assert run["seconds"] >= 0.3


ON_ONE_CPU = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.execv(sys.executable, [sys.executable, "-W", "error", "-m", "stress", *sys.argv[1:]])
"""


def test_workers_stay_on_the_cpus_that_were_inherited(tmp_path: Path, command_environment: dict[str, str]) -> None:
    typed = "run --ordering spec --duration 1h --no-report --json -"
    command = [sys.executable, "-c", ON_ONE_CPU, *typed.split()]
    parent = subprocess.Popen(command, cwd=tmp_path, env=command_environment, stdout=-1, stderr=-1, text=True)
    try:
        workers = psutil.Process(parent.pid).children()
        while len(workers) < 3 and parent.poll() is None:
            workers = psutil.Process(parent.pid).children()
        masks = [worker.cpu_affinity() for worker in workers]
    finally:
        parent.terminate()
        output, _ = parent.communicate()

    first = min(psutil.Process().cpu_affinity())
    assert masks == [[first]] * 3
    assert json.loads(output)["host"]["cpus_allowed"] == 1


def test_shares_of_a_run_are_merged_and_what_is_missing_is_raced_later(tdx_stress: Command, tmp_path: Path) -> None:
    asked = ("run", "--ordering", "no_block", "--ordering", "track_then_block", "--shootdowns", "200", "--no-report")
    for number in (1, 2):
        tdx_stress(*asked, "--share", f"{number}/2", "--out", f"share{number}")
    for path in (tmp_path / "share2/pieces").glob("*2-*.json"):
        change(path, machine="0" * 8, started="2999-11-30T07:58:01Z")

    both = tdx_stress("merge", "share1", "share2", "--out", "both")
    half = tdx_stress("merge", "share1", "--out", "half", "-q")
    rest = tdx_stress("run", "--resume", "half", "--no-report", "-q")

    result, resumed = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("both", "half"))
    assert (both.returncode, half.returncode, rest.returncode) == (0, 6, 0)
    assert "1 of 2 pieces missing: 00002-" in half.stderr
    assert re.findall("machine .*: its clock is ahead", both.stderr) == ["machine 00000000: its clock is ahead"]
    assert [run["ordering"] for run in result["runs"]] == [run["ordering"] for run in resumed["runs"]]
    assert result["command"] == resumed["command"] == ["tdx-stress", *asked]
    assert {run["machine"] for run in result["runs"]} == set(result["hosts"])
    assert [one["seen"] for one in result["caveats"] if "raced on" in one["seen"]] == [
        "orderings that raced on 2 machines"
    ]
    assert "machine" not in resumed["runs"][1]
    assert not (tmp_path / "half/pieces").exists()
