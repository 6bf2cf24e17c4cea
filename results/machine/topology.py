"""How the CPUs that a process may use hang together, from /sys/devices/system/cpu, and how far apart they are."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.machine.host import CPUS, ROOT, cpu_list, line, number

Cpus = tuple[int, ...]
# The newer name of a file first.
CORES = ("topology/core_cpus_list", "topology/thread_siblings_list")


@dataclass(frozen=True, slots=True)
class Topology:
    """Groups of the CPUs asked about, each group sorted, groups by their first CPU; a group for whatever is not told.

    `cores` share a core (SMT siblings), `caches` the last level of cache, `packages` a socket, `nodes` memory.
    `kinds` are of one speed: more than one group where CPUs differ (big.LITTLE, P and E cores). `told` is whether the
    system said how they hang together.
    """

    cores: tuple[Cpus, ...]
    caches: tuple[Cpus, ...]
    packages: tuple[Cpus, ...]
    nodes: tuple[Cpus, ...]
    kinds: tuple[Cpus, ...]
    offline: Cpus
    told: bool

    @property
    def one_a_core(self) -> Cpus:
        return tuple(core[0] for core in self.cores)

    def relation(self, a: int, b: int) -> str:
        """What two CPUs share that is nearest to them: `core`, `cache`, `package` or `machine`."""
        for name, groups in (("core", self.cores), ("cache", self.caches), ("package", self.packages)):
            if any(a in group and b in group for group in groups):
                return name
        return "machine"


def topology(cpus: Sequence[int], root: Path = ROOT) -> Topology:
    """Of these CPUs. Where a container hides /sys, every CPU is a core of its own in one cache, package and node."""
    return Topology(
        cores=_groups(cpus, root, CORES, alone=True),
        caches=_groups(cpus, root, _last_caches(cpus, root)),
        packages=_groups(cpus, root, ("topology/package_cpus_list", "topology/core_siblings_list")),
        nodes=_by_key(cpus, {cpu: _node(root, cpu) for cpu in cpus}),
        kinds=_groups(cpus, root, ("cpu_capacity", "cpufreq/cpuinfo_max_freq")),
        offline=cpu_list(line(root, f"{CPUS}/offline")),
        told=any(line(root, f"{CPUS}/cpu{cpu}/{name}") for cpu in cpus for name in CORES),
    )


def _groups(cpus: Sequence[int], root: Path, names: Sequence[str], *, alone: bool = False) -> tuple[Cpus, ...]:
    """By what stands in the first of these files that is there; without any, all together or each alone."""
    keys: dict[int, str | None] = {}
    for cpu in cpus:
        found = (line(root, f"{CPUS}/cpu{cpu}/{name}") for name in names)
        keys[cpu] = next((text for text in found if text), str(cpu) if alone else None)
    return _by_key(cpus, keys)


def _last_caches(cpus: Sequence[int], root: Path) -> tuple[str, ...]:
    """The file with the sharers of the highest level of cache; the levels of one machine are alike."""
    levels = {
        number(root, f"{CPUS}/cpu{cpus[0]}/cache/index{index}/level") or 0: f"cache/index{index}/shared_cpu_list"
        for index in range(6)
    }
    return (levels[max(levels)],) if cpus and max(levels) else ()


def _node(root: Path, cpu: int) -> str | None:
    try:
        return next((found.name for found in (root / f"{CPUS}/cpu{cpu}").glob("node[0-9]*")), None)
    except OSError:
        return None


def _by_key(cpus: Iterable[int], keys: dict[int, str | None]) -> tuple[Cpus, ...]:
    groups: dict[str | None, list[int]] = {}
    for cpu in sorted(cpus):
        groups.setdefault(keys[cpu], []).append(cpu)
    return tuple(tuple(group) for group in groups.values())


def spread(cpus: Sequence[int], found: Topology, most: int) -> Cpus:
    """At most so many of the CPUs: some near neighbours of the first one, the rest evenly over all the others."""
    if len(cpus) <= most:
        return tuple(sorted(cpus))
    first = min(cpus)
    near = [cpu for cpu in sorted(cpus) if found.relation(first, cpu) == "core"]
    near += [cpu for cpu in sorted(cpus) if found.relation(first, cpu) == "cache"]
    chosen = near[: max(most // 3, 1)]
    rest = [cpu for cpu in sorted(cpus) if cpu not in chosen]
    places = most - len(chosen)
    chosen += [rest[place * (len(rest) - 1) // max(places - 1, 1)] for place in range(places)]
    return tuple(sorted(set(chosen)))


Pair = tuple[int, ...]
# From near to far.
RELATIONS = ("core", "cache", "package", "machine")


def round_trips(
    cpus: Sequence[int], medians_ns: Mapping[Pair, float], relation: Callable[[int, int], str]
) -> dict[str, Any] | None:
    """Of these CPUs, from the median of each pair that was measured; None where none was.

    `matrix_ns` has a row and a column for each CPU, None on the diagonal and for a pair that was not measured.
    `by_relation` holds the pairs' number, median, least and most for each of RELATIONS that there is.
    """
    if not medians_ns:
        return None
    both = dict(medians_ns) | {pair[::-1]: value for pair, value in medians_ns.items()}
    groups: dict[str, list[float]] = {}
    for (a, b), value in medians_ns.items():
        groups.setdefault(relation(a, b), []).append(value)
    return {
        "cpus": list(cpus),
        **_summary(list(medians_ns.values())),
        "by_relation": {name: _summary(groups[name]) for name in RELATIONS if name in groups},
        "matrix_ns": [[both.get((a, b)) for b in cpus] for a in cpus],
    }


def _summary(values: Sequence[float]) -> dict[str, Any]:
    middle = round(statistics.median(values), 1)
    return {"pairs": len(values), "median_ns": middle, "least_ns": min(values), "most_ns": max(values)}
