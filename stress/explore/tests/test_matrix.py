"""The verb `explore --matrix`, as a user types it."""

import json
from pathlib import Path
from typing import Any

import pytest

from kernels.tdx.rules import FLOWS, Flow, Rules, flow_name
from scenarios.faults import faults
from scenarios.loader import load_ordering
from stress.errors import UsageFault
from stress.explore import pairs as matrix_search
from stress.explore.machines import machines
from stress.explore.matrix import run_matrix
from stress.explore.pairs import Cell, look_at, rules_on
from stress.explore.resolve import resolve_matrix
from stress.options import ExploreRequest, ReplayRequest
from stress.replay import replay
from stress.tests.command import Command


def test_one_ordering_with_two_faults_is_crossed_and_each_pair_is_told(here: Command, tmp_path: Path) -> None:
    done = here(
        "explore", "--matrix", "--ordering", "no_kick", "--fault", "remove_ignores_refcount",
        "--fault", "entry_unchecked", "--out", "out", "--json", "found.json", "-q",
    )  # fmt: skip

    found = json.loads((tmp_path / "found.json").read_text())
    pairs = {one["fault"]: one for one in found["pairs"]}
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Pair shootdown no_kick none refused",
        "Pair shootdown no_kick remove_ignores_refcount stale",
        "Pair shootdown no_kick entry_unchecked refused",
    ]
    assert (found["schema"], found["explored"]["complete"]) == ("tdx-stress/matrix/1", True)
    assert {fault: (one["verdict"], one["steps"]) for fault, one in pairs.items()} == {
        "none": ("refused", 33),
        "remove_ignores_refcount": ("stale", 40),
        "entry_unchecked": ("refused", 32),
    }
    assert len(pairs["remove_ignores_refcount"]["witness"]) == 40
    assert {step["actor"] for step in pairs["remove_ignores_refcount"]["witness"]} == {"vcpu 0", "zapper 0"}
    assert all({"actor", "chosen", "step"} == step.keys() for step in pairs["remove_ignores_refcount"]["witness"])
    assert pairs["remove_ignores_refcount"]["added"] == ["use_after_remove"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"matrix.json", "matrix.png", "matrix.svg", "pieces"}


@pytest.fixture(scope="module")
def no_kick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The matrix of one ordering, without a fault and with one, in two flows."""
    out = tmp_path_factory.mktemp("matrix")
    faults = ("remove_ignores_refcount", "move_without_vp_flush")
    request = ExploreRequest("small", orderings=("no_kick",), faults=faults, out=out, quiet=True, json="-")
    run_matrix(request, resolve_matrix(request))
    return out / "matrix.json"


@pytest.mark.parametrize("pair", ["shootdown no_kick remove_ignores_refcount", "migrate no_kick none"])
def test_the_schedule_of_a_pair_is_replayed_to_its_outcome(no_kick: Path, pair: str, here: Command) -> None:
    done = here("replay", str(no_kick), "--pair", *pair.split(), "-q")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("AGREES: ")


@pytest.mark.parametrize(
    ("changed", "pair", "said"),
    [
        ({}, "shootdown v18 none", "shootdown v18 none: expected one of its 4 pairs, flow, ordering and fault"),
        ({"pairs": []}, "shootdown no_kick none", "expected one of its 0 pairs"),
        ({"pairs": 3}, "shootdown no_kick none", "expected a schedule of these kernels, found another"),
        ({"orderings": []}, "shootdown no_kick none", "expected a schedule of these kernels, found another"),
        ({"kernels": "0" * 24}, "shootdown no_kick none", "(00000000), this is"),
        ({"schema": "mine"}, "shootdown no_kick none", "expected schema tdx-stress/matrix/1, found"),
    ],
)
def test_what_is_no_pair_of_this_program_is_refused_in_one_line(
    no_kick: Path, tmp_path: Path, changed: dict[str, Any], pair: str, said: str
) -> None:
    file = tmp_path / "matrix.json"
    file.write_text(json.dumps({**json.loads(no_kick.read_text()), **changed}))
    flow, ordering, fault = pair.split()

    with pytest.raises(UsageFault) as refused:
        replay(ReplayRequest(file=file, pair=(flow, ordering, fault)))

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_pair_with_the_schedule_of_another_is_refused(no_kick: Path, tmp_path: Path) -> None:
    whole = json.loads(no_kick.read_text())
    (pair,) = (one for one in whole["pairs"] if (one["flow"], one["fault"]) == ("shootdown", "none"))
    pair["witness"][4]["step"] = "kick: store_release ipi (kernels/tdx/kvm/kick.py:1)"
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(whole))

    with pytest.raises(UsageFault, match=r"expected a schedule of this pair, found one of another from step 5 on$"):
        replay(ReplayRequest(file=file, pair=("shootdown", "no_kick", "none")))


def test_a_pair_in_which_nothing_is_forbidden_has_no_schedule(no_kick: Path, tmp_path: Path) -> None:
    whole = json.loads(no_kick.read_text())
    whole["pairs"][0] |= {"verdict": "safe", "witness": []}
    file = tmp_path / "matrix.json"
    file.write_text(json.dumps(whole))

    with pytest.raises(UsageFault, match="expected a schedule, found none: the pair is safe"):
        replay(ReplayRequest(file=file, pair=("shootdown", "no_kick", "none")))


@pytest.mark.usefixtures("without_pictures")
def test_a_crash_leaves_the_pairs_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = matrix_search.look_at

    def crashing(rules: Rules, *others: Any, **named: Any) -> Any:
        if rules.flow == Flow.SHARED_EPT:
            raise RuntimeError("a crash")
        return whole(rules, *others, **named)

    monkeypatch.setattr(matrix_search, "look_at", crashing)
    request = ExploreRequest(
        "small",
        orderings=("no_block",),
        faults=("lost_kick", "invept_shared_root"),
        out=tmp_path,
        threads=1,
        quiet=True,
    )

    with pytest.raises(RuntimeError, match="a crash"):
        run_matrix(request, resolve_matrix(request))

    found = json.loads((tmp_path / "matrix.json").read_text())
    assert found["summary"] == {"refused": 2, "open": 2}
    assert not found["explored"]["complete"]
    assert [len(one["witness"]) for one in found["pairs"]] == [17, 17, 0, 0]


def test_after_an_interrupt_a_schedule_is_who_moves_and_no_more() -> None:
    cell = Cell("mmio", load_ordering("no_block"), ())
    cell.seen = [(one, look_at(rules_on(one, cell.ordering, ()), one.tier)) for one in machines("mmio")[:1]]

    moves, steps = cell.witness(steps=False), cell.witness()

    assert moves == [{key: step[key] for key in ("actor", "chosen")} for step in steps]
    assert len(steps) == cell.pair().found["not_blocked"]


@pytest.mark.usefixtures("without_pictures")
def test_pairs_that_took_more_memory_than_there_was_are_open_and_that_is_inconclusive(
    here: Command, tmp_path: Path
) -> None:
    done = here(
        "explore", "--matrix", "--ordering", "no_kick", "--fault", "entry_unchecked",
        "--memory", "64MiB", "--threads", "256", "--json", "-", "--junit", "j.xml",
    )  # fmt: skip

    found = json.loads(done.stdout)
    assert done.returncode == 6, done.stderr
    assert (found["summary"], found["explored"]["complete"]) == ({"open": 2}, False)
    assert (tmp_path / "j.xml").read_text().count('<failure type="inconclusive"') == 2


def test_every_ordering_without_a_fault_is_crossed_with_every_fault() -> None:
    matrix = resolve_matrix(ExploreRequest("small"))

    assert {fault for rows in matrix.rows.values() for row in rows for fault in row} == set(faults())
    # Of flush_current the orders are the question, and no fault is its own; memslots has one beside the retries of
    # zero_step.
    assert set(matrix.rows) == set(map(flow_name, FLOWS)) - {"flush_current", "memslots"} | {"memslots+zero_step"}
    assert {"spec", "v18", "v6_16", "no_kick"} <= {ordering.name for ordering in matrix.orderings}
    assert "no_flush_at_entry" not in {ordering.name for ordering in matrix.orderings}


def test_a_fault_that_shows_only_beside_others_has_a_row_alone_and_one_with_them() -> None:
    alone, pair = ("vp_flush_keeps_last",), ("vp_flush_without_invept", "vp_flush_keeps_last")

    assert resolve_matrix(ExploreRequest("small", faults=alone)).rows == {"migrate": [alone, pair[::-1]]}
    assert resolve_matrix(ExploreRequest("small", faults=pair)).rows["migrate"] == [pair[:1], pair[1:], pair]


@pytest.mark.usefixtures("without_pictures")
def test_a_fault_of_another_flow_is_crossed_on_the_machines_of_its_flow(here: Command) -> None:
    done = here(
        "explore", "--matrix", "--ordering", "spec", "--ordering", "v6_16",
        "--fault", "invept_shared_root", "--json", "-",
    )  # fmt: skip

    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [(one["flow"], one["ordering"], one["fault"], one["verdict"], one["steps"]) for one in found["pairs"]] == [
        ("shared_ept", "spec", "none", "safe", None),
        ("shared_ept", "spec", "invept_shared_root", "stale", 43),
        ("shared_ept", "v6_16", "none", "safe", None),
        ("shared_ept", "v6_16", "invept_shared_root", "stale", 45),
    ]
    assert found["breaks_a_right_order"] == {"invept_shared_root": ["spec", "v6_16"]}
    assert list(found["machines"]) == ["shared_ept"]
