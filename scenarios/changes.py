"""What options changed of a scenario and of orderings, against what their files say."""

from collections.abc import Collection, Mapping
from typing import Any

from scenarios.models import Ordering, Scenario

# Of a scenario what each result has in columns of its own, or what changes nothing but how long it takes; of an
# ordering what says nothing of its steps, and faults, which stand by themselves.
NEVER = {
    "name", "title", "source", "why", "shows", "orderings", "matrix", "vcpus", "zappers", "duration_s", "warmup_s",
    "shootdowns", "seed", "watchdog_s", "expect", "faults",
}  # fmt: skip


def changed(before: Scenario | Ordering, after: Scenario | Ordering, only: Collection[str] = ()) -> dict[str, Any]:
    """Every key, `kick.wait` of a table, that has another value than before; of these keys alone, if any are given."""
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    heads = {key: key.partition(".")[0] for key in (*new, *old)}
    return {
        key: new.get(key)
        for key, head in heads.items()
        if head not in NEVER and (not only or head in only) and new.get(key) != old.get(key)
    }


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of tables under keys with a dot."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= {f"{key}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {key: value}
    return flat
