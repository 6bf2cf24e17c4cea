"""The verb `explore --orders`: each order of an ordering's steps is decided, the safe ones race, atlas.json says it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from results.caveats import caveats
from results.kinds.maps import atlas_picture
from results.kinds.orders import OrderVerdict, atlas_document, atlas_exit_code
from scenarios.models import Ordering, Scenario
from stress.explore.grid import Advance, memory_of_each
from stress.explore.order_races import BESIDE, Heat, Raced, race_orders, racing_scenario
from stress.explore.ordering import Whole, get_ready
from stress.explore.orders import MEMORY_BYTES, TIERS, Explored, explore_orders, variant_bytes
from stress.options import ExploreRequest
from stress.processes.limits import make_room
from stress.processes.placement import chosen_cpus, inherited_cpus, shown
from stress.processes.prepared import prepare_races
from stress.progress import display
from stress.session import Session, origin, put_document, session

ATLAS = "atlas"


def run_atlas(request: ExploreRequest, scenario: Scenario, ordering: Ordering) -> int:
    """Decide, race, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    make_room(2, threads=False)
    threads, name = request.threads or len(inherited_cpus()), f"{ATLAS}-{ordering.name}"
    memory_bytes = memory_of_each(request, threads, MEMORY_BYTES)
    with session(request, name, "orders") as (its, directory):
        head, cpus = origin(), inherited_cpus()
        head["host"] |= {"cpus_allowed": len(cpus), "cpus_used": shown(cpus)}
        get_ready(ordering, scenario, Whole(memory_bytes=1 << 30, threads=1), its.progress, verbose=False)
        made = partial(_document, ordering, head, memory_bytes)

        def keep(explored: Explored, raced: Raced | None = None) -> None:
            with its.noted():
                put_document(directory, ATLAS, made(explored, raced))

        with its.interrupts:
            explored = _explore(its, partial(explore_orders, ordering, scenario), threads, memory_bytes, keep)
            keep(explored)
            raced = _race(its, request, explored, partial(keep, explored))
            document = made(explored, raced)
            with its.noted():
                put_document(directory, ATLAS, document, atlas_picture if its.interrupts.received < 2 else None)
            its.leave(document)
            return its.end(atlas_exit_code(document))


def _explore(
    its: Session, explore: Callable[..., Explored], threads: int, memory_bytes: int, keep: Callable[[Explored], None]
) -> Explored:
    with display(its.progress) as drawn:

        def show(advance: Advance) -> None:
            drawn.tell(f"exploring {advance.on(len(TIERS), 'orders')}")

        explored = explore(its.interrupts, show, threads=threads, memory_bytes=memory_bytes, keep=keep)
    facts = explored.facts()
    safe = sum(order.verdict == OrderVerdict.safe for order in explored.orders)
    its.note(f"{facts['decided']} of {facts['orders']} orders decided in {facts['seconds']:.1f} s: {safe} safe")
    return explored


def _race(its: Session, request: ExploreRequest, explored: Explored, keep: Callable[[Raced], None]) -> Raced | None:
    """The safe orders' races; None where there is nothing to race, or no time."""
    both = zip(explored.orderings, explored.orders, strict=True)
    safe = [ordering for ordering, order in both if order.verdict == OrderVerdict.safe]
    if its.interrupts or not safe:
        return None
    ready = None
    with its.interrupts.at_once():
        ready = prepare_races(chosen_cpus(None), {}, its.progress, verbose=request.verbose)
    if ready is None:
        return None
    with display(its.progress) as drawn:
        each = racing_scenario(len(safe) + len(BESIDE), 1).duration_s
        its.note(f"racing {len(safe)} safe orders and {', '.join(BESIDE)}, {each:.2g} s at a time")

        def show(heat: Heat) -> None:
            drawn.tell(f"round {heat.round}: race {heat.number} of {heat.of}, about {heat.left_s:.0f} s left")

        seed = 1 if request.seed is None else request.seed
        return race_orders(ready, safe, seed, its.interrupts, show, keep)


def _document(
    ordering: Ordering, head: dict[str, Any], memory_bytes: int, explored: Explored, raced: Raced | None
) -> dict[str, Any]:
    subject = {
        "ordering": ordering.name,
        "parameters": ordering.model_dump(mode="json"),
        "steps": list(ordering.shootdown),
        "machines": [tier._asdict() for tier in TIERS],
        "variant_bytes": variant_bytes(memory_bytes),
    }
    said = caveats(head["host"], raced.scenario.model_dump(mode="json"), []) if raced is not None else []
    entries = [order.entry() for order in explored.orders]
    races = raced.document() if raced is not None else None
    return atlas_document(head, subject, explored.facts(), entries, races, said)
