"""The verb `run --amplify auto`: for each ordering the setting that shows its outcome most often; amplification.json.

The time of an ordering goes into the search, then into races anew: of the scenario without any amplifier and of the
best settings, for their rates, and of both until the first catch.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.exchange.cases import junit_document, ktap_document
from results.kinds.amplification import (
    SCHEMA,
    amplification_cases,
    amplification_exit_code,
    amplification_table,
    amplified_line,
    first_catch_table,
)
from results.store import RunDirectory, StoreError, json_bytes, write_text
from results.verdict import Exit, Verdict
from scenarios.models import Scenario
from stress.amplify_races import MOST_ACTORS, Machines, Search, Subject
from stress.amplify_request import Target
from stress.interrupts import Interrupts
from stress.leaving import hand_out_json, noted, origin, put_document, result_directory
from stress.limits import make_room
from stress.machine import machine
from stress.perturbation import AtSite, declared_sites
from stress.placement import Cpus, chosen_cpus
from stress.report import MODEL
from stress.request import STDOUT, Request, check_files, named_file
from stress.screen import Screen, write

AMPLIFICATION = "amplification"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be amplified, checked before anything starts. `scenario` has no amplifier; `declared` is as given."""

    request: Request
    declared: Scenario
    scenario: Scenario
    targets: Sequence[Target]
    budget_s: float
    cpus: Cpus
    directory: RunDirectory
    progress: Screen | None


def run_amplify(
    request: Request, scenario: Scenario, targets: Sequence[Target], budget_s: float, command: Sequence[str]
) -> int:
    """Search, race, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    declared_sites(scenario)
    cpus = chosen_cpus(request.cpus)
    make_room(max(scenario.vcpus + scenario.zappers, MOST_ACTORS), threads=scenario.workers == "thread")
    check_files(request.json, request.junit, request.ktap)
    nothing = {"yields": {}, "delays": {}, "storm_us": 0, "start_offset": ""}
    plain = scenario.model_copy(update={**nothing, "warmup_s": 0.0, "shootdowns": 0})
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    with result_directory(request.out, AMPLIFICATION) as directory:
        return _carry_out(Plan(request, scenario, plain, targets, budget_s, cpus, directory, progress), command)


def _carry_out(plan: Plan, command: Sequence[str]) -> int:
    flow, request = plan.scenario.flow, plan.request
    bare = machine(plan.cpus, {}, plan.progress, flow=flow, verbose=request.verbose)
    machines = Machines(bare, machine(plan.cpus, {0: AtSite()}, plan.progress, flow=flow, verbose=request.verbose))
    document = {"schema": SCHEMA, **origin(command), "seed": plan.scenario.seed, "budget_s": plan.budget_s}
    entries: list[dict[str, Any]] = []
    document |= {"scenario": plan.declared.model_dump(mode="json"), "orderings": entries}
    refused: list[StoreError] = []
    with Interrupts() as interrupts:
        with noted(refused):
            _search_all(plan, machines, document, interrupts)
        if not entries:
            return Exit.INTERRUPTED.value if interrupts else Exit.NOTHING_RAN.value
        with noted(refused):
            _hand_out(request, document)
        _show(plan, document)
        code = amplification_exit_code(entries, interrupted=bool(interrupts))
    if refused:
        raise refused[0]
    return code


def _search_all(plan: Plan, machines: Machines, document: dict[str, Any], interrupts: Interrupts) -> None:
    """Every ordering in turn, each stored as it ends, however it does; until one breaks the harness, the user has
    enough, or `--fail-fast` says so.
    """
    request, count = plan.request, len(plan.targets)
    for number, target in enumerate(plan.targets, start=1):
        if interrupts:
            return
        place = f"{target.ordering.name}, ordering {number} of {count}"
        subject = Subject(request, plan.declared, plan.scenario, target, plan.budget_s, place)
        search = Search(subject, machines, plan.progress, interrupts)
        try:
            search.run()
        finally:
            entry = search.entry()
            document["orderings"].append(entry)
            put_document(plan.directory, AMPLIFICATION, document, None)
        if plan.progress is not None:
            plan.progress.line(f"{entry['ordering']}: {entry['verdict']}: {entry['reason']}")
        failed = entry["verdict"] in (Verdict.failed, Verdict.hung)
        if entry["verdict"] == Verdict.crashed or (request.fail_fast and failed):
            return


def _hand_out(request: Request, document: Mapping[str, Any]) -> None:
    """The document in the files that were named. Raises StoreError."""
    suite, cases = document["scenario"]["name"], amplification_cases(document)
    hand_out_json(request.json, document)
    if request.junit is not None:
        write_text(request.junit, junit_document(suite, cases))
    if (path := named_file(request.ktap)) is not None:
        write_text(path, ktap_document(suite, cases))


def _show(plan: Plan, document: dict[str, Any]) -> None:
    request, entries = plan.request, document["orderings"]
    if request.json == STDOUT:
        write(sys.stdout, json_bytes(document).decode())
    if request.ktap == STDOUT:
        write(sys.stdout, ktap_document(document["scenario"]["name"], amplification_cases(document)))
    data_on_stdout = STDOUT in (request.json, request.ktap)
    screen = Screen(sys.stderr if data_on_stdout else sys.stdout, color=request.color)
    if not request.quiet:
        for entry in entries:
            screen.show(amplification_table(entry), "")
        if len(entries) > 1:
            screen.show(first_catch_table(entries), "")
    if not request.quiet or not data_on_stdout:
        for entry in entries:
            screen.line(amplified_line(entry))
    if not request.quiet:
        screen.line(f"\n{MODEL}\nFiles: {plan.directory.path}/")
