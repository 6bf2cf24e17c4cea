"""Every order of an ordering's steps explored, in tiers: on the smallest machine first, what still looks safe there on
a larger one. An order is decided by the first machine that shows a forbidden outcome, and safe where none does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kernels.search.explore import Exploration
from kernels.tdx.rules import Fault, OnError, Rules
from results.kinds.exploration import INTERRUPT, MEMORY
from results.kinds.orders import AS_IS, CHECK_OFF, HOST_FREES, STALE, Tier, order_entry
from scenarios.models import Ordering, Scenario
from stress.explore.grid import alone, forbidden
from stress.explore.witness import as_searched
from stress.interrupts import Interrupts
from stress.screen import Screen

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


def run_order(
    described: dict[str, Any], interrupts: Interrupts, progress: Screen | None
) -> tuple[dict[str, Any], bool]:
    """One order on every machine in turn until one decides it, and whether it was looked at to its end. `tier`: the
    place of the one that decides; None where one takes more than `memory_bytes`.
    """
    ordering, scenario = Ordering.model_validate(described["ordering"]), Scenario.model_validate(described["scenario"])
    rules, states, transitions, decides = as_searched(ordering, scenario), 0, 0, None
    for place, tier in enumerate(TIERS[: described["tiers"]]):
        if interrupts:
            break
        look = look_at(rules, tier, lambda: not interrupts, memory_bytes=described["memory_bytes"])
        states, transitions = states + look.states, transitions + look.transitions
        if not look.complete:
            break
        if look.found[AS_IS] or place == described["tiers"] - 1:
            decides = place
            break
    found: dict[str, Any] = {"tier": decides, "states": states, "transitions": transitions}
    if decides is not None:
        found |= {"found": look.found, "unsettled": list(look.unsettled)}
    return found, decides is not None or not interrupts


def order_of(steps: Sequence[str], found: Mapping[str, Any] | None) -> dict[str, Any]:
    """The result; open where there is none yet."""
    if found is None or found["tier"] is None:
        return order_entry(steps, {}, states=0 if found is None else found["states"])
    return order_entry(steps, found["found"], found["unsettled"], TIERS[found["tier"]], found["states"])


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
