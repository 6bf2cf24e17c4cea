"""Declared perturbation: at a label of the kernels an actor gives its CPU away, or is held up, as a scenario says; and
declared costs, which pass at labels, too.
"""

import difflib
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from kernels.language.syntax import sites as all_sites
from kernels.layout import COST, COSTS, DELAY_ODDS_SHIFT, MAX_SITES, SLEEPS, SPREAD, SPREADS, STRUCK, Layout
from kernels.race.clock import Calibration
from kernels.race.lines import labels_of
from kernels.race.ticks import Clock
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import flow_named
from scenarios import costs
from scenarios.models import Scenario
from scenarios.times import Delay, parse_delay
from stress.errors import UsageFault
from stress.processes.shared_words import Words

CERTAIN = 1 << 16
# Longer delays sleep: spinning through them would keep others from the CPU, which is a perturbation of its own.
SLEEPS_FROM_NS = 100_000


@dataclass(frozen=True, slots=True)
class AtSite:
    """What is declared for one site: the probability of a yield, and a delay."""

    yields: float = 0.0
    delay: Delay | None = None


Sites = Mapping[int, AtSite]


@cache
def labels_in(flow: str) -> list[str]:
    """By site, the labels at which actors of a flow can be perturbed."""
    return labels_of(protocol_of(flow_named(flow)))


def declared_sites(scenario: Scenario) -> Sites:
    """Each site that a scenario perturbs. Raises UsageFault for a label that its flow has not, with the nearest, and
    for a start offset where nobody has one.
    """
    if scenario.start_offset and not scenario.rate:
        raise UsageFault("start_offset: expected --rate beside it, as only turns of an open loop are due, found none")
    if scenario.start_offset and scenario.zappers < 2:
        raise UsageFault("start_offset: expected 2 zappers or more, as they are to start together, found 1")
    labels = labels_in(scenario.flow) if scenario.yields or scenario.delays else []
    sites: dict[int, AtSite] = {}
    for label, probability in scenario.yields.items():
        sites |= dict.fromkeys(sites_of("yields", label, labels), AtSite(yields=probability))
    for label, text in scenario.delays.items():
        for site in sites_of("delays", label, labels):
            sites[site] = replace(sites.get(site, AtSite()), delay=parse_delay(text))
    return sites


def never_struck(words: Words, lay: Layout, scenario: Scenario, sites: Sites) -> list[str]:
    """The labels whose delay held nobody up in the race that these words are from: steps that nobody took."""
    struck = {
        all_sites()[site - 1].name
        for site, there in sites.items()
        if there.delay and words[lay.perturb + STRUCK + site]
    }
    return [label for label in scenario.delays if label not in struck]


def declared_texts(scenario: Scenario) -> dict[str, str]:
    """By label what a scenario declares there, for people: `yield 0.5`, `delay 200ns`, or both; its start offset."""
    texts = {label: f"yield {probability:g}" for label, probability in scenario.yields.items()}
    for label, delay in scenario.delays.items():
        texts[label] = ", ".join(filter(None, (texts.get(label), f"delay {delay}")))
    return texts | ({"start_offset": scenario.start_offset} if scenario.start_offset else {})


def sites_of(key: str, label: str, labels: Sequence[str]) -> list[int]:
    """The sites of a label, where `labels[site]` is a site's. Raises UsageFault where there is none."""
    found = [site for site, name in enumerate(labels) if name == label]
    if not found:
        near = difflib.get_close_matches(label, labels, n=1, cutoff=0.4)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise UsageFault(f'{key}: unknown label "{label}"; {hint}`tdx-stress list --labels SCENARIO` names them all')
    return found


def declare(words: Words, lay: Layout, sites: Sites, clock: Calibration) -> None:
    """Write what is declared where the kernels look for it: odds in 65536, delays in ticks, or in ns for a sleep."""
    for site, there in sites.items():
        at = lay.perturb + site
        words[at] = round(there.yields * CERTAIN)
        if there.delay is not None:
            sleeps = there.delay.most_ns >= SLEEPS_FROM_NS or clock.clock != Clock.TSC
            per_ns = 1.0 if sleeps else clock.ticks_per_s / 1e9
            words[at] += (round(there.delay.odds * CERTAIN) << DELAY_ODDS_SHIFT) + sleeps * SLEEPS
            words[at + MAX_SITES] = round(there.delay.least_ns * per_ns)
            words[at + 2 * MAX_SITES] = round(there.delay.most_ns * per_ns)


def costs_by_site(scenario: Scenario) -> dict[int, int]:
    """The nanoseconds that each site is declared to take, of those that this flow has; 0 is none."""
    found = {label: costs.cost_ns(text) for key, text in scenario.costs.items() for label in costs.COSTS[key].labels}
    labels = labels_in(scenario.flow) if found else []
    return {site: found[name] for site, name in enumerate(labels) if found.get(name)}


def declare_costs(words: Words, lay: Layout, by_site: Mapping[int, int], clock: Calibration) -> None:
    """Write the medians in ticks, beside what else is declared, and how lengths are spread about any of them."""
    for site, ns in by_site.items():
        words[lay.perturb + site] |= COSTS
        words[lay.perturb + COST + site] = round(ns * clock.ticks_per_s / 1e9)
    spread = statistics.NormalDist(0.0, costs.SIGMA)
    parts = [round(CERTAIN * math.exp(spread.inv_cdf((place + 0.5) / SPREADS))) for place in range(SPREADS)]
    words[lay.perturb + SPREAD : lay.perturb + SPREAD + SPREADS] = parts
