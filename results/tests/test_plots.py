"""The pictures are drawn whatever there is to draw, and say what a reader must know.

How they look is for eyes; here they must exist, be of a sane size, keep their texts apart, and carry no warning.
"""

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kernels.layout import AGES, ENTRIES, OUTCOME_COUNTS, SHOOTDOWNS
from kernels.outcomes import Outcome
from results.collector import Run, RunFacts, Series, run_record
from results.plot_style import Sheet, percentile_curve, shortened, styles, time_text
from results.plots import latency_png, stale_png
from results.tests.material import Machine, a_result, a_run, recorded

NAMES = (
    "spec", "v18", "v6_16", "flag_gate", "kick_then_track", "no_kick", "spec_unserialized", "track_then_block",
    "no_block", "kick_without_wait", "flag_gate_unserialized", "gate_lowered_early", "free_despite_error",
    "no_flush_at_entry",
)  # fmt: skip
PICTURES = [latency_png, stale_png]


def raced(name: str, place: int, samples: int = 400) -> Run:
    """A race with `samples` shootdowns; those after the fourth place are unsafe, and ever slower."""
    random = np.random.default_rng(place)
    machine, series = Machine(), Series()
    series.append(machine.snapshot())
    for step in range(5):
        for phase in ("shootdown", "lock", "block", "kick_send", "kick_ack", "kick", "track", "remove", "stale_window"):
            machine.record(
                phase, *(int(value) for value in (100 + 50 * place) * random.lognormal(0, 0.5, samples // 5))
            )
        machine.zapper(0, SHOOTDOWNS, samples // 5)
        machine.vcpu(0, ENTRIES, 10)
        machine.vcpu(0, OUTCOME_COUNTS + Outcome.stale_in_window, 100 * (place + 1) + step)
        machine.vcpu(0, AGES + step % 3, 50)
        series.append(machine.snapshot())
    return recorded(machine, series=series, ordering=name, expect="safe" if place < 4 else ("tracking_not_done",))


def together(runs: list[Run]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    arrays: dict[str, NDArray[Any]] = {}
    for run in runs:
        arrays |= run.arrays
    caveat = {"id": "x", "seen": "something was seen", "means": "it matters", "try": "another"}
    return a_result(*(run.json for run in runs), caveats=[caveat] * 8), arrays


def drawn(monkeypatch: pytest.MonkeyPatch, picture: Any, runs: list[Run]) -> Figure:
    """The figure of a picture, laid out as it was saved."""
    kept: list[Figure] = []
    save = Sheet.save

    def keep(self: Sheet, target: Any) -> None:
        save(self, target)
        kept.append(self.figure)

    monkeypatch.setattr(Sheet, "save", keep)
    picture(*together(runs), io.BytesIO())
    return kept[0]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text"))]  # type: ignore[attr-defined]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("orderings", [1, 3, 14])
def test_a_picture_of_any_number_of_orderings_is_a_png_of_sane_size(picture: Any, orderings: int):
    target = io.BytesIO()
    picture(*together([raced(name, place) for place, name in enumerate(NAMES[:orderings])]), target)
    header = target.getvalue()[:24]
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))

    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert 1000 <= width <= 2000
    assert 500 <= height <= 2000


@pytest.mark.parametrize("picture", PICTURES)
def test_panels_and_their_labels_do_not_overlap_with_fourteen_orderings(monkeypatch: pytest.MonkeyPatch, picture: Any):
    figure = drawn(monkeypatch, picture, [raced(name, place) for place, name in enumerate(NAMES)])
    boxes = [box for ax in figure.axes if (box := ax.get_tightbbox()) is not None]
    overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.padded(-2).overlaps(b.padded(-2))]

    assert overlaps == []


@pytest.mark.parametrize("picture", PICTURES)
def test_the_legend_stays_inside_the_sheet_and_off_the_panels(monkeypatch: pytest.MonkeyPatch, picture: Any):
    figure = drawn(monkeypatch, picture, [raced(name, place) for place, name in enumerate(NAMES)])
    legends = [legend for part in figure.subfigs for legend in part.legends]
    boxes = [legend.get_window_extent() for legend in legends]
    lowest = min(box.y0 for ax in figure.axes if (box := ax.get_tightbbox()) is not None)

    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= lowest + 1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_says_that_it_is_a_model_and_names_the_caveats(monkeypatch: pytest.MonkeyPatch, picture: Any):
    said = "\n".join(texts(drawn(monkeypatch, picture, [raced("spec", 0)])))

    assert "A model of the protocol, not Intel silicon." in said
    assert "something was seen" in said
    assert "2 more in result.json" in said.replace("\n", " ")


@pytest.mark.parametrize("picture", PICTURES)
def test_an_unsafe_ordering_is_marked_in_a_picture(monkeypatch: pytest.MonkeyPatch, picture: Any):
    said = texts(drawn(monkeypatch, picture, [raced("no_kick", 5)]))

    assert any("no_kick (unsafe)" in text for text in said)
    assert not any(text.startswith("no_kick") and "(unsafe)" not in text for text in said)


def test_the_latency_picture_gives_n(monkeypatch: pytest.MonkeyPatch):
    assert "spec, n = 400" in texts(drawn(monkeypatch, latency_png, [raced("spec", 0)]))


def test_a_crash_before_the_first_shootdown_still_gives_both_pictures(monkeypatch: pytest.MonkeyPatch):
    facts = RunFacts("spec", "A title", "safe", ending="crashed")
    nothing = run_record(facts, None, Machine().snapshot(), Series())

    said = "\n".join(texts(drawn(monkeypatch, latency_png, [nothing])))

    assert "No ordering completed the 6 shootdowns\nthat a median needs (crashed)." in said
    assert "No stale read was seen." in texts(drawn(monkeypatch, stale_png, [nothing]))


def test_many_ages_share_bars(monkeypatch: pytest.MonkeyPatch):
    machine = Machine()
    machine.vcpu(0, AGES + 9, 7)
    said = texts(drawn(monkeypatch, stale_png, [recorded(machine)]))

    assert {"0", "1", "2", "3", "4-7", "8-14", "15+"} <= set(said)
    assert "Age of stale reads, n = 7" in said


@pytest.mark.parametrize("picture", PICTURES)
def test_arrays_that_are_missing_leave_panels_empty(picture: Any):
    target = io.BytesIO()
    picture(a_result(a_run()), {}, target)

    assert target.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize("picture", PICTURES)
def test_no_ordering_at_all_gives_a_picture_too(picture: Any):
    target = io.BytesIO()
    picture(a_result(), {}, target)

    assert target.getvalue().startswith(b"\x89PNG")


def test_an_open_loop_shows_the_time_from_the_intended_start(monkeypatch: pytest.MonkeyPatch):
    machine = Machine()
    machine.record("shootdown", *[500] * 50)
    machine.record("response", *[5000] * 50)

    assert "from the intended start" in texts(drawn(monkeypatch, latency_png, [recorded(machine)]))


def test_a_dollar_sign_in_a_name_is_no_formula():
    target = io.BytesIO()
    latency_png(*together([raced(r"cost_$\frac$", 0)]), target)

    assert target.getvalue().startswith(b"\x89PNG")


def test_no_two_of_fourteen_orderings_look_the_same():
    looks = styles([a_run(name) for name in NAMES])

    assert len({(look.colour, look.dash, look.marker) for look in looks}) == 14
    assert len({(look.dash, look.marker) for look in looks}) == 14


def test_safe_lines_are_whole_or_long_and_unsafe_ones_dashed():
    safe, unsafe = styles([a_run("spec"), a_run("no_kick", expect=["tracking_not_done"])])

    assert (safe.dash, unsafe.dash) == ("-", (0, (4, 2)))


def test_a_long_name_is_cut_in_its_middle():
    assert shortened("a" * 30 + "b" * 30) == "a" * 18 + "..." + "b" * 18


def test_a_curve_ends_where_its_percentile_has_no_interval():
    machine = Machine()
    machine.record("shootdown", *range(1, 101))
    xs, ys = percentile_curve(machine.snapshot().histograms["shootdown"])

    # 100 samples: 1 / (1 - q) = 100 / 3.689, the 96.3rd percentile.
    assert xs[-1] == pytest.approx(27.1, abs=0.05)
    assert (ys[0], ys[-1]) == (1, 97)


def test_five_samples_have_no_curve():
    machine = Machine()
    machine.record("shootdown", 1, 2, 3, 4, 5)

    assert percentile_curve(machine.snapshot().histograms["shootdown"]) == ([], [])


@pytest.mark.parametrize(("value", "text"), [(200, "200 ns"), (1000, "1 µs"), (1500, "1.5 µs"), (5e7, "50 ms")])
def test_ticks_of_time_have_short_texts(value: float, text: str):
    assert time_text(value) == text
