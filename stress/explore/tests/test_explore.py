"""The verb `explore` as a user types it, on machines of one or two vCPUs."""

import ast
import json
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from kernels.search.schedule import machines
from kernels.tdx.protocol import SHOOTDOWN
from stress.tests.command import Command, Start, printed

pytestmark = pytest.mark.usefixtures("without_pictures")

ONE = ("--vcpus", "1", "--threads", "1")
# More states than any machine holds.
ENDLESS = ("--ordering", "v18", "--vcpus", "4", "--zappers", "3", "--shootdowns", "9", "--memory", "64MiB")


def test_a_safe_ordering_is_looked_at_as_a_whole_and_passes_and_says_where_it_comes_from(
    here: Command, tmp_path: Path
) -> None:
    done = here("explore", "--ordering", "v18", *ONE, "--json", "-")

    found = printed(done)
    assert (done.returncode, found["verdict"], found["complete"], found["deadlocks"]) == (0, "passed", True, 0)
    assert found["schema"] == "tdx-stress/exploration/1"
    assert [found[key] for key in ("vcpus", "zappers", "pages", "shootdowns", "threads")] == [1] * 5
    assert found["outcomes"] == ["fault", "stale_in_window", "operand_busy"]
    assert "Observation v18 Never 0 3" in done.stderr
    assert found["command"] == ["tdx-stress", "explore", "--ordering", "v18", *ONE, "--json", "-"]
    assert found["parameters"]["gate"] == "counter"
    assert all(key in found for key in ("version", "commit", "started", "host", "caveats", "chance_of_miss"))
    assert json.loads((tmp_path / "runs/latest/exploration.json").read_text()) == found


def test_a_known_wrong_ordering_is_caught_by_a_shortest_schedule(here: Command) -> None:
    done = here("explore", "--ordering", "kick_then_track", *ONE, "--json", "-")

    found = printed(done)
    witness = found["witnesses"]["tracking_not_done"]
    assert (done.returncode, found["verdict"]) == (0, "passed")
    assert len(witness) == found["witness_steps"]["tracking_not_done"]
    assert witness[-1]["actor"] == "zapper 0"
    assert {step["actor"] for step in witness} == {"vcpu 0", "zapper 0"}


def test_an_outcome_that_takes_two_zappers_cannot_happen_with_one_and_that_is_said(here: Command) -> None:
    done = here("explore", "--ordering", "spec_unserialized", *ONE)

    assert done.returncode == 1
    assert "known for previous_epoch_busy, which cannot happen in a machine of this size" in done.stderr
    assert "try --zappers 2" in done.stderr


def test_a_wrong_ordering_said_to_be_safe_fails_and_the_steps_of_its_witness_are_folded_into_calls(
    here: Command,
) -> None:
    done = here("explore", "--ordering", "no_block", "--set", "expect=safe", *ONE, "--out", "out")

    assert done.returncode == 1
    assert "FAILED: declared safe, and can happen: not_blocked in " in done.stdout
    assert "Observation no_block Sometimes 1 " in done.stdout
    assert re.findall(r"^(\d+-\d+) ", done.stdout, re.M) == ["1-3", "4-7", "8-11", "12-17"]
    assert " ".join(done.stdout.split()).endswith("(a model, stepped, not Intel silicon): out/")


@pytest.mark.parametrize(
    ("ordering", "faults", "shows"),
    [("spec", ["no_flush_at_entry"], "use_after_remove"), ("block,track,remove", [], "tracking_not_done")],
)
def test_a_fault_of_the_module_or_other_steps_break_a_right_ordering(
    here: Command, ordering: str, faults: list[str], shows: str
) -> None:
    broken = [word for fault in faults for word in ("--fault", fault)]
    done = here("explore", "--ordering", ordering, *broken, *ONE, "--json", "-")

    found = printed(done)
    assert (done.returncode, found["faults"]) == (1, faults)
    assert shows in found["outcomes"]


def test_fail_fast_stops_at_the_first_forbidden_outcome_and_at_the_first_that_fails(here: Command) -> None:
    options = "--ordering no_block --ordering spec --set expect=safe --fail-fast --json -"

    done = here("explore", *options.split(), *ONE)

    (found,) = printed(done)["explorations"]
    ended = done.returncode, found["ordering"], found["stopped_by"], found["complete"]
    assert ended == (1, "no_block", "first", False)


def test_several_orderings_are_a_list_and_leave_one_file_and_with_q_only_the_lines_to_grep(
    here: Command, tmp_path: Path
) -> None:
    options = "--ordering no_block --ordering spec --out out --json out.json --junit out.xml -q"

    done = here("explore", *options.split(), *ONE)

    written = json.loads((tmp_path / "out" / "exploration.json").read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["Observation", "no_block", "Sometimes"],
        ["Observation", "spec", "Never"],
    ]
    assert written == json.loads((tmp_path / "out.json").read_text())
    assert [one["ordering"] for one in written["explorations"]] == ["no_block", "spec"]
    assert ElementTree.parse(tmp_path / "out.xml").getroot().get("tests") == "2"


def test_verbose_gives_every_step_of_the_witness_a_row_with_its_word_and_status(here: Command) -> None:
    told = here("explore", "--ordering", "no_block", *ONE, "-v").stdout
    shown = told.partition("STEP ")[2].partition("Again, ")[0]

    assert re.findall(r"^(\d+) ", shown, re.M) == [str(step) for step in range(1, 18)]
    whole = re.sub(r"\s+(\.\s+)?", " ", shown)  # without the ends of lines
    assert re.search(r"mem_track: fetch_add_seq_cst epoch_tracking \(kernels/tdx/module/mem.py:\d+\)", whole)
    assert "epoch_tracking: E=1 R={0,0} -> E=2 R={0,0}" in whole
    assert "TDH.MEM.PAGE.REMOVE: GPA_RANGE_NOT_BLOCKED|RCX" in whole


def test_the_verdict_is_the_same_without_symmetry_and_without_reduction(here: Command) -> None:
    plain = printed(here("explore", "--ordering", "no_kick", "--json", "-"))
    bare = printed(here("explore", "--ordering", "no_kick", "--no-symmetry", "--no-reduction", "--json", "-"))

    assert (bare["symmetry"], bare["reduction"]) == (False, False)
    assert (plain["verdict"], plain["outcomes"]) == (bare["verdict"], bare["outcomes"])
    assert plain["states"] < bare["states"]


def test_a_search_without_enough_memory_is_inconclusive(here: Command) -> None:
    done = here("explore", *ENDLESS, "--json", "-")

    found = printed(done)
    assert (done.returncode, found["verdict"], found["stopped_by"]) == (6, "inconclusive", "memory")
    assert "the search ran out of the memory that it may use: v18 after " in done.stderr


def test_an_interrupted_search_writes_what_is_known_so_far(start_tdx_stress: Start, tmp_path: Path) -> None:
    process = start_tdx_stress("explore", *ENDLESS[:-1], "4GB", "--out", "out", "-v")
    told = ""
    while "kernels ready after" not in told:
        told = process.stderr.readline()  # type: ignore[union-attr]
        assert told, process.communicate()
    time.sleep(1.0)  # past its start, and far from its end
    process.send_signal(signal.SIGINT)
    said, progress = process.communicate()

    found = json.loads((tmp_path / "out" / "exploration.json").read_text())
    assert process.returncode == 130, progress
    assert (found["stopped_by"], found["verdict"]) == ("interrupt", "inconclusive")
    assert found["states"] > 0
    assert "Observation v18 Unknown 0 " in said


def test_random_schedules_prove_nothing_and_say_what_they_are_worth(here: Command) -> None:
    done = here("explore", "--ordering", "v18", "--random", "300", "--seed", "5")

    assert done.returncode == 6
    assert "300 schedules drawn uniformly, seed 5: " in done.stdout
    assert "never a proof: what shows in 0.99 % of such schedules or more would have been seen" in " ".join(
        done.stdout.split()
    )


def test_pct_finds_the_review_s_bug_and_states_a_rate(here: Command) -> None:
    # Seeded, so that there is no chance in it: this seed finds it, and every later run takes the same schedules.
    options = "--ordering kick_then_track --vcpus 1 --random 3000 --pct 3 --seed 1 --json -"

    found = printed(here("explore", *options.split()))

    assert (found["method"], found["pct_depth"], found["verdict"]) == ("pct", 3, "passed")
    assert found["schedules_with"]["tracking_not_done"] >= 1
    (worth,) = [one["means"] for one in found["caveats"] if one["id"] == "random_schedules"]
    # 1 - 0.05 ** (1 / 3000)
    assert "what each schedule shows with a chance of 0.10 % or more would have been seen (95 %)" in worth


def test_a_machine_for_random_schedules_may_be_larger_than_any_search_can_end(here: Command) -> None:
    done = here("explore", "crowd", "--ordering", "spec", "--random", "3", "--json", "-")

    found = printed(done)
    assert (done.returncode, found["vcpus"], found["zappers"], found["schedules"]) == (6, 64, 4, 3)


def test_what_is_printed_is_the_step_machines_with_their_labels_and_object_code(here: Command) -> None:
    done = here("explore", "--dump")

    functions = {one.name for one in ast.parse(done.stdout).body if isinstance(one, ast.FunctionDef)}
    assert done.returncode == 0
    assert {"vcpu_step", "vcpu_choices", "zapper_step", "zapper_choices"} <= functions
    for made in machines(SHOOTDOWN):
        assert made.machine.source in done.stdout
        assert f"compiled as {made.step.kept_as}\n#   0  starts\n#   1  {made.machine.sites[1]}\n" in done.stdout


def test_the_last_line_says_what_the_whole_command_took_and_report_what_was_searched(
    here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 1000)
    monkeypatch.setattr("stress.session.time", later)

    done = here("explore", "--ordering", "no_block", "--vcpus", "1", "--out", "out")
    again = here("report", "out")

    assert re.search(r"^1 caught in 1,0\d\d s \(a model, ", done.stdout, re.M), done.stdout
    assert re.search(r"^1 caught in [\d.]+ m?s \(a model, ", again.stdout, re.M), again.stdout
