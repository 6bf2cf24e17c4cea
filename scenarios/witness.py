"""A witness on disk: one schedule that shows one outcome, with all that is needed to run it again and to be sure of it.

Every digest names something that a step depends on: the kernels' source, the layout of the words, the ordering's rules,
the state at the end. A witness is one JSON file, a step a line, so that two of them can be compared by eye.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernels.files import Unreadable, contents
from kernels.tdx.rules import MAX_PAGES, MAX_TLB_ENTRIES, MAX_VCPUS, MAX_ZAPPERS
from scenarios.wording import place

SCHEMA: Literal["tdx-stress/witness/1"] = "tdx-stress/witness/1"
MOST_JSON = 64 << 20  # bytes that are read
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$", description="a digest in hexadecimal digits")]
Word = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63, description="a whole number of 64 bits")]
Text = Annotated[str, Field(description="text")]
ActorName = Annotated[str, Field(pattern=r"^(vcpu|zapper) \d{1,3}$", description='an actor such as "vcpu 0"')]


class WitnessError(ValueError):
    """A file that is no witness, or no whole one; `str()` is the one line for the user."""


class Size(BaseModel):
    """How large the machine is."""

    model_config = STRICT

    vcpus: int = Field(ge=1, le=MAX_VCPUS, description=f"a whole number from 1 to {MAX_VCPUS}")
    zappers: int = Field(ge=1, le=MAX_ZAPPERS, description=f"a whole number from 1 to {MAX_ZAPPERS}")
    pages: int = Field(ge=1, le=MAX_PAGES, description=f"a whole number from 1 to {MAX_PAGES}")
    tlb_entries: int = Field(ge=1, le=MAX_TLB_ENTRIES, description=f"a whole number from 1 to {MAX_TLB_ENTRIES}")


class Step(BaseModel):
    """One step: who took it and which way a choice went, what it was, and the word that it touched, if any.

    `before` and `after` say what the values mean; they and `says` are for readers.
    """

    model_config = STRICT

    actor: ActorName
    chosen: int = Field(ge=0, description="a whole number from 0")
    label: Text
    at: Text
    word: Annotated[str | None, Field(description="a word's name or null")] = None
    old: Word | None = None
    new: Word | None = None
    before: Text = ""
    after: Text = ""
    says: Text = ""
    status: Text = ""
    outcomes: tuple[str, ...] = Field(default=(), strict=False, description="a list of outcomes")


class Witness(BaseModel):
    """A schedule and what it shows. `ordering` is the whole ordering as TOML has it, its name included."""

    model_config = STRICT

    schema_: Literal["tdx-stress/witness/1"] = Field(default=SCHEMA, alias="schema", description=SCHEMA)
    version: Text
    kernels: Digest
    layout: Digest
    rules: Digest
    head: Digest = "0" * 24  # of what it says of itself; a file of an earlier commit has none
    ordering: dict[str, Any] = Field(description="the ordering's table")
    machine: dict[str, Any] = Field(default={}, description="a table of keys of a scenario")
    size: Size = Field(description="a table of vcpus, zappers, pages and tlb_entries")
    shootdowns: int = Field(ge=1, le=1 << 60, description="a whole number from 1")
    faults: tuple[str, ...] = Field(strict=False, description="a list of faults")
    outcome: str = Field(min_length=1, description="the outcome that it shows")
    waits: tuple[Text, ...] = Field(default=(), strict=False, description="a list of who waits for whom")
    steps: tuple[Step, ...] = Field(strict=False, min_length=1, description="a list of at least one step")
    end_state_sha256: Digest


def witness_text(witness: Witness) -> str:
    """The file's text: the head as it reads best, then a step a line."""
    head = witness.model_dump(mode="json", by_alias=True)
    steps = head.pop("steps")
    if not head["waits"]:
        del head["waits"]  # nobody does
    end = head.pop("end_state_sha256")
    lines = ",\n".join("  " + json.dumps({key: value for key, value in step.items() if value != ""}) for step in steps)
    start = json.dumps(head, indent=1)[:-2]
    return f'{start},\n "steps": [\n{lines}\n ],\n "end_state_sha256": {json.dumps(end)}\n}}\n'


def read_witness(path: Path) -> Witness:
    """Read a file back. Raises WitnessError `file: where: expected, found`."""
    found = read_table(path, SCHEMA)
    try:
        return Witness.model_validate(found)
    except ValidationError as refused:
        raise WitnessError(f"{path}: {_first_problem(refused)}") from None


def read_table(path: Path, schema: str) -> dict[str, Any]:
    """The table in a file of JSON of this schema. Raises WitnessError `file: expected, found`."""
    try:
        found = _json(path, contents(path, MOST_JSON, "a witness").decode())
    except Unreadable as error:
        raise WitnessError(str(error)) from None
    except UnicodeDecodeError:
        raise WitnessError(f"{path}: expected JSON in UTF-8, found other bytes") from None
    if not isinstance(found, dict):
        raise WitnessError(f"{path}: expected a witness, found JSON that is no table")
    if found.get("schema") != schema:
        raise WitnessError(f"{path}: expected schema {schema}, found {_short(found.get('schema'))}")
    return found


def _json(path: Path, content: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        cut = not content[error.pos :].strip() or error.msg.startswith("Unterminated string")
        found = "the end of the file: it is cut off" if cut else f"an error: {error.msg.lower()}"
        raise WitnessError(f"{path}: line {error.lineno}: expected JSON, found {found}") from None
    except (ValueError, RecursionError) as error:
        raise WitnessError(f"{path}: expected JSON, found {type(error).__name__}: {_short(str(error))}") from None


def _first_problem(refused: ValidationError) -> str:
    error = min(refused.errors(include_url=False), key=lambda error: error["type"] == "missing")
    keys = [key for key in error["loc"] if key != "Witness"]
    where = place(keys)
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    expected = _expected(keys)
    if error["type"] == "missing":
        return f"{where}: missing; expected {expected}"
    return f"{where}: expected {expected}, found {_short(error['input'])}"


def _expected(keys: list[int | str]) -> str:
    """What the model says of the key, or of the list that the key is in."""
    models: dict[str, type[BaseModel]] = {"steps": Step, "size": Size}
    names = [key for key in keys if isinstance(key, str)]
    if len(names) > 1 and names[0] in models:
        return str(models[names[0]].model_fields[names[1]].description or "a whole number of 64 bits")
    if names[0] in models and isinstance(keys[-1], int):
        return "a step's table"
    found = Witness.model_fields["schema_" if names[0] == "schema" else names[0]]
    return str(found.description)


def _short(value: Any) -> str:
    """A value on one line, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
