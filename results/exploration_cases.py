"""An exploration as test cases, one an ordering: how soon what fails was reached, and what was looked at."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.cases import Case
from results.exploration_verdict import failing, looked_at
from results.wording import plural


def exploration_cases(explorations: Sequence[Mapping[str, Any]]) -> list[Case]:
    """A case an ordering."""
    return [_case(one) for one in explorations]


def _case(one: Mapping[str, Any]) -> Case:
    reached = [f"{name}: {plural(steps, 'step')}" for name, steps in failing(one).items()]
    details = (*reached, f"looked at {looked_at(one)}")
    return Case(one["ordering"], one["verdict"], one["reason"], one["seconds"], details)
