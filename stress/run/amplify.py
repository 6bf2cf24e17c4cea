"""The verb `run --amplify auto`: for each ordering the setting that shows its outcome most often; amplification.json.

The time of an ordering goes into the search, then into races anew: of the scenario without any amplifier and of the
best settings, for their rates, and of both until the first catch.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from results.kinds.amplification import SCHEMA, amplification_exit_code
from results.store import RunDirectory
from results.verdict import Verdict
from scenarios.models import Scenario
from stress.options import RunRequest
from stress.processes.kicks import refuse_missing
from stress.processes.limits import make_room
from stress.processes.perturbation import AtSite, declared_sites
from stress.processes.placement import chosen_cpus
from stress.processes.prepared import prepare_races
from stress.run.amplified_races import MAX_ACTORS, Amplification, Machines, Subject
from stress.run.targets import Target
from stress.session import Session, origin, put_document, session

AMPLIFICATION = "amplification"
WITHOUT = {"yields": {}, "delays": {}, "storm_us": 0, "start_offset": "", "warmup_s": 0.0, "shootdowns": 0}


def run_amplify(request: RunRequest, declared: Scenario, targets: Sequence[Target], budget_s: float) -> int:
    """Search, race, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    declared_sites(declared)
    cpus = chosen_cpus(request.cpus)
    refuse_missing(declared.kick_by)
    make_room(max(declared.vcpus + declared.zappers, MAX_ACTORS), threads=declared.workers == "thread")
    with session(request, AMPLIFICATION, AMPLIFICATION) as (its, directory):
        prepare = partial(
            prepare_races,
            cpus,
            progress=its.progress,
            flow=declared.flow,
            costs=bool(declared.costs),
            verbose=request.verbose,
        )
        machines = Machines(prepare({}), prepare({0: AtSite()}))
        entries: list[dict[str, Any]] = []
        document = {
            "schema": SCHEMA,
            **origin(),
            "seed": declared.seed,
            "budget_s": budget_s,
            "scenario": declared.model_dump(mode="json"),
            "asked": [one.ordering.name for one in targets],
            "orderings": entries,
        }
        plain, count = declared.model_copy(update=WITHOUT), len(targets)
        subjects = [
            Subject(request, declared, plain, one, budget_s, f"{one.ordering.name}, ordering {number} of {count}")
            for number, one in enumerate(targets, start=1)
        ]
        with its.interrupts:
            with its.noted():
                _search_all(its, directory, subjects, machines, document)
            if not entries:
                return its.nothing()
            its.leave(document)
            return its.end(amplification_exit_code(entries, interrupted=bool(its.interrupts)))


def _search_all(
    its: Session, directory: RunDirectory, subjects: Sequence[Subject], machines: Machines, document: dict[str, Any]
) -> None:
    """Every ordering in turn, each stored as it ends, however it does; until one breaks the harness, the user has
    enough, or `--fail-fast` says so.
    """
    for subject in subjects:
        if its.interrupts:
            return
        search = Amplification(subject, machines, its.progress, its.interrupts)
        try:
            search.run()
        finally:
            entry = search.entry()
            document["orderings"].append(entry)
            put_document(directory, AMPLIFICATION, document)
        its.note(f"{entry['ordering']}: {entry['verdict']}: {entry['reason']}")
        failed = entry["verdict"] in (Verdict.failed, Verdict.hung)
        if entry["verdict"] == Verdict.crashed or (subject.request.fail_fast and failed):
            return
