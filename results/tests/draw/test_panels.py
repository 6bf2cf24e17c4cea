"""Panels draw what the counts say, and say so where there is nothing."""

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kernels.tdx.outcomes import Outcome
from results.draw.panels import STALE, Shown, curves, done_by, phase_bars, shootdown_curves, stale_over_time
from results.draw.style import styles
from results.draw.svg import panel
from results.tests.builders.run import a_run, counted, phase


def shown(*names: str, values: tuple[int, ...] = tuple(range(1, 201))) -> Shown:
    runs = [a_run(name) for name in names]
    met = {f"{name}/hist/shootdown_met": counted(*values) for name in names}
    everybody = {f"{name}/hist/shootdown": counted(*values, *[7] * 900) for name in names}
    return Shown(runs, styles(runs), met | everybody)


def axes() -> Axes:
    return Figure().add_subplot()


def series(name: str, stale: Sequence[int], times: Sequence[float]) -> dict[str, Any]:
    """How many reads were stale in their window by these seconds."""
    events = np.zeros((len(stale), len(Outcome)), dtype=np.int64)
    events[:, Outcome.stale_in_window] = stale
    return {f"{name}/series/time_s": np.array(times), f"{name}/series/outcomes": events}


def strips(*runs: dict[str, Any], **arrays: Any) -> dict[Outcome, Axes]:
    """A panel for each stale outcome of these runs."""
    panels = {outcome: axes() for outcome in STALE}
    stale_over_time([*panels.values()], Shown([*runs], styles([*runs]), arrays))
    return panels


def test_the_share_of_shootdowns_done_by_a_time_ends_at_one():
    ax = axes()
    done_by(ax, shown("spec"))
    xs, ys = (np.asarray(data) for data in ax.lines[0].get_data())

    assert (xs[-1], ys[-1]) == (200, pytest.approx(1.0))
    assert (xs[99], ys[99]) == (100, pytest.approx(0.5))


def test_the_band_of_the_shares_is_as_wide_as_n_allows():
    ax = axes()
    done_by(ax, shown("spec"))
    corners = np.asarray(ax.collections[0].get_paths()[0].vertices, dtype=np.float64)
    share = np.interp(corners[:, 0], np.arange(1.0, 201.0), np.arange(1.0, 201.0) / 200)

    # Dvoretzky, Kiefer, Wolfowitz for n = 200: sqrt(ln 40 / 400) = 0.096.
    assert float(np.max(corners[:, 1] - share)) == pytest.approx(0.096, abs=0.001)


def test_many_orderings_have_no_bands():
    few, many = axes(), axes()
    curves(few, shown(*"abcdef"), "shootdown_met")
    curves(many, shown(*"abcdefg"), "shootdown_met")

    assert (len(few.collections), len(many.collections)) == (6, 0)


def test_the_curve_of_whole_shootdowns_is_of_those_that_met_a_vcpu():
    ax = axes()
    shootdown_curves(ax, shown("spec", values=(100,) * 50))

    assert set(np.asarray(ax.lines[0].get_ydata()).tolist()) == {100}
    assert ax.get_title() == "A shootdown that met a vCPU, by percentile"


def test_a_distribution_of_many_times_is_thinned():
    ax = axes()
    done_by(ax, shown("spec", values=tuple(range(1, 60_000, 7))))

    assert 200 <= len(np.asarray(ax.lines[0].get_xdata())) <= 400


@pytest.mark.parametrize("panel", [done_by, phase_bars])
def test_nothing_measured_is_said(panel: object):
    run = a_run(latency_ns={"shootdown": phase(0)}, ending="crashed")
    ax = axes()
    panel(ax, Shown([run], styles([run]), {}))  # type: ignore[operator]

    assert [text.get_text() for text in ax.texts] != []
    assert list(ax.lines) == []


def test_a_rate_does_not_fall_at_the_sample_that_ends_the_race():
    panels = strips(a_run("v18"), **series("v18", [0, 10, 20, 30, 30], [0.0, 1.0, 2.0, 3.0, 3.01]))

    (line,) = panels[Outcome.stale_in_window].lines
    assert np.asarray(line.get_xydata()).tolist() == [[0.5, 10], [1.5, 10], [2.5, 10]]


@pytest.mark.parametrize("lost", ["v18/series/time_s", "v18/series/outcomes"])
def test_a_result_that_lost_times_or_events_has_no_rates(lost: str):
    arrays = series("v18", [0, 0, 0], [0.0, 1.0, 2.0])
    del arrays[lost]
    panels = [*strips(a_run("v18", seen={"stale_in_window": 7}), **arrays).values()]

    assert [len(ax.lines) for ax in panels] == [0] * len(STALE)
    assert "too short a time for a rate" in [text.get_text() for text in panels[0].texts]


def test_a_strip_says_how_many_of_its_events_stand_in_no_curve():
    runs = [a_run(name, seen={"stale_in_window": events}) for name, events in (("spec", 3), ("v18", 80))]
    panels = strips(*runs, **series("spec", [0, 1, 3], [0.0, 1.0, 2.0]))

    assert panels[Outcome.stale_in_window].get_title() == (
        "stale_in_window: acceptable, 83 in all, 80 of them in too short a time for a rate"
    )


@pytest.mark.parametrize(
    ("seen", "met", "said"),
    [
        ({}, 1, "never seen in 1 shootdown that met a vCPU"),
        ({}, 4_321, "never seen in 4,321 shootdowns that met a vCPU"),
        ({}, 0, "no shootdown met a vCPU"),
        ({"use_after_remove": 57}, 4_321, "not seen: it was worse, use_after_remove 57 times"),
    ],
)
def test_a_strip_without_its_outcome_says_of_how_many_or_what_was_worse(seen: dict[str, int], met: int, said: str):
    panels = strips(a_run("v18", seen, met={"kicks": met, "shootdowns": met}))

    assert panels[Outcome.stale_after_done].texts[0].get_text() == said


def test_a_strip_without_its_outcome_adds_up_the_shootdowns_of_all_orderings():
    panels = strips(*(a_run(name, met={"kicks": met, "shootdowns": met}) for name, met in (("spec", 30), ("v18", 12))))

    told = panels[Outcome.stale_after_done].texts[0].get_text()
    assert told == "never seen in 42 shootdowns of both orderings that met a vCPU"


def test_the_axis_of_time_has_ticks_to_its_end():
    [*_, last] = strips(a_run("v18"), **series("v18", range(6), [0.0, 1.0, 2.0, 3.0, 4.8, 5.6])).values()

    assert last.get_xlim()[1] == pytest.approx(1.02 * 5.2)  # the last rate is of the middle of 4.8 to 5.6 s
    assert last.get_xticks().tolist() == [0, 1, 2, 3, 4, 5]
    assert last.get_xticklabels()[-1].get_horizontalalignment() == "right"  # not into the next panel


@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_text_that_no_xml_may_hold_leaves_the_panel_whole() -> None:
    drawn = panel("p", "a\x00b", lambda ax: ax.set_yticks([1], ["x\x1b[31m\x07ü"]))

    assert ElementTree.fromstring(drawn).get("aria-label") == "a\ufffdb"
    assert ">x\ufffd[31m\ufffdü<" in drawn
