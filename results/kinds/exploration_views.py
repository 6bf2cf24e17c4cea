"""Explorations as tables, lines and test cases, for a terminal of 80 columns or more, readable without colour."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kernels.tdx.rules import Flow
from results.exchange.cases import Case
from results.grades import GRADES, Grade, declared, grade_of, meaning
from results.kinds.exploration import failing, is_sampled, looked_at, size_words
from results.table import (
    GRADE_STYLES,
    VERDICT_STYLES,
    ByWidth,
    heading,
    indented,
    marked,
    plain_table,
    verdict_line,
)
from results.verdict import is_safe
from results.words import count, nanoseconds, plural, share

Exploration = Mapping[str, Any]
BROKEN_WHY = {"epoch_monotone": "the TD epoch went back"}


def exploration_table(exploration: Exploration) -> RenderableType:
    """One ordering: each outcome but `fresh`, whether it can happen, in how few steps; then the search, the verdict."""
    table = ByWidth(_outcomes(exploration, wide=False), _outcomes(exploration, wide=True))
    faults = f"; faults: {', '.join(exploration['faults'])}" if exploration["faults"] else ""
    below = indented([*_how_far(exploration), verdict_line(exploration)])
    return Group(heading(exploration), Text(f"  {size_words(exploration)}{faults}"), table, *below)


def _outcomes(exploration: Exploration, *, wide: bool) -> Table:
    sampled = is_sampled(exploration)
    seen = ("SCHEDULES", "right") if sampled else ("HAPPENS", "left")
    table = plain_table(("OUTCOME", "left"), seen, ("STEPS", "right"), ("GRADE", "left"), ("WHY", "left"))
    bad = failing(exploration)
    for name in _names(exploration):
        steps = exploration["witness_steps"].get(name)
        grade = Grade.forbidden if name in exploration["broken"] else grade_of(name)
        reason = meaning(name).why if wide else meaning(name).short
        table.add_row(
            Text(name, style="bold" if name in bad else ""),
            _happens(exploration, name, steps is not None),
            "-" if steps is None else count(steps),
            Text(grade.value + ("!" if name in bad else ""), style="dim" if steps is None else GRADE_STYLES[grade]),
            Text(BROKEN_WHY.get(name, reason), style="dim" if steps is None else ""),
        )
    return table


def _names(exploration: Exploration) -> list[str]:
    """Every outcome of the flow but `fresh`, by grade; then what else was seen, and the invariants that are broken."""
    order = list(Grade)
    flow = Flow[exploration.get("flow", "shootdown").upper()]
    told = sorted(declared(flow), key=lambda outcome: (order.index(GRADES[outcome].grade), outcome))
    names = [outcome.name for outcome in told if outcome.name != "fresh"]
    return names + [name for name in (*exploration["outcomes"], *failing(exploration)) if name not in names]


def _happens(exploration: Exploration, name: str, reached: bool) -> str:
    if is_sampled(exploration):
        return count(exploration["schedules_with"].get(name, 0))
    if reached:
        return "yes"
    if name == "no_progress" and exploration["liveness"] is None:
        return "not looked for" if exploration["complete"] else "not seen"
    return "never" if exploration["complete"] else "not seen"


def _how_far(exploration: Exploration) -> Iterator[str]:
    transitions = exploration["transitions"]
    if is_sampled(exploration):
        drawn = "uniformly" if exploration["method"] == "random" else f"by PCT of depth {exploration['pct_depth']}"
        yield (
            f"{plural(exploration['schedules'], 'schedule')} drawn {drawn}, seed {exploration['seed']}: "
            f"{count(transitions)} steps, the longest {exploration['depth']:,}, in {_duration(exploration)}"
        )
        return
    states = exploration["states"]
    yield (
        f"{'all' if exploration['complete'] else 'not all'} interleavings: {plural(states, 'state')}, "
        f"{plural(transitions, 'transition')}, depth {exploration['depth']:,}"
    )
    miss = exploration["chance_of_miss"]
    yield (
        f"{_duration(exploration)} on {plural(exploration['threads'], 'thread')}, "
        f"{count(states / max(exploration['seconds'], 1e-9))} states/s"
        + (f"; two states shared a fingerprint with a chance of {share(miss)}" if miss else "")
    )
    yield from _liveness(exploration)


def _liveness(exploration: Exploration) -> Iterator[str]:
    live = exploration["liveness"]
    if live is None:
        return
    deadlocks, livelocks = exploration["deadlocks"], live["livelocks"]
    if deadlocks or livelocks:
        yield f"no progress: {plural(deadlocks, 'deadlock')}, {plural(livelocks, 'livelocked state')}"
    else:
        enters = "" if live.get("refused") is None else " and every vCPU enter again"
        yield f"progress: from each of {count(live['states'])} states every zapper can finish{enters}"
    for actor, states in (live.get("refused") or {}).items():
        yield f"{actor} is kept out of the guest for ever from {plural(states, 'state')} on"
    for actor, step in live["starving"].items():
        yield f"an unlucky, fair schedule can keep {actor} for ever at {step}"


def _duration(exploration: Exploration) -> str:
    return nanoseconds(exploration["seconds"] * 1e9)


def explorations_table(explorations: Sequence[Exploration]) -> RenderableType:
    """One line an ordering: verdict, what was looked at, the forbidden outcome that is reached in the fewest steps."""
    numbers = ("STATES", "TRANSITIONS", "DEPTH", "TIME")
    if any(map(is_sampled, explorations)):
        numbers = ("SCHEDULES", "STEPS", "LONGEST", "TIME")
    heads = [(name, "right") for name in numbers]
    table = plain_table(("ORDERING", "left"), ("VERDICT", "left"), *heads, ("SHORTEST FORBIDDEN", "left"))
    for one in explorations:
        bad = failing(one)
        first = next((f"{name}, {plural(steps, 'step')}" for name, steps in bad.items()), "-")
        table.add_row(
            marked(one["ordering"], is_safe(one)),
            Text(one["verdict"], style=VERDICT_STYLES[one["verdict"]]),
            count(one["schedules"] if is_sampled(one) else one["states"]),
            count(one["transitions"]),
            f"{one['depth']:,}",
            _duration(one),
            first,
        )
    return table


def exploration_observation(exploration: Exploration) -> str:
    """The line to grep, `Observation v18 Never 0 5`: how many forbidden outcomes can happen, and how many others, of
    random schedules how many showed one. `Unknown` where none was seen and not everything was looked at.
    """
    bad = failing(exploration)
    if is_sampled(exploration):
        forbidden = max((exploration["schedules_with"].get(name, 1) for name in bad), default=0)
        other = exploration["schedules"] - forbidden
    else:
        forbidden, other = len(bad), len([name for name in exploration["outcomes"] if name not in bad])
    if bad:
        often = "Always" if is_sampled(exploration) and not other else "Sometimes"
    else:
        often = "Never" if exploration["complete"] else "Unknown"
    return f"Observation {exploration['ordering']} {often} {forbidden} {other}"


def exploration_cases(explorations: Sequence[Exploration]) -> list[Case]:
    """A case an ordering: how soon what fails was reached, and what was looked at."""
    return [
        Case(
            one["ordering"],
            one["verdict"],
            one["reason"],
            one["seconds"],
            (
                *(f"{name}: {plural(steps, 'step')}" for name, steps in failing(one).items()),
                f"looked at {looked_at(one)}",
            ),
        )
        for one in explorations
    ]
