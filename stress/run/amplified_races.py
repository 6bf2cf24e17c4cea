"""The races of one ordering under `run --amplify auto`: those of the search, then the best settings and none anew."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kernels.tdx.outcomes import Outcome
from results.kinds.amplification import is_unexpected, judge_amplification, measured, not_raced, with_catches
from results.verdict import FAILING, Ending
from scenarios.loader import setting_key
from scenarios.models import Ordering, Scenario
from stress.interrupts import Interrupts
from stress.options import RunRequest
from stress.processes.perturbation import labels_in
from stress.processes.prepared import prepared_for
from stress.processes.race import race
from stress.progress import display
from stress.run.drawn_settings import Drawer, Setting, Tried, amplify, as_json, passes
from stress.run.targets import Target, repeated
from stress.screen import Screen

SEARCHED, MEASURED, BEST, CATCHES = 0.55, 0.2, 3, 3
CENSUS_S = 0.3
STUCK_S = 1.0  # without progress: what a race showed until then counts
MAX_ACTORS = 16  # of a drawn setting, more than that only where the scenario has them


@dataclass(frozen=True, slots=True)
class Subject:
    """An ordering and what is to be amplified in it. `scenario` has no amplifier; `declared` is as given; `place` is
    for people.
    """

    request: RunRequest
    declared: Scenario
    scenario: Scenario
    target: Target
    budget_s: float
    place: str

    @property
    def ordering(self) -> Ordering:
        """The ordering that races."""
        return self.target.ordering

    @property
    def watchdog_s(self) -> float:
        """A wrong ordering's race is over sooner than a safe one's, whose hang is a failure, unless that was set."""
        soon = not self.ordering.safe and "watchdog_s" not in map(setting_key, self.request.settings)
        return min(self.scenario.watchdog_s, STUCK_S) if soon else self.scenario.watchdog_s


class Amplification:
    """One ordering's search and races, within its budget. `entry` has at any time what is known until then."""

    def __init__(self, subject: Subject, progress: Screen | None, interrupts: Interrupts) -> None:
        self._subject, self._interrupts = subject, interrupts
        self._progress = progress
        self._began = time.monotonic()
        self._races = 0
        self._doing = "searching"
        self._cap_s = (1 - SEARCHED - MEASURED) * subject.budget_s / (2 * CATCHES)
        self._tried: list[Tried] = []
        self._without: dict[str, Any] = not_raced()
        self._best: list[tuple[Setting, dict[str, Any]]] = []
        self._unexpected: list[dict[str, Any]] = []
        self._crashed = False

    def run(self) -> None:
        """Search, then race the scenario without any amplifier and the best settings once more: whatever was best of
        many by chance is so no longer. A race that crashes is the last one.
        """
        base = Setting(self._subject.scenario.vcpus, self._subject.scenario.zappers)
        seconds = MEASURED * self._subject.budget_s / (1 + BEST)
        with display(self._progress) as self._drawn:
            self._tried = self._search(base, SEARCHED * self._subject.budget_s)
            self._doing = "racing the best anew"
            self._without = self._measure(base, seconds) or not_raced()
            for setting in list(dict.fromkeys(one.setting for one in self._tried if one.found["hits"]))[:BEST]:
                self._best.append((setting, self._measure(setting, seconds) or not_raced()))
            self._best.sort(key=lambda one: -one[1]["per_s"])
            self._doing = "racing to the first catch"
            self._without = self._with_catches(base, self._without)
            if self._best:
                setting, found = self._best[0]
                self._best[0] = setting, self._with_catches(setting, found)

    def entry(self) -> dict[str, Any]:
        """As it stands in amplification.json, with its verdict."""
        ordering, outcome = self._subject.ordering, self._subject.target.outcome
        entry = {
            "ordering": ordering.name,
            "expect": ordering.expect if isinstance(ordering.expect, str) else list(ordering.expect),
            "outcome": outcome,
            "forbidden": Outcome[outcome].grade in FAILING,
            "races": self._races,
            "seconds": round(time.monotonic() - self._began, 3),
            "cap_s": round(self._cap_s, 3),
            "without": self._without,
            "best": [{**_told(setting), **found} for setting, found in self._best],
            "command": self._repeated(self._best[0][0]) if self._best else None,
            "unexpected": self._unexpected,
            "tried": [{**as_json(one.setting), **one.found} for one in self._tried],
        }
        entry["verdict"], entry["reason"] = (str(part) for part in judge_amplification(entry))
        return entry

    @property
    def _over(self) -> bool:
        """Whether nothing is to be raced any more."""
        return self._crashed or bool(self._interrupts)

    def _search(self, base: Setting, seconds: float) -> list[Tried]:
        """Settings with what short races showed, the best first."""
        began = time.monotonic()
        labels = self._labels(base)
        a_race_s = max(time.monotonic() - began - CENSUS_S, 0.0)
        planned = passes(seconds - CENSUS_S - a_race_s, a_race_s)
        until = began + seconds
        return amplify(self._drawer(labels), self._try, planned, lambda: not self._over and time.monotonic() < until)

    def _labels(self, base: Setting) -> list[str]:
        """The labels that actors come by under this ordering: all are held up for no time, and who is not says so."""
        labels = [label for label in labels_in(self._subject.scenario.flow) if label]
        census = replace(base, delays=tuple((label, "0ns") for label in dict.fromkeys(labels)))
        missing = self._race(census, CENSUS_S, (), known_as=base)["perturbation"]["never_struck"]
        return [label for label, _ in census.delays if label not in missing] or labels

    def _drawer(self, labels: Sequence[str]) -> Drawer:
        scenario, request = self._subject.scenario, self._subject.request
        fixed = {"vcpus": request.vcpus, "zappers": request.zappers}
        if scenario.vcpus + scenario.zappers > MAX_ACTORS:
            fixed = {"vcpus": scenario.vcpus, "zappers": scenario.zappers}
        given = {key: value for key, value in fixed.items() if value is not None}
        return Drawer(self._subject.declared, labels, given, scenario.seed)

    def _try(self, setting: Setting, seconds: float) -> dict[str, Any] | None:
        found = self._measure(setting, seconds)
        if found is not None:
            self._tried.append(Tried(setting, found))
        return found

    def _measure(self, setting: Setting, seconds: float) -> dict[str, Any] | None:
        """What one race of so long shows, until it hung or crashed if it did; None where it did nothing."""
        if self._over:
            return None
        run = self._race(setting, seconds, ())
        found = measured(run, self._subject.target.outcome)
        if not (run["all_shootdowns"] or found["failing"] or self._crashed):
            return None
        return found

    def _with_catches(self, setting: Setting, found: dict[str, Any]) -> dict[str, Any]:
        """The measurement beside the seconds to the first catch in some races, each up to the cap."""
        until = (Outcome[self._subject.target.outcome],)
        catches = []
        for _ in range(CATCHES):
            if not self._over:
                run = self._race(setting, self._cap_s, until)
                caught = None if run.get("caught") is None else round(run["caught"]["seconds"], 4)
                catches.append((caught, measured(run, until[0].name)["failing"]))
        return with_catches(found, catches)

    def _race(
        self, setting: Setting, seconds: float, until: Sequence[Outcome], known_as: Setting | None = None
    ) -> dict[str, Any]:
        """The record of one race; each has a seed of its own. What it shows unexpectedly is noted of `known_as`."""
        self._races += 1
        scenario = setting.applied(self._subject.scenario)
        seed, watchdog_s = scenario.seed + self._races, self._subject.watchdog_s
        scenario = scenario.model_copy(update={"duration_s": seconds, "seed": seed, "watchdog_s": watchdog_s})
        prepared = prepared_for(scenario, self._subject.request.cpus)
        run = race(prepared, self._subject.ordering, scenario, self._interrupts, self._watch, until).json
        failing = measured(run, self._subject.target.outcome)["failing"]
        if is_unexpected(run, failing):
            told = _told(known_as or setting) | {"command": self._repeated(known_as or setting), "seed": seed}
            self._unexpected.append({**told, "ending": run["ending"], "notes": run["notes"], "failing": failing})
        self._crashed = self._crashed or run["ending"] == Ending.crashed
        return run

    def _repeated(self, setting: Setting) -> str:
        return repeated(self._subject.request, self._subject.declared, self._subject.target, setting)

    def _watch(self, tally: Callable[[], Any]) -> Callable[[str, float | None], None]:
        def look(phase: str, left_s: float | None) -> None:
            if self._drawn.is_due():
                found = max((one.found["per_s"] for one in self._tried if one.found["hits"]), default=None)
                best = "" if found is None else f", best so far {found:,.0f} a second"
                text = (
                    f"{self._subject.place}: {self._doing} for {self._subject.target.outcome}, race {self._races}{best}"
                )
                self._drawn.draw(text, text)

        return look


def _told(setting: Setting) -> dict[str, Any]:
    """A setting for people and for programs."""
    return {"setting": str(setting), **as_json(setting)}
