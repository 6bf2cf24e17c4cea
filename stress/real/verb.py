"""The verb `run` of a scenario of the kind `real`: each arm races in turn; the result is stored after each."""

from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.race.clock import calibrate
from results.kinds.files import write_real_report
from results.kinds.real.record import FILE, SCHEMA, real_caveats
from results.machine.files import shown_cpus
from results.machine.host import host_facts
from results.store import RAW, RunDirectory, json_bytes
from results.verdict import Verdict, exit_code
from results.words import count
from scenarios.real.model import Real
from stress.host.quick import clock_facts
from stress.options import RunRequest
from stress.processes.limits import make_room
from stress.processes.placement import chosen_cpus
from stress.processes.prepared import compiling
from stress.progress import display
from stress.real.arms import THREADS, warmed
from stress.real.race import race_real
from stress.session import origin, session


def run_real(request: RunRequest, real: Real) -> int:
    """Race, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    cpus = chosen_cpus(request.cpus)
    make_room(real.vcpus + 1, threads=set(real.arms) <= set(THREADS))
    with session(request, real.name, "real") as (its, directory):
        clock = calibrate()
        with compiling(its.progress, ("real",), "the loops, once: about 5 s", verbose=request.verbose):
            warmed(real.arms, clock)
        used = {"cpus_allowed": len(cpus), "cpus_used": shown_cpus(cpus)}
        result: dict[str, Any] = {
            "schema": SCHEMA,
            **origin({**host_facts(), **used, **clock_facts(clock)}),
            "seed": real.seed,
            "caveats": [],
            "scenario": {**real.model_dump(mode="json"), "zappers": 1, "placement": "apart"},
            "runs": [],
        }
        arrays: dict[str, NDArray[Any]] = {}
        with its.interrupts:
            with its.noted():
                ends = {Verdict.crashed, *((Verdict.failed, Verdict.hung) if request.fail_fast else ())}
                for arm in real.arms:
                    if its.interrupts or any(run["verdict"] in ends for run in result["runs"]):
                        break
                    with display(its.progress) as drawn:
                        run = race_real(arm, real, clock, cpus, its.interrupts, partial(_watch, drawn, arm))
                    result["runs"].append(run.json)
                    arrays |= run.arrays
                    result["caveats"] = real_caveats(result["host"], real.vcpus, result["runs"])
                    its.note(f"{arm}: {run.json['verdict']}: {run.json['reason']}")
                    _store(directory, result, arrays)
            if not result["runs"]:
                return its.nothing()
            with its.noted():
                if not request.no_report and its.interrupts.received < 2:
                    write_real_report(directory.path, result, arrays)
            its.leave(result)
            return its.end(exit_code(result["runs"]))


def _store(directory: RunDirectory, result: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    directory.put(
        {
            RAW: lambda file: np.savez_compressed(file, **arrays),  # type: ignore[arg-type]
            FILE: methodcaller("write", json_bytes(result)),
        }
    )


def _watch(drawn: Any, arm: str, shootdowns: int, reads: int, left_s: float) -> None:
    drawn.tell(f"{arm}: {count(shootdowns)} shootdowns, {count(reads)} reads; {left_s:.0f} s left")
