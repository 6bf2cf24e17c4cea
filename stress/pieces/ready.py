"""What races of a process stand on: compiled once for each kind, and what was found of the machine then."""

from dataclasses import dataclass, field

from stress.host.quick import host_record, round_trip_after
from stress.interrupts import Interrupts
from stress.pieces.record import Plain
from stress.processes.perturbation import AtSite
from stress.processes.placement import chosen_cpus
from stress.processes.prepared import Prepared, prepare_races
from stress.screen import Screen


@dataclass(slots=True)
class Ready:
    """`host`: the facts of the machine, once they are asked for; `took`: the seconds of pieces so far."""

    prepared: Prepared
    host: Plain = field(default_factory=dict)
    took: list[float] = field(default_factory=list)


_ready: dict[tuple[str, bool, bool, str | None, bool], Ready] = {}


def ready_for(
    flow: str,
    *,
    perturbed: bool,
    costs: bool,
    cpus: str | None,
    traced: bool = False,
    progress: Screen | None = None,
    verbose: bool = False,
) -> Ready:
    """For races of this flow: with kernels that perturb, that take declared costs, that keep a trace, or none of it."""
    kind = flow, perturbed, costs, cpus, traced
    if kind not in _ready:
        sites = {0: AtSite()} if perturbed else {}
        _ready[kind] = Ready(
            prepare_races(chosen_cpus(cpus), sites, progress, flow=flow, costs=costs, traced=traced, verbose=verbose)
        )
    return _ready[kind]


def facts_of(ready: Ready) -> Plain:
    """Of the machine, with what a probe finds."""
    ready.host = ready.host or host_record(ready.prepared)
    return ready.host


def facts_after(interrupts: Interrupts) -> Plain:
    """What is measured again when all have raced; nothing where this process raced nothing, or who waits has enough."""
    its = next((one for one in _ready.values() if one.host), None)
    return {} if its is None or interrupts else round_trip_after(its.prepared)
