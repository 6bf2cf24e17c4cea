"""The machines of a matrix: those of each flow, the cheapest first."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from results.kinds.orders import Tier
from scenarios.loader import apply_settings, load_scenario
from scenarios.models import Ordering, Scenario


class Machine(NamedTuple):
    """A flow's scenario on a machine of this size, and what is set beside it, as `--set` takes it."""

    scenario: str
    tier: Tier
    set: tuple[str, ...] = ()

    def under(self, orderings: Sequence[Ordering]) -> tuple[Scenario, list[Ordering]]:
        """The scenario, and the orderings as they are on it."""
        sizes = [f"{key}={value}" for key, value in self.tier._asdict().items() if key != "liveness"]
        return apply_settings(load_scenario(self.scenario), orderings, [*sizes, *self.set])

    def json(self) -> dict[str, Any]:
        """As it stands in matrix.json."""
        return {"scenario": self.scenario, **self.tier._asdict(), "set": list(self.set)}


def tier(
    vcpus: int, zappers: int, pages: int, shootdowns: int, *, liveness: bool = False, tlb_entries: int = 1
) -> Tier:
    """A size in the order in which it is said."""
    return Tier(vcpus, zappers, pages, shootdowns, liveness, tlb_entries)


ONE = tier(1, 1, 1, 1, liveness=True)
TWICE = tier(1, 1, 1, 2, liveness=True)
TWO_ZAPPERS, TWO_VCPUS, TWO_OF_BOTH = tier(1, 2, 1, 1), tier(2, 1, 1, 1), tier(2, 2, 1, 1)
# By flow; two vCPUs and two zappers where that takes no longer than all else. They share a page: with a page each, v18
# alone has 30 million states.
MACHINES = {
    "shootdown": (
        Machine("small", ONE),
        Machine("small", TWICE),
        Machine("small", tier(1, 2, 1, 1, liveness=True)),
        Machine("small", tier(1, 2, 2, 1)),
        Machine("small", tier(2, 1, 1, 2)),
        Machine("small", tier(2, 2, 1, 1)),
    ),
    "batch": tuple(
        Machine("batch", tier(vcpus, 1, 2, 1, tlb_entries=2, liveness=vcpus == 1), ("batch=2", "resched=true"))
        for vcpus in (1, 2)
    ),
    "shared_ept": (
        Machine("shared_ept", tier(1, 1, 2, 1, tlb_entries=2, liveness=True), ("shared_pages=1",)),
        Machine("shared_ept", tier(1, 2, 2, 1, tlb_entries=2), ("shared_pages=1",)),
        Machine("shared_ept", tier(2, 1, 2, 1, tlb_entries=2), ("shared_pages=1",)),
    ),
    # With the zap, or every ordering shows what the faults do.
    "mmio": tuple(Machine("mmio", size, ("memslot_zap=mmio",)) for size in (ONE, TWO_ZAPPERS, TWO_VCPUS)),
    "populate": (Machine("populate", ONE), Machine("populate", TWO_VCPUS), Machine("populate", TWO_OF_BOTH)),
    "sept_pages": (
        Machine("sept_pages", tier(1, 1, 1, 1, tlb_entries=2, liveness=True), ("sept_free=live",)),
        Machine("sept_pages", tier(1, 2, 1, 1, tlb_entries=2), ("sept_free=live",)),
        Machine("sept_pages", tier(2, 1, 1, 1, tlb_entries=2), ("sept_free=live",)),
    ),
    "teardown": (Machine("teardown", ONE), Machine("teardown", TWICE), Machine("teardown", TWO_VCPUS)),
    # A vCPU that comes back to a processor, and two that take turns on one: both at once have 15 million states.
    "migrate": (
        Machine("migrate", ONE, ("lps=2",)),
        Machine("migrate", TWO_VCPUS, ("lps=1",)),
        Machine("migrate", TWO_OF_BOTH, ("lps=1",)),
    ),
    # From the first violation, and from the second on, to which only some orders come.
    "zero_step": (
        Machine("zero_step", ONE, ("epf_threshold=0", "hp_lock_timeout=1")),
        Machine("zero_step", tier(2, 1, 1, 1, liveness=True), ("epf_threshold=0", "hp_lock_timeout=0")),
        Machine("zero_step", ONE, ("epf_threshold=1", "hp_lock_timeout=1")),
        Machine("zero_step", TWO_ZAPPERS, ("epf_threshold=1", "hp_lock_timeout=1")),
        Machine("zero_step", TWO_VCPUS, ("epf_threshold=1", "hp_lock_timeout=1")),
    ),
}

# Those of a contract: of the matrix's, without the largest of these parts, as a graph with its edges is kept whole.
SMALLER = {"batch": 1, "mmio": 2, "populate": 2, "teardown": 2, "migrate": 2, "zero_step": 4}
OWN_TRACK = "flush_current"  # a vCPU's own TRACK, for which an ordering needs a gate
CONTRACT_MACHINES = {part: its[: SMALLER.get(part)] for part, its in MACHINES.items()}
CONTRACT_MACHINES["populate"] += (Machine("populate", tier(1, 2, 2, 1)),)
CONTRACT_MACHINES[OWN_TRACK] = (Machine(OWN_TRACK, ONE),)
