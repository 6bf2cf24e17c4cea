"""Benches as a user types them, with real races. On a shared machine A may differ from A: exit 6 is no failure here."""

import json
import re
import signal
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from results.verdict import too_few
from stress.tests.command import Command, Start

SHORT = ("--duration", "60ms", "--warmup", "10ms")
BRIEF = ("--duration", "20ms", "--warmup", "5ms")  # where it is the same whom shootdowns meet
UNSURE = (0, 6)


def bench_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def shootdowns(stored: Path) -> int:
    """Those of the second arm in a round, which need not have one on a busy machine."""
    with np.load(stored) as raw:
        return int(raw["A2/hist/shootdown"].sum())


@pytest.mark.processes
def test_a_bench_races_every_ordering_in_every_round_the_first_one_twice_and_an_unsafe_one_on_request(
    tdx_stress: Command, tmp_path: Path
) -> None:
    orderings = ("--orderings", "v18,free_despite_error", "--include-unsafe")
    done = tdx_stress("bench", *orderings, *SHORT, "--out", "out", "--json", "-", "--seed", "5")

    assert done.returncode in UNSURE, done.stderr
    bench = bench_of(done.stdout)
    assert (bench["schema"], bench["seed"], bench["design"]["rounds"]) == ("tdx-stress/bench/1", 5, 10)
    assert sorted((race["round"], race["arm"]) for race in bench["rounds"]) == [
        (number, arm) for number in range(1, 11) for arm in ("A", "A2", "B")
    ]
    safe = [race for race in bench["rounds"] if race["arm"] != "B"]
    assert [race["verdict"] for race in safe] == [
        "inconclusive" if too_few(race["met_shootdowns"], race["all_shootdowns"], race["own_share"]) else "passed"
        for race in safe
    ]
    assert {one["figure"] for one in bench["comparisons"]} >= {"p50_ns", "p99_ns", "reads_per_s", "track_retries"}
    grounded = any(one["finding"] in ("differs", "no_difference") for one in bench["comparisons"] if one["arm"] == "B")
    # On a busy machine too few shootdowns may have met a vCPU for any figure.
    told = grounded and bench["aa"] is not None and not bench["aa"]["differs"]
    assert told or done.returncode == 6
    assert "Observation v18 Never 0 " in done.stderr
    assert "free_despite_error" in done.stderr
    assert "known to be wrong and raced all the same" in done.stderr
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"bench.json", "rounds", "rounds.csv", "ratios.png", "ratios.svg", "report.html"}
    assert len(list((tmp_path / "out/rounds").iterdir())) == 10
    assert sum(shootdowns(path) for path in (tmp_path / "out/rounds").iterdir()) > 0


@pytest.mark.processes
def test_a_sweep_is_written_into_every_file_that_is_named(tdx_stress: Command, tmp_path: Path) -> None:
    named = ("--junit", "b.xml", "--ktap", "b.ktap", "--csv", "b.csv", "--json", "b.json")

    done = tdx_stress("bench", "yardstick", "--orderings", "spec", "--sweep", "vcpus=1,2", *SHORT, "--out", "o", *named)

    assert done.returncode in UNSURE, done.stderr
    bench = bench_of((tmp_path / "b.json").read_text())
    assert bench["sweep"] == {"key": "vcpus", "values": [1, 2], "points": ["vcpus=1", "vcpus=2"]}
    # On a busy machine too few shootdowns of a size may have met a vCPU; then its figures are not there.
    assert {(slope["ordering"], slope["why_none"]) for slope in bench["slopes"]} <= {
        ("spec", "too few sizes, five are needed")
    }
    assert ElementTree.parse(tmp_path / "b.xml").getroot().get("tests") == "3"
    line = r"^(ok 1 yardstick\.spec_vcpus=1 # nothing forbidden in|not ok 1 yardstick\.spec_vcpus=1 # inconclusive:) "
    assert re.search(line, (tmp_path / "b.ktap").read_text(), re.M)
    assert (tmp_path / "b.csv").read_text() == (tmp_path / "o/rounds.csv").read_text()
    assert (tmp_path / "o/scaling.svg").exists()


@pytest.mark.processes
def test_a_bench_that_was_interrupted_and_then_killed_goes_on_from_its_last_whole_round(
    start_tdx_stress: Start, tdx_stress: Command, tmp_path: Path
) -> None:
    parent = start_tdx_stress("bench", "--orderings", "spec", *BRIEF, "--out", "out", "--rounds", "500")
    while not (tmp_path / "out/rounds/0002.npz").exists() and parent.poll() is None:
        time.sleep(0.02)
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate()

    kept = bench_of((tmp_path / "out/bench.json").read_text())["rounds"]
    assert parent.returncode == 130
    assert f"{500 - kept[-1]['round']} of 500 pieces missing: " in said
    assert said.endswith("; to run them: tdx-stress bench --resume out\n")

    last = kept[-1]["round"]
    parent = start_tdx_stress("bench", "--resume", "out", "--rounds", "500")
    while not (tmp_path / f"out/rounds/{last + 2:04}.npz").exists() and parent.poll() is None:
        time.sleep(0.02)
    parent.kill()
    parent.communicate()

    rounds = last + 10
    done = tdx_stress("bench", "--resume", "out", "--rounds", str(rounds), "--json", "-")
    assert done.returncode in UNSURE, done.stderr
    bench = bench_of(done.stdout)
    assert bench["rounds"][: len(kept)] == kept
    assert [race["round"] for race in bench["rounds"]] == [n for n in range(1, rounds + 1) for _ in "AA"]


@pytest.mark.processes
def test_a_bench_that_measured_nothing_leaves_nothing(start_tdx_stress: Start, tmp_path: Path) -> None:
    parent = start_tdx_stress("bench", "--orderings", "spec", "--duration", "1h")
    while not (tmp_path / "runs").exists() and parent.poll() is None:
        time.sleep(0.02)
    time.sleep(0.5)
    parent.send_signal(signal.SIGINT)
    parent.communicate()

    assert parent.returncode == 130
    assert list((tmp_path / "runs").iterdir()) == []
