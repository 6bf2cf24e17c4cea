"""The machines of a matrix and of a contract: what the scenario of each flow says, the cheapest first."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from results.kinds.orders import Tier
from scenarios.loader import apply_settings, load_scenario
from scenarios.models import Ordering, Scenario, Small
from stress.resolve import example_of

MATRIX, CONTRACT = "matrix", "contract"
GUARDED = "build"  # ioctls that build a TD, which are looked at where an ordering guards them
OWN_TRACK = "flush_current"  # a vCPU's own TRACK, for which an ordering needs a gate


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


@cache
def machines(flow: str, search: str = MATRIX, scenario: str = "") -> tuple[Machine, ...]:
    """The small machines of a flow, the cheapest first, which a matrix or a contract has: those in the scenario of its
    name, or of its first part's, or in this one.
    """
    name = scenario or example_of(flow)
    its = load_scenario(name).matrix or (Small(liveness=True), Small(zappers=2), Small(vcpus=2))
    return tuple(
        Machine(name, Tier(**{key: getattr(one, key) for key in Tier._fields}), one.set)
        for one in its
        if one.only in ("", search)
    )
