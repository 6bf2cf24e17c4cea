"""Which keys of a scenario contradict each other: what cannot run, or would show nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from scenarios.wording import shown

if TYPE_CHECKING:
    from scenarios.models import Scenario

LEAST_RATE = 0.001


def scenario_contradictions(s: Scenario, a_rate: str | None) -> Iterator[tuple[str, str]]:
    """Each key that contradicts another, and how; `a_rate` is what a rate is. The first one is reported."""
    if 0 < s.rate < LEAST_RATE:
        yield "rate", f"expected {a_rate}, found {shown(s.rate)}"
    if s.reads == "hot_set" and s.pages < 8:
        yield "pages", f'expected 8 or more, as reads = "hot_set" favours an eighth of the pages, found {s.pages}'
