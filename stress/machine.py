"""What every race of one command stands on, made once: compiled kernels, a calibrated clock, CPUs."""

import time

from kernels.clock import calibrate
from kernels.flows import FLOWS
from kernels.race import cache_directory, load, ns_of_entry
from kernels.rules import Flow
from kernels.variant import Variant
from stress.perturbation import Sites
from stress.placement import Cpus, shown
from stress.race import Machine
from stress.screen import Screen


def machine(
    cpus: Cpus,
    perturbation: Sites,
    progress: Screen | None,
    *,
    flow: str = "shootdown",
    traced: bool = False,
    verbose: bool = False,
) -> Machine:
    """Compiled kernels of a scenario's flow and a calibrated clock, before the first fork: no worker compiles."""
    cache, variant = cache_directory(), Variant(perturbed=bool(perturbation), traced=traced)
    played = Flow[flow.upper()]
    if progress is not None and not any(cache.rglob(f"straight{variant.suffix}_{FLOWS[played].vcpu.name}_*.nbi")):
        progress.line("compiling the kernels, once: about 15 s")
    begun = time.monotonic()
    kernels = load(variant, played)
    clock = calibrate()
    ns = ns_of_entry(clock) if traced else None
    if progress is not None and verbose:
        progress.line(f"kernels ready after {time.monotonic() - begun:.2f} s, kept in {cache}")
        rate = f"{clock.ticks_per_s / 1e6:,.3f} ticks/us, error {clock.error_ppm:.1f} ppm"
        progress.line(f"clock {clock.clock.name}, {rate}; racing on CPUs {shown(cpus)}")
    return Machine(kernels, clock, cpus, perturbation, ns, flow)
