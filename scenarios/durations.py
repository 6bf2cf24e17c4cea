"""Durations as a user writes them: `500ms`, `5s`, `2m`, `1h`, or a plain number of seconds."""

import re

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
