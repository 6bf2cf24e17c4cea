"""What races of a process stand on: compiled once for each kind, and what was found of the machine then."""

from dataclasses import dataclass, field

from scenarios.models import Scenario
from stress.host.quick import host_record, round_trip_after
from stress.interrupts import Interrupts
from stress.pieces.record import Plain
from stress.processes.perturbation import declared_sites
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
    scenario: Scenario,
    cpus: str | None = None,
    progress: Screen | None = None,
    *,
    perturbed: bool | None = None,
    costs: bool | None = None,
    traced: bool = False,
    verbose: bool = False,
) -> Ready:
    """For races of this scenario's flow: with kernels that perturb, that take declared costs, as it does where it is
    not said, that keep a trace, or none of it.
    """
    how = {
        "perturbed": bool(declared_sites(scenario)) if perturbed is None else perturbed,
        "costs": bool(scenario.costs) if costs is None else costs,
        "traced": traced,
    }
    kind = scenario.flow, how["perturbed"], how["costs"], cpus, traced
    if kind not in _ready:
        its = prepare_races(chosen_cpus(cpus), progress, flow=scenario.flow, **how, verbose=verbose)
        _ready[kind] = Ready(its)
    return _ready[kind]


def facts_of(ready: Ready) -> Plain:
    """Of the machine, with what a probe finds."""
    ready.host = ready.host or host_record(ready.prepared)
    return ready.host


def facts_after(interrupts: Interrupts) -> Plain:
    """What is measured again when all have raced; nothing where this process raced nothing, or who waits has enough."""
    its = next((one for one in _ready.values() if one.host), None)
    return {} if its is None or interrupts else round_trip_after(its.prepared)
