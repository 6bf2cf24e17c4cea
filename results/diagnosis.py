"""All findings of a machine, in the order in which they are read. Pure: facts in, sentences out."""

from results import machine_findings as machine
from results import probe_findings as probes
from results.findings import Facts, Finding

CHECKS = (
    machine.cpus,
    machine.topology,
    machine.smt,
    machine.frequency,
    machine.hypervisor,
    machine.steal,
    machine.load,
    machine.quota,
    machine.counter,
    machine.clocksource,
    probes.timer,
    probes.empty_shootdown,
    probes.round_trip,
    probes.store_buffering,
    probes.fork,
    probes.memory,
    probes.cache,
    machine.realtime,
    machine.isolation,
)


def diagnose(facts: Facts) -> list[Finding]:
    """Every finding, good or bad."""
    return [check(facts) for check in CHECKS]
