"""What of an ordering, or of a scenario, is not as the file of that name has it: faults that are switched on, and keys
that were set. A changed ordering is marked beside its name wherever that stands, and what was changed is told once.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

One = Mapping[str, Any]
MARK = " (changed)"


def faults_of(one: One) -> list[str]:
    """The faults of an ordering that raced or was explored, or of a real arm."""
    return list(one.get("faults") or (one.get("parameters") or {}).get("faults") or ())


def keys_set(one: One) -> list[str]:
    """Of an ordering or a scenario: `kick.wait=false`."""
    changed = (one.get("changed") or {}).items()
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changed]


def changes(one: One) -> list[str]:
    """All that is changed of an ordering."""
    return [*faults_of(one), *keys_set(one)]


def with_changes(name: str, told: Iterable[str]) -> str:
    """The name under which no other results are: `spec (no_flush_at_entry)`, `review (pages=8)`."""
    told = ", ".join(told)
    return f"{name} ({told})" if told else name


def changes_told(scenario: One, ones: Iterable[One], told: Collection[str] = ()) -> list[str]:
    """`faults: no_flush_at_entry`, `set: kick.wait=false, tick_us=0`; whose it is, where not all have it. `told`: what
    of the scenario has words of its own.
    """
    ones, changed = list(ones), scenario.get("changed") or {}
    scenario_keys = keys_set({"changed": {key: changed[key] for key in changed if key.partition(".")[0] not in told}})
    faults = _together(ones, [faults_of(one) for one in ones])
    keys = _together(ones, [keys_set(one) for one in ones]) + scenario_keys
    return [f"{word}: {', '.join(texts)}" for word, texts in (("faults", faults), ("set", keys)) if texts]


def _together(ones: list[One], told: list[list[str]]) -> list[str]:
    names = [one["ordering"] for one in ones]
    whose = {text: [name for name, its in zip(names, told, strict=True) if text in its] for its in told for text in its}
    said = {text: "" if len(its) == len(ones) else f" in {' and '.join(its)}" for text, its in whose.items()}
    return [f"{text}{where}" for text, where in said.items()]
