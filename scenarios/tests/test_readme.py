"""What scenarios/README.md says there is, is there."""

import re
from pathlib import Path

import pytest

from scenarios.loader import load_ordering, shipped_scenarios
from scenarios.models import Ordering, Scenario

ROOM = Path(__file__).resolve().parent.parent
README, FRONT = ((place / "README.md").read_text() for place in (ROOM, ROOM.parent))
ROWS = [line.split(" |")[0] for line in README.splitlines() if line.startswith("| `")]
NAMED = {name for row in ROWS for name in re.findall(r"`(\w+)`", row)}
ORDERINGS = [text for page in (FRONT, README) for text in re.findall(r"^```toml\n(.*?)^```$", page, re.M | re.S)]


def test_every_scenario_has_a_row() -> None:
    assert {scenario.name for scenario in shipped_scenarios()} <= NAMED


@pytest.mark.parametrize("model", [Ordering, Scenario])
def test_every_key_has_a_row(model: type[Ordering] | type[Scenario]) -> None:
    assert set(model.model_fields) - {"shows", "orderings"} <= NAMED


@pytest.mark.parametrize("text", ORDERINGS)
def test_an_ordering_that_is_shown_holds(mine, text: str) -> None:
    assert load_ordering(mine(text)).safe
