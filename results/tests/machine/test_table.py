"""The round trips of pairs of CPUs on a terminal, wide and narrow."""

from typing import Any

import pytest

from results.machine.findings import round_trip_tables
from results.machine.topology import Pair, round_trips
from results.tests.views import printed


def shown(cpus: int, width: int) -> list[str]:
    return printed(*round_trip_tables(pairs(cpus), width), width=width).splitlines()


def pairs(cpus: int) -> dict[str, Any]:
    medians: dict[Pair, float] = {(a, b): 100.0 + a for a in range(cpus) for b in range(a + 1, cpus)}
    found = round_trips(range(cpus), medians, lambda a, b: "cache" if a < 2 else "machine")
    assert found is not None
    return found


def test_one_pair_needs_no_table():
    assert round_trip_tables(pairs(2), 80) == []
    assert round_trip_tables(None, 80) == []


def test_a_matrix_that_does_not_fit_is_left_to_json():
    lines = shown(24, 80)

    assert lines[-1] == "  All pairs stand in `doctor --json`, under round_trips."
    assert len(lines) == 4


@pytest.mark.parametrize("cpus", [3, 12, 24])
def test_a_matrix_that_is_shown_fits(cpus: int):
    assert max(map(len, shown(cpus, 110))) <= 110
