"""Long jobs in shares: put together they are what one machine finds, and what does not belong together is refused."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED
from pathlib import Path
from typing import Any

import pytest

from kernels.language.cache import sources_digest
from stress.errors import UsageFault
from stress.explore import ordering
from stress.interrupts import Interrupts
from stress.pieces import run
from stress.pieces.record import Job, Pieces, machine_id
from stress.pieces.run import missing_line, share_of
from stress.pieces.tests.changed import change
from stress.tests.command import Command

pytestmark = pytest.mark.usefixtures("without_pictures")

ASKED = (
    "faults", "--ordering", "no_kick", "--fault", "sept_remove_without_tracking", "--fault", "no_flush_at_entry", "-q",
)  # fmt: skip


def found(directory: Path) -> Any:
    """What does not depend on who ran it."""
    whole = json.loads((directory / "matrix.json").read_text())
    return [whole[key] for key in ("kernels", "orderings", "summary", "pairs")]


def test_shares_of_a_job_merged_are_the_whole_and_one_alone_names_what_is_missing_and_goes_on(
    here: Command, tmp_path: Path
) -> None:
    whole = here(*ASKED, "--out", "whole")
    shares = [here(*ASKED, "--share", f"{number}/2", "--out", f"share{number}") for number in (1, 2)]
    merged = here("merge", "share1", "share2", "share1", "--out", "merged", "-q")
    alone = here("merge", "share1", "--out", "half")
    rest = here("faults", "--resume", "half", "-q")

    assert [one.returncode for one in (whole, *shares, merged, alone, rest)] == [0, 0, 0, 0, 6, 0]
    assert whole.stdout == merged.stdout == rest.stdout
    assert found(tmp_path / "whole") == found(tmp_path / "merged") == found(tmp_path / "half")
    assert "2 of 4 pieces missing: 00002-" in alone.stderr
    hosts = json.loads((tmp_path / "merged/matrix.json").read_text())["hosts"]
    assert {name: one["pieces"] for name, one in hosts.items()} == {machine_id(): 4}


def test_shares_of_another_question_or_other_kernels_are_refused_in_one_line(here: Command, tmp_path: Path) -> None:
    for name, fault in (("one", "no_flush_at_entry"), ("two", "torn_epoch_read")):
        here("faults", "--ordering", "no_block", "--fault", fault, "--share", "2/2", "--out", name)
    file = tmp_path / "two/pieces/job.json"

    other = here("merge", "one", "two")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"verb": "orders"}))
    damaged = here("merge", "two")
    change(file, verb="faults", kernels="0" * 24)
    kernels = here("merge", "two")

    assert other.stderr.startswith("tdx-stress: two: expected pieces of one job, found another rows, in one")
    assert f"expected pieces of kernels {sources_digest()}, found {'0' * 24}: they do not belong" in kernels.stderr
    assert damaged.stderr.endswith("job.json: expected pieces as it was stored, found it changed\n")
    assert (other.returncode, damaged.returncode, kernels.returncode) == (2, 2, 2)
    assert not (tmp_path / "runs").exists()


def test_missing_pieces_can_be_gone_on_with_where_they_are_kept_and_one_that_was_begun_is_told(tmp_path: Path) -> None:
    def line(job: Job, pieces: Pieces) -> str:
        pieces.begin()
        pieces.end()
        return missing_line(pieces, job)

    job = Job("bench", "bench", {}, {"one": {}, "two": {}}, lambda *given: ({}, True))
    kept, begun = job._replace(keep=lambda *given: None), {"one": {"found": {"verdict": "inconclusive"}}}

    missing, more = "2 of 2 pieces missing: one, two", f"; to run them: tdx-stress bench --resume {tmp_path}"
    assert [line(each, Pieces(tmp_path, {})) for each in (job, kept)] == [missing + more, missing]
    not_ended = "2 of 2 pieces not ended: one (here as far as it came), two"
    assert line(kept, Pieces(tmp_path, {}, partial=begun)) == not_ended + more
    assert line(kept._replace(pieces={"one": {}}), Pieces(tmp_path, {}, partial=begun)) == ""


@pytest.mark.parametrize("text", ["4/3", "0/3", "1", "a/b", "1/0"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageFault, match=f"--share: expected K/N, from 1/N to N/N, such as 3/16, found {text}"):
        share_of(text)


def test_a_cluster_where_nobody_answers_is_one_line_and_leaves_nothing(behind: Command, tmp_path: Path) -> None:
    impatient = "from stress.pieces import cluster; cluster.ANSWER_S = cluster.CALL_S = 1"
    refused = behind(impatient, *ASKED, "--cluster", "tcp://127.0.0.1:9")

    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "expected a Dask scheduler with workers at tcp://127.0.0.1:9, found nobody" in refused.stderr
    assert list((tmp_path / "runs").iterdir()) == []


STANDS_IN = {
    "tdx-stress": 'verb=$1; shift; [ $verb = faults ] && set -- --ordering no_block --fault no_flush_at_entry "$@"\n'
    f'exec {sys.executable} -m stress $verb "$@"',
    "ssh": 'mkdir -p "at-$1"; cd "at-$1"; exec sh -c "$2"',
    "scp": 'exec cp -r "at-${2%%:*}/${2#*:}" "$3"',
}


@pytest.mark.parametrize("recipe", ["SLURM_ARRAY_TASK_ID", "ssh "])
def test_a_recipe_of_the_readme_ends_in_one_whole_result(
    recipe: str, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.S)
    (text,) = (block for block in blocks if recipe in block)
    if recipe == "SLURM_ARRAY_TASK_ID":
        first, last = text.split("# when all have ended\n")
        text = f"for SLURM_ARRAY_TASK_ID in 1 2; do SLURM_ARRAY_TASK_MAX=2\n{first}done\n{last}"
    for name, script in STANDS_IN.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{command_environment['PATH']}"

    done = subprocess.run(["bash", "-ec", text], cwd=tmp_path, env={**command_environment, "PATH": path}, check=False)

    assert done.returncode == 0
    assert json.loads((tmp_path / "all/matrix.json").read_text())["explored"]["complete"]


def test_a_sweep_of_explore_ends_at_the_first_that_fails_and_says_how_to_go_on(here: Command, tmp_path: Path) -> None:
    asked = ("--ordering", "kick_then_track", "--set", 'expect="safe"', "--vcpus", "1", "--sweep", "zappers=1,2")
    failed = here("explore", *asked, "--fail-fast", "--out", "swept")
    method = json.loads((tmp_path / "swept/pieces/job.json").read_text())["subject"]["method"]
    rest = here("explore", "--resume", "swept")

    assert {"tracking_not_done", "unknown_status"} <= set(method["until"])
    # Two are searched at once, and either may be the first.
    left = r"1 of 2 pieces missing: (00001-kick_then_track.zappers-1|00002-kick_then_track.zappers-2); to run them: "
    assert re.search(left + "tdx-stress explore --resume swept$", failed.stderr.strip())
    assert "missing" not in rest.stderr
    assert (failed.returncode, rest.returncode) == (1, 1)


def test_schedules_that_are_drawn_in_shares_are_those_of_one_machine(
    here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "AT_A_TIME", 1000)
    asked = ("explore", "--ordering", "kick_then_track", "--vcpus", "1", "--random", "1500", "--seed", "3", "-q")
    here(*asked, "--out", "whole")
    for number in (1, 2):
        here(*asked, "--share", f"{number}/2", "--out", f"share{number}")
    here("merge", "share2", "share1", "--out", "merged", "-q")

    alone, merged = (json.loads((tmp_path / name / "exploration.json").read_text()) for name in ("whole", "merged"))
    kept = ("asked", "schedules", "schedules_with", "witness_steps", "witnesses", "verdict", "seed", "transitions")
    assert [alone[key] for key in kept] == [merged[key] for key in kept]
    assert (merged["schedules"], len(merged["schedules_with"])) == (1500, len(merged["outcomes"]))


def test_what_ended_well_beside_a_failure_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> str:
        raise RuntimeError("a crash")

    calls: dict[str, Callable[[], str]] = {name: name.upper for name in "abcdefgh"}
    calls["d"] = fails
    monkeypatch.setattr(run, "FIRST_COMPLETED", ALL_COMPLETED)
    got: list[tuple[str, str]] = []

    with pytest.raises(RuntimeError, match="a crash"):
        got.extend(run.at_once(calls, 2, Interrupts(), lambda: None))

    assert sorted(got) == [(name, name.upper()) for name in "abcefgh"]
