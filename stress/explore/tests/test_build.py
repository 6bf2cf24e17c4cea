"""What a README says of the guard of a TD's state: which lock, and what fails without it."""

import re
from pathlib import Path

import pytest

from scenarios.faults import faults
from scenarios.loader import load_ordering
from stress.explore.machines import machines
from stress.explore.pairs import look_at, rules_on

README = (Path(__file__).parents[3] / "kernels" / "tdx" / "parts" / "README.md").read_text()
ROWS = re.findall(r"^\| .* \| `(\w+)` \| (?:`(\w+)`, (\d+) steps|nothing) \|", README, re.M)


def found(*named: str) -> dict[str, int]:
    """What v6.19's guard shows with these faults, and in how many steps, on the machine of the matrix."""
    (machine,) = machines("build")
    ordering = load_ordering("v6_19").model_copy(update={"on_error": "stop"})
    return {name: len(moves) for name, moves in look_at(rules_on(machine, ordering, named), machine.tier).found.items()}


def test_every_lock_of_the_guard_has_a_row():
    assert {name for name, _, _ in ROWS} == {name for name, its in faults().items() if its.flow == "build"}


@pytest.mark.parametrize(("fault", "shows", "steps"), ROWS)
def test_without_a_lock_so_much_fails(fault: str, shows: str, steps: str):
    assert found(fault).get(shows) == (int(steps) if steps else None)
    assert bool(found(fault)) == bool(shows)


def test_with_all_of_them_nothing_does():
    assert found() == {}
