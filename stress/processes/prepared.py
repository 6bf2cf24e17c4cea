"""What races of a process stand on, made once for each kind of them: compiled kernels, a calibrated clock, CPUs."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kernels.language.cache import cache_directory, is_kept, troubles
from kernels.race.clock import Calibration, calibrate
from kernels.race.lines import Run, load, ns_of_entry
from kernels.race.straight import Variant
from kernels.race.ticks import Clock
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import Rules, flow_named
from kernels.tdx.words import VCPU
from scenarios.models import Ordering, Scenario
from scenarios.rules import compile_rules
from stress.errors import CannotRunHere
from stress.processes.perturbation import declared_sites
from stress.processes.placement import Cpus, chosen_cpus, shown
from stress.screen import Screen


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What all races of one kind share: jitted kernels, the clock, the CPUs to race on."""

    kernels: Mapping[str, Run]
    clock: Calibration
    cpus: Cpus
    ns_of_entry: float | None = None  # of a traced step; None where the kernels do not trace
    flow: str = "shootdown"
    looks: bool = False  # whether the kernels look for what is declared


_prepared: dict[tuple[Any, ...], Prepared] = {}


def prepared_for(
    scenario: Scenario,
    cpus: str | None = None,
    progress: Screen | None = None,
    *,
    perturbed: bool | None = None,
    costs: bool | None = None,
    traced: bool = False,
    verbose: bool = False,
) -> Prepared:
    """For races of this scenario's flow, before the first fork: no worker compiles. With kernels that perturb, that
    take declared costs, be they 0 or more, as it does where it is not said, that keep a trace, or none of it. Raises
    UsageFault, and CannotRunHere where costs cannot be spun.
    """
    perturbed = bool(declared_sites(scenario)) if perturbed is None else perturbed
    costs = bool(scenario.costs) if costs is None else costs
    kind = scenario.flow, perturbed, costs, cpus, traced
    if kind in _prepared:
        return _prepared[kind]
    allowed, variant = chosen_cpus(cpus), Variant(perturbed=perturbed or costs, traced=traced)
    played = protocol_of(flow_named(scenario.flow))
    names = (f"straight{variant.suffix}_{played.actors[VCPU].name}",)
    with compiling(progress, names, "the kernels, once: about 5 s", verbose=verbose):
        kernels = load(played, variant)
    clock = calibrate()
    if costs and clock.clock != Clock.TSC:
        raise CannotRunHere("costs: expected a timestamp counter of constant rate to spin by, found none")
    ns = ns_of_entry(played, clock) if traced else None
    if progress is not None and verbose:
        rate = f"{clock.ticks_per_s / 1e6:,.3f} ticks/us, error {clock.error_ppm:.1f} ppm"
        progress.line(f"clock {clock.clock.name}, {rate}; racing on CPUs {shown(allowed)}")
    _prepared[kind] = Prepared(kernels, clock, allowed, ns, scenario.flow, variant.perturbed)
    return _prepared[kind]


def rules_by(clock: Calibration, ordering: Ordering, scenario: Scenario, *, shared_cpus: bool) -> Rules:
    """The rules of an ordering under a scenario, with times by this clock."""
    ticks = {"clock": int(clock.clock), "ticks_per_s": clock.ticks_per_s, "ticks_to_ns": clock.ticks_to_ns}
    return compile_rules(ordering, scenario, **ticks, shared_cpus=shared_cpus)  # type: ignore[arg-type]


@contextlib.contextmanager
def compiling(progress: Screen | None, names: Iterable[str], what: str, *, verbose: bool) -> Iterator[None]:
    """Say `what` takes how long where code of these names is not kept; behind it, what is wrong with the cache."""
    if progress is None:
        yield
        return
    if not is_kept(names):
        progress.line(f"compiling {what}")
    begun = time.monotonic()
    yield
    for trouble in troubles():
        progress.line(f"tdx-stress: {trouble}")
    if verbose:
        where = f"kept in {place}" if (place := cache_directory()) else "not kept"
        progress.line(f"kernels ready after {time.monotonic() - begun:.2f} s, {where}")
