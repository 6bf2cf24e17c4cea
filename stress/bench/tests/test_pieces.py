"""A bench in shares: rounds of one machine are a bench, and those of two are never put together."""

import json
import re
from pathlib import Path

import pytest

from stress.bench.design import design
from stress.bench.verb import bench
from stress.errors import UsageFault
from stress.options import BenchRequest
from stress.pieces.tests.changed import change
from stress.tests.command import Command

ASKED = ("bench", "yardstick", "--orderings", "spec,v18", "--duration", "20ms", "--warmup", "10ms")
SWEPT = ("--sweep", "vcpus=1,2")
# To draw takes as long as such a bench, and is looked at elsewhere.
PLAIN = "import stress.bench.pieces\nstress.bench.pieces.write_bench_report = lambda *_: None"


@pytest.mark.processes
def test_a_sweeps_rounds_of_two_machines_stand_side_by_side_and_are_reported(
    tdx_stress: Command, tmp_path: Path
) -> None:
    for number in (1, 2):
        done = tdx_stress(*ASKED, *SWEPT, "--share", f"{number}/3", "--out", f"share{number}")
        assert done.returncode == 0, done.stderr
    for path in (tmp_path / "share2/pieces").glob("*-round.json"):
        change(path, machine="0" * 8)
    machine = json.loads((tmp_path / "share1/pieces/00001-round.json").read_text())["machine"]

    done = tdx_stress("merge", "share1", "share2", "--out", "both")

    bench = json.loads((tmp_path / "both/bench.json").read_text())
    assert done.returncode == 6
    assert "3 of 10 pieces missing: 00003-round, 00006-round, 00009-round; " in done.stderr
    assert bench["sweep"]["key"] == "vcpus"
    assert {(race["point"], race["machine"], race["round"]) for race in bench["rounds"]} == {
        (f"vcpus={vcpus}", name, number)
        for vcpus in (1, 2)
        for name, its in ((machine, (1, 4, 7, 10)), ("00000000", (2, 5, 8)))
        for number in its
    }
    assert {int(path.stem) for path in (tmp_path / "both/rounds").iterdir()} == {1, 2, 4, 5, 7, 8, 10}
    assert (tmp_path / "both/machines.svg").exists()
    assert tdx_stress("report", "both").returncode == 0


def test_a_share_of_a_bench_has_no_budget() -> None:
    request = BenchRequest(budget="2m", share="1/2")

    with pytest.raises(UsageFault, match="--budget: how many rounds fit is known only as they run, to no share"):
        bench(request, design(request))


@pytest.mark.processes
def test_the_machines_own_shootdowns_are_arms_beside_the_models_in_shares_and_when_these_go_on(
    tdx_stress: Command, behind: Command, tmp_path: Path
) -> None:
    for number in (1, 2):
        tdx_stress("bench", "real", "--orderings", "signal,mprotect", "--duration", "30ms", "--share", f"{number}/2",
                   "--out", f"share{number}")  # fmt: skip
    done = behind(PLAIN, "merge", "share1", "share2", "--out", "both")
    kept = (tmp_path / "both/pieces").exists()
    again = behind(PLAIN, "bench", "--resume", "both", "--rounds", "11", "--json", "-")

    # On a shared machine A may differ from A.
    assert (done.returncode in (0, 6), again.returncode in (0, 6), kept) == (True, True, False), again.stderr
    assert re.search(r"^mprotect +0 of [0-9.]+ [kMG]", done.stdout, re.M)
    bench = json.loads(again.stdout)
    assert [(arm["ordering"], bool(arm["shootdown"])) for arm in bench["arms"]] == [
        ("signal", True), ("signal", True), ("mprotect", False),
    ]  # fmt: skip
    assert sorted(race["round"] for race in bench["rounds"]) == [number for number in range(1, 12) for _ in "AAB"]
    measured = [race["figures"] for race in bench["rounds"] if race["figures"]["shootdowns_per_s"] is not None]
    assert {figures["ipis"] is None for figures in measured} == {False}
    assert "Observation mprotect Never 0 " in again.stderr


@pytest.mark.processes
def test_a_budget_is_spent_on_rounds_and_more_of_it_on_more(behind: Command, tmp_path: Path) -> None:
    behind(PLAIN, *ASKED, "--budget", "5s", "--out", "out", "-q")
    first = json.loads((tmp_path / "out/bench.json").read_text())
    behind(PLAIN, "bench", "--resume", "out", "--rounds", str(first["design"]["rounds"] + 2), "-q")
    more = json.loads((tmp_path / "out/bench.json").read_text())

    assert first["design"]["rounds"] == len({race["round"] for race in first["rounds"]}) >= 10
    assert more["rounds"][: len(first["rounds"])] == first["rounds"]
    assert len({race["round"] for race in more["rounds"]}) == first["design"]["rounds"] + 2
