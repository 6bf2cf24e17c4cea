"""Every order of an ordering's steps explored, in tiers: on the smallest machine first, what still looks safe there on
a larger one. An order is decided by the first machine that shows a forbidden outcome, and safe where none does.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from kernels.search.explore import Exploration
from kernels.tdx.rules import Fault, OnError, Rules
from results.kinds.exploration import INTERRUPT, MEMORY
from results.kinds.orders import AS_IS, CHECK_OFF, HOST_FREES, STALE, Order, Tier
from scenarios.models import Ordering, Scenario
from scenarios.orders import every_order
from stress.explore.grid import Advance, alone, forbidden, on_machine
from stress.explore.witness import as_searched
from stress.interrupts import Interrupts

# The cheapest first. Two pages let two zappers be in the middle of a shootdown at once.
TIERS = (
    Tier(vcpus=1, zappers=1, pages=1, shootdowns=1, liveness=True),
    Tier(vcpus=1, zappers=1, pages=1, shootdowns=2, liveness=True),
    Tier(vcpus=1, zappers=2, pages=1, shootdowns=1, liveness=True),
    Tier(vcpus=2, zappers=1, pages=1, shootdowns=1, liveness=False),
    Tier(vcpus=1, zappers=2, pages=2, shootdowns=1, liveness=False),
    Tier(vcpus=2, zappers=1, pages=1, shootdowns=2, liveness=False),
    Tier(vcpus=2, zappers=2, pages=1, shootdowns=1, liveness=False),
)
MEMORY_BYTES = 4 << 30  # of one search of the module as it is
# A host that goes on after errors shoots down again; with two zappers epochs then grow without end, and no bound does.
VARIANT_BYTES = {CHECK_OFF: 256 << 20, HOST_FREES: 32 << 20}


class OrderResult(NamedTuple):
    """One order on one machine. `found`: by variant, forbidden outcomes with the steps to each; `unsettled` are
    variants in which not everything was looked at, and nothing stale was seen until then.
    """

    found: dict[str, dict[str, int]]
    unsettled: tuple[str, ...]
    states: int
    transitions: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Explored:
    """Every order in the order of `every_order`, and how it went."""

    orders: Sequence[Order]
    orderings: Sequence[Ordering]
    threads: int
    states: int
    transitions: int
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every order is decided."""
        return all(order.tier is not None for order in self.orders)

    def facts(self) -> dict[str, Any]:
        """As they stand in the JSON."""
        return {
            "orders": len(self.orders),
            "decided": sum(order.tier is not None for order in self.orders),
            "complete": self.complete,
            "states": self.states,
            "transitions": self.transitions,
            "threads": self.threads,
            "seconds": round(self.seconds, 3),
        }


def explore_orders(
    ordering: Ordering,
    scenario: Scenario,
    interrupts: Interrupts,
    show: Callable[[Advance], None],
    *,
    threads: int,
    memory_bytes: int = MEMORY_BYTES,
    tiers: Sequence[Tier] = TIERS,
    keep: Callable[[Explored], None] = lambda _: None,
) -> Explored:
    """Decide every order of the ordering's steps; what an interrupt leaves undecided stays open, and what takes more
    than `memory_bytes`.

    `scenario` gives what no search looks at. `show` is called some times a second, `keep` after each machine but the
    last, with what is decided so far.
    """
    begun = time.monotonic()
    orderings = list(every_order(ordering))
    rules = [as_searched(one, scenario) for one in orderings]
    looks: list[list[OrderResult]] = [[] for _ in orderings]
    decided: dict[int, Tier] = {}
    going = list(range(len(orderings)))
    look = partial(look_at, memory_bytes=memory_bytes)

    def so_far() -> Explored:
        return Explored(
            orders=[_order(one.shootdown, looks[place], decided.get(place)) for place, one in enumerate(orderings)],
            orderings=orderings,
            threads=threads,
            states=sum(look.states for several in looks for look in several),
            transitions=sum(look.transitions for several in looks for look in several),
            seconds=time.monotonic() - begun,
        )

    for machine, tier in enumerate(tiers, start=1):
        if interrupts:
            going = []
            break
        found = on_machine(tier, {place: rules[place] for place in going}, look, interrupts, show, threads, machine)
        for place, seen in found.items():
            looks[place].append(seen)
            if seen.complete and seen.found[AS_IS]:
                decided[place] = tier
        going = [place for place, seen in found.items() if seen.complete and not seen.found[AS_IS]]
        if machine < len(tiers):
            keep(so_far())
    decided.update(dict.fromkeys(going, tiers[-1]))
    return so_far()


def _order(steps: tuple[str, ...], looks: Sequence[OrderResult], tier: Tier | None) -> Order:
    states = sum(look.states for look in looks)
    if tier is None:
        return Order(steps, {}, (), None, states)
    return Order(steps, looks[-1].found, looks[-1].unsettled, tier, states)


def look_at(
    rules: Rules, tier: Tier, go_on: Callable[[], bool] = lambda: True, *, memory_bytes: int = MEMORY_BYTES
) -> OrderResult:
    """One order on one machine, and where it shows something forbidden whether it is stale in the other variants too.

    What is never refused needs no variants: it does the same without the module's check, and a host never sees an
    error. A variant is searched up to its first use after REMOVE, within VARIANT_BYTES: what a bound on memory leaves
    out is the same everywhere.
    """
    rules = rules._replace(shootdowns=tier.shootdowns)
    done = alone(rules, tier, go_on, liveness=tier.liveness, memory_bytes=memory_bytes)
    look = OrderResult({AS_IS: _steps(done)}, (), done.states, done.transitions, done.complete)
    variants = {
        CHECK_OFF: rules._replace(faults=rules.faults | Fault.REMOVE_WITHOUT_TRACKING),
        HOST_FREES: rules._replace(on_error=int(OnError.FREE_PAGE)),
    }
    for variant, its in variants.items():
        if not look.complete or not look.found[AS_IS]:
            break
        most = variant_bytes(memory_bytes)[variant]
        done = alone(its, tier, go_on, liveness=False, until=(STALE,), memory_bytes=most)
        look = OrderResult(
            found={**look.found, variant: _steps(done)},
            unsettled=(*look.unsettled, *([variant] if done.stopped_by == MEMORY else ())),
            states=look.states + done.states,
            transitions=look.transitions + done.transitions,
            complete=done.stopped_by != INTERRUPT,
        )
    return look


def variant_bytes(memory_bytes: int) -> dict[str, int]:
    """The bound of each variant's search, where a search may take so much."""
    return {variant: min(most, memory_bytes) for variant, most in VARIANT_BYTES.items()}


def _steps(done: Exploration) -> dict[str, int]:
    """To everything that is forbidden."""
    return {name: len(moves) for name, moves in forbidden(done).items()}
