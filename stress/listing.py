"""The verb `list`: what there is to run and to see, each with one line and its source."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from kernels.language.syntax import SITES
from kernels.race.lines import labels_of
from kernels.tdx.protocol import PROTOCOLS
from kernels.tdx.rules import Flow
from results.grades import GRADES, Grade
from results.table import GRADE_STYLES
from scenarios.faults import faults as known_faults
from scenarios.loader import load_scenario, shipped_orderings, shipped_scenarios
from stress.screen import Screen, write

Entry = Mapping[str, Any]


def everything() -> dict[str, list[dict[str, Any]]]:
    """Scenarios, orderings, outcomes and faults, as `list --json` prints them."""
    scenarios = [
        {
            "name": scenario.name,
            "title": scenario.title,
            "source": f"scenarios/{scenario.name}.toml",
            "orderings": list(scenario.orderings),
        }
        for scenario in shipped_scenarios()
    ]
    orderings = [
        {
            "name": ordering.name,
            "title": ordering.title,
            "source": ordering.source,
            "expect": ordering.expect if isinstance(ordering.expect, str) else list(ordering.expect),
            "shootdown": list(ordering.shootdown),
        }
        for ordering in shipped_orderings()
    ]
    outcomes = [
        {"name": outcome.name, "title": its.why, "grade": its.grade.value, "source": "results/grades.py"}
        for outcome, its in sorted(GRADES.items())
    ]
    faults = [
        {
            "name": shown.name,
            "title": shown.title if shown.flow == "shootdown" else f"{shown.title} (flow {shown.flow})",
            "source": shown.source,
            "breaks": shown.breaks,
            "ordering": shown.ordering,
            "shows": shown.shows,
            "beside": list(shown.beside),
        }
        for shown in known_faults().values()
    ]
    return {"scenarios": scenarios, "orderings": orderings, "outcomes": outcomes, "faults": faults}


def list_all(*, as_json: bool, color: bool) -> int:
    """Print everything; the exit code is 0."""
    listed = everything()
    if as_json:
        write(sys.stdout, json.dumps(listed, indent=1) + "\n")
        return 0
    screen = Screen(sys.stdout, color=color)
    for section, entries in listed.items():
        width = max(len(entry["name"]) for entry in entries)
        screen.show(Text(section.upper(), style="bold"), *(_entry(entry, width) for entry in entries), "", wrap=False)
    screen.line("tdx-stress run SCENARIO, or tdx-stress run --ordering ORDERING")
    return 0


def list_labels(name: str, *, as_json: bool, color: bool) -> int:
    """Print the labels of a scenario's flow, in the order of the source, each with its actors and its place; 0.

    Raises ScenarioError where there is no such scenario.
    """
    flow = Flow[load_scenario(name).flow.upper()]
    kinds = {kind: labels_of(PROTOCOLS[flow], (kind,)) for kind in ("vcpu", "zapper")}
    entries = [
        {
            "name": label,
            "title": " and ".join({"vcpu": "vCPU", "zapper": "zapper"}[kind] for kind in kinds if kinds[kind][number]),
            "source": f"{SITES[number - 1].file}:{SITES[number - 1].line}",
        }
        for number, label in enumerate(labels_of(PROTOCOLS[flow]))
        if label
    ]
    if as_json:
        write(sys.stdout, json.dumps({"flow": flow.name.lower(), "labels": entries}, indent=1) + "\n")
        return 0
    screen, width = Screen(sys.stdout, color=color), max(len(entry["name"]) for entry in entries)
    for entry in entries:
        screen.show(Text(f"{entry['name']:<{width}}  {entry['title']:<15}  {entry['source']}"), wrap=False)
    return 0


def _entry(entry: Entry, width: int) -> Text:
    text = Text()
    text.append(f"  {entry['name']:<{width}}  {entry['title']}")
    if "grade" in entry:
        text.append(f"  [{entry['grade']}]", style=GRADE_STYLES[Grade(entry["grade"])])
    if entry.get("expect", "safe") != "safe":
        text.append(f"  [unsafe: {', '.join(entry['expect'])}]", style="red")
    text.append(f"\n  {'':<{width}}  {entry['source']}", style="dim")
    return text
