"""The verb `list`: what there is to run and to see, a line each; of one kind alone each with its source."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any

from rich.table import Table as Grid
from rich.text import Text

from kernels.language.syntax import sites
from kernels.race.lines import labels_of
from kernels.tdx.outcomes import Grade, Outcome
from kernels.tdx.part import contradiction
from kernels.tdx.protocol import barriers, protocol_of
from kernels.tdx.rules import Flow, flow_name, flow_named
from results.collect.race import rate_of
from results.table import GRADE_STYLES
from scenarios.faults import faults as known_faults
from scenarios.files import shipped
from scenarios.loader import load_ordering, load_scenario, shipped_orderings, shipped_scenarios
from scenarios.long_form import in_full
from scenarios.reals import REAL_FAULTS, shipped_reals
from scenarios.wording import nearest, unknown
from stress.errors import UsageFault
from stress.options import ListRequest
from stress.screen import Screen, write
from stress.session import hand_out, json_text

Entry = Mapping[str, Any]
FILES = {"orderings": ("orderings",), "scenarios": (".", "real")}
LONG = "barriers"  # who wants it asks for it


def everything() -> dict[str, list[dict[str, Any]]]:
    """Scenarios, orderings, outcomes, faults, parts and barriers, as `list --json` prints them."""
    scenarios = [
        {**_of(one, "name", "title"), "source": f"scenarios/{one.name}.toml", **_of(one, "orderings")}
        for one in shipped_scenarios()
    ]
    scenarios += [
        {**_of(one, "name", "title"), "source": f"scenarios/real/{one.name}.toml", **_of(one, "arms")}
        for one in shipped_reals()
    ]
    orderings = [_of(one, "name", "title", "source", "expect", "shootdown") for one in shipped_orderings(None)]
    outcomes = [
        {
            "name": outcome.name,
            "title": outcome.why,
            "grade": outcome.grade.value,
            "rate_of": rate_of(outcome),
            "source": "kernels/tdx/outcomes.py",
        }
        for outcome in Outcome
    ]
    faults = [
        _of(one, "name", "title", "source", "breaks", "ordering", "shows", "beside")
        | ({} if one.flow == "shootdown" else {"title": f"{one.title} (flow {one.flow})"})
        for one in known_faults().values()
    ]
    faults += [{"name": name, **its._asdict(), "breaks": "host"} for name, its in REAL_FAULTS.items()]
    return {
        "scenarios": scenarios,
        "orderings": orderings,
        "outcomes": outcomes,
        "faults": faults,
        "parts": [_part(part) for part in Flow],
        "barriers": [{"name": word, "accesses": its} for word, its in barriers().items()],
    }


def _part(part: Flow) -> dict[str, Any]:
    """A part of a machine, by what its file says of it first, and the parts that it can be combined with."""
    name = flow_name(part)
    said = str(sys.modules[f"kernels.tdx.parts.{name}"].__doc__).partition("\n\n")[0]
    others = [flow_name(other) for other in Flow if other != part and contradiction(part | other) is None]
    return {
        "name": name,
        "title": " ".join(said.split()).rstrip("."),
        "source": f"kernels/tdx/parts/{name}.py",
        "combines_with": others,
    }


def _of(one: Any, *keys: str) -> dict[str, Any]:
    """These of its fields, as JSON's values."""
    return {key: list(value) if isinstance(value := getattr(one, key), tuple) else value for key in keys}


def list_all(request: ListRequest) -> int:
    """Print everything, one kind of it, one thing whole, or labels; the exit code is 0. Raises UsageFault."""
    if request.labels is not None:
        return list_labels(request.labels, request)
    listed = everything()
    if request.schema is not None:
        return _schema(request.schema)
    if request.name is not None and "," in request.name:
        return _steps(request.name, request)
    if request.name is not None and request.name not in listed:
        return _whole(request.name, listed, request)
    chosen = listed if request.name is None else {request.name: listed[request.name]}
    if request.json is not None:
        hand_out(request.json, json_text(chosen))
        return 0
    screen = Screen(sys.stdout, color=not request.no_color)
    for section, its in chosen.items():
        if section == LONG != request.name:
            continue
        screen.show(Text(section.upper(), style="bold"), *_entries(its, sources=request.name is not None), "")
    screen.line("tdx-stress list NAME prints one whole; tdx-stress run SCENARIO or --ordering ORDERING races it")
    return 0


def _whole(name: str, listed: Mapping[str, list[dict[str, Any]]], request: ListRequest) -> int:
    """An ordering's or a scenario's file, to start one's own from; of an outcome or a fault all that is known."""
    found = {section: entry for section, its in listed.items() for entry in its if entry["name"] == name}
    if FILES.keys() & found.keys():
        found.pop("parts", None)  # a scenario of the part's name shows it at work
    if not found:
        known = [*listed, *(entry["name"] for entries in listed.values() for entry in entries)]
        near = nearest(name, known)
        raise UsageFault(
            f'list: expected one of {", ".join(listed)}, or a name that they list, found "{name}"'
            + (f'; did you mean "{near}"?' if near else "")
        )
    if request.json is not None:
        hand_out(request.json, json_text(found))
        return 0
    for section, entry in found.items():
        paths = [path for folder in FILES.get(section, ()) if (path := shipped(folder, name))]
        full = in_full(load_ordering(name)) if section == "orderings" else ()
        more = "".join(f"# {line}\n" for line in ("", "in full", *full)).removeprefix("# ") if full else ""
        for path in paths:
            write(sys.stdout, f"# {section[:-1]} {name}\n{path.read_text()}{more}")
        if not paths:
            told = dict(entry) | entry.get("accesses", {})
            told.pop("accesses", None)
            texts = {key: ", ".join(its) if isinstance(its, list) else str(its) for key, its in told.items()}
            lines = (f"{key}: {text}" for key, text in texts.items() if text)
            write(sys.stdout, "\n".join([f"# {section[:-1]}", *lines]) + "\n")
    return 0


def _steps(text: str, request: ListRequest) -> int:
    """An order by its steps in full: what is taken of it beside them. Raises ScenarioError."""
    ordering = load_ordering(text)
    if request.json is not None:
        hand_out(request.json, json_text({"orderings": ordering.model_dump(mode="json")}))
    else:
        write(sys.stdout, "\n".join([f"# {ordering.title}", *in_full(ordering)]) + "\n")
    return 0


def _schema(name: str) -> int:
    """The JSON schemas of what a kind of result leaves, by what `schema` says in it."""
    from results.kinds.kind import BY_NAME, json_schemas

    if name not in BY_NAME:
        raise UsageFault(f"--schema: {unknown('kind', name, tuple(BY_NAME))}")
    write(sys.stdout, json_text(json_schemas(BY_NAME[name])))
    return 0


def list_labels(name: str, request: ListRequest) -> int:
    """Print the labels of a scenario's flow, in the order of the source, each with its actors and its place; 0.

    Raises ScenarioError where there is no such scenario.
    """
    flow = flow_named(load_scenario(name).flow)
    kinds = {kind: labels_of(protocol_of(flow), (kind,)) for kind in ("vcpu", "zapper")}
    entries = [
        {
            "name": label,
            "title": " and ".join({"vcpu": "vCPU", "zapper": "zapper"}[kind] for kind in kinds if kinds[kind][number]),
            "source": f"{site.file}:{site.line}",
        }
        for site, (number, label) in zip(sites(), enumerate(labels_of(protocol_of(flow))[1:], 1), strict=True)
        if label
    ]
    if request.json is not None:
        hand_out(request.json, json_text({"flow": flow_name(flow), "labels": entries}))
        return 0
    screen, width = Screen(sys.stdout, color=not request.no_color), max(len(entry["name"]) for entry in entries)
    for entry in entries:
        screen.show(Text(f"{entry['name']:<{width}}  {entry['title']:<15}  {entry['source']}"), wrap=False)
    return 0


def _entries(entries: Sequence[Entry], *, sources: bool) -> Iterator[Any]:
    """A row an entry; with `sources` one more each: an overview goes without."""
    width = max(len(entry["name"]) for entry in entries)
    if "accesses" in entries[0]:
        for entry in entries:
            said = (f"{how}: {', '.join(functions)}" for how, functions in entry["accesses"].items())
            behind = " " * (width + 4)
            lines = (fill(one, 80, initial_indent=behind, subsequent_indent=behind + "  ") for one in said)
            yield Text(f"  {entry['name']:<{width}}  " + "\n".join(lines).lstrip())
        return
    table = Grid.grid(padding=(0, 2, 0, 0))
    table.add_column(width=width + 2, no_wrap=True)
    for entry in entries:
        text = Text(entry["title"])
        if "grade" in entry:
            text.append(f"  [{entry['grade']}]", style=GRADE_STYLES[Grade(entry["grade"])])
        if entry.get("expect", "safe") != "safe":
            text.append(f"  [unsafe: {', '.join(entry['expect'])}]", style="red")
        if others := entry.get("combines_with"):
            text.append(f"  [with {', '.join(others)}]")
        if sources:
            text.append(f"\n{entry['source']}", style="dim")
        table.add_row(Text(f"  {entry['name']}"), text)
    yield table
