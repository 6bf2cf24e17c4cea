import pytest

from scenarios.loader import apply_settings, load_scenario, with_delays
from scenarios.tests.refusals import refused
from scenarios.times import Delay, parse_delay, parse_start_offset


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200ns", Delay(200, 200, 1.0)),
        ("0-500ns", Delay(0, 500, 1.0)),
        ("100ns - 2us", Delay(100, 2000, 1.0)),
        ("1.5us@0.1", Delay(1500, 1500, 0.1)),
        ("1-20us@.5", Delay(1000, 20_000, 0.5)),
        ("999ms", Delay(999_000_000, 999_000_000, 1.0)),
    ],
)
def test_a_delay_is_read_as_it_is_written(text: str, expected: Delay) -> None:
    assert parse_delay(text) == expected


@pytest.mark.parametrize("text", ["", "200", "5s", "2us-1us", "1us@2", "1us@", "-1us", "1000ms", "1us@0.1@0.1", "0-5"])
def test_what_is_no_delay_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        parse_delay(text)


def test_delays_of_the_command_line_come_beside_those_of_the_scenario() -> None:
    scenario = with_delays(load_scenario("review"), ["a.b=200ns"])

    assert with_delays(scenario, ["c=1us@0.5"]).delays == {"a.b": "200ns", "c": "1us@0.5"}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("a.b", '--delay: expected LABEL=TIME, found "a.b"'),
        ("a.b=5s", '--delay: delays["a.b"]: expected a delay of up to 999ms such as 200ns, 0-500ns'),
        ("a.b=\udc80", '--delay: delays["a.b"]: expected a delay of up to 999ms such as 200ns, 0-500ns'),
    ],
)
def test_a_delay_that_does_not_hold_is_one_line(typed: str, expected: str) -> None:
    assert refused(with_delays, load_scenario("review"), [typed]).startswith(expected)


def test_a_start_offset_is_a_delay_or_nothing() -> None:
    assert parse_start_offset("0-2us") == Delay(0, 2000, 1.0)
    assert parse_start_offset("") is None


@pytest.mark.parametrize("text", ["2us@0.5", "2s", "soon"])
def test_a_start_offset_that_does_not_hold_is_one_line(text: str) -> None:
    expected = (
        "--set: start_offset: expected a start offset of up to 999ms such as 0ns, 500ns or 0-2us (drawn each time)"
    )
    said = refused(apply_settings, load_scenario("review"), [], [f"start_offset={text}"])
    assert said == f'{expected}, or nothing, found "{text}"'
