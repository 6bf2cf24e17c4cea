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
from stress.options import ListRequest
from stress.screen import Screen, write

Entry = Mapping[str, Any]


def everything() -> dict[str, list[dict[str, Any]]]:
    """Scenarios, orderings, outcomes and faults, as `list --json` prints them."""
    scenarios = [
        {**_of(one, "name", "title"), "source": f"scenarios/{one.name}.toml", **_of(one, "orderings")}
        for one in shipped_scenarios()
    ]
    orderings = [_of(one, "name", "title", "source", "expect", "shootdown") for one in shipped_orderings()]
    outcomes = [
        {"name": outcome.name, "title": its.why, "grade": its.grade.value, "source": "results/grades.py"}
        for outcome, its in sorted(GRADES.items())
    ]
    faults = [
        _of(one, "name", "title", "source", "breaks", "ordering", "shows", "beside")
        | ({} if one.flow == "shootdown" else {"title": f"{one.title} (flow {one.flow})"})
        for one in known_faults().values()
    ]
    return {"scenarios": scenarios, "orderings": orderings, "outcomes": outcomes, "faults": faults}


def _of(one: Any, *keys: str) -> dict[str, Any]:
    """These of its fields, as JSON's values."""
    return {key: list(value) if isinstance(value := getattr(one, key), tuple) else value for key in keys}


def list_all(request: ListRequest) -> int:
    """Print everything; the exit code is 0."""
    listed = everything()
    if request.json:
        write(sys.stdout, json.dumps(listed, indent=1) + "\n")
        return 0
    screen = Screen(sys.stdout, color=not request.no_color)
    for section, entries in listed.items():
        width = max(len(entry["name"]) for entry in entries)
        screen.show(Text(section.upper(), style="bold"), *(_entry(entry, width) for entry in entries), "", wrap=False)
    screen.line("tdx-stress run SCENARIO, or tdx-stress run --ordering ORDERING")
    return 0


def list_labels(name: str, request: ListRequest) -> int:
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
    if request.json:
        write(sys.stdout, json.dumps({"flow": flow.name.lower(), "labels": entries}, indent=1) + "\n")
        return 0
    screen, width = Screen(sys.stdout, color=not request.no_color), max(len(entry["name"]) for entry in entries)
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
