"""Races against the kernel itself, as a user starts them.

A planted fault shows in each of its shootdowns that a reader looks at meanwhile, and as the host gives its CPU away
there, some one does on a single CPU, too. A race is lengthened until it is seen, up to 19 s: a reader that gets a tenth
of a CPU reads some 100 million pages in that time, each of 64 once in a microsecond.
"""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from stress.errors import CannotRunHere
from stress.pieces.tests.changed import change
from stress.real.guest import check_kvm
from stress.tests.command import Command, Start, printed
from stress.tests.lengthened import answered, lengthened
from stress.tests.test_survives import ended, racing

Raced = tuple[subprocess.CompletedProcess[str], dict[str, Any]]

pytestmark = pytest.mark.processes


def raced(tdx_stress: Command, *arguments: str, holds: Callable[[dict[str, Any]], object] = answered) -> Raced:
    def race(duration: str) -> Raced:
        done = tdx_stress("run", *arguments, "--duration", duration, "--no-report", "--json", "-")
        return done, printed(done)

    return lengthened(race, lambda one: holds(one[1]))


def count(run: dict[str, Any], outcome: str) -> int:
    return next(int(one["count"]) for one in run["outcomes"] if one["id"] == outcome)


def missing(arm: str) -> str:
    """Why there is no guest of this kind here; "" where there is."""
    try:
        check_kvm(arm)
    except CannotRunHere as why:
        return str(why)
    return ""


@pytest.mark.parametrize(("scenario", "vcpus"), [("memfd", 3), ("munmap", 1), ("mprotect", 3)])
def test_the_kernel_never_shows_an_old_page_once_its_call_has_returned(
    tdx_stress: Command, scenario: str, vcpus: int
) -> None:
    done, result = raced(tdx_stress, scenario, "--vcpus", str(vcpus))

    (run,) = result["runs"]
    assert (done.returncode, run["verdict"], run["vcpus_entered"]) == (0, "passed", vcpus)
    assert (count(run, "stale_after_done"), count(run, "use_after_remove")) == (0, 0)
    assert sum(one["count"] for one in run["outcomes"]) == run["all_reads"]
    held = {name: phase["n"] for name, phase in run["latency_ns"].items() if name.startswith("held_by_")}
    assert sum(held.values()) == run["all_shootdowns"]
    assert run["latency_ns"]["shootdown_met"]["n"] == run["all_shootdowns"] - held.get("held_by_0", 0)
    assert f"Observation {scenario} Never 0 {run['met']['shootdowns']}\n" in done.stderr


@pytest.mark.parametrize(
    ("scenario", "fault", "outcome"),
    [
        ("memfd", "published_early", "stale_after_done"),
        ("munmap", "reused_early", "use_after_remove"),
        ("mprotect", "published_early", "stale_after_done"),
        ("mprotect", "reused_early", "use_after_remove"),
    ],
)
def test_a_host_that_goes_on_before_its_call_is_caught(
    tdx_stress: Command, scenario: str, fault: str, outcome: str
) -> None:
    done, result = raced(tdx_stress, scenario, "--fault", fault, holds=lambda it: count(it["runs"][0], outcome))

    (run,) = result["runs"]
    assert (done.returncode, run["verdict"], run["faults"]) == (1, "failed", [fault])
    assert count(run, outcome) > 0
    assert f"Observation {scenario} Sometimes " in done.stderr or f"Observation {scenario} Always " in done.stderr
    assert f"{scenario}: failed: with {fault}: declared safe, and showed {outcome}" in done.stderr


@pytest.mark.parametrize("scenario", ["kvm", "guest_memfd"])
def test_a_guest_of_kvm_never_shows_an_old_page_or_there_is_no_kvm_here(tdx_stress: Command, scenario: str) -> None:
    if why := missing(scenario):
        done = tdx_stress("run", scenario, "--duration", "300ms")

        assert (done.returncode, done.stdout, done.stderr) == (4, "", f"tdx-stress: {why}\n")
        return
    done, result = raced(tdx_stress, scenario, "--vcpus", "2")

    (run,) = result["runs"]
    assert (done.returncode, run["verdict"], run["vcpus_entered"]) == (0, "passed", 2)
    assert run["kvm"]["remote_tlb_flush_requests"] >= run["kvm"]["remote_tlb_flush"]
    assert run["kvm"]["exits"] > 0
    assert (count(run, "stale_after_done"), count(run, "use_after_remove")) == (0, 0)


def test_each_way_is_raced_in_turn_and_reported_again(tdx_stress: Command, tmp_path: Path) -> None:
    done = tdx_stress("run", "real", "--duration", "200ms", "--set", "gap=0", "--out", "out", "--junit", "j.xml")
    made = {path.name for path in (tmp_path / "out").iterdir()}
    for name in ("latency.png", "latency.svg", "report.html"):
        (tmp_path / "out" / name).unlink()
    again = tdx_stress("report", "out")

    runs = json.loads((tmp_path / "out/real.json").read_text())["runs"]
    assert [run["ordering"] for run in runs] == ["memfd", "munmap", "mprotect"]
    assert made == {"real.json", "raw.npz", "latency.png", "latency.svg", "report.html"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == made
    assert [line for line in again.stdout.splitlines() if line.startswith("Observation")] == [
        line for line in done.stdout.splitlines() if line.startswith("Observation")
    ]
    assert (tmp_path / "j.xml").read_text().count("<testcase") == 3


def test_arms_that_raced_in_shares_are_merged_and_the_one_that_is_missing_is_raced_later(
    tdx_stress: Command, tmp_path: Path
) -> None:
    asked = ("run", "real", "--duration", "100ms")
    for number in (1, 2):
        tdx_stress(*asked, "--share", f"{number}/3", "--out", f"share{number}")
    for path in (tmp_path / "share2/pieces").glob("*-munmap.json"):
        change(path, machine="0" * 8)

    some = tdx_stress("merge", "share1", "share2", "--out", "all", "-q")
    two = json.loads((tmp_path / "all/real.json").read_text())
    rest = tdx_stress("run", "--resume", "all")

    three = json.loads((tmp_path / "all/real.json").read_text())
    assert some.returncode == 6
    assert some.stderr.endswith("1 of 3 pieces missing: 00003-mprotect; to run them: tdx-stress run --resume all\n")
    assert [run["ordering"] for run in two["runs"]] == ["memfd", "munmap"]
    assert three["runs"][:2] == two["runs"]
    assert three["runs"][2]["ordering"] == "mprotect"
    assert (three["command"], {run["machine"] for run in three["runs"]}) == (["tdx-stress", *asked], set(two["hosts"]))
    assert "orderings that raced on 2 machines" in [one["seen"] for one in three["caveats"]]
    assert "missing" not in rest.stderr
    assert not (tmp_path / "all/pieces").exists()
    assert tdx_stress("report", "all").returncode == 0


@pytest.mark.parametrize(
    ("scenario", "many", "victim", "named"),
    [("memfd", 3, 2, "zapper 0 (pid "), ("munmap", 1, 0, "threads of 3 actors (pid ")],
)
def test_a_killed_worker_ends_the_run_as_crashed_and_is_named(
    start_tdx_stress: Start, tmp_path: Path, scenario: str, many: int, victim: int, named: str
) -> None:
    parent = start_tdx_stress("run", scenario, "--duration", "1h", "--out", "out", "--no-report")
    workers = racing(parent, many)
    workers[victim].kill()

    code, _, _ = ended(parent)
    (run,) = json.loads((tmp_path / "out/real.json").read_text())["runs"]
    assert (code, run["verdict"]) == (3, "crashed")
    assert run["notes"][0].startswith(named)
    assert not any(worker.is_running() for worker in workers)


@pytest.mark.parametrize("scenario", ["memfd", "munmap"])
def test_an_interrupted_race_keeps_what_was_measured(start_tdx_stress: Start, tmp_path: Path, scenario: str) -> None:
    parent = start_tdx_stress("run", scenario, "--duration", "1h", "--out", "out", "--no-report")
    workers = racing(parent, 3 if scenario == "memfd" else 1)
    for process in (*workers, psutil.Process(parent.pid)):
        process.send_signal(signal.SIGINT)

    code, _, _ = ended(parent)
    (run,) = json.loads((tmp_path / "out/real.json").read_text())["runs"]
    assert (code, run["ending"], run["verdict"]) == (130, "interrupted", "inconclusive")
    assert not any(worker.is_running() for worker in workers)
