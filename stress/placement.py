"""Which CPUs the actors run on: never one that this process did not inherit."""

import psutil

from kernels.layout import MAX_VCPUS, Layout
from results.system_files import shown_cpus as shown
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


def shares_cpus(lay: Layout, cpus: Cpus) -> bool:
    """Whether there are more actors than CPUs."""
    return lay.vcpus + lay.zappers > len(cpus)


def places(lay: Layout, cpus: Cpus) -> tuple[list[Cpus], list[Cpus]]:
    """The CPUs of each zapper and of each vCPU: one of its own, zappers first, or all where they do not suffice."""
    if shares_cpus(lay, cpus):
        return [cpus] * lay.zappers, [cpus] * lay.vcpus
    own = [(cpu,) for cpu in cpus]
    return list(own[: lay.zappers]), list(own[lay.zappers : lay.zappers + lay.vcpus])
