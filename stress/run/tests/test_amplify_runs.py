"""A search for amplifiers as a user types it: what it stores, says and exits with, however its races end."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest

from stress.tests.command import Command, Start

LONGEST_WAIT_S = 240
FRESH = ("run", "review", "--amplify", "auto", "--for", "fresh", "--out", "out")
# REMOVE of a page that was never blocked is refused in every shootdown; who hangs does so for half a second.
FAILING = ("--ordering", "no_block", "--set", "expect=safe", "--set", "watchdog_s=0.5")

pytestmark = pytest.mark.processes


def entries(tmp_path: Path) -> list[dict[str, Any]]:
    """The orderings of amplification.json, and that nothing is half-written."""
    assert not list((tmp_path / "out").glob(".*.tmp"))
    found: list[dict[str, Any]] = json.loads((tmp_path / "out" / "amplification.json").read_text())["orderings"]
    return found


def test_a_safe_ordering_fails_by_what_it_shows_beside_what_is_looked_for_and_is_the_last_under_fail_fast(
    tdx_stress: Command, tmp_path: Path
) -> None:
    files = ("--junit", "a.xml", "--ktap", "a.ktap", "--fail-fast")

    done = tdx_stress(*FRESH, *FAILING, "--ordering", "spec", "--budget", "1s", *files, "-q")

    (entry,) = entries(tmp_path)
    case, left = ElementTree.parse(tmp_path / "a.xml").iter("testcase")
    assert (done.returncode, done.stderr[:21]) == (1, "<== FAILED no_block: ")
    assert done.stdout.startswith("Amplified no_block fresh ")
    assert done.stdout.endswith(" failed\n")
    # Nor has it a gate: who is held up with the lock of TRACK in hand may starve it, which is shown as well.
    assert {"not_blocked"} == {name for one in entry["unexpected"] for name in one["failing"]} - {"no_progress"}
    assert all(one["failing"]["not_blocked"] > 0 for one in entry["tried"] if one["shootdowns"])  # met by it
    assert (case.attrib["name"], case[0].tag, left.attrib["name"]) == ("no_block", "failure", "spec")
    ktap = (tmp_path / "a.ktap").read_text()
    assert ktap.startswith("KTAP version 1\n1..2\n")
    assert "not ok 1 review.no_block # failed: declared safe, and showed not_blocked " in ktap


def test_a_killed_worker_ends_the_search_as_crashed_with_what_was_known(
    start_tdx_stress: Start, tmp_path: Path
) -> None:
    sizes = ("--vcpus", "2", "--zappers", "1")
    parent = start_tdx_stress(*FRESH, *sizes, "--ordering", "spec", "--ordering", "v18", "--budget", "1h")
    while parent.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = psutil.Process(parent.pid).children()
            if len(workers) == 3:
                workers[0].kill()
        time.sleep(0.02)

    (entry,) = entries(tmp_path)
    assert (parent.returncode, entry["ordering"], entry["verdict"]) == (3, "spec", "crashed")
    assert "was ended by SIGKILL" in entry["reason"]


def test_what_an_ordering_showed_survives_a_kill_during_the_next_one(start_tdx_stress: Start, tmp_path: Path) -> None:
    parent = start_tdx_stress(*FRESH, "--ordering", "no_block", "--ordering", "spec", "--budget", "1s")
    until = time.monotonic() + LONGEST_WAIT_S
    while not (tmp_path / "out" / "amplification.json").exists() and time.monotonic() < until:
        time.sleep(0.02)
    parent.kill()
    parent.wait(LONGEST_WAIT_S)

    assert [one["ordering"] for one in entries(tmp_path)] == ["no_block"]


def test_shares_of_a_search_come_to_what_one_over_a_cluster_finds(tdx_stress: Command, tmp_path: Path) -> None:
    """Both show what they are known for in every shootdown; rates and what is drawn in the time are each race's own."""
    asked = ("amplify", "review", "--ordering", "no_block", "--ordering", "track_then_block", "--budget", "1s")
    for number in (1, 2):
        tdx_stress(*asked, "--share", f"{number}/2", "--out", f"share{number}")
    merged = tdx_stress("merge", "share2", "share1", "--out", "merged", "-q")
    over = tdx_stress(*asked, "--cluster", "local:1", "--out", "over", "-q")

    one, other = (json.loads((tmp_path / name / "amplification.json").read_text()) for name in ("merged", "over"))
    whole = ("schema", "seed", "budget_s", "scenario", "asked")
    each = ("ordering", "expect", "outcome", "forbidden", "cap_s", "verdict")
    assert (merged.returncode, over.returncode) == (0, 0)
    assert [(entry["ordering"], entry["verdict"]) for entry in one["orderings"]] == [
        ("no_block", "passed"),
        ("track_then_block", "passed"),
    ]
    assert [one[key] for key in whole] == [other[key] for key in whole]
    assert [[entry[key] for key in each] for entry in one["orderings"]] == [
        [entry[key] for key in each] for entry in other["orderings"]
    ]
    assert merged.stdout.count("Amplified ") == over.stdout.count("Amplified ") == 2


def test_a_zap_beside_an_ioctl_that_holds_the_tdr_is_shown_with_the_command_that_does_so_again(
    tdx_stress: Command, tmp_path: Path
) -> None:
    """The setting that is given holds VP.INIT up with the TDR in hand, and is the first of each pass."""
    race = ("--fault", "vp_init_unlocked", "--set", "ioctls=init_vcpu+punch_hole", "--vcpus", "1", "--zappers", "2")
    held_up = ("--delay", "vp_init.unlock_exclusive_tdr_lock=100us@0.5", "--for", "busy_given_up")

    done = tdx_stress("amplify", "build", *race, *held_up, "--budget", "4s", "--out", "out", "-q")

    (entry,) = entries(tmp_path)
    assert (done.returncode, entry["verdict"]) == (1, "failed")  # a safe ordering, and nobody declared the fault
    assert any(one["hits"] for one in entry["tried"])
    assert "--fault vp_init_unlocked" in entry["command"]
    assert all("--fault vp_init_unlocked" in one["command"] for one in entry["unexpected"])
