"""What this machine's clock, memory and processes cost: in an instant for every run, complete for `doctor`.

The figures go into `host` of a result, so that its latencies can be read against them and two results compared.
"""

import os
import signal
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.race.clock import Calibration
from kernels.race.lines import Run
from kernels.race.probes import Probes, load_probes
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import plan, zapper_actor
from results.collect.tally import snapshot
from results.machine.host import host_facts, shown_cpus
from results.numbers.statistics import percentile
from scenarios.loader import load_orderings, load_scenario
from stress.errors import STOPPING_SIGNALS, HarnessFault
from stress.host.cpu_pairs import Errand, measure
from stress.interrupts import Interrupts
from stress.processes.prepared import Prepared, rules_by
from stress.processes.workers import ExitStatus

READINGS, SHOOTDOWNS, FORKS = 20_000, 2_000, 5
# A run's own probe of one pair: so long at most, where something else holds a CPU.
QUICK_PAIR_S, QUICK_S = 0.03, 0.2
_recorded: dict[Prepared, dict[str, Any]] = {}


def host_record(prepared: Prepared) -> dict[str, Any]:
    """`host` of a result: the facts of the machine, and what a probe of a few milliseconds finds, as it was the first
    time; None for what it does not.
    """
    if prepared not in _recorded:
        cpus = {"cpus_allowed": len(prepared.cpus), "cpus_used": shown_cpus(prepared.cpus)}
        _recorded[prepared] = {**host_facts(), **cpus, **clock_facts(prepared.clock), **_quick_facts(prepared)}
    return _recorded[prepared]


def clock_facts(clock: Calibration) -> dict[str, Any]:
    """The clock's rate, and how exactly it is known."""
    return {"ticks_per_us": round(clock.ticks_per_s / 1e6, 3), "clock_error_ppm": round(clock.error_ppm, 1)}


def host_after(interrupts: Interrupts) -> dict[str, Any]:
    """The round trip once more, when all have raced: a host that moves CPUs changes it meanwhile. Nothing where this
    process raced nothing, or who waits has enough.
    """
    if not _recorded or interrupts:
        return {}
    now = _round_trip_now(next(iter(_recorded)), load_probes())
    return {"round_trip_after_ns": now["round_trip_ns"], "round_trip_after_trouble": now["round_trip_trouble"]}


def _quick_facts(prepared: Prepared) -> dict[str, Any]:
    probes = load_probes()
    facts = {**timer_facts(prepared.clock, probes), **_round_trip_now(prepared, probes)}
    # Kernels of another flow, that look before each step whether they are to yield, or that keep it in a ring, are not
    # those of other runs.
    other_kernels = prepared.flow != "shootdown" or prepared.looks or prepared.ns_of_entry is not None
    return facts | ({} if other_kernels else empty_shootdown_facts(prepared.clock, prepared.kernels["zapper"]))


def _round_trip_now(prepared: Prepared, probes: Probes) -> dict[str, Any]:
    first_two = prepared.cpus[:2]
    samples: Sequence[float] = ()
    trouble = ""
    if len(first_two) == 2:
        pair = (first_two[0], first_two[1])  # of the first zapper and the first vCPU, where each has its own
        try:
            errand = Errand((pair,), pair_s=QUICK_PAIR_S, within_s=QUICK_S)
            found = measure(errand, prepared.clock, probes)
            samples, trouble = found.round_trips_ns.get(pair, ()), found.trouble
        except HarnessFault as fault:
            trouble = str(fault)
    return {**round_trip_facts(first_two, samples), "round_trip_trouble": None if samples else trouble or None}


def round_trip_facts(pair: Sequence[int], samples: Sequence[float]) -> dict[str, Any]:
    """The median of the batches' means in ns, and where the middle eight tenths of them lie."""
    if not samples:
        return {"round_trip_ns": None, "round_trip_range_ns": None, "round_trip_cpus": list(pair)}
    low, middle, high = (round(float(value), 1) for value in np.percentile(samples, (10, 50, 90)))
    return {"round_trip_ns": middle, "round_trip_range_ns": [low, high], "round_trip_cpus": list(pair)}


def timer_facts(clock: Calibration, probes: Probes) -> dict[str, Any]:
    """What a reading of the clock costs, and the least time that it can tell from none, in ns."""
    ns_a_tick = 1e9 / clock.ticks_per_s
    best = min(probes.read_clock(READINGS, int(clock.clock)) for _ in range(3))
    step = probes.clock_step(READINGS, int(clock.clock))
    return {"timer_ns": round(best * ns_a_tick / READINGS, 1), "timer_step_ns": round(step * ns_a_tick, 1)}


def empty_shootdown_facts(clock: Calibration, zapper: Run) -> dict[str, Any]:
    """A shootdown by the specified order with nobody in the guest: the zapper's own kernel, median in ns."""
    ordering = load_orderings(("spec",))[0]
    scenario = load_scenario("yardstick").model_copy(update={"shootdowns": SHOOTDOWNS, "gap": 0})
    lay = plan(scenario.vcpus, 1, scenario.pages, scenario.tlb_entries)
    rules = rules_by(clock, ordering, scenario, shared_cpus=False)
    words = np.zeros(lay.total_words, np.int64)
    SHOOTDOWN.prepare(words, lay, rules, scenario.seed)
    zapper(words, lay, rules, zapper_actor(lay, 0))
    counts = snapshot(words, lay).histograms["shootdown"]
    return {"empty_shootdown_ns": percentile(counts, 0.5)}


def fork_facts() -> dict[str, Any]:
    """What forking a child that ends at once takes this process: the median of a few, in ns; None where it cannot.

    Raises HarnessFault where somebody else ended one.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING_SIGNALS)
    try:
        return {"fork_ns": round(statistics.median(_fork_ns() for _ in range(FORKS)))}
    except OSError:
        return {"fork_ns": None}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork_ns() -> int:
    began = time.monotonic_ns()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    took = time.monotonic_ns() - began
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise HarnessFault(f"not everything was measured: {ExitStatus('a forked child', pid, code)}")
    return took
