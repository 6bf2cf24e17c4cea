"""The verb `explore --orders`: each order of an ordering's steps is decided, a piece each; the safe ones race, and
atlas.json says it.
"""

from collections.abc import Mapping
from functools import partial

from results.caveats import caveats
from results.kinds.orders import OrderVerdict, atlas_document, races_caveats
from results.store import RunDirectory, json_bytes
from results.words import plural
from scenarios.loader import load_scenario
from scenarios.models import Ordering, Scenario
from stress.explore.grid import memory_of_each
from stress.explore.order_races import BESIDE, ROUNDS, SCENARIO, Heat, Raced, race_orders, racing_scenario
from stress.explore.ordering import Whole, get_ready
from stress.explore.orders import MEMORY_BYTES, TIERS, order_of, run_order, variant_bytes
from stress.options import ExploreRequest
from stress.pieces.record import Job, Plain, key_of
from stress.pieces.run import begun, run_job
from stress.processes.limits import make_room
from stress.processes.placement import inherited_cpus, shown
from stress.processes.prepared import prepared_for
from stress.progress import display
from stress.session import Session

ORDERS, ATLAS = "orders", "atlas"


def run_atlas(request: ExploreRequest, asked: tuple[Scenario, Ordering] | None) -> int:
    """Decide, race, store, show; returns the exit code. One that goes on has its orders in its directory. Raises the
    errors of `stress.errors` and StoreError.
    """
    make_room(2, threads=False)
    threads = request.threads or len(inherited_cpus())
    if asked is None:
        subject = begun(request, ORDERS)
    else:
        tables = {key: one.model_dump(mode="json") for key, one in zip(("scenario", "ordering"), asked, strict=True)}
        memory_bytes, seed = memory_of_each(request, threads, MEMORY_BYTES), request.seed
        subject = {**tables, "memory_bytes": memory_bytes, "tiers": len(TIERS), "seed": 1 if seed is None else seed}
    job, ordering = job_of(subject), Ordering.model_validate(subject["ordering"])

    def ready(its: Session) -> None:
        scenario = Scenario.model_validate(subject["scenario"])
        get_ready(ordering, scenario, Whole(1 << 30, 1), its.progress, verbose=False)

    then = partial(_raced, request, list(ordering.every_order()), subject["seed"])
    return run_job(request, job, f"{ATLAS}-{ordering.name}", ready, threads=threads, then=then)


def job_of(subject: Plain) -> Job:
    """Every order, in the order of `Ordering.every_order`."""
    shared = {key: subject[key] for key in ("scenario", "memory_bytes", "tiers")}
    orders = Ordering.model_validate(subject["ordering"]).every_order()
    pieces = {
        key_of(number, one.name): {"ordering": one.model_dump(mode="json"), **shared}
        for number, one in enumerate(orders, start=1)
    }
    return Job(ORDERS, ORDERS, subject, pieces, run_order, partial(_document, subject, pieces))


def _document(
    subject: Plain, pieces: Mapping[str, Plain], head: Plain, how: Plain, found: Mapping[str, Plain]
) -> Plain:
    orders = [order_of(one["ordering"]["shootdown"], found.get(key)) for key, one in pieces.items()]
    explored = {
        "orders": len(orders),
        "decided": sum(order["decided"] is not None for order in orders),
        "complete": all(order["decided"] is not None for order in orders),
        "states": sum(order["states"] for order in orders),
        "transitions": sum(one["transitions"] for one in found.values()),
        **how,
    }
    about = {
        "ordering": subject["ordering"]["name"],
        "parameters": subject["ordering"],
        "steps": subject["ordering"]["shootdown"],
        "machines": [tier._asdict() for tier in TIERS],
        "variant_bytes": variant_bytes(subject["memory_bytes"]),
    }
    return atlas_document(head, about, explored, orders, None, [])


def _raced(
    request: ExploreRequest, orderings: list[Ordering], seed: int, its: Session, directory: RunDirectory, atlas: Plain
) -> Plain:
    """The atlas with the safe orders' races; as it was where there is nothing to race, or no time."""
    verdicts = zip(orderings, atlas["orders"], strict=True)
    safe = [ordering for ordering, order in verdicts if order["verdict"] == OrderVerdict.safe]
    its.note(f"{len(orderings)} orders decided: {len(safe)} safe")
    prepared, cpus = None, inherited_cpus()
    if safe and atlas["explored"]["complete"]:
        with its.interrupts.at_once():
            prepared = prepared_for(load_scenario(SCENARIO), None, its.progress, verbose=request.verbose)
    if prepared is None:
        return {**atlas, "caveats": races_caveats(0, ROUNDS, interrupted=True)} if its.interrupts else atlas
    atlas["host"] |= {"cpus_allowed": len(cpus), "cpus_used": shown(cpus)}

    def keep(raced: Raced) -> None:
        with its.noted():
            directory.put({its.kind.file: json_bytes(with_races(raced))})

    def with_races(raced: Raced) -> Plain:
        said = caveats(atlas["host"], raced.scenario.model_dump(mode="json"), [], in_turns=True)
        said += raced.caveats(interrupted=bool(its.interrupts))
        return {**atlas, "caveats": said, "races": raced.document()}

    with display(its.progress) as drawn:
        each = racing_scenario(len(safe) + len(BESIDE), 1).duration_s
        its.note(f"racing {plural(len(safe), 'safe order')} and {', '.join(BESIDE)}, {each:.2g} s at a time")

        def show(heat: Heat) -> None:
            drawn.tell(f"round {heat.round}: race {heat.number} of {heat.of}, about {heat.left_s:.0f} s left")

        return with_races(race_orders(prepared, safe, seed, its.interrupts, show, keep))
