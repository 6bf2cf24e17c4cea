"""One of many searches: alone on its machine, and with its share of the memory."""

from collections.abc import Callable
from typing import Any

from kernels.search.explore import Exploration, explore
from kernels.search.schedule import Move
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Rules
from results.kinds.orders import Tier
from results.verdict import FAILING, grade_of
from stress.options import ExploreRequest
from stress.processes.memory import chosen_memory, in_address_space


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
