"""The findings on a terminal, wide and narrow."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console, RenderableType

from results.machine.checks import diagnose
from results.machine.findings import findings_table, round_trip_tables
from results.machine.topology import Pair, round_trips
from results.tests.builders.machine import facts


def shown(renderables: Sequence[RenderableType], width: int) -> list[str]:
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False)
    for renderable in renderables:
        console.print(renderable)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def pairs(cpus: int) -> dict[str, Any]:
    medians: dict[Pair, float] = {(a, b): 100.0 + a for a in range(cpus) for b in range(a + 1, cpus)}
    found = round_trips(range(cpus), medians, lambda a, b: "cache" if a < 2 else "machine")
    assert found is not None
    return found


@pytest.mark.parametrize("width", [80, 100])
def test_every_finding_is_whole_at_every_width(width: int):
    found = diagnose(facts(hypervisor="KVM", governor="powersave"))

    words = " ".join(" ".join(shown([findings_table(found)], width)).split())

    assert max(map(len, shown([findings_table(found)], width))) <= width
    assert all(finding.what in words for finding in found)
    assert all(finding.means in words and finding.try_ in words for finding in found)


def test_one_pair_needs_no_table():
    assert round_trip_tables(pairs(2), 80) == []
    assert round_trip_tables(None, 80) == []


def test_a_matrix_that_does_not_fit_is_left_to_json():
    lines = shown(round_trip_tables(pairs(24), 80), 80)

    assert lines[-2] == "  All pairs stand in `doctor --json`, under round_trips."
    assert len(lines) == 5


@pytest.mark.parametrize("cpus", [3, 12, 24])
def test_a_matrix_that_is_shown_fits(cpus: int):
    assert max(map(len, shown(round_trip_tables(pairs(cpus), 110), 110))) <= 110
