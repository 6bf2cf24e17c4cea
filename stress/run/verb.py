"""The verb `run`: every ordering of a scenario races in turn, a piece each; results are stored after each and shown at
the end. Repeats of a race are the rounds of a bench.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from results.caveats import caveats
from results.collect.last_steps import LastSteps, together, trace, what_led_to_it
from results.kinds.files import write_report
from results.kinds.run.record import SCHEMA
from results.store import RunDirectory
from results.verdict import Ending, Verdict, exit_code
from scenarios.models import Ordering, Scenario
from stress.errors import UsageFault
from stress.interrupts import Interrupts
from stress.options import RunRequest
from stress.pieces.ready import Ready, facts_after, facts_of, ready_for
from stress.pieces.record import Job, Pieces, Plain, arrays_of, key_of, packed
from stress.pieces.run import begun, run_job, told_of_missing
from stress.processes.kicks import refuse_missing
from stress.processes.limits import make_room
from stress.processes.meanwhile import meanwhile
from stress.processes.perturbation import declared_sites
from stress.processes.placement import chosen_cpus
from stress.processes.race import race
from stress.progress import race_display
from stress.provenance import machine_id
from stress.screen import Screen
from stress.session import Session

RUN = "run"
_last_steps: dict[str, LastSteps] = {}  # of this process's races, by ordering


def run(request: RunRequest, asked: tuple[Scenario, list[Ordering]] | None) -> int:
    """Race, store, show; returns the exit code. One that goes on has its orderings in its directory. Raises the errors
    of `stress.errors` and StoreError.
    """
    if asked is None:
        subject = begun(request, RUN)
    elif request.trace and (request.share or request.cluster):
        raise UsageFault("--trace: the last steps stay with the process that raced; leave --share and --cluster out")
    else:
        scenario, orderings = asked
        subject = {
            "scenario": scenario.model_dump(mode="json"),
            "orderings": [one.model_dump(mode="json") for one in orderings],
            "cpus": request.cpus,
            "trace": request.trace,
        }
    scenario = Scenario.model_validate(subject["scenario"])
    chosen_cpus(subject["cpus"]), declared_sites(scenario)
    refuse_missing(scenario.kick_by)
    make_room(scenario.vcpus + scenario.zappers, threads=scenario.workers == "thread")

    def ready(its: Session) -> None:
        _prepared(subject, its.progress, verbose=request.verbose)

    def told(found: Plain, pieces: Pieces) -> tuple[str, bool]:
        run = found.get("run")
        if run is None:
            return "", False
        line = f"{run['ordering']}: {run['verdict']}: {run['reason']}"
        if request.verbose and run["ready_s"] is not None:
            line += f"; {run['vcpus'] + run['zappers']} workers ready after {run['ready_s']:.3f} s"
        failed = request.fail_fast and run["verdict"] in (Verdict.failed, Verdict.hung)
        return line, run["verdict"] == Verdict.crashed or failed

    return run_job(request, job_of(subject), scenario.name, ready, threads=0, told=told)


def job_of(subject: Plain) -> Job:
    """An ordering a piece."""
    count, name = len(subject["orderings"]), subject["scenario"]["name"]
    pieces = {
        key_of(number, one["name"]): {
            **{key: subject[key] for key in ("scenario", "cpus", "trace")},
            "ordering": one,
            "seed": subject["scenario"]["seed"],
            "place": f"{name}, ordering {number} of {count}",
        }
        for number, one in enumerate(subject["orderings"], start=1)
    }
    return Job(RUN, subject, pieces, run_piece, lambda *given: {}, races=True, keep=_keep, leave=_leave)


def _prepared(subject: Plain, progress: Screen | None = None, *, verbose: bool = False) -> Ready:
    scenario = Scenario.model_validate(subject["scenario"])
    perturbed, costs, cpus = bool(declared_sites(scenario)), bool(scenario.costs), subject["cpus"]
    how = {"traced": subject["trace"], "progress": progress, "verbose": verbose}
    return ready_for(scenario.flow, perturbed=perturbed, costs=costs, cpus=cpus, **how)


def run_piece(described: Plain, interrupts: Interrupts, progress: Screen | None) -> tuple[Plain, bool]:
    """One ordering's race, and whether it came to its end."""
    ordering = Ordering.model_validate(described["ordering"])
    scenario, ready = Scenario.model_validate(described["scenario"]), None
    with interrupts.at_once():
        ready = _prepared(described)
        facts_of(ready)
    if ready is None or not ready.host:
        return {}, False
    prepared = replace(ready.prepared, perturbation=declared_sites(scenario))
    place, after_s = described["place"], scenario.duration_s
    with race_display(progress, ordering.name, safe=ordering.safe, place=place, after_s=after_s) as show:
        run = race(prepared, ordering, scenario, interrupts, show)
    if run.last_steps is not None:
        _last_steps[ordering.name] = run.last_steps
    whole = run.json["ending"] != Ending.interrupted and run.json["verdict"] != Verdict.crashed
    return {"run": run.json, "arrays": packed(run.arrays), "host": ready.host}, whole


def _result(job: Job, pieces: Pieces) -> Plain:
    """The orderings that have raced, each with its machine where there are several."""
    head, found = pieces.head(job), pieces.of(job).values()
    several = len(head["hosts"]) > 1
    runs = [one["found"]["run"] | ({"machine": one["machine"]} if several else {}) for one in found]
    scenario = {**job.subject["scenario"], "orderings": [one["name"] for one in job.subject["orderings"]]}
    hosts = {"hosts": head.pop("hosts")} if several else {}
    said = caveats(head["host"], scenario, runs)
    about = {"seed": scenario["seed"], "caveats": said, "scenario": scenario}
    return {"schema": SCHEMA, **{key: head[key] for key in head if key != "hosts"}, **hosts, **about, "runs": runs}


def _arrays(job: Job, pieces: Pieces) -> dict[str, Any]:
    texts = [one["found"]["arrays"] for one in pieces.of(job).values()]
    return {name: array for text in texts for name, array in arrays_of(text).items()}


def _traced(job: Job) -> Sequence[LastSteps]:
    return [_last_steps[one["name"]] for one in job.subject["orderings"] if one["name"] in _last_steps]


def _keep(directory: RunDirectory, job: Job, pieces: Pieces) -> None:
    """Write all that there is of it, with one trace of all orderings that were traced. Raises StoreError."""
    _write(directory, job, pieces, _result(job, pieces), plots=False)


def _write(directory: RunDirectory, job: Job, pieces: Pieces, result: Plain, *, plots: bool) -> None:
    last, arrays = _traced(job), _arrays(job, pieces)
    traced = together([trace(steps.whole) for steps in last]) if last else None
    # `report` draws for paper, too.
    draw = partial(write_report, result=result, arrays=arrays, kinds=("png",), meanwhile=meanwhile)
    directory.write(result, arrays, trace=traced, draw=draw if plots else None)


def _leave(its: Session, directory: RunDirectory, job: Job, pieces: Pieces) -> int:
    """All that a run leaves; the exit code."""
    result, request = _result(job, pieces), its.request
    runs = result["runs"]
    if result["host"]["id"] == machine_id():
        result["host"] |= facts_after(its.interrupts)
        result["caveats"] = caveats(result["host"], result["scenario"], runs)
    with its.noted():
        waits = its.interrupts.received < 2  # nobody who asks for the end twice waits for pictures
        _write(directory, job, pieces, result, plots=waits and not getattr(request, "no_report", False))
    every = request.verbose  # step of what led to a failure, not folded into calls
    told = (line for it in _traced(job) for line in (*what_led_to_it(it, every=every), ""))
    its.leave(result, told=told)
    return told_of_missing(its, pieces, job, its.end(exit_code(runs)))
