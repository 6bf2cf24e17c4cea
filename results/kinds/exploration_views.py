"""Explorations as tables, lines and test cases, for a terminal of 80 columns or more, readable without colour."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import RenderableType

from kernels.tdx.outcomes import Grade
from kernels.tdx.rules import flow_named
from results.exchange.cases import Case, case_of, unreached
from results.kinds.exploration import entries_of, failing, is_sampled, looked_at, size_words
from results.table import Table, caveat_lines, heading, verdict_line
from results.verdict import FAILING, declared, grade_of, is_safe, meaning, name_of, word_of
from results.words import broken_name, changes_told, count, nanoseconds, per_second, plural, share, silent_words

Exploration = Mapping[str, Any]
SIDE_BY_SIDE, MOST_POINTS = 4, 32
BROKEN_WHY = {"epoch_monotone": "the TD epoch went back"}


def exploration_screen(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The orderings with their verdicts, what can happen in how few steps, what cannot, how far each search went."""
    entries = entries_of(document)
    first, several = entries[0], len(entries) > 1
    if several and any("point" in one for one in entries):
        yield points_table(entries)
        if len(entries) <= MOST_POINTS:
            yield ""
            yield each_point_table(entries)
    elif several:
        yield f"{size_words(first)}; {plural(len(entries), 'ordering')}{_changes(entries)}"
        yield explorations_table(entries)
    else:
        yield heading(first)
        yield verdict_line(first)
        yield f"{size_words(first)}{_changes([first])}"
    yield ""
    if len(entries) <= SIDE_BY_SIDE and not any(one.get("point") for one in entries):
        yield happens_table(entries)
        yield from _not_reached(entries)
    if not several:
        yield from _how_far(first)
    yield ""
    if document["caveats"]:
        yield from (*caveat_lines(document["caveats"], whole=is_sampled(first)), "")


def _changes(entries: Sequence[Exploration]) -> str:
    return "".join(f"; {told}" for told in changes_told({}, entries))


def happens_table(entries: Sequence[Exploration], *, every: bool = False) -> Table:
    """A row for each outcome that any ordering can show, with the fewest steps to it, or for `every` one: of one
    ordering with what it means, of several side by side."""
    names = [name for name in _names(entries) if every or any(name in one["witness_steps"] for one in entries)]
    heads = ["fewest steps", "why"]
    if len(entries) > 1:
        heads = [broken_name(name_of(one)) for one in entries]
    rows = tuple(
        (name, _graded(entries, name), *(_steps(one, name, every=every) for one in entries), _why(name))[
            : 2 + len(heads)
        ]
        for name in names
    )
    bad = frozenset(place for place, name in enumerate(names) if any(name in failing(one) for one in entries))
    head = (f"WHAT CAN HAPPEN{', steps' * (len(entries) > 1)}", "grade", *heads)
    return Table("", head, rows, marked=bad, legible=() if len(entries) > 1 else (3,))


def exploration_table(exploration: Exploration) -> Table:
    """One ordering: each outcome but `fresh`, and how far the search went."""
    told = [f"{exploration['ordering']}: {size_words(exploration)}{_changes([exploration])}", *_how_far(exploration)]
    return replace(happens_table([exploration], every=True), caption="; ".join(told))


def _steps(exploration: Exploration, name: str, *, every: bool) -> str:
    steps = exploration["witness_steps"].get(name)
    if steps is None and not every:
        return "-"
    if steps is None:
        unasked = name == "no_progress" and exploration["liveness"] is None
        return "not seen" if not exploration["complete"] else "not looked for" if unasked else "never"
    drawn = f" in {count(exploration['schedules_with'].get(name, 0))} schedules" if is_sampled(exploration) else ""
    return f"{count(steps)}{drawn}"


def _graded(entries: Sequence[Exploration], name: str) -> str:
    broken = any(name in one["broken"] for one in entries)
    grade = Grade.forbidden if broken else grade_of(name)
    return grade.value + "!" * any(name in failing(one) for one in entries)


def _why(name: str) -> str:
    return BROKEN_WHY.get(name) or meaning(name).why


def _not_reached(entries: Sequence[Exploration]) -> Iterator[str]:
    """How many outcomes no search came to, and what that says: never, only where all of it was looked at."""
    silent = [name for name in _names(entries) if not any(name in one["witness_steps"] for one in entries)]
    unasked = [name for name in silent if name == "no_progress" and any(one["liveness"] is None for one in entries)]
    bad = sum(grade_of(name) in FAILING for name in silent if name not in unasked)
    never = "Never" if all(one["complete"] for one in entries) else "Not seen"
    not_asked = ", and livelocks were not looked for" * bool(unasked and not any(map(is_sampled, entries)))
    if silent:
        yield f"{never}: {silent_words(bad, len(silent) - len(unasked) - bad)}{not_asked}."


def _names(entries: Sequence[Exploration]) -> list[str]:
    """Every outcome of the flow but `fresh`, by grade; then what else was seen, and the invariants that are broken."""
    order = list(Grade)
    flow = flow_named(entries[0].get("flow", "shootdown"))
    told = sorted(declared(flow), key=lambda outcome: (order.index(outcome.grade), outcome))
    names = [outcome.name for outcome in told if outcome.name != "fresh"]
    others = dict.fromkeys(name for one in entries for name in (*one["outcomes"], *failing(one)))
    return names + [name for name in others if name not in names]


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
        f"{per_second(states / max(exploration['seconds'], 1e-9))} states/s"
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
        folded = exploration["symmetry"] and live["states"] != exploration["states"]
        apart = ", actors that are alike told apart," if folded else ""
        yield f"progress: from each of {count(live['states'])} states{apart} every zapper can finish{enters}"
    for actor, states in (live.get("refused") or {}).items():
        yield f"{actor} is kept out of the guest for ever from {plural(states, 'state')} on"
    for actor, step in live["starving"].items():
        yield f"no failure: an unlucky, fair schedule can keep {actor} for ever at {step}"


def _duration(exploration: Exploration) -> str:
    return nanoseconds(exploration["seconds"] * 1e9)


def explorations_table(explorations: Sequence[Exploration]) -> Table:
    """One line an ordering: verdict, what was looked at, the forbidden outcome that is reached in the fewest steps."""
    numbers = ("states", "transitions", "depth", "time")
    if any(map(is_sampled, explorations)):
        numbers = ("schedules", "steps", "longest", "time")
    rows = []
    for one in explorations:
        first = next((f"{name}, {plural(steps, 'step')}" for name, steps in failing(one).items()), "-")
        states = count(one["schedules"] if is_sampled(one) else one["states"])
        far = states, count(one["transitions"]), f"{one['depth']:,}", _duration(one)
        rows.append((word_of(one).upper(), name_of(one), *far, first))
    head = ("VERDICT", "ordering", *numbers, "shortest forbidden")
    bad = frozenset(place for place, one in enumerate(explorations) if not is_safe(one))
    return Table("", head, tuple(rows), frozenset({2, 3, 4, 5}), bad)


def points_table(explorations: Sequence[Exploration]) -> Table:
    """One line an ordering: at how many points of a sweep it came to which verdict, what was looked at in all, and the
    point at which something forbidden is reached in the fewest steps.
    """
    rows = []
    for name in dict.fromkeys(one["ordering"] for one in explorations):
        its = [one for one in explorations if one["ordering"] == name]
        verdicts = ", ".join(f"{times} {word}" for word, times in Counter(map(word_of, its)).items())
        states = sum((one["schedules"] if is_sampled(one) else one["states"]) or 0 for one in its)
        shown = [(steps, what, one["point"]) for one in its for what, steps in failing(one).items()]
        least = "{1}, {0} steps at {2}".format(*min(shown)) if shown else "-"
        rows.append((name_of(its[0]), str(len(its)), verdicts, count(states), least))
    looked = "schedules" if any(map(is_sampled, explorations)) else "states"
    return Table("", ("ordering", "points", "verdicts", looked, "shortest forbidden"), tuple(rows), frozenset({1, 3}))


def each_point_table(explorations: Sequence[Exploration]) -> Table:
    """A row a point, orderings side by side: the verdict, or what fails in the fewest steps."""
    names = list(dict.fromkeys(one["ordering"] for one in explorations))
    found = {(one["ordering"], one["point"]): one for one in explorations}
    points = list(dict.fromkeys(one["point"] for one in explorations))
    rows = [
        (point, *(_at(found[name, point]) if (name, point) in found else "-" for name in names)) for point in points
    ]
    return Table("", ("point", *names), tuple(rows))


def _at(exploration: Exploration) -> str:
    least = min(((steps, what) for what, steps in failing(exploration).items()), default=None)
    return str(word_of(exploration)) if least is None else f"{least[1]} {least[0]}"


def at_point(exploration: Exploration) -> str:
    """Its ordering, and where in a sweep: `v18@vcpus=2`."""
    return "@".join(filter(None, (exploration["ordering"], exploration.get("point"))))


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
    return f"Observation {at_point(exploration)} {often} {forbidden} {other}"


def exploration_cases(document: Mapping[str, Any]) -> list[Case]:
    """A case an ordering: how soon what fails was reached, and what was looked at; one too for each that was not."""
    explorations = entries_of(document)
    told = [[f"{name}: {plural(steps, 'step')}" for name, steps in failing(one).items()] for one in explorations]
    cases = [
        case_of({**one, "ordering": at_point(one)}, (*steps, f"looked at {looked_at(one)}"))
        for one, steps in zip(explorations, told, strict=True)
    ]
    return cases + unreached(document.get("asked", ()), cases, document.get("command", ()))
