"""The verb `explore --contract`, as a user types it, on the smallest machine of one part."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kernels.tdx.rules import FLOWS, flow_name
from results.kinds.orders import Tier
from stress.errors import UsageFault
from stress.explore import contract as verb
from stress.explore.contract import run_contract
from stress.explore.machines import CONTRACT, Machine, machines
from stress.explore.resolve import resolve_contract
from stress.options import ExploreRequest, ReplayRequest
from stress.replay import replay

SMALLEST = {"shootdown": machines("shootdown")[:1]}
WITNESS = "witness-v6_16-TDH.MEM.TRACK-epoch-TDH.VP.ENTER"


def asked(out: Path, *orderings: str, **more: Any) -> int:
    request = ExploreRequest("small", orderings=orderings, contract=True, out=out, threads=1, **more)
    return run_contract(request, resolve_contract(request)[0], SMALLEST)


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """Of each ordering its conflicts, by a line."""
    entries = json.loads((out / "contract.json").read_text())["orderings"]
    return {
        one["ordering"]: {f"{row['leaf']} {row['lock']} {row['holder']}": row for row in one["conflicts"]}
        for one in entries
    }


def test_two_orderings_are_told_side_by_side_with_what_one_adds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(tmp_path, "v6_16", "v18", no_color=True) == 0

    shown = capsys.readouterr().out
    assert re.search(r"^MEM.TRACK +epoch VP.ENTER +always 20 -$", shown, re.MULTILINE)
    assert re.search(r"^ +tree +nobody +never +never$", shown, re.MULTILINE)
    assert "Left out, as nobody races for them here: op_state, TDVPR, KOT, PAMT, TDR." in shown
    assert "v18 takes from v6_16: MEM.TRACK on epoch against VP.ENTER; VP.ENTER on epoch\nagainst MEM.TRACK." in shown
    assert "v18 adds" not in shown
    assert all(len(line) <= 80 or line.startswith(str(tmp_path)) for line in shown.splitlines())


def test_each_conflict_leaves_a_witness_that_replays_to_its_busy(tmp_path: Path) -> None:
    asked(tmp_path, "v6_16", quiet=True)

    its = {line: row for line, row in rows(tmp_path)["v6_16"].items() if row["holder"]}
    files = sorted(tmp_path.glob("witness-*.json"))
    assert len(files) == len(its) == 3
    assert [replay(ReplayRequest(file=file, quiet=True)) for file in files] == [0, 0, 0]
    steps = len(json.loads((tmp_path / f"{WITNESS}.json").read_text())["steps"])
    assert steps == its["TDH.MEM.TRACK epoch TDH.VP.ENTER"]["steps"] == 20


def test_a_safe_ordering_whose_second_try_can_fail_fails_and_the_way_to_it_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(tmp_path, "v6_16", faults=("let_in_too_early",), quiet=True) == 1

    found = rows(tmp_path)["v6_16"]["TDH.MEM.TRACK epoch TDH.VP.ENTER"]
    assert (found["second"], found["steps"]) == ("can fail", 20)
    assert "gives BUSY up: MEM.TRACK on epoch against VP.ENTER in" in " ".join(capsys.readouterr().err.split())
    witness = tmp_path / f"{WITNESS}-given_up.json"
    assert replay(ReplayRequest(file=witness, quiet=True)) == 0
    recorded = json.loads(witness.read_text())
    assert (recorded["outcome"], len(recorded["steps"])) == ("busy_given_up", found["given_up_steps"])


def test_an_ordering_that_is_known_for_it_is_caught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(tmp_path, "v6_16_entry_unchecked", no_color=True) == 0

    assert "CAUGHT: v6_16_entry_unchecked: gives BUSY up: MEM.TRACK on epoch" in capsys.readouterr().out


def test_a_machine_that_is_too_large_is_named_and_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "MEMORY_BYTES", 1 << 20)

    assert asked(tmp_path, "v6_16", quiet=True) == 6
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("too large for --memory: shootdown with 1 vCPU, 1 zapper, 1 page, 1 shootdown")


def test_a_tds_build_is_looked_at_where_an_ordering_guards_it_or_it_is_asked_for() -> None:
    _, every = resolve_contract(ExploreRequest("small", orderings=("v6_16", "v6_19"), contract=True))
    _, asked = resolve_contract(ExploreRequest("build", orderings=("v6_16",), contract=True))

    assert every["build"] == asked["build"] == machines("build", CONTRACT)


def test_a_scenario_chooses_its_part_and_none_means_every_one() -> None:
    _, every = resolve_contract(ExploreRequest("small", contract=True))
    orderings, mine = resolve_contract(ExploreRequest("migrate", orderings=("spec",), contract=True))

    assert every == {flow: machines(flow, CONTRACT) for flow in map(flow_name, FLOWS) if flow != "build"}
    assert (list(mine), [one.name for one in orderings]) == (["migrate"], ["spec"])


def test_a_scenario_of_ones_own_has_its_own_machines(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    both = 'orderings = ["spec"]\nvcpus = 1\nzappers = 1\nflow = "batch+shared_ept"\nshared_pages = 1\n'
    mine.write_text(both + "matrix = [{ pages = 2, tlb_entries = 2 }]")

    _, its = resolve_contract(ExploreRequest(str(mine), contract=True))
    mine.write_text(both)
    with pytest.raises(UsageFault, match=r"expected small machines of batch[+]shared_ept in its `matrix`, found none"):
        resolve_contract(ExploreRequest(str(mine), contract=True))

    assert its == {"batch+shared_ept": (Machine(str(mine), Tier(1, 1, 2, 1, False, 2), ()),)}
