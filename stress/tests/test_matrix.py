"""The verb `explore --matrix`, as a user types it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios.faults import FAULTS
from stress.errors import UsageFault
from stress.exploring import ExploreRequest
from stress.matrix_request import resolve_matrix

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_one_ordering_with_two_faults_is_crossed_and_each_pair_is_told(tdx_stress: Command, tmp_path: Path) -> None:
    done = tdx_stress(
        "explore", "--matrix", "--ordering", "no_kick", "--fault", "remove_ignores_refcount",
        "--fault", "entry_unchecked", "--out", "out", "--json", "-",
    )  # fmt: skip

    found = json.loads(done.stdout)
    pairs = {one["fault"]: one for one in found["pairs"]}
    assert done.returncode == 0, done.stderr
    assert (found["schema"], found["explored"]["complete"]) == ("tdx-stress/matrix/1", True)
    assert {fault: (one["verdict"], one["steps"]) for fault, one in pairs.items()} == {
        "none": ("refused", 33),
        "remove_ignores_refcount": ("stale", 40),
        "entry_unchecked": ("refused", 32),
    }
    assert len(pairs["remove_ignores_refcount"]["witness"]) == 40
    assert pairs["remove_ignores_refcount"]["added"] == ["use_after_remove"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"matrix.json", "matrix.png", "matrix.svg"}


def test_every_ordering_without_a_fault_is_crossed_with_every_fault() -> None:
    matrix = resolve_matrix(ExploreRequest("small"))

    assert list(matrix.faults) == list(FAULTS)
    assert {"spec", "v18", "v6_16", "no_kick"} <= {ordering.name for ordering in matrix.orderings}
    assert "no_flush_at_entry" not in {ordering.name for ordering in matrix.orderings}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ExploreRequest("small", vcpus=3), "--vcpus: means nothing beside --matrix"),
        (ExploreRequest("small", seed=3), "--seed 3: nothing is drawn by --matrix"),
        (ExploreRequest("small", threads=0), "--threads: expected a whole number from 1"),
        (ExploreRequest("small", orderings=("no_flush_at_entry",)), "expected one without faults"),
    ],
)
def test_what_means_nothing_is_refused(request_: ExploreRequest, said: str) -> None:
    with pytest.raises(UsageFault, match=said):
        resolve_matrix(request_)
