"""Times as a user writes them. Durations: `500ms`, `5s`, `2m`, `1h`, or a plain number of seconds; delays and start
offsets: `200ns`, `0-500ns`, `1us-20us@0.1`.
"""

import re
from dataclasses import dataclass

from scenarios.wording import ScenarioError, shown

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_DURATION = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})\s*(ms|s|m|h|)\s*", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `500ms`, `5s`, `2m`, `1h` or `2.5`. Raises ScenarioError on anything else."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ScenarioError(f"expected a duration such as 500ms, 5s, 2m or 1h, found {shown(text)}")
    number, unit = found.groups()
    return float(number) * UNITS_S[unit]


UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000}
MOST_NS = 999_000_000
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,12})?)"
_DELAY = re.compile(rf"(?:{_NUMBER}(ns|us|ms)?-)?{_NUMBER}(ns|us|ms)(?:@([01]?(?:\.[0-9]{{1,12}})?|1\.0*))?", re.ASCII)
A_DELAY = "a delay of up to 999ms such as 200ns, 0-500ns (drawn each time) or 20us@0.1 (one time in ten)"

A_START_OFFSET = "a start offset of up to 999ms such as 0ns, 500ns or 0-2us (drawn each time), or nothing"


@dataclass(frozen=True, slots=True)
class Delay:
    """An actor waits so long before a step, each length from the least to the most as likely, with these odds."""

    least_ns: int
    most_ns: int
    odds: float


def parse_delay(text: str) -> Delay:
    """A delay from its text; the unit of the least is that of the most where it has none. Raises ValueError, without
    the text: that may not be UTF-8, in which pydantic tells it.
    """
    found = _DELAY.fullmatch(text.replace(" ", ""))
    if not found:
        raise ValueError
    least, unit_of_least, most, unit, odds = found.groups()
    most_ns = round(float(most) * UNITS_NS[unit])
    least_ns = most_ns if least is None else round(float(least) * UNITS_NS[unit_of_least or unit])
    chance = 1.0 if odds is None else float(odds or "nan")
    if not least_ns <= most_ns <= MOST_NS or not 0 <= chance <= 1:
        raise ValueError
    return Delay(least_ns, most_ns, chance)


def parse_start_offset(text: str) -> Delay | None:
    """A start offset from its text, a delay that is certain; None where nothing is written. Raises ValueError."""
    if "@" in text:
        raise ValueError
    return parse_delay(text) if text else None
