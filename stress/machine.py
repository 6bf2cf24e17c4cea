"""What every race of one command stands on, made once: compiled kernels, a calibrated clock, CPUs."""

from kernels.race.clock import calibrate
from kernels.race.lines import load, ns_of_entry
from kernels.race.variant import Variant
from kernels.tdx.protocol import PROTOCOLS
from kernels.tdx.rules import Flow
from kernels.tdx.words import VCPU
from stress.compiling import compiling
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
    variant = Variant(perturbed=bool(perturbation), traced=traced)
    played = PROTOCOLS[Flow[flow.upper()]]
    names = (f"straight{variant.suffix}_{played.actors[VCPU].name}",)
    with compiling(progress, names, "the kernels, once: about 5 s", verbose=verbose):
        kernels = load(played, variant)
    clock = calibrate()
    ns = ns_of_entry(played, clock) if traced else None
    if progress is not None and verbose:
        rate = f"{clock.ticks_per_s / 1e6:,.3f} ticks/us, error {clock.error_ppm:.1f} ppm"
        progress.line(f"clock {clock.clock.name}, {rate}; racing on CPUs {shown(cpus)}")
    return Machine(kernels, clock, cpus, perturbation, ns, flow)
