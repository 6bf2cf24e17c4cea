"""What a README says of the guard of a TD's state: which lock, and what fails without it."""

import re
from pathlib import Path

import pytest

from scenarios.faults import faults
from scenarios.loader import load_ordering
from stress.explore.machines import machines
from stress.explore.pairs import look_at, rules_on

README = (Path(__file__).parents[3] / "kernels" / "tdx" / "parts" / "README.md").read_text()
ROWS = re.findall(
    r"^\| .* \| `(\w+)` \| (?:`(\w+)`|nothing) \|", README.partition("A TD's build\n")[2].partition("\n## ")[0], re.M
)


def found(*named: str) -> set[str]:
    """What v6.19's guard shows with these faults, on the machine of the matrix."""
    (machine,) = machines("build")
    ordering = load_ordering("v6_19").model_copy(update={"on_error": "stop"})
    return set(look_at(rules_on(machine, ordering, named), machine.tier).found)


def test_every_lock_of_the_guard_has_a_row():
    assert {name for name, _ in ROWS} == {name for name, its in faults().items() if its.flow == "build"}


@pytest.mark.parametrize(("fault", "shows"), ROWS)
def test_without_a_lock_so_much_fails(fault: str, shows: str):
    assert shows in found(fault) if shows else not found(fault)


def test_with_all_of_them_nothing_does():
    assert found() == set()
