"""Every ordering with every fault on machines that grow: unlike an order of the atlas, a pair is looked at on all of
them, as a fault may add a stale read to an order that is refused anyway. Only the stale read ends a pair.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernels.breadth import Move
from kernels.explorer import Size, explore
from kernels.rules import Fault, Rules
from results.atlas import STALE, Tier
from results.exploration_verdict import FIRST
from results.grades import FAILING, grade_of
from results.matrix import NO_FAULT, Pair, deciding
from scenarios.faults import name_of
from scenarios.models import Ordering, Scenario
from stress.atlas_search import Show, on_machine
from stress.interrupts import Interrupts
from stress.search import rules_of
from stress.witness import recorded

# Two vCPUs and two zappers share a page: with a page each, v18 alone has 30 million states.
MACHINES = (
    Tier(vcpus=1, zappers=1, pages=1, shootdowns=1, liveness=True),
    Tier(vcpus=1, zappers=1, pages=1, shootdowns=2, liveness=True),
    Tier(vcpus=1, zappers=2, pages=1, shootdowns=1, liveness=True),
    Tier(vcpus=1, zappers=2, pages=2, shootdowns=1, liveness=False),
    Tier(vcpus=2, zappers=1, pages=1, shootdowns=2, liveness=False),
    Tier(vcpus=2, zappers=2, pages=1, shootdowns=1, liveness=False),
)
# free_despite_error goes on after errors, for ever in effect: what has shown nothing stale by then is open.
MEMORY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Seen:
    """One pair on one machine: a shortest schedule to each thing that is forbidden, and whether it was the whole."""

    found: dict[str, tuple[Move, ...]]
    states: int
    transitions: int
    complete: bool

    @property
    def stale(self) -> bool:
        """Whether there is nothing left to ask."""
        return STALE in self.found


@dataclass(slots=True)
class Course:
    """What is known of one pair so far."""

    ordering: Ordering
    fault: Fault | None
    rules: Rules
    seen: list[tuple[Tier, Seen]] = field(default_factory=list)

    @property
    def fault_name(self) -> str:
        """As it stands in the JSON."""
        return NO_FAULT if self.fault is None else name_of(self.fault)

    @property
    def shortest(self) -> dict[str, tuple[Tier, tuple[Move, ...]]]:
        """To each forbidden outcome the shortest schedule, with its machine."""
        best: dict[str, tuple[Tier, tuple[Move, ...]]] = {}
        for tier, seen in self.seen:
            for name, moves in seen.found.items():
                if name not in best or len(moves) < len(best[name][1]):
                    best[name] = tier, moves
        return best

    def pair(self, machines: int) -> Pair:
        """The result; complete where every machine was searched to its end, or until the stale read."""
        whole = all(seen.complete for _, seen in self.seen)
        done = bool(self.seen) and (self.seen[-1][1].stale or (len(self.seen) == machines and whole))
        found = {name: len(moves) for name, (_, moves) in self.shortest.items()}
        decides = deciding(found)
        return Pair(
            self.ordering.name,
            self.fault_name,
            found,
            done,
            sum(seen.states for _, seen in self.seen),
            self.shortest[decides][0] if decides else None,
        )

    def witness(self) -> list[dict[str, Any]]:
        """The shortest schedule to what decides, step by step; none where nothing is forbidden."""
        best = self.shortest
        decides = deciding({name: len(moves) for name, (_, moves) in best.items()})
        if decides is None:
            return []
        tier, moves = best[decides]
        rules, size = self.rules._replace(shootdowns=tier.shootdowns), Size(tier.vcpus, tier.zappers, tier.pages)
        kept = recorded(self.ordering, rules, size, decides, moves, {})
        return [{"actor": step.actor, "step": f"{step.label} ({step.at})"} for step in kept.witness.steps]


@dataclass(frozen=True, slots=True)
class Crossed:
    """Every pair, orderings in turn, and how it went."""

    courses: Sequence[Course]
    machines: Sequence[Tier]
    threads: int
    seconds: float

    @property
    def pairs(self) -> list[Pair]:
        """The results."""
        return [course.pair(len(self.machines)) for course in self.courses]

    def facts(self) -> dict[str, Any]:
        """As they stand in the JSON."""
        seen = [seen for course in self.courses for _, seen in course.seen]
        return {
            "pairs": len(self.courses),
            "complete": all(pair.complete for pair in self.pairs),
            "states": sum(one.states for one in seen),
            "transitions": sum(one.transitions for one in seen),
            "threads": self.threads,
            "seconds": round(self.seconds, 3),
        }


def cross(
    orderings: Sequence[Ordering],
    faults: Sequence[Fault],
    scenario: Scenario,
    interrupts: Interrupts,
    show: Show,
    *,
    threads: int,
    machines: Sequence[Tier] = MACHINES,
) -> Crossed:
    """Look at every pair, and at every ordering without a fault; what an interrupt leaves out stays open."""
    begun = time.monotonic()
    courses = [
        Course(ordering, fault, _with(rules_of(ordering, scenario), fault))
        for ordering in orderings
        for fault in (None, *faults)
    ]
    going = list(range(len(courses)))
    for number, tier in enumerate(machines, start=1):
        if interrupts:
            break
        rules = {place: courses[place].rules for place in going}
        for place, seen in on_machine(tier, rules, look_at, interrupts, show, threads, number).items():
            courses[place].seen.append((tier, seen))
        going = [
            place for place in going if len(courses[place].seen) == number and not courses[place].seen[-1][1].stale
        ]
    return Crossed(courses, machines, threads, time.monotonic() - begun)


def _with(rules: Rules, fault: Fault | None) -> Rules:
    return rules._replace(faults=rules.faults | (0 if fault is None else int(fault)))


def look_at(rules: Rules, tier: Tier, go_on: Callable[[], bool] = lambda: True) -> Seen:
    """One pair on one machine, up to its first read of someone else's page."""
    done = explore(
        rules._replace(shootdowns=tier.shootdowns),
        Size(tier.vcpus, tier.zappers, tier.pages),
        threads=1,
        liveness=tier.liveness,
        until=(STALE,),
        memory_bytes=MEMORY_BYTES,
        watch=lambda _: go_on(),
    )
    reached = {**done.outcomes, **done.broken}
    found = {name: moves for name, moves in reached.items() if grade_of(name) in FAILING}
    return Seen(found, done.states, done.transitions, done.complete or done.stopped_by == FIRST)
