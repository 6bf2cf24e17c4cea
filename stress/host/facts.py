"""What `doctor` finds out: the facts of every result's `host`, and all that takes longer than a run can wait for."""

import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kernels.language.cache import look, troubles
from kernels.race.clock import Calibration, calibrate
from kernels.race.lines import load
from kernels.race.probes import Probes, load_probes
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.rules import MAX_VCPUS
from kernels.tdx.words import plan
from results.machine.host import (
    CPUS,
    ROOT,
    cpu_list,
    cpu_times,
    host_facts,
    line,
    memory_to_be_had,
    shown_cpus,
    steal_share,
)
from results.machine.topology import Topology, round_trips, spread, topology
from scenarios.tdx_host import tdx_host
from stress.errors import HarnessFault
from stress.host.cpu_pairs import KICKS, Errand, Results, all_pairs, measure
from stress.host.quick import clock_facts, empty_shootdown_facts, fork_facts, round_trip_facts, timer_facts
from stress.processes.kicks import why_none
from stress.processes.limits import least_room
from stress.processes.placement import Cpus
from stress.processes.shared_words import WORD_BYTES

CALIBRATION_S = 0.2
# All pairs of so many CPUs: 276.
MAX_CPUS = 24
# Linux itself wants some.
SHARE_OF_MEMORY = 0.9
Facts = dict[str, Any]


def examine(cpus: Cpus, vcpus: int | None, stop: Callable[[], bool]) -> Facts:
    """All facts; None for what was not to be had, and `trouble` says why. `vcpus`: how many are asked to have room.

    `stop` ends the probes early. Compiles the kernels where that has not been done.
    """
    before, kept = cpu_times(), cache_facts()
    groups = topology(cpus)
    facts = {**host_facts(), **system_facts(cpus, groups), **_measured(cpus, groups, stop)}
    return {
        **facts,
        "cache": {**kept, "troubles": troubles()},
        **room(facts["worker_bytes"], vcpus),
        "steal_share": steal_share(before, cpu_times()),
    }


def cache_facts() -> Facts:
    """What stands in the cache of compiled code before this run adds to it: whole files, and damaged ones, now gone."""
    found = look()
    return {
        "is_used": found.directory is not None,
        "files": found.files,
        "bytes": found.bytes,
        "damaged": found.damaged,
    }


def system_facts(cpus: Cpus, groups: Topology, root: Path = ROOT) -> Facts:
    """How these CPUs hang together, and which of them Linux leaves alone."""
    isolated = cpu_list(line(root, f"{CPUS}/isolated"))
    return {
        "cpus_allowed": len(cpus),
        "cpus_used": shown_cpus(cpus),
        "offline": shown_cpus(groups.offline),
        "topology": {
            "told": groups.told,
            "cores": len(groups.cores),
            "caches": len(groups.caches),
            "packages": len(groups.packages),
            "nodes": len(groups.nodes),
            "kinds": len(groups.kinds),
            "one_a_core": shown_cpus(groups.one_a_core),
            "near": shown_cpus(_largest(groups.caches)),
            "alike": shown_cpus(_largest(groups.kinds)),
        },
        "isolated": shown_cpus(isolated) if (root / CPUS / "isolated").exists() else None,
        "isolated_allowed": shown_cpus(set(isolated) & set(cpus)),
        "nohz_full": shown_cpus(cpu_list(line(root, f"{CPUS}/nohz_full"))),
        "tdx": tdx_host(root)._asdict(),
    }


def _largest(groups: tuple[Cpus, ...]) -> Cpus:
    return max(groups, key=lambda group: len(group))


def _measured(cpus: Cpus, groups: Topology, stop: Callable[[], bool]) -> Facts:
    kernels, probes, clock = load(SHOOTDOWN), load_probes(), calibrate(CALIBRATION_S)
    return {
        "clock": clock.clock.name,
        **clock_facts(clock),
        **timer_facts(clock, probes),
        **empty_shootdown_facts(clock, kernels["zapper"]),
        **fork_facts(),
        **pair_facts(cpus, groups, clock, probes, stop),
    }


def pair_facts(cpus: Cpus, groups: Topology, clock: Calibration, probes: Probes, stop: Callable[[], bool]) -> Facts:
    """What takes processes of their own: round trips of all pairs, store buffers, kicks, real time, memory."""
    tried = spread(cpus, groups, MAX_CPUS)
    # A run's own pair among them, whatever else is tried.
    pairs = tuple(dict.fromkeys((cpus[:2], *all_pairs(tried)))) if len(cpus) > 1 else ()
    apart = (groups.one_a_core if len(groups.cores) > 1 else cpus)[:2] if len(cpus) > 1 else ()
    try:
        found = measure(Errand(pairs, apart, cpus[:2] if pairs else (), worker=True), clock, probes, stop)
    except HarnessFault as fault:
        found = Results(trouble=str(fault), crashed=True)
    medians = {pair: round(statistics.median(samples), 1) for pair, samples in found.round_trips_ns.items()}
    return {
        **round_trip_facts(cpus[:2], found.round_trips_ns.get(cpus[:2], ())),
        "round_trips": round_trips(tried, medians, groups.relation),
        "store_buffering": found.buffering and asdict(found.buffering),
        "kicks_ns": {name: round(value, 1) for name, value in found.kicks_ns.items()},
        "kicks_missing": {name: reason for name in KICKS if (reason := why_none(name))},
        "realtime": found.realtime,
        "worker_bytes": found.worker_bytes,
        "own_share": found.own_share,
        "trouble": found.trouble,
        "crashed": found.crashed,
    }


def room(worker_bytes: int | None, vcpus: int | None) -> Facts:
    """How many vCPUs have room, and what is in the way of more; one zapper beside them."""
    available = memory_to_be_had()
    shared = (plan(2, 1, 1, 64).total_words - plan(1, 1, 1, 64).total_words) * WORD_BYTES
    limit, processes = least_room()
    fit = [(MAX_VCPUS, "the most that there can be"), (processes - 2, limit)]
    if worker_bytes is not None:
        fit.append((int(available * SHARE_OF_MEMORY) // (worker_bytes + shared), "memory"))
    most, because = min(fit)
    return {
        "memory_available_bytes": available,
        "vcpu_bytes": None if worker_bytes is None else worker_bytes + shared,
        "vcpus_fit": max(most, 0),
        "vcpus_fit_because": because,
        "vcpus_asked": vcpus,
    }
