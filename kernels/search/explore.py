"""Every interleaving of a small machine: which outcomes can be reached, and the shortest way to each."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from kernels.search import frontier as store
from kernels.search.breadth_first import Move, Progress, Search
from kernels.search.progress import EDGES_WORDS, Liveness, check_liveness
from kernels.search.schedule import Schedule
from kernels.search.tables import check_numbers, get_ready, make_plan
from kernels.tdx.flows import FLOWS
from kernels.tdx.outcomes import Outcome
from kernels.tdx.rules import Flow, OnError, Rules

NO_PROGRESS = Outcome.no_progress.name
INVARIANTS = {
    store.EPOCH: "epoch_monotone",
    store.REFCOUNTS: "refcounts_add_up",
    store.MIRROR: "mirror_in_step",
    store.OWNERS: "one_owner",
}
GRAPH_STATES = 2_000_000  # the most states whose whole graph is looked at


class Size(NamedTuple):
    """A machine to explore; how many shootdowns each zapper does stands in the rules."""

    vcpus: int
    zappers: int
    pages: int = 1
    tlb_entries: int = 1


def explored(rules: Rules) -> Rules:
    """The rules as a search follows them: no clock, and KVM_BUG_ON is the end of a zapper, as the VM is dead.

    A race goes on after it (`leak_page`) to count how often.
    """
    on_error = int(OnError.STOP) if rules.on_error == OnError.LEAK_PAGE else rules.on_error
    return rules._replace(on_error=on_error, tick=0, shared_cpus=0, gap=0, period=0)


@dataclass(frozen=True, slots=True)
class Exploration:
    """What a search found.

    `outcomes` and `broken` invariants go by name to a shortest schedule, whose last move shows it; shortest in accesses
    where choices are reduced, as those then cost nothing. `seconds` are those
    of the search, compiled before; `chance_of_miss` that two of its states shared a fingerprint of 64 bits.
    `stopped_by`: "memory", "interrupt", "first", or nothing where it is complete. `liveness` is None where it was not
    asked for, or the search is not complete, or the graph too large.
    """

    size: Size
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
    rules: Rules,
    size: Size,
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

    `symmetry` takes states that differ only in the names of vCPUs or zappers for one, `reduction` a choice together
    with the step before it. `threads` defaults to the CPUs allowed; the numbers do not depend on it. `until` are
    outcomes of which the first one seen ends the search. `watch` is called some times a second; its False ends the
    search. `memory_bytes` bounds the tables, the links, the frontier and what is remembered of moves.
    """
    check_numbers(size.vcpus + size.zappers, max(size.vcpus, size.pages))
    get_ready(rules.flow)
    start = Schedule(explored(rules), **size._asdict())
    threads = max(1, min(threads or len(os.sched_getaffinity(0)), store.PARTS))
    symmetry = symmetry and FLOWS[Flow(rules.flow)].folds
    it = Search(start, make_plan(start, symmetry=symmetry, reduction=reduction), threads, memory_bytes)
    it.stop_at(store.DEADLOCK if name == NO_PROGRESS else int(Outcome[name]) for name in until)
    stopped_by = it.run(watch)
    now = it.progress()
    found = it.findings()
    unfolded = now.states * (math.factorial(size.vcpus) * math.factorial(size.zappers) if symmetry else 1)
    most = min(GRAPH_STATES, memory_bytes // (8 * (start.lay.state_words + EDGES_WORDS)))
    drawable = liveness and not stopped_by and unfolded < 2 * most
    go_on = (lambda: True) if watch is None else lambda: watch(now)
    endings = check_liveness(start, most, go_on, reduction=reduction) if drawable else None
    outcomes = {outcome.name: found[outcome] for outcome in Outcome if int(outcome) in found}
    if store.DEADLOCK in found:
        outcomes[NO_PROGRESS] = found[store.DEADLOCK]
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
        broken={name: found[finding] for finding, name in _invariants(rules).items() if finding in found},
        deadlocks=it.deadlocks(),
        chance_of_miss=now.states**2 / 2.0**65,
        liveness=endings,
    )


def _invariants(rules: Rules) -> dict[int, str]:
    """By finding, the invariants of this flow."""
    known = dict(INVARIANTS)
    if rules.flow == Flow.TEARDOWN:  # another TD begins in its first epoch
        del known[store.EPOCH]
    return known
