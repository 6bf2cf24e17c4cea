"""Where the time goes: shares of the stamped phases' own sum, the same in table, page and picture."""

from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from results.draw.panels import Shown, phase_bars
from results.draw.style import styles
from results.figures import phase_shares
from results.kinds.run.tables import share_cells
from results.tests.builders.run import PHASE, a_run

# A whole of 155 ns beside phases of 218 ns: each of these holds a reading of the clock.
MEDIANS = {
    "shootdown": 155, "lock": 20, "block": 31, "kick_send": 57, "kick_ack": 12, "kick": 71, "track": 43, "remove": 55,
}  # fmt: skip


def measured(**changes: Any) -> dict[str, Any]:
    return a_run(latency_ns={name: {**PHASE, "p50": p50} for name, p50 in MEDIANS.items()}, **changes)


def test_the_shares_are_of_the_phases_sum_in_the_orderings_own_order():
    shares = phase_shares(measured(shootdown=["block", "kick", "track", "remove"]))

    assert list(shares) == ["lock", "block", "kick_send", "kick_ack", "track", "remove"]
    assert shares["kick_send"] == pytest.approx(57 / 218)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_a_kick_in_its_parts_has_its_sending_and_its_wait_where_they_stand():
    shares = phase_shares(measured(shootdown=["block", "request", "send", "track", "wait", "remove"]))

    assert list(shares) == ["lock", "block", "kick_send", "track", "kick_ack", "remove"]
    assert shares["kick_ack"] == pytest.approx(12 / 218)


def test_a_step_taken_after_another_has_its_place_behind_it():
    assert list(phase_shares(measured(shootdown=["block", "track", "kick", "remove"]))) == [
        "lock", "block", "track", "kick_send", "kick_ack", "remove",
    ]  # fmt: skip


def test_a_run_without_a_measured_phase_has_no_share():
    run = a_run(latency_ns={"shootdown": PHASE, "block": {**PHASE, "p50": None}})

    assert (phase_shares(run), share_cells(run)) == ({}, ["-"] * 6)


def test_the_picture_has_the_tables_numbers_and_no_time():
    run = measured(ordering="v18")
    ax = Figure().subplots()
    phase_bars(ax, Shown([run], styles([run]), {}))

    widths = [bar.get_width() for bar in ax.patches if isinstance(bar, Rectangle)]
    assert widths == pytest.approx([20 / 218, 31 / 218, 57 / 218, 12 / 218, 43 / 218, 55 / 218])
    assert [text.get_text() for text in ax.texts] == ["9", "14", "26", "20", "25"]  # 6 % has no room for its number
    assert "ns" not in ax.get_xlabel()
