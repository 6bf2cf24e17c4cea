"""What `run` does where the kernel's own shootdowns race: an arm is a piece."""

from collections.abc import Sequence
from functools import cache

from kernels.race.clock import Calibration, calibrate
from results.machine.host import shown_cpus
from results.words import count
from scenarios.reals import Real
from stress.host.quick import clock_facts
from stress.interrupts import Interrupts
from stress.pieces.record import Plain, facts, raced
from stress.processes.limits import make_room
from stress.processes.placement import chosen_cpus
from stress.processes.prepared import compiling
from stress.progress import display
from stress.real.arms import THREADS, warmed
from stress.real.race import race_real
from stress.screen import Screen

_calibrated = cache(calibrate)


def check_room(real: Real) -> None:
    """Before anything runs. Raises CannotRunHere."""
    make_room(real.vcpus + 1, threads=set(real.arms) <= set(THREADS))


def get_ready(arms: Sequence[str], progress: Screen | None = None, *, verbose: bool = False) -> Calibration:
    """With all that these arms need, compiled once. Raises CannotRunHere."""
    clock = _calibrated()
    with compiling(progress, ("real",), "the loops, once: about 5 s", verbose=verbose):
        warmed(arms, clock)
    return clock


def run_arm(described: Plain, interrupts: Interrupts, progress: Screen | None) -> tuple[Plain, bool]:
    """One arm's race, and whether it came to its end. Raises HarnessFault and CannotRunHere."""
    real, arm = Real.model_validate(described["scenario"]), described["ordering"]["name"]
    with interrupts.at_once():
        clock, cpus = get_ready([arm]), chosen_cpus(described["cpus"])
    if interrupts:
        return {}, False
    used = {"cpus_allowed": len(cpus), "cpus_used": shown_cpus(cpus)}
    with display(progress) as drawn:

        def watch(shootdowns: int, reads: int, left_s: float) -> None:
            drawn.tell(f"{arm}: {count(shootdowns)} shootdowns, {count(reads)} reads; {left_s:.0f} s left")

        run = race_real(arm, real, clock, cpus, interrupts, watch)
    return raced(run, {**facts(), **used, **clock_facts(clock)})
