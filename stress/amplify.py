"""The verb `run --amplify auto`: for each ordering the setting that shows its outcome most often; amplification.json.

The time of an ordering goes into the search, then into races anew: of the scenario without any amplifier and of the
best settings, for their rates, and of both until the first catch.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kernels.outcomes import Outcome
from kernels.race import labels_of
from kernels.rules import Flow
from results.amplification import SCHEMA, amplification_exit_code, judged, measured, median_catch
from results.amplification_tables import amplification_table, first_catch_table
from results.grades import FAILING, GRADES
from results.store import RunDirectory, StoreError, json_bytes
from results.verdict import Ending
from scenarios.models import Scenario
from stress.amplify_request import Target, repeated
from stress.amplify_search import Drawer, Setting, Tried, amplify, as_json, passes
from stress.canvas import Canvas
from stress.interrupts import Interrupts
from stress.leaving import hand_out_json, noted, origin, put_document, result_directory
from stress.limits import make_room
from stress.machine import machine
from stress.perturbation import AtSite, declared_sites
from stress.placement import Cpus, chosen_cpus
from stress.race import Machine, race
from stress.report import MODEL
from stress.request import STDOUT, Request, check_files
from stress.screen import Screen, write

AMPLIFICATION = "amplification"
SEARCHED, MEASURED, BEST, CATCHES = 0.55, 0.2, 3, 3
CENSUS_S = 0.3
STUCK_S = 1.0  # without progress a race is over: what it showed until then counts
MOST_ACTORS = 16  # of a drawn setting, more than that only where the scenario has them


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


@dataclass(frozen=True, slots=True)
class Machines:
    """Kernels that perturb, and kernels that know nothing of it."""

    bare: Machine
    perturbed: Machine


def run_amplify(
    request: Request, scenario: Scenario, targets: Sequence[Target], budget_s: float, command: Sequence[str]
) -> int:
    """Search, race, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    declared_sites(scenario)
    cpus = chosen_cpus(request.cpus)
    make_room(max(scenario.vcpus + scenario.zappers, MOST_ACTORS), threads=scenario.workers == "thread")
    check_files(request.json, None)
    plain = scenario.model_copy(
        update={"yields": {}, "delays": {}, "storm_us": 0, "warmup_s": 0.0, "shootdowns": 0, "watchdog_s": STUCK_S}
    )
    progress = None if request.quiet else Screen(sys.stderr, color=request.color)
    with result_directory(request.out, AMPLIFICATION) as directory:
        return _carry_out(Plan(request, scenario, plain, targets, budget_s, cpus, directory, progress), command)


def _carry_out(plan: Plan, command: Sequence[str]) -> int:
    flow, request = plan.scenario.flow, plan.request
    bare = machine(plan.cpus, {}, plan.progress, flow=flow, verbose=request.verbose)
    machines = Machines(bare, machine(plan.cpus, {0: AtSite()}, plan.progress, flow=flow, verbose=request.verbose))
    document = {"schema": SCHEMA, **origin(command), "seed": plan.scenario.seed, "budget_s": plan.budget_s}
    document |= {"scenario": plan.declared.model_dump(mode="json"), "orderings": (entries := [])}
    refused: list[StoreError] = []
    with Interrupts() as interrupts:
        for number, target in enumerate(plan.targets, start=1):
            if not interrupts:
                place = f"{target.ordering.name}, ordering {number} of {len(plan.targets)}"
                entries.append(_Search(plan, machines, target, place, interrupts).entry())
        with noted(refused):
            put_document(plan.directory, AMPLIFICATION, document, None)
        with noted(refused):
            hand_out_json(request.json, document)
        _show(plan, document)
        code = amplification_exit_code(entries, interrupted=bool(interrupts))
    if refused:
        raise refused[0]
    return code


class _Search:
    """One ordering's search and races, within its part of the budget."""

    def __init__(self, plan: Plan, machines: Machines, target: Target, place: str, interrupts: Interrupts) -> None:
        self._plan, self._machines, self._target, self._place = plan, machines, target, place
        self._interrupts = interrupts
        self._races = 0
        self._doing = "searching"
        self._best: Tried | None = None

    def entry(self) -> dict[str, Any]:
        """As it stands in amplification.json."""
        ordering, outcome, budget_s = self._target.ordering, self._target.outcome, self._plan.budget_s
        base = Setting(self._plan.scenario.vcpus, self._plan.scenario.zappers)
        cap_s = (1 - SEARCHED - MEASURED) * budget_s / (2 * CATCHES)
        with Canvas(self._plan.progress) as canvas:
            self._canvas = canvas
            tried = self._search(base, SEARCHED * budget_s)
            without, best = self._anew(base, tried, MEASURED * budget_s / (1 + BEST))
            without |= self._catches(base, cap_s)
            if best:
                best[0] = (best[0][0], best[0][1] | self._catches(best[0][0], cap_s))
        return {
            "ordering": ordering.name,
            "expect": ordering.expect if isinstance(ordering.expect, str) else list(ordering.expect),
            "outcome": outcome,
            "forbidden": GRADES[Outcome[outcome]][0] in FAILING,
            "races": self._races,
            "cap_s": round(cap_s, 3),
            "without": without,
            "best": [{"setting": str(setting), **as_json(setting), **found} for setting, found in best],
            "command": repeated(self._plan.request, self._plan.declared, self._target, best[0][0]) if best else None,
            "tried": [{**as_json(one.setting), **one.found} for one in tried],
        }

    def _search(self, base: Setting, seconds: float) -> list[Tried]:
        """Settings with what short races showed, the best first."""
        began = time.monotonic()
        labels = self._labels(base)
        a_race_s = max(time.monotonic() - began - CENSUS_S, 0.0)
        planned = passes(seconds - CENSUS_S - a_race_s, a_race_s)
        until = began + seconds
        return amplify(
            self._drawer(labels), self._measure, planned, lambda: not self._interrupts and time.monotonic() < until
        )

    def _anew(
        self, base: Setting, tried: Sequence[Tried], seconds: float
    ) -> tuple[dict[str, Any], list[tuple[Setting, dict[str, Any]]]]:
        """The scenario without amplifier and the best settings, raced once more: whatever was best of many by chance
        is so no longer.
        """
        self._doing = "racing the best anew"
        promising = list(dict.fromkeys(one.setting for one in tried if one.found["hits"]))[:BEST]
        without = self._measure(base, seconds) or judged(0, 0, 0.0)
        found = [(setting, self._measure(setting, seconds) or judged(0, 0, 0.0)) for setting in promising]
        return without, sorted(found, key=lambda one: -one[1]["per_s"])

    def _labels(self, base: Setting) -> list[str]:
        """The labels that actors come by under this ordering: all are held up for no time, and who is not says so."""
        labels = [label for label in labels_of(Flow[self._plan.scenario.flow.upper()]) if label]
        census = replace(base, delays=tuple((label, "0ns") for label in dict.fromkeys(labels)))
        missing = self._race(census, CENSUS_S, ())["perturbation"]["never_struck"]
        return [label for label, _ in census.delays if label not in missing] or labels

    def _drawer(self, labels: Sequence[str]) -> Drawer:
        plan, request = self._plan, self._plan.request
        fixed = {"vcpus": request.vcpus, "zappers": request.zappers}
        if plan.scenario.vcpus + plan.scenario.zappers > MOST_ACTORS:
            fixed = {"vcpus": plan.scenario.vcpus, "zappers": plan.scenario.zappers}
        given = {key: value for key, value in fixed.items() if value is not None}
        return Drawer(plan.declared, labels, given, plan.scenario.seed)

    def _measure(self, setting: Setting, seconds: float) -> dict[str, Any] | None:
        """What one race of so long shows, until it hung if it did; None where it crashed or did nothing."""
        run = self._race(setting, seconds, ())
        if run["ending"] == Ending.crashed or not run["all_shootdowns"]:
            return None
        found = measured(run, self._target.outcome)
        if found["hits"] and (self._best is None or found["per_s"] > self._best.found["per_s"]):
            self._best = Tried(setting, found)
        return found

    def _catches(self, setting: Setting, cap_s: float) -> dict[str, Any]:
        """The seconds to the first catch in some races, each up to the cap, and their median."""
        self._doing = "racing to the first catch"
        until = (Outcome[self._target.outcome],)
        runs = [self._race(setting, cap_s, until) for _ in range(CATCHES) if not self._interrupts]
        catches = [None if run.get("caught") is None else round(run["caught"]["seconds"], 4) for run in runs]
        return {"catches_s": catches, "first_catch_s": median_catch(catches)}

    def _race(self, setting: Setting, seconds: float, until: Sequence[Outcome]) -> dict[str, Any]:
        """The record of one race; each has a seed of its own."""
        self._races += 1
        scenario = setting.applied(self._plan.scenario)
        scenario = scenario.model_copy(update={"duration_s": seconds, "seed": self._plan.scenario.seed + self._races})
        sites = declared_sites(scenario)
        prepared = replace(self._machines.perturbed, perturbation=sites) if sites else self._machines.bare
        return race(prepared, self._target.ordering, scenario, self._interrupts, self._watch, until).json

    def _watch(self, tally: Callable[[], Any]) -> Callable[[str, float | None], None]:
        def look(phase: str, left_s: float | None) -> None:
            if self._canvas.is_due():
                best = "" if self._best is None else f", best so far {self._best.found['per_s']:,.0f} a second"
                text = f"{self._place}: {self._doing} for {self._target.outcome}, race {self._races}{best}"
                self._canvas.draw(text, text)

        return look


def _show(plan: Plan, document: dict[str, Any]) -> None:
    request = plan.request
    if request.json == STDOUT:
        write(sys.stdout, json_bytes(document).decode())
    screen = Screen(sys.stderr if request.json == STDOUT else sys.stdout, color=request.color)
    if request.quiet:
        return
    for entry in document["orderings"]:
        screen.show(amplification_table(entry), "")
    if len(document["orderings"]) > 1:
        screen.show(first_catch_table(document["orderings"]), "")
    screen.line(f"{MODEL}\nFiles: {plan.directory.path}/")
