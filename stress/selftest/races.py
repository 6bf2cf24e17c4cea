"""The races of a selftest: a claim's race ends at the first catch, and is begun anew where another error stopped it."""

from dataclasses import replace
from typing import Any

from kernels.tdx.outcomes import Outcome
from results.verdict import Verdict
from scenarios.models import Scenario
from stress.interrupts import Interrupts
from stress.processes.perturbation import declared_sites
from stress.processes.placement import Cpus
from stress.processes.prepared import machine
from stress.processes.race import Machine, race
from stress.progress import Show
from stress.screen import Screen
from stress.selftest.expectations import Claim

MOST_TRIES = 10


class Machines:
    """What races stand on: compiled when the first race of its kind is due, by flow and by whether actors yield."""

    def __init__(self, cpus: Cpus, progress: Screen | None, *, verbose: bool) -> None:
        self._cpus, self._progress, self._verbose = cpus, progress, verbose
        self._made: dict[tuple[str, bool], Machine] = {}

    def of(self, scenario: Scenario) -> Machine:
        """With the scenario's own yields and delays."""
        sites = declared_sites(scenario)
        kind = scenario.flow, bool(sites)
        if kind not in self._made:
            self._made[kind] = machine(self._cpus, sites, self._progress, flow=scenario.flow, verbose=self._verbose)
        return replace(self._made[kind], perturbation=sites)


def race_claim(
    prepared: Machine, claimed: Claim, place: str, progress: Screen | None, interrupts: Interrupts
) -> list[dict[str, Any]]:
    """The race as its tries, each an entry of a run; the last one ends at the first catch or with the race's time.

    Another error may come first and stop the VM: the race is then begun anew, with the next seed and in the time that
    is left. A safe ordering is raced once, to the end of its time.
    """
    ordering, scenario = claimed.ordering, claimed.raced
    until = () if claimed.safe else tuple(Outcome[name] for name in ordering.expect)
    tries: list[dict[str, Any]] = []
    while True:
        with Show(progress, ordering.name, safe=claimed.safe, place=place, after_s=scenario.duration_s) as show:
            tries.append(race(prepared, ordering, scenario, interrupts, show, until).json)
        left_s = scenario.duration_s - tries[-1]["seconds"]
        too_soon = tries[-1]["verdict"] == Verdict.inconclusive and left_s > 0
        if claimed.safe or not too_soon or interrupts or len(tries) == MOST_TRIES:
            return tries
        scenario = scenario.model_copy(update={"seed": scenario.seed + 1, "duration_s": left_s})
