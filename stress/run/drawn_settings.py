"""The search for a setting that shows an outcome most often: drawn settings, raced shortly; the best ones longer, with
variations of them beside.

Seeded, so that the same settings are tried again; what comes of them is a race's. Nothing here races: `measure` does.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from results.kinds.amplification import Measured, score
from results.words import plural
from scenarios.machines import scenario_contradictions
from scenarios.models import Scenario

DELAYS = ("1us", "5us", "20us", "0-20us", "0-100us", "100us", "500us")
ODDS = ("", "", "@0.3", "@0.05")
YIELD_ODDS = (0.5, 0.1, 0.01)
STORMS_US = (0, 0, 0, 0, 2, 20)
START_OFFSETS, RATES, STARTS = ("0ns", "0-500ns", "0-2us", "0-10us"), (2e3, 2e4, 2e5), 0.3
# Of each pass how many settings race, which share of them are the best of the pass before, and for how many units.
PASSES = ((24, 0.0, 1.0), (12, 0.5, 1.5), (8, 0.5, 2.5))
UNIT_S, MIN_S, MIN_SCALE, MAX_SCALE = 0.25, 0.02, 0.25, 4.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What is done to a scenario. Yields and delays are by label, in order. `start_rate` is the open loop's of a start
    offset; without one the rate is the scenario's.
    """

    vcpus: int
    zappers: int
    yields: tuple[tuple[str, float], ...] = ()
    delays: tuple[tuple[str, str], ...] = ()
    storm_us: int = 0
    start_offset: str = ""
    start_rate: float = 0.0

    def applied(self, scenario: Scenario) -> Scenario:
        """The scenario under this setting; every zapper still has a page."""
        changed = as_json(self)
        start_rate = changed.pop("start_rate")
        rate = start_rate if self.start_offset else scenario.rate
        pages = max(scenario.pages, self.zappers * scenario.batch)
        return scenario.model_copy(update={**changed, "rate": rate, "pages": pages})

    def __str__(self) -> str:
        parts = [f"{plural(self.vcpus, 'vCPU')}, {plural(self.zappers, 'zapper')}"]
        parts += [f"{label} yield {odds:g}" for label, odds in self.yields]
        parts += [f"{label} {delay}" for label, delay in self.delays]
        parts += [f"start_offset {self.start_offset} at {self.start_rate:g} shootdowns/s"] if self.start_offset else []
        return ", ".join([*parts, f"storm_us {self.storm_us}"] if self.storm_us else parts)

    @property
    def amplifies(self) -> bool:
        """Whether it does more than to change sizes."""
        return bool(self.yields or self.delays or self.storm_us or self.start_offset)


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting with what a race showed."""

    setting: Setting
    found: Measured


class Drawer:
    """Draws settings around a scenario. `labels` are those that its actors come by, each drawn once before one is drawn
    again; `fixed` are sizes that are not to change.
    """

    def __init__(self, scenario: Scenario, labels: Sequence[str], fixed: Mapping[str, int], seed: int) -> None:
        self._scenario, self._fixed = scenario, fixed
        self._random = random.Random(seed)
        shuffled = self._random.sample(labels, len(labels))
        self._labels = itertools.cycle(shuffled)

    @property
    def declared(self) -> Setting:
        """What the scenario itself declares."""
        scenario = self._scenario
        yields, delays = tuple(scenario.yields.items()), tuple(scenario.delays.items())
        start = (scenario.start_offset, scenario.rate) if scenario.start_offset else ("", 0.0)
        return Setting(scenario.vcpus, scenario.zappers, yields, delays, scenario.storm_us, *start)

    def draw(self) -> Setting:
        """A new setting: one label, seldom two; a size other than the scenario's three times in ten, and as often, of
        several zappers, starts that are due at once.
        """
        drawn = replace(self._size(), storm_us=self._random.choice(STORMS_US))
        if drawn.zappers > 1 and self._random.random() < STARTS:
            drawn = self._together(drawn)
        for _ in range(1 + (self._random.random() < 0.3)):
            drawn = self._perturbed(drawn)
        return drawn

    def _size(self) -> Setting:
        """Sizes that the scenario can have: those that contradict its other keys are its own instead."""
        own = self._sized(self._scenario.vcpus, self._scenario.zappers)
        if self._random.random() >= 0.3:
            return own
        other = self._sized(self._random.choice((1, 2, 4, 8)), self._random.choice((1, 2, 3)))
        return own if any(scenario_contradictions(other.applied(self._scenario))) else other

    def _sized(self, vcpus: int, zappers: int) -> Setting:
        return Setting(self._fixed.get("vcpus", vcpus), self._fixed.get("zappers", zappers))

    def varied(self, setting: Setting) -> Setting:
        """The setting with one thing changed."""
        way = self._random.randrange(5)
        if way == 0:
            return replace(setting, storm_us=self._random.choice(STORMS_US))
        if way == 1:
            fresh = self.draw()
            setting = replace(setting, vcpus=fresh.vcpus, zappers=fresh.zappers)
            return setting if setting.zappers > 1 else replace(setting, start_offset="", start_rate=0.0)
        if way == 2 and setting.delays:
            label = self._random.choice(setting.delays)[0]
            return replace(setting, delays=tuple({**dict(setting.delays), label: self._delay()}.items()))
        if way == 3 and setting.zappers > 1:
            return self._together(setting)
        return self._perturbed(setting)

    def _together(self, setting: Setting) -> Setting:
        """With a start offset, in an open loop of the scenario's rate where it has one."""
        rate = self._scenario.rate or self._random.choice(RATES)
        return replace(setting, start_offset=self._random.choice(START_OFFSETS), start_rate=rate)

    def _perturbed(self, setting: Setting) -> Setting:
        label = next(self._labels)
        if self._random.random() < 0.3:
            return replace(
                setting, yields=tuple({**dict(setting.yields), label: self._random.choice(YIELD_ODDS)}.items())
            )
        return replace(setting, delays=tuple({**dict(setting.delays), label: self._delay()}.items()))

    def _delay(self) -> str:
        return self._random.choice(DELAYS) + self._random.choice(ODDS)


Measure = Callable[[Setting, float], Measured | None]


@dataclass(frozen=True, slots=True)
class Pass:
    """So many settings, `kept` of them the best of the pass before, each raced for so long."""

    count: int
    kept: int
    seconds: float


def passes(budget_s: float, a_race_s: float) -> tuple[Pass, ...]:
    """Passes that fit a budget where starting a race takes `a_race_s`: as many settings as races of UNIT_S allow, and
    longer races where even the fewest settings leave time.
    """
    weight = sum(count * (a_race_s + times * UNIT_S) for count, _, times in PASSES)
    scale = min(max(budget_s / weight, MIN_SCALE), MAX_SCALE)
    counts = [max(round(count * scale), 2) for count, _, _ in PASSES]
    left_s = budget_s - sum(counts) * a_race_s
    unit_s = max(left_s / sum(count * times for count, (_, _, times) in zip(counts, PASSES, strict=True)), MIN_S)
    return tuple(
        Pass(count, round(count * share), unit_s * times)
        for count, (_, share, times) in zip(counts, PASSES, strict=True)
    )


def amplify(drawer: Drawer, measure: Measure, planned: Sequence[Pass], going_on: Callable[[], bool]) -> list[Tried]:
    """Every setting of the last pass that was raced, the best first; then those of the passes before, likewise.

    `measure` gives None where a race came to nothing, `going_on` says whether there is time for another:
    one a pass is raced whatever it says.
    """
    best: list[Tried] = []
    before: list[Tried] = []
    for one_pass in planned:
        promising = [one.setting for one in best[: one_pass.kept] if one.found["hits"]]
        settings = list(promising)
        start = [drawer.declared] if not best else []
        settings += [one for one in start if one.amplifies]
        while len(settings) < one_pass.count:
            settings.append(drawer.varied(promising[len(settings) % len(promising)]) if promising else drawer.draw())
        tried: list[Tried] = []
        for setting in settings:
            if tried and not going_on():
                break
            if (found := measure(setting, one_pass.seconds)) is not None:
                tried.append(Tried(setting, found))
        before = best + before
        best = sorted(tried, key=lambda one: -score(one.found)) or best
    return [*best, *(one for one in before if one not in best)]


def as_json(setting: Setting) -> dict[str, Any]:
    """As it stands in amplification.json."""
    return {**asdict(setting), "yields": dict(setting.yields), "delays": dict(setting.delays)}
