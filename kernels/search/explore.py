"""Every interleaving of a small machine: which outcomes can be reached, and the shortest way to each."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kernels.protocol import Protocol
from kernels.search import frontier as store
from kernels.search.breadth_first import Progress, Search
from kernels.search.progress import EDGES_WORDS, Liveness, check_liveness
from kernels.search.schedule import Move, Schedule
from kernels.search.tables import check_numbers, get_ready, make_plan

NO_PROGRESS = "no_progress"  # what an outcome is called of which no step is the last
GRAPH_STATES = 2_000_000  # the most states whose whole graph is looked at


@dataclass(frozen=True, slots=True)
class Exploration:
    """What a search found.

    `outcomes` and `broken` invariants go by name to a shortest schedule, whose last move shows it; shortest in accesses
    where choices are reduced, as those then cost nothing. `seconds` are those
    of the search, compiled before; `chance_of_miss` that two of its states shared a fingerprint of 64 bits.
    `stopped_by`: "memory", "interrupt", "first", or nothing where it is complete. `liveness` is None where it was not
    asked for, or the search is not complete, or the graph too large.
    """

    size: Any
    symmetry: bool
    reduction: bool
    threads: int
    states: int
    transitions: int
    depth: int
    seconds: float
    complete: bool
    stopped_by: str
    outcomes: dict[str, tuple[Move, ...]]
    broken: dict[str, tuple[Move, ...]]
    deadlocks: int
    chance_of_miss: float
    liveness: Liveness | None


def explore(
    protocol: Protocol,
    rules: Any,
    size: Any,
    *,
    symmetry: bool = True,
    reduction: bool = True,
    threads: int | None = None,
    memory_bytes: int = 4 << 30,
    until: Iterable[str] = (),
    liveness: bool = True,
    watch: Callable[[Progress], bool] | None = None,
) -> Exploration:
    """Search every interleaving, breadth first.

    `symmetry` takes states that differ only in the names of actors for one, `reduction` a choice together
    with the step before it. `threads` defaults to the CPUs allowed; the numbers do not depend on it. `until` are
    outcomes of which the first one seen ends the search. `watch` is called some times a second; its False ends the
    search. `memory_bytes` bounds the tables, the links, the frontier and what is remembered of moves.
    """
    check_numbers(protocol, protocol.plan(rules, size))
    get_ready(protocol)
    start = Schedule(protocol, protocol.searched(rules), size)
    threads = max(1, min(threads or len(os.sched_getaffinity(0)), store.PARTS))
    symmetry = symmetry and protocol.folds
    plan = make_plan(start, symmetry=symmetry, reduction=reduction)
    it = Search(start, plan, threads, memory_bytes)
    it.stop_at(plan.deadlock if name == NO_PROGRESS else int(protocol.outcomes[name]) for name in until)
    stopped_by = it.run(watch)
    now = it.progress()
    found = it.findings()
    unfolded = now.states * (math.factorial(plan.endless) * math.factorial(plan.ending) if symmetry else 1)
    most = min(GRAPH_STATES, memory_bytes // (8 * (start.lay.state_words + EDGES_WORDS)))
    drawable = liveness and not stopped_by and unfolded < 2 * most
    go_on = (lambda: True) if watch is None else lambda: watch(now)
    endings = check_liveness(start, most, go_on, reduction=reduction) if drawable else None
    outcomes = {outcome.name: found[outcome] for outcome in protocol.outcomes if int(outcome) in found}
    if plan.deadlock in found:
        outcomes[NO_PROGRESS] = found[plan.deadlock]
    elif endings is not None and endings.livelocks:
        outcomes[NO_PROGRESS] = endings.livelock
    return Exploration(
        size=size,
        symmetry=symmetry,
        reduction=reduction,
        threads=threads,
        states=now.states,
        transitions=now.transitions,
        depth=now.depth,
        seconds=now.seconds,
        complete=not stopped_by,
        stopped_by=stopped_by,
        outcomes=outcomes,
        broken={name: found[finding] for finding, name in _invariants(protocol).items() if finding in found},
        deadlocks=it.deadlocks(),
        chance_of_miss=now.states**2 / 2.0**65,
        liveness=endings,
    )


def _invariants(protocol: Protocol) -> dict[int, str]:
    """By finding, the invariants: those that a move breaks, and behind a deadlock those that a state breaks."""
    first, names = len(protocol.outcomes), [*protocol.states.of_changes, *protocol.states.invariants]
    return {first + place + (place >= len(protocol.states.of_changes)): name for place, name in enumerate(names)}
