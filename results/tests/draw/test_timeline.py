"""The picture of a schedule is drawn whatever there is to draw, says what failed, and keeps its texts apart."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import cache

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from kernels.search.schedule import Schedule
from kernels.tests.written_schedules import refused, stale, told, unserialized, waiting, wander
from results.draw.sheet import drawn, saved
from results.draw.style import parameters
from results.draw.timeline import timeline

CASES = [
    (refused, "tracking_not_done"),
    (stale, "use_after_remove"),
    (unserialized, "previous_epoch_busy"),
    (waiting, "no_progress"),
]


@cache
def laid_out(schedule: Callable[[], Schedule], outcome: str) -> Figure:
    """The figure of the picture, laid out as it is saved."""
    with parameters():
        figure = timeline(told(schedule()), outcome, "an ordering shows it: 1 vCPU")
        saved(figure, "png")
    return figure


def test_a_picture_is_a_png_and_an_svg():
    files = drawn({"a": lambda: timeline(told(refused()), "tracking_not_done", "a title")})

    assert files["a.png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert ElementTree.fromstring(files["a.svg"]).tag.endswith("svg")


def test_a_long_schedule_of_many_actors_is_drawn_too():
    def wandered() -> Schedule:
        run = unserialized()
        wander(run, 3, 1500)
        return run

    assert laid_out(wandered, "previous_epoch_busy").get_figwidth() <= 30


@pytest.mark.parametrize(("schedule", "outcome"), CASES)
def test_texts_of_a_picture_of_sane_size_do_not_overlap(schedule: Callable[[], Schedule], outcome: str):
    figure = laid_out(schedule, outcome)
    width, height = figure.get_size_inches()
    assert 10 <= width <= 30
    assert 3 <= height <= 14
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent() for text in shown]
    overlaps = [
        (shown[i].get_text(), shown[j].get_text())
        for i in range(len(boxes))
        for j in range(i + 1, len(boxes))
        if boxes[i].padded(-1).overlaps(boxes[j].padded(-1))
    ]

    assert overlaps == []
    outside = [
        text.get_text()
        for text, box in zip(shown, boxes, strict=True)
        if box.x0 < 0 or box.x1 > figure.bbox.x1 or box.y0 < 0 or box.y1 > figure.bbox.y1
    ]
    assert outside == []


def test_the_failure_is_said_in_words():
    said = [text.get_text() for text in laid_out(refused, "tracking_not_done").findobj(Text)]

    assert (
        "Step 41, zapper 0: TDH.MEM.PAGE.REMOVE = TLB_TRACKING_NOT_DONE|RCX. "
        "tracking_not_done: REMOVE refused: KVM_BUG_ON." in [" ".join(text.split()) for text in said]
    )
    assert {"BLOCK", "TRACK", "VP.ENTER", "kick", "in the guest", "vcpu 0", "zapper 0"} <= set(said)
    assert {"E=2 R={0,1}", "BLOCKED hpa 1", "stage[zapper 0]", "page 0 done"} <= set(said)
    assert any("A model of the protocol, not Intel silicon." in text for text in said)


def test_a_stale_read_is_told_by_what_was_read_and_by_what_its_tlb_held():
    figure = laid_out(stale, "use_after_remove")
    said = [" ".join(text.get_text().split()) for text in figure.findobj(Text)]

    assert "reads page 0 through hpa 1: not current. use_after_remove: " in " ".join(said)
    assert {"tlb[vcpu 0][0]", "page 0 at hpa 1"} <= set(said)


def test_where_nobody_gets_on_the_picture_says_who_stands_where():
    said = " ".join(" ".join(text.get_text().split()) for text in laid_out(waiting, "no_progress").texts)

    assert "livelock or deadlock: nobody moves." in said
    assert "zapper 0 at mem_track: try_lock_exclusive epoch_lock" in said
