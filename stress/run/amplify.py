"""The verb `run --amplify auto`: for each ordering, a piece each, the setting that shows its outcome most often;
amplification.json.

The time of an ordering goes into the search, then into races anew: of the scenario without any amplifier and of the
best settings, for their rates, and of both until the first catch.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from results.kinds.amplification import SCHEMA
from results.verdict import Verdict
from scenarios.models import Scenario
from stress.errors import HarnessFault
from stress.interrupts import Interrupts
from stress.options import RunRequest
from stress.pieces.record import Job, Pieces, Plain, key_of
from stress.pieces.run import begun, run_job
from stress.processes.kicks import refuse_missing
from stress.processes.limits import make_room
from stress.processes.perturbation import declared_sites
from stress.processes.placement import chosen_cpus
from stress.processes.prepared import prepared_for
from stress.run.amplified_races import MAX_ACTORS, Amplification, Subject
from stress.run.targets import REPEATED, Target
from stress.screen import Screen
from stress.session import Session

AMPLIFY, AMPLIFICATION = "amplify", "amplification"
TARGETS = TypeAdapter(list[Target])
WITHOUT = {"yields": {}, "delays": {}, "storm_us": 0, "start_offset": "", "warmup_s": 0.0, "shootdowns": 0}


def run_amplify(request: RunRequest, declared: Scenario | None, asked: tuple[Sequence[Target], float] | None) -> int:
    """Search, race, store, show; returns the exit code. One that goes on has its orderings in its directory. Raises the
    errors of `stress.errors` and StoreError.
    """
    if declared is None or asked is None:
        subject = begun(request, AMPLIFY)
    else:
        targets, budget_s = asked
        subject = {
            "request": {key: getattr(request, key) for key in REPEATED},
            "scenario": declared.model_dump(mode="json"),
            "targets": TARGETS.dump_python([*targets], mode="json"),
            "budget_s": budget_s,
        }
    scenario = Scenario.model_validate(subject["scenario"])
    declared_sites(scenario), chosen_cpus(subject["request"]["cpus"])
    refuse_missing(scenario.kick_by)
    make_room(max(scenario.vcpus + scenario.zappers, MAX_ACTORS), threads=scenario.workers == "thread")

    def ready(its: Session) -> None:
        _get_ready(scenario, subject["request"]["cpus"], its.progress, verbose=request.verbose)

    def told(found: Plain, pieces: Pieces) -> tuple[str, bool]:
        if found.get("broken"):
            raise HarnessFault(found["broken"])
        failed = request.fail_fast and found["verdict"] in (Verdict.failed, Verdict.hung)
        return (
            f"{found['ordering']}: {found['verdict']}: {found['reason']}",
            found["verdict"] == Verdict.crashed or failed,
        )

    return run_job(request, job_of(subject), AMPLIFICATION, ready, threads=0, told=told)


def job_of(subject: Plain) -> Job:
    """An ordering a piece."""
    shared = {key: subject[key] for key in ("request", "scenario", "budget_s")}
    pieces = {
        key_of(number, one["ordering"]["name"], one["outcome"]): {
            **shared,
            "target": one,
            "seed": subject["scenario"]["seed"],
            "place": f"{one['ordering']['name']}, ordering {number} of {len(subject['targets'])}",
        }
        for number, one in enumerate(subject["targets"], start=1)
    }
    return Job(AMPLIFY, AMPLIFICATION, subject, pieces, run_piece, partial(_document, subject), races=True)


def _document(subject: Plain, head: Plain, how: Plain, found: Mapping[str, Plain]) -> Plain:
    about = {key: subject[key] for key in ("budget_s", "scenario")} | {"seed": subject["scenario"]["seed"]}
    about["asked"] = [one["ordering"]["name"] for one in subject["targets"]]
    entries = [{key: value for key, value in one.items() if key != "broken"} for one in found.values()]
    return {"schema": SCHEMA, **head, **about, "orderings": entries}


def _get_ready(scenario: Scenario, cpus: str | None, progress: Screen | None = None, *, verbose: bool = False) -> None:
    """With kernels that perturb, and kernels that know nothing of it."""
    for perturbed in (False, True):
        prepared_for(scenario, cpus, progress, perturbed=perturbed, verbose=verbose)


def run_piece(described: Plain, interrupts: Interrupts, progress: Screen | None) -> tuple[Plain, bool]:
    """One ordering's search and races, as an entry of the result, and whether they came to their end."""
    scenario = Scenario.model_validate(described["scenario"])
    asked: dict[str, Any] = described["request"]
    several: dict[str, Any] = {key: tuple(one) for key, one in asked.items() if isinstance(one, list)}
    request = RunRequest(**{**asked, **several})
    with interrupts.at_once():
        _get_ready(scenario, request.cpus)
    if interrupts:
        return {}, False
    (its,) = TARGETS.validate_python([described["target"]])
    plain = scenario.model_copy(update=WITHOUT)
    subject = Subject(request, scenario, plain, its, described["budget_s"], described["place"])
    search, broken = Amplification(subject, progress, interrupts), ""
    try:
        search.run()
    except HarnessFault as error:
        broken = str(error)
    entry = search.entry()
    whole = not broken and not interrupts and entry["verdict"] != Verdict.crashed
    return {**entry, **({"broken": broken} if broken else {})}, whole
