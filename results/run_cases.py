"""A run as test cases, one an ordering under its scenario.

Whatever did not pass is a failure or, where the harness broke, an error; inconclusive is never shown as passed.
"""

from collections.abc import Mapping
from typing import Any

from results.cases import Case
from results.grades import FAILING
from results.met import said
from results.verdict import seen


def suite_name(result: Mapping[str, Any]) -> str:
    """What the cases stand under."""
    return str(result["scenario"].get("name", "run"))


def run_cases(result: Mapping[str, Any]) -> list[Case]:
    """A case an ordering, with the counts of what is forbidden and who stood where."""
    return [_case(run) for run in result["runs"]]


def _case(run: Mapping[str, Any]) -> Case:
    counts = [f"{name}: {count}" for name, count in seen(run, *FAILING).items()]
    details = [*counts, said(run), *run["notes"]]
    return Case(run["ordering"], run["verdict"], run["reason"], run["seconds"] + run["warmup_s"], details)
