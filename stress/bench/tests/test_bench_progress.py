import io

import pytest

from scenarios.loader import load_ordering, load_scenario
from stress.bench.design import Point
from stress.bench.pieces import race_line, time_left
from stress.bench.round import Turn
from stress.progress import display
from stress.screen import Screen

TURN = Turn(3, 1, "A2", load_ordering("spec"), Point("vcpus=8", 8, load_scenario("review")), 1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (44.6, "45 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")]
)
def test_the_time_left_is_told_in_two_units_at_most(seconds: float, text: str) -> None:
    assert time_left(seconds) == text


def test_a_line_says_which_race_of_which_round_and_how_long_it_all_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    with display(Screen(stream, color=False)) as drawn:
        watch = race_line(drawn, TURN, rounds=10, races=9, left_s=90)(lambda: pytest.fail("nobody needs the tally"))
        watch("measuring", 0.5)
        assert stream.getvalue() == ""
        now += 15
        watch("measuring", 0.4)
        watch("measuring", 0.3)

    assert stream.getvalue() == "round 3 of 10, race 2 of 9: spec again at vcpus=8; 1 min 15 s left\n"


def test_without_a_screen_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with display(None) as drawn:
        race_line(drawn, TURN, rounds=10, races=9, left_s=90)

    assert capsys.readouterr() == ("", "")
