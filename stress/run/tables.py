"""What stands on the screen when a run is over."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results.collect.last_steps import LastSteps, what_led_to_it
from results.kinds.run.tables import (
    latency_table,
    observation_line,
    outcome_table,
    phase_table,
    review_sentence,
    unit_lines,
    verdict_table,
    yardstick_lines,
)
from results.table import caveat_lines
from scenarios.loader import DEFAULT_SCENARIO
from stress.screen import Screen


def show_run(
    screen: Screen, result: Mapping[str, Any], last_steps: Sequence[LastSteps] = (), *, every_step: bool = False
) -> None:
    """Each ordering's outcomes, the latency of all, what led to a failure where it was traced, caveats. `every_step`: a
    failure's steps are not folded into calls.
    """
    runs = result["runs"]
    for run in runs:
        screen.show(outcome_table(run), "")
    screen.show(latency_table(runs), *unit_lines(result["scenario"]), *yardstick_lines(result["host"], runs), "")
    screen.show(phase_table(runs))
    if len(runs) > 1:
        screen.show(verdict_table(runs), "")
    for steps in last_steps:
        screen.show(*what_led_to_it(steps, every=every_step), "")
    if result["caveats"]:
        screen.show(caveat_lines(result["caveats"]), "")


def run_lines(result: Mapping[str, Any], *, answer: bool) -> Iterator[str]:
    """A line an ordering, to grep, and the answer to the review's question, where that was asked."""
    yield from map(observation_line, result["runs"])
    if answer and result["scenario"]["name"] == DEFAULT_SCENARIO:
        yield "\n" + review_sentence(result)
