"""Races that begin short and become longer, for what happens by chance and later where others have the CPUs; and one
race in this process.
"""

import subprocess
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from kernels.tdx.outcomes import Outcome
from results.collect.race import Run
from results.verdict import LEAST_MET, LEAST_OWN, is_thin
from scenarios.models import Ordering, Scenario
from stress.interrupts import Interrupts
from stress.processes.prepared import prepared_for
from stress.processes.race import race
from stress.tests.command import Command, printed

FIRST_MS, TIMES = 300, 7  # 0.3 s, 0.6, ... 19.2
Raced = TypeVar("Raced")
Result = dict[str, Any]


def lengthened(race: Callable[[str], Raced], holds: Callable[[Raced], object]) -> Raced:
    """The first race that `holds` what a test needs to see, each as long as two before it; else the longest.

    What holds nothing is no failure of its own: that is for the test to say of the race that it is given.
    """
    for time in range(TIMES):
        raced = race(f"{FIRST_MS << time}ms")
        if holds(raced):
            break
    return raced


def run_until(
    command: Command, *arguments: str, holds: Callable[[Result], object]
) -> tuple[subprocess.CompletedProcess[str], Result]:
    """`tdx-stress run` with these arguments, without pictures, and its result."""

    def race(duration: str) -> tuple[subprocess.CompletedProcess[str], Result]:
        plain = () if "--warmup" in arguments else ("--warmup", "100ms")
        done = command("run", *arguments, *plain, "--duration", duration, "--no-report", "--json", "-")
        return done, printed(done)

    return lengthened(race, lambda raced: holds(raced[1]))


def answered(result: Result) -> bool:
    """Whether each race says something: enough shootdowns met a vCPU, or what is known of an ordering showed itself."""
    return all(run["verdict"] != "inconclusive" or is_crowded(run) for run in result["runs"])


def is_crowded(run: Result) -> bool:
    """Whether a race shows enough to a test, and to the tool too little, as others had the CPUs."""
    return (
        is_thin(run["reason"], run["met"]["shootdowns"], run["all_shootdowns"])
        and run["met"]["shootdowns"] >= LEAST_MET
        and (run.get("own_share") or 1.0) < LEAST_OWN
    )


def verdicts(done: subprocess.CompletedProcess[str], result: Result) -> list[str]:
    """What each race came to, `passed` also where it was crowded; the exit code is held against them."""
    crowded = any(map(is_crowded, result["runs"]))
    found = ["passed" if is_crowded(run) else run["verdict"] for run in result["runs"]]
    assert set(found) != {"passed"} or done.returncode == (6 if crowded else 0), done.stderr
    return found


def raced_here(ordering: Ordering, scenario: Scenario, until: Collection[Outcome] = (), *, traced: bool = False) -> Run:
    """One race whose workers are our children."""
    prepared = prepared_for(scenario, traced=traced)
    with Interrupts() as interrupts:
        return race(prepared, ordering, scenario, interrupts, lambda _: lambda *_: None, until)
