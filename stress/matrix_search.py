"""Every ordering with every fault on the machines of its flow: unlike an order of the atlas, a pair is looked at on all
of them, as a fault may add a stale read to an order that is refused anyway. Only the stale read ends a pair.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kernels.search.breadth_first import Move
from kernels.search.explore import explore
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Fault, Rules
from results.grades import FAILING, grade_of
from results.kinds.exploration import FIRST
from results.kinds.faults import NO_FAULT, OTHERS, Pair, judged
from results.kinds.orders import Tier
from scenarios.models import Ordering
from stress.atlas_search import Advance, on_machine
from stress.interrupts import Interrupts
from stress.matrix_machines import MACHINES, Machine
from stress.search import rules_of, told
from stress.unread import looks_for, what_is_read
from stress.witness import Recorded, recorded

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
        return any(name in self.found for name in OTHERS)


@dataclass(slots=True)
class Course:
    """What is known of one pair so far; `ordering` as it is everywhere, `seen` by machine. `unread`: on no machine of
    the flow all its faults are looked for.
    """

    flow: str
    ordering: Ordering
    faults: tuple[str, ...]
    seen: list[tuple[Machine, Seen]] = field(default_factory=list)
    unread: bool = False

    @property
    def row(self) -> str:
        """As it stands in the JSON."""
        return "+".join(self.faults) or NO_FAULT

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it."""
        return self.flow, self.ordering.name, self.row

    @property
    def shortest(self) -> dict[str, tuple[Machine, tuple[Move, ...]]]:
        """To each forbidden outcome the shortest schedule, with its machine."""
        best: dict[str, tuple[Machine, tuple[Move, ...]]] = {}
        for machine, seen in self.seen:
            for name, moves in seen.found.items():
                if name not in best or len(moves) < len(best[name][1]):
                    best[name] = machine, moves
        return best

    def pair(self) -> Pair:
        """The result; complete where every machine was searched to its end, or until the stale read."""
        whole = all(seen.complete for _, seen in self.seen)
        done = bool(self.seen) and (self.seen[-1][1].stale or (len(self.seen) == len(MACHINES[self.flow]) and whole))
        best = self.shortest
        found = {name: len(moves) for name, (_, moves) in best.items()}
        decides = judged(found)[1]
        return Pair(
            self.flow,
            self.ordering.name,
            self.row,
            found,
            done or self.unread,
            sum(seen.states for _, seen in self.seen),
            best[decides][0].json() if decides else None,
            self.unread,
        )

    def witness(self, *, steps: bool = True) -> list[dict[str, Any]]:
        """The shortest schedule to what decides, empty where nothing is forbidden: who moves, and which way; with
        `steps` what each move is too, for which it is run once more, some 10 ms.
        """
        outcome = self.pair().outcome
        if outcome is None:
            return []
        machine, moves = self.shortest[outcome]
        if not steps:
            return [{"actor": move.actor, "chosen": move.chosen} for move in moves]
        return list(told(run_again(machine, self.ordering, self.faults, outcome, moves)))


@dataclass(slots=True)
class Crossed:
    """Every pair, flows in turn and orderings in turn within each, and how it went; `seconds` of searching."""

    courses: Sequence[Course]
    threads: int
    seconds: float = 0.0

    @property
    def pairs(self) -> list[Pair]:
        """The results."""
        return [course.pair() for course in self.courses]

    @property
    def complete(self) -> bool:
        """Whether no pair is open."""
        return all(pair.complete for pair in self.pairs)

    def facts(self) -> dict[str, Any]:
        """As they stand in the JSON."""
        seen = [seen for course in self.courses for _, seen in course.seen]
        return {
            "pairs": len(self.courses),
            "complete": self.complete,
            "states": sum(one.states for one in seen),
            "transitions": sum(one.transitions for one in seen),
            "threads": self.threads,
            "seconds": round(self.seconds, 3),
        }


def cross(
    orderings: Sequence[Ordering],
    rows: Mapping[str, Sequence[tuple[str, ...]]],
    interrupts: Interrupts,
    show: Callable[[str, Advance], None],
    *,
    threads: int,
    memory_bytes: int = MEMORY_BYTES,
    keep: Callable[[Crossed], None] = lambda _: None,
) -> Crossed:
    """Look at every ordering with every row of faults, by flow, and without a fault; what an interrupt leaves out stays
    open, and what takes more than `memory_bytes`. `show` is called some times a second, with the flow; `keep` after
    each flow, with all pairs as they stand.
    """
    courses = [
        Course(flow, ordering, faults) for flow, its in rows.items() for ordering in orderings for faults in ((), *its)
    ]
    crossed = Crossed(courses, threads)
    for flow in rows:
        begun = time.monotonic()
        of_flow = [course for course in courses if course.flow == flow]
        for course in of_flow:
            course.unread = not is_read(course)
        going = [course for course in of_flow if not course.unread]
        for number, machine in enumerate(MACHINES[flow], start=1):
            if interrupts:
                break
            found = on_machine(
                machine.tier,
                {place: rules_on(machine, course.ordering, course.faults) for place, course in enumerate(going)},
                partial(look_at, memory_bytes=memory_bytes),
                interrupts,
                partial(show, flow),
                threads,
                number,
            )
            for place, seen in found.items():
                going[place].seen.append((machine, seen))
            going = [course for course in going if len(course.seen) == number and not course.seen[-1][1].stale]
        crossed.seconds += time.monotonic() - begun
        keep(crossed)
        if interrupts:
            break
    return crossed


def is_read(course: Course) -> bool:
    """Whether on a machine of the flow each of the faults is looked for under the ordering."""
    faults = {"faults": course.faults if len(course.faults) > 1 else ()}  # one alone is looked for whether it is there
    for machine in MACHINES[course.flow] if course.faults else ():
        scenario, (its,) = machine.under([course.ordering.model_copy(update=faults)])
        if looks_for(course.faults, what_is_read(scenario, its)):
            return True
    return not course.faults


def rules_on(machine: Machine, ordering: Ordering, faults: Iterable[str]) -> Rules:
    """The ordering's on this machine, with the faults."""
    scenario, (its,) = machine.under([ordering])
    return rules_of(its, scenario)._replace(faults=sum(int(Fault[name.upper()]) for name in faults))


def run_again(
    machine: Machine, ordering: Ordering, faults: Iterable[str], outcome: str, moves: Iterable[Move]
) -> Recorded:
    """A pair's schedule with all that a witness needs. Raises KeyError, ValueError for a move that cannot be taken."""
    scenario, (its,) = machine.under([ordering])
    return recorded(its, rules_on(machine, ordering, faults), size_of(machine.tier), outcome, moves, scenario.machine)


def size_of(tier: Tier) -> Size:
    """As the explorer takes it."""
    return Size(tier.vcpus, tier.zappers, tier.pages, tier.tlb_entries)


def look_at(
    rules: Rules, tier: Tier, go_on: Callable[[], bool] = lambda: True, *, memory_bytes: int = MEMORY_BYTES
) -> Seen:
    """One pair on one machine, up to its first read of what is someone else's."""
    done = explore(
        *of_flow(rules),
        size_of(tier),
        threads=1,
        liveness=tier.liveness,
        until=OTHERS,
        memory_bytes=memory_bytes,
        watch=lambda _: go_on(),
    )
    reached = {**done.outcomes, **done.broken}
    found = {name: moves for name, moves in reached.items() if grade_of(name) in FAILING}
    return Seen(found, done.states, done.transitions, done.complete or done.stopped_by == FIRST)
