"""The verb `run`: every ordering of a scenario, or arm of a real one, races in turn, a piece each; results are stored
after each and shown at the end. Repeats of a race are the rounds of a bench.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.caveats import caveats
from results.collect.last_steps import LastSteps, together, trace, what_led_to_it
from results.exchange.cases import why_of
from results.kinds.files import write_pictures, write_real_report, write_texts
from results.kinds.kind import BY_NAME
from results.kinds.real import SCHEMA as REAL_SCHEMA
from results.kinds.real import real_caveats
from results.kinds.run.record import SCHEMA
from results.store import RunDirectory
from results.verdict import Verdict, exit_code
from scenarios.models import Ordering, Scenario
from scenarios.reals import Real
from stress.errors import UsageFault
from stress.host.quick import host_after, host_record
from stress.interrupts import Interrupts
from stress.options import RunRequest
from stress.pieces.record import Job, Pieces, Plain, arrays_of, key_of, raced
from stress.pieces.run import begun, missing_line, run_job, told_of_missing
from stress.processes.kicks import refuse_missing
from stress.processes.limits import make_room
from stress.processes.meanwhile import meanwhile
from stress.processes.perturbation import declared_sites
from stress.processes.placement import chosen_cpus
from stress.processes.prepared import Prepared, prepared_for
from stress.processes.race import race
from stress.progress import race_display
from stress.provenance import machine_id
from stress.real import verb as real
from stress.resolve import changes_of
from stress.screen import Screen
from stress.session import Session

RUN, REAL = "run", "real"
_last_steps: dict[str, LastSteps] = {}  # of this process's races, by ordering


def run(request: RunRequest, asked: tuple[Scenario, list[Ordering]] | Real | None) -> int:
    """Race, store, show; returns the exit code. One that goes on has its orderings in its directory. Raises the errors
    of `stress.errors` and StoreError.
    """
    if asked is None:
        subject = begun(request, RUN)
    elif request.trace and (request.share or request.cluster):
        raise UsageFault("--trace: the last steps stay with the process that raced; leave --share and --cluster out")
    else:
        if isinstance(asked, Real):
            scenario, orderings = asked.model_dump(mode="json"), [{"name": arm} for arm in asked.arms]
        else:
            scenario, orderings = asked[0].model_dump(mode="json"), [one.model_dump(mode="json") for one in asked[1]]
        subject = {"scenario": scenario, "orderings": orderings, "cpus": request.cpus, "trace": request.trace}
        if not isinstance(asked, Real):
            subject["changed"] = changes_of(request, *asked)
    job = job_of(subject)
    chosen_cpus(subject["cpus"])
    if job.kind == REAL:
        real.check_room(Real.model_validate(subject["scenario"]))
    else:
        _check(Scenario.model_validate(subject["scenario"]))

    def ready(its: Session) -> None:
        if job.kind == REAL:
            real.get_ready([one["name"] for one in subject["orderings"]], its.progress, verbose=request.verbose)
        else:
            _prepared(subject, its.progress, verbose=request.verbose)

    def told(found: Plain, pieces: Pieces) -> tuple[str, bool]:
        run = found.get("run")
        if run is None:
            return "", False
        line = f"{run['ordering']}: {run['verdict']}: {why_of(run).partition('; try ')[0]}"
        if request.verbose and run.get("ready_s") is not None:
            line += f"; {run['vcpus'] + run['zappers']} workers ready after {run['ready_s']:.3f} s"
        failed = request.fail_fast and run["verdict"] in (Verdict.failed, Verdict.hung)
        return line, run["verdict"] == Verdict.crashed or failed

    return run_job(request, job, subject["scenario"]["name"], ready, threads=0, told=told)


def _check(scenario: Scenario) -> None:
    """Before anything runs."""
    declared_sites(scenario)
    refuse_missing(scenario.kick_by)
    make_room(scenario.vcpus + scenario.zappers, threads=scenario.workers == "thread")


def job_of(subject: Plain) -> Job:
    """An ordering a piece, or an arm."""
    count, name = len(subject["orderings"]), subject["scenario"]["name"]
    pieces = {
        key_of(number, one["name"]): {
            **{key: subject[key] for key in ("scenario", "cpus", "trace")},
            "ordering": one,
            "told": subject.get("changed", {}).get("orderings", {}).get(one["name"], {}),
            "seed": subject["scenario"]["seed"],
            "place": f"{name}, ordering {number} of {count}",
        }
        for number, one in enumerate(subject["orderings"], start=1)
    }
    kind, how = (REAL, real.run_arm) if "arms" in subject["scenario"] else (RUN, run_piece)
    return Job(RUN, kind, subject, pieces, how, races=True, keep=_keep, leave=_leave)


def _prepared(subject: Plain, progress: Screen | None = None, *, verbose: bool = False) -> Prepared:
    scenario = Scenario.model_validate(subject["scenario"])
    return prepared_for(scenario, subject["cpus"], progress, traced=subject["trace"], verbose=verbose)


def run_piece(described: Plain, interrupts: Interrupts, progress: Screen | None) -> tuple[Plain, bool]:
    """One ordering's race, and whether it came to its end."""
    ordering = Ordering.model_validate(described["ordering"])
    scenario = Scenario.model_validate(described["scenario"])
    with interrupts.at_once():
        prepared = _prepared(described)
        host = host_record(prepared)
    if interrupts:
        return {}, False
    place, after_s = described["place"], scenario.duration_s
    with race_display(progress, ordering.name, safe=ordering.safe, place=place, after_s=after_s) as show:
        run = race(prepared, ordering, scenario, interrupts, show)
    if run.last_steps is not None:
        _last_steps[ordering.name] = run.last_steps
    run.json.update(described["told"])
    return raced(run, host)


def _result(job: Job, pieces: Pieces, after: Plain) -> Plain:
    """The orderings that have raced, each with its machine where there are several; `after`: facts of this one now."""
    head, found, scenario = pieces.head(job), pieces.of(job).values(), job.subject["scenario"]
    hosts, host = head.pop("hosts"), head["host"]
    several = len(hosts) > 1
    runs = [one["found"]["run"] | ({"machine": one["machine"]} if several else {}) for one in found]
    if host["id"] == machine_id():
        host |= after
    if job.kind == REAL:
        schema, more, said = REAL_SCHEMA, {"zappers": 1, "placement": "apart"}, real_caveats
    else:
        schema, more, said = SCHEMA, {"orderings": [one["name"] for one in job.subject["orderings"]]}, caveats
        more |= job.subject.get("changed", {}).get("scenario", {})
    scenario = {**scenario, **more}
    about = {"seed": scenario["seed"], "caveats": said(host, scenario, runs), "scenario": scenario}
    return {"schema": schema, **head, **({"hosts": hosts} if several else {}), **about, "runs": runs}


def _arrays(job: Job, pieces: Pieces) -> dict[str, Any]:
    texts = [one["found"]["arrays"] for one in pieces.of(job).values()]
    return {name: array for text in texts for name, array in arrays_of(text).items()}


def _traced(job: Job) -> Sequence[LastSteps]:
    return [_last_steps[one["name"]] for one in job.subject["orderings"] if one["name"] in _last_steps]


def _keep(directory: RunDirectory, job: Job, pieces: Pieces) -> None:
    """Write all that there is of it, with one trace of all orderings that were traced. Raises StoreError."""
    _write(directory, job, pieces, _result(job, pieces, {}), plots=False)


def _write(directory: RunDirectory, job: Job, pieces: Pieces, result: Plain, *, plots: bool) -> None:
    last, arrays = _traced(job), _arrays(job, pieces)
    traced = together([trace(steps.whole) for steps in last]) if last else None

    def draw(path: Path) -> None:
        if job.kind == REAL:
            return write_real_report(path, result, arrays)
        with meanwhile(lambda: write_pictures(path, result, arrays, ("png",))):  # `report` draws for paper, too
            return write_texts(path, result, arrays)

    directory.write(result, arrays, BY_NAME[job.kind].file, trace=traced, draw=draw if plots else None)


def _leave(its: Session, directory: RunDirectory, job: Job, pieces: Pieces) -> int:
    """All that a run leaves; the exit code."""
    result, request = _result(job, pieces, host_after(its.interrupts)), its.request
    with its.noted():
        waits = its.interrupts.received < 2  # nobody who asks for the end twice waits for pictures
        plots = waits and not getattr(request, "no_report", False)
        with its.drawing() if plots else contextlib.nullcontext():
            _write(directory, job, pieces, result, plots=plots)
    every = request.verbose  # step of what led to a failure, not folded into calls
    told = (line for it in _traced(job) for line in (*what_led_to_it(it, every=every), ""))
    cases = its.kind.cases(result)
    if its.interrupts and "--resume" in missing_line(pieces, job):  # who ended it is told how to go on
        cases = [replace(case, more="" if case.state == Verdict.inconclusive else case.more) for case in cases]
    its.leave(result, cases, told=told)
    return told_of_missing(its, pieces, job, its.end(exit_code(result["runs"])))
