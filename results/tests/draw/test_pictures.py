"""The pictures are drawn whatever there is to draw, and say what a reader must know.

How they look is for eyes; here they must exist, be of a sane size, keep their texts apart, and carry no warning.
"""

import re
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kernels.layout import OUTCOME_COUNTS
from kernels.tdx.counters import AGES, ENTRIES, SHOOTDOWNS, SHOOTDOWNS_MET
from kernels.tdx.outcomes import Outcome
from results.collect.race import Run, RunFacts, run_record
from results.collect.tally import Series
from results.draw import sheet
from results.draw.sheet import saved
from results.draw.style import (
    KNOWN,
    parameters,
    percentile_band,
    percentile_curve,
    places_of,
    shortened,
    styles,
    time_text,
)
from results.kinds.run.page import latency_sheet, stale_sheet
from results.tests.builders.run import Machine, a_result, a_run, counted, recorded

NAMES = (
    "spec", "v18", "v6_16", "flag_gate", "kick_then_track", "no_kick", "spec_unserialized", "track_then_block",
    "no_block", "kick_without_wait", "flag_gate_unserialized", "gate_lowered_early", "free_despite_error",
    "no_flush_at_entry",
)  # fmt: skip
PHASES = "shootdown_met", "lock", "block", "kick_send", "kick_ack", "kick", "track", "remove", "stale_window"
PICTURES = [latency_sheet, stale_sheet]


def raced(name: str, place: int, samples: int = 400, seconds: float = 2.0) -> Run:
    """A race with `samples` shootdowns; those after the fourth place are unsafe, and ever slower."""
    random = np.random.default_rng(place)
    machine, series = Machine(), Series()

    def sample(step: int) -> None:
        series.append(replace(machine.snapshot(), at_ns=int(seconds * step / 5 * 1e9)))

    sample(0)
    for step in range(5):
        for phase in PHASES:
            machine.record(
                phase, *(int(value) for value in (100 + 50 * place) * random.lognormal(0, 0.5, samples // 5))
            )
        machine.record("shootdown", *[60] * (samples // 4))
        machine.zapper(0, {SHOOTDOWNS: samples // 4, SHOOTDOWNS_MET: samples // 5})
        machine.vcpu(
            0, {ENTRIES: 10, OUTCOME_COUNTS + Outcome.stale_in_window: 100 * (place + 1) + step, AGES + step % 3: 50}
        )
        sample(step + 1)
    return recorded(machine, series=series, ordering=name, expect="safe" if place < 4 else ("tracking_not_done",))


def together(runs: list[Run]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    arrays: dict[str, NDArray[Any]] = {}
    for run in runs:
        arrays |= run.arrays
    caveat = {"id": "x", "seen": "something was seen", "means": "it matters", "try": "another"}
    return a_result(*(run.json for run in runs), caveats=[caveat] * 8), arrays


def drawn(picture: Any, runs: list[Run]) -> tuple[Figure, bytes]:
    """The figure of a picture, laid out as it was saved, and the file."""
    with parameters():
        figure: Figure = picture(*together(runs))
        return figure, saved(figure, "png")


def png(picture: Any, *material: Any) -> bytes:
    return sheet.drawn({"a": lambda: picture(*material)}, ["png"])["a.png"]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text"))]  # type: ignore[attr-defined]


@cache
def together_drawn(picture: Any, seconds: float, orderings: int) -> tuple[Figure, bytes]:
    return drawn(picture, [raced(name, place, seconds=seconds) for place, name in enumerate(NAMES[:orderings])])


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("orderings", [1, 14])
def test_a_picture_of_any_number_of_orderings_is_a_png_of_sane_size(picture: Any, orderings: int):
    header = together_drawn(picture, 2.0, orderings)[1][:24]
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))

    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert 1000 <= width <= 2000
    assert 500 <= height <= 2000


@pytest.mark.parametrize(
    ("picture", "seconds"),
    # The last ones have a tick at the end of the axis of time, with a label that is wide.
    [*((picture, 2.0) for picture in PICTURES), *((stale_sheet, seconds) for seconds in (6630.0, 0.000663, 0.000333))],
)
def test_panels_and_their_labels_do_not_overlap_with_fourteen_orderings(picture: Any, seconds: float):
    figure, _ = together_drawn(picture, seconds, 14)
    boxes = [box for ax in figure.axes if (box := ax.get_tightbbox()) is not None]
    overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.padded(-2).overlaps(b.padded(-2))]

    assert overlaps == []


@pytest.mark.parametrize("picture", PICTURES)
def test_the_legend_stays_inside_the_sheet_and_off_the_panels(picture: Any):
    figure, _ = together_drawn(picture, 2.0, 14)
    legends = [legend for part in figure.subfigs for legend in part.legends]
    boxes = [legend.get_window_extent() for legend in legends]
    lowest = min(box.y0 for ax in figure.axes if (box := ax.get_tightbbox()) is not None)

    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= lowest + 1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_says_that_it_is_a_model_and_names_the_caveats(picture: Any):
    said = "\n".join(texts(together_drawn(picture, 2.0, 1)[0]))

    assert "A model of the protocol, not Intel silicon." in said
    assert "something was seen" in said
    assert "2 more in result.json" in said.replace("\n", " ")


@pytest.mark.parametrize("picture", PICTURES)
def test_an_unsafe_ordering_is_marked_in_a_picture(picture: Any):
    said = texts(drawn(picture, [raced("no_kick", 5)])[0])

    assert any("no_kick (unsafe)" in text for text in said)
    assert not any(text.startswith("no_kick") and "(unsafe)" not in text for text in said)
    assert ("no_kick (unsafe), n = 400" in said) is (picture is latency_sheet)


def test_a_crash_before_the_first_shootdown_still_gives_both_pictures():
    facts = RunFacts("spec", "A title", "safe", ending="crashed")
    nothing = run_record(facts, None, Machine().snapshot(), Series())

    said = "\n".join(texts(drawn(latency_sheet, [nothing])[0]))

    assert "No ordering has 6 shootdowns that met a vCPU,\nas a median needs (crashed)." in said
    assert "Share of each phase" not in said  # no legend where no phase is drawn
    assert "No stale read was seen." in texts(drawn(stale_sheet, [nothing])[0])


def test_many_ages_share_bars():
    machine = Machine()
    machine.vcpu(0, {AGES + 9: 7})
    said = texts(drawn(stale_sheet, [recorded(machine)])[0])

    assert {"0", "1", "2", "3", "4-7", "8-14", "15+"} <= set(said)
    assert "Age of stale reads, 7 in all" in said


@pytest.mark.parametrize("runs", [(), (a_run(),)], ids=["no ordering", "no arrays"])
@pytest.mark.parametrize("picture", PICTURES)
def test_what_is_missing_leaves_panels_empty(picture: Any, runs: tuple[Any, ...]):
    assert png(picture, a_result(*runs), {}).startswith(b"\x89PNG")


def test_an_open_loop_shows_the_time_from_the_intended_start():
    machine = Machine()
    machine.record("shootdown_met", *[500] * 50)
    machine.record("response", *[5000] * 50)

    assert "from the intended start" in texts(drawn(latency_sheet, [recorded(machine)])[0])


def test_a_dollar_sign_in_a_name_is_no_formula():
    assert png(latency_sheet, *together([raced(r"cost_$\frac$", 0)])).startswith(b"\x89PNG")


def test_no_two_of_fourteen_orderings_look_the_same():
    looks = styles([a_run(name) for name in NAMES])

    assert len({(look.colour, look.dash, look.marker) for look in looks}) == 14
    assert len({(look.dash, look.marker) for look in looks}) == 14


def test_what_is_no_right_order_undisturbed_is_marked_in_legends_and_what_was_changed_told_in_the_head() -> None:
    changed: dict[str, Any] = {"parameters": {"faults": ["lost_kick"]}, "changed": {"kick.wait": False}}
    run = a_run("spec", trace={"ns_of_entry": 1.0}, **changed)
    unsafe = a_run("no_kick", expect=["tracking_not_done"])
    looks = styles([run, run | {"verdict": "failed"}, a_run("v18", perturbed=True), unsafe])

    assert [look.name for look in looks] == [
        "spec (changed) (traced)", "spec (failed) (changed) (traced)", "v18 (perturbed)", "no_kick (unsafe)",
    ]  # fmt: skip
    assert (looks[0].dash, looks[3].dash) == ("-", (0, (4, 2)))
    assert "; faults: lost_kick; set: kick.wait=false; Some CPU" in sheet.subtitle(a_result(run))


def test_a_long_name_is_cut_in_its_middle():
    assert shortened("a" * 30 + "b" * 30) == "a" * 18 + "..." + "b" * 18


def test_a_curve_ends_where_its_percentile_has_no_interval():
    xs, ys = percentile_curve(counted(*range(1, 101)))

    # 100 samples: 1 / (1 - q) = 100 / 3.689, the 96.3rd percentile.
    assert xs[-1] == pytest.approx(27.1, abs=0.05)
    assert (ys[0], ys[-1]) == (1, 97)
    assert percentile_curve(counted(1, 2, 3, 4, 5)) == ([], [])


@pytest.mark.parametrize(("value", "text"), [(200, "200 ns"), (1000, "1 µs"), (1500, "1.5 µs"), (5e7, "50 ms")])
def test_ticks_of_time_have_short_texts(value: float, text: str):
    assert time_text(value) == text


def test_pictures_need_no_font_and_nothing_from_elsewhere_and_are_the_same_when_drawn_again():
    maker = {"latency": partial(latency_sheet, *together([raced("spec", 0)]))}
    first, second = sheet.drawn(maker), sheet.drawn(maker)
    svg = first["latency.svg"].decode()

    assert "<text" not in svg
    assert [value for value in re.findall(r'(?:href|src)="([^"]*)"', svg) if not value.startswith("#")] == []
    assert first == second


def test_an_ordering_shipped_or_a_users_own_looks_the_same_in_any_company_and_like_no_other():
    names = [*KNOWN[:4], "a", "b", "c", "d", "e", "f", "g"]

    assert (places_of(["mine"]), places_of(["spec", "mine"])) == ({"mine": 4}, {"spec": 0, "mine": 4})
    assert len(set(places_of(names).values())) == len(names)


def test_a_band_holds_its_curve():
    xs, low, high = percentile_band(counted(*range(1, 101)))

    # The median of 1 to 100 by order statistics: ranks 40 and 61.
    assert (xs[0], low[0], high[0]) == (2, 40, 61)
    assert all(a <= b for a, b in zip(low, high, strict=True))
