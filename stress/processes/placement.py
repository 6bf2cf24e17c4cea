"""Which CPUs the actors run on: never one that this process did not inherit.

Where every actor has a CPU of its own it keeps it. Where CPUs are fewer a zapper that waits for a vCPU which Linux has
put on its own CPU measures the scheduler, and most kicks find nobody in the guest. So zappers are placed apart from
vCPUs, unless the scenario wants them mixed.
"""

from dataclasses import dataclass

import psutil

from kernels.layout import Layout
from kernels.tdx.rules import MAX_VCPUS
from results.machine.host import shown_cpus as shown
from stress.errors import UsageFault

Cpus = tuple[int, ...]


def inherited_cpus() -> Cpus:
    """The CPUs that this process may use."""
    return tuple(sorted(psutil.Process().cpu_affinity()))


def chosen_cpus(text: str | None) -> Cpus:
    """The CPUs of `--cpus`, such as `0-3,6`, or all that were inherited. Raises UsageFault where one was not."""
    inherited = inherited_cpus()
    if text is None:
        return inherited
    chosen = _listed(text)
    if missing := sorted(set(chosen) - set(inherited)):
        raise UsageFault(f"--cpus: CPU {missing[0]} is not among those that this process may use ({shown(inherited)})")
    return chosen


def chosen_vcpus(number: int | None) -> int | None:
    """The number of `--vcpus`, or None. Raises UsageFault where no machine can be so large."""
    if number is not None and not 1 <= number <= MAX_VCPUS:
        raise UsageFault(f"--vcpus: expected a whole number from 1 to {MAX_VCPUS}, found {number}")
    return number


def _listed(text: str) -> Cpus:
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        bounds = (first, last if dash else first)
        if not all(bound.isascii() and bound.isdigit() and len(bound) < 6 for bound in bounds):
            raise UsageFault(f'--cpus: expected a list such as 0-3,6, found "{text}"')
        if int(bounds[0]) > int(bounds[1]):
            raise UsageFault(f'--cpus: expected the lower CPU first, found "{part.strip()}"')
        cpus.update(range(int(bounds[0]), int(bounds[1]) + 1))
    return tuple(sorted(cpus))


@dataclass(frozen=True, slots=True)
class Placed:
    """The CPUs of each zapper and of each vCPU. `kind` is `own`, a CPU to each actor, `apart` or `mixed`."""

    kind: str
    zappers: tuple[Cpus, ...]
    vcpus: tuple[Cpus, ...]


def places(lay: Layout, cpus: Cpus, placement: str) -> Placed:
    """Where the actors run: each on a CPU of its own, or where CPUs are fewer by the scenario's placement.

    Apart, zappers share at most half of the CPUs among them and vCPUs the others, each actor on one. Mixed, all share
    all and Linux places. A single CPU leaves no choice, and vCPUs that move among processors place themselves.
    """
    own = [(cpu,) for cpu in cpus]
    if lay.vcpus + lay.zappers <= len(cpus) and not lay.lps:
        return Placed("own", tuple(own[: lay.zappers]), tuple(own[lay.zappers : lay.zappers + lay.vcpus]))
    if placement == "mixed" or len(cpus) == 1 or lay.lps:
        return Placed("mixed", (cpus,) * lay.zappers, (cpus,) * lay.vcpus)
    first = min(lay.zappers, len(cpus) // 2)
    rest = own[first:]
    return Placed(
        "apart", tuple(own[i % first] for i in range(lay.zappers)), tuple(rest[i % len(rest)] for i in range(lay.vcpus))
    )
