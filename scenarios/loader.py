"""Orderings and scenarios by name, by path, or an ordering by its steps: the door to this room.

Everything raises ScenarioError with one line: file, key, what was expected, what was found, the nearest right word.
"""

from functools import cache
from pathlib import Path
from typing import Any

from scenarios.contradictions import PARTS
from scenarios.fields import STEPS, elsewhere
from scenarios.files import is_file, name_of, shipped, shipped_names, toml_table
from scenarios.models import Ordering, Scenario
from scenarios.settings import apply_settings, setting_key, with_delays, with_faults, with_options
from scenarios.times import parse_duration
from scenarios.validation import validated
from scenarios.wording import ScenarioError, nearest, shown

__all__ = [
    "DEFAULT_SCENARIO",
    "ScenarioError",
    "apply_settings",
    "load_ordering",
    "load_orderings",
    "load_scenario",
    "parse_duration",
    "setting_key",
    "shipped_orderings",
    "shipped_scenarios",
    "with_delays",
    "with_faults",
    "with_options",
]

DEFAULT_SCENARIO = "review"
ORDERINGS, SCENARIOS, REALS = "orderings", ".", "real"


def load_ordering(text: str) -> Ordering:
    """A shipped ordering by name, one of the user's own by path, or one given as steps: `block,track,kick,remove`.

    Steps alone say little, so the rest is taken as follows. Without gate steps: the kick of Linux v6.16, which makes no
    request and waits (in its parts where "wait" stands), no check at entry, serialized by mmu_lock. With gate steps:
    v18's counter, its kick with the request KVM_REQ_TLB_FLUSH, its checks of requests and gate at entry, not
    serialized. Either way a busy SEAMCALL is tried again until it is not, an error ends the zapper, the ordering is
    expected to be safe, the text is its name.
    """
    if path := shipped(ORDERINGS, text):
        return _shipped_ordering(path, f"scenarios/orderings/{text}.toml")
    if _is_path(text):
        return _ordering_file(Path(text), text)
    if "," in text or text.strip() in STEPS:
        words = [step.strip() for step in text.split(",")]
        if all(shipped(ORDERINGS, word) for word in words):
            each = " ".join(f"--ordering {word}" for word in words)
            raise ScenarioError(f"ordering {shown(text)}: expected one, or steps, found {len(words)}; try {each}")
        return _from_steps(words)
    if is_file(text):
        return _ordering_file(Path(text), text)
    raise _unknown("ordering", text, ORDERINGS)


def load_orderings(texts: tuple[str, ...] | list[str]) -> list[Ordering]:
    """Several orderings, in this order. Two of one name are refused: results go by name."""
    found: dict[str, str] = {}
    orderings = []
    for text in texts:
        ordering = load_ordering(text)
        if ordering.name in found:
            raise ScenarioError(
                f"ordering {shown(text)}: expected a name of its own, "
                f'found "{ordering.name}" again, after {shown(found[ordering.name])}'
            )
        found[ordering.name] = text
        orderings.append(ordering)
    return orderings


def load_scenario(text: str) -> Scenario:
    """A shipped scenario by name, or one of the user's own by path, whose orderings stand relative to its folder.

    The orderings that it names are looked up too, so that a scenario which loads can run.
    """
    if path := shipped(SCENARIOS, text):
        return _shipped_scenario(path, f"scenarios/{text}.toml")
    if _is_path(text) or is_file(text):
        return _scenario_file(Path(text), text)
    if text in shipped_names(REALS):
        raise ScenarioError(f"scenario {shown(text)} is the kernel's own shootdown, no model: `tdx-stress run {text}`")
    raise _unknown("scenario", text, SCENARIOS)


def shipped_orderings(part: str | None = "") -> list[Ordering]:
    """Every ordering shipped that any machine can have, with a part those that only one with it can, with None all: the
    safe ones first, then by name.
    """
    found = [one for one in map(load_ordering, shipped_names(ORDERINGS)) if part in (one.part, None)]
    return sorted(found, key=lambda ordering: (not ordering.safe, ordering.name))


def shipped_scenarios() -> list[Scenario]:
    """Every scenario shipped: the default first, then by name."""
    names = shipped_names(SCENARIOS)
    return sorted(map(load_scenario, names), key=lambda scenario: (scenario.name != DEFAULT_SCENARIO, scenario.name))


def _is_path(text: str) -> bool:
    return "/" in text or text.endswith(".toml")


def _ordering_file(path: Path, shown_as: str) -> Ordering:
    return validated(Ordering, shown_as, name_of(path), toml_table(path, shown_as))


def _scenario_file(path: Path, shown_as: str) -> Scenario:
    scenario = validated(Scenario, shown_as, name_of(path), toml_table(path, shown_as))
    texts = tuple(str(path.parent / text) if _is_path(text) else text for text in scenario.orderings)
    try:
        load_orderings(texts)
    except ScenarioError as error:
        raise ScenarioError(f"{shown_as}: orderings: {error}") from None
    return scenario.model_copy(update={"orderings": texts})


# Read once: a selftest asks for the shipped ones two thousand times.
_shipped_ordering, _shipped_scenario = cache(_ordering_file), cache(_scenario_file)


def _from_steps(steps: list[str]) -> Ordering:
    gated = "gate_raise" in steps or "gate_lower" in steps
    name = ",".join(steps)
    serialized = not gated and not any("mmu_lock" in step for step in steps)
    kicks = "kick" in steps or not set(PARTS).isdisjoint(steps)
    told = "v18's counter, request and entry" if gated else "no request" if kicks else "no kick"
    table: dict[str, Any] = {
        "title": f"Steps as typed, with {told}, mmu_lock{'' if serialized else ' not'} held for write",
        "source": "the command line",
        "shootdown": steps,
        "gate": "counter" if gated else "none",
        "entry": ["requests", "gate"] if gated else ["requests"] if "flush" in steps else [],
        "serialized": serialized,
    }
    if kicks:
        table["kick"] = {"request": "tlb_flush" if gated else "none", **({"wait": True} if "kick" in steps else {})}
    return validated(Ordering, f"ordering {shown(name)}", name, table)


def _unknown(noun: str, text: str, folder: str) -> ScenarioError:
    if known := elsewhere(text):
        return ScenarioError(known)
    near = nearest(text, shipped_names(folder))
    hint = f'did you mean "{near}"? ' if near else ""
    return ScenarioError(f"unknown {noun} {shown(text)}; {hint}`tdx-stress list` names them all")
