"""Many searches on machines that grow: each machine in turn, on it everything that is still open, some at once."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

from kernels.search.breadth_first import Move
from kernels.search.explore import Exploration, explore
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Rules
from results.grades import FAILING, grade_of
from results.kinds.orders import Tier
from stress.interrupts import Interrupts
from stress.options import ExploreRequest
from stress.processes.memory import chosen_memory, in_address_space

LOOK_S = 0.2
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Advance:
    """How far it is: this machine of how many, searches done of those that came to it, seconds since it began."""

    machine: int
    tier: Tier
    done: int
    of: int
    seconds: float

    @property
    def left_s(self) -> float | None:
        """Until all are through on this machine; None before the first."""
        return self.seconds / self.done * (self.of - self.done) if self.done else None

    def on(self, machines: int, what: str) -> str:
        """For people, where there are so many machines and what is searched is called this."""
        left = "" if self.left_s is None else f", about {self.left_s:.0f} s left on it"
        return f"machine {self.machine} of {machines} ({self.tier.words}): {self.done} of {self.of} {what}{left}"


def on_machine(
    tier: Tier,
    rules: Mapping[int, Rules],
    look: Callable[[Rules, Tier, Callable[[], bool]], Result],
    interrupts: Interrupts,
    show: Callable[[Advance], None],
    threads: int,
    machine: int,
) -> dict[int, Result]:
    """All of these on this machine, by their places; those that an interrupt left out are not among them. `show`
    is called some times a second.
    """
    begun, found = time.monotonic(), dict[int, Result]()
    with ThreadPoolExecutor(threads) as pool:
        pending: dict[Future[Result], int] = {
            pool.submit(look, its, tier, lambda: not interrupts): place for place, its in rules.items()
        }
        left = set(pending)
        while left and not interrupts:
            done, left = wait(left, LOOK_S, FIRST_COMPLETED)
            found.update((pending[one], one.result()) for one in done)
            show(Advance(machine, tier, len(found), len(rules), time.monotonic() - begun))
        pool.shutdown(cancel_futures=True)
    found.update((pending[one], one.result()) for one in left if not one.cancelled())
    return dict(sorted(found.items()))


def alone(rules: Rules, tier: Tier, go_on: Callable[[], bool], **asked: Any) -> Exploration:
    """Searched on this machine by one thread: what is found does not depend on how many there are."""
    size = Size(tier.vcpus, tier.zappers, tier.pages, tier.tlb_entries)
    return explore(*of_flow(rules), size, threads=1, watch=lambda _: go_on(), **asked)


def forbidden(done: Exploration) -> dict[str, tuple[Move, ...]]:
    """Every forbidden outcome and broken invariant, with a shortest schedule to it."""
    reached = {**done.outcomes, **done.broken}
    return {name: moves for name, moves in reached.items() if grade_of(name) in FAILING}


def memory_of_each(request: ExploreRequest, threads: int, unsaid: int) -> int:
    """The bytes of one search where so many go on at once: their share of --memory, or what it is where none is given.
    Raises UsageFault.
    """
    if request.memory is None:
        return in_address_space(unsaid * threads) // threads
    return chosen_memory(request.memory) // threads
