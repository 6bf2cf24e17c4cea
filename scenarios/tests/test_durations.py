"""Durations as a user writes them."""

import pytest

from scenarios.loader import parse_duration
from scenarios.tests.refusals import refused


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0), ("2m", 120.0), ("1h", 3600.0), ("500ms", 0.5), ("2.5", 2.5), ("7", 7.0), (" 1.5 h ", 5400.0),
        ("0", 0.0),
    ],
)  # fmt: skip
def test_a_duration_is_read_in_its_unit_or_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 parsecs", "-1s", "1s2m", "1e3", "nan", "inf", "٣s", "5S", "1" * 13])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    assert refused(parse_duration, text) == f'expected a duration such as 500ms, 5s, 2m or 1h, found "{text}"'
