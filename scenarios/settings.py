"""Changes from the command line: `--set key=value` and the options that stand for one key of a scenario; and what all
these changed, against what the files say.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from scenarios.busy import LOCK_MODES, SEAMCALLS
from scenarios.expectations import expecting
from scenarios.fields import elsewhere
from scenarios.models import FAULTS, TABLES, Ordering, Scenario
from scenarios.validation import validated
from scenarios.wording import ScenarioError, shown, unknown

NOT_SET = {"name", "title", "source", "why", "shows", "orderings", "matrix"}
SCENARIO_KEYS = tuple(key for key in Scenario.model_fields if key not in NOT_SET)
ORDERING_KEYS = tuple(key for key in Ordering.model_fields if key not in NOT_SET)
BY_LABEL = ("yields.", "delays.", "costs.")
IN_TABLES = tuple(f"{table}.{key}" for table, model in TABLES.items() for key in model.model_fields)
BY_LOCK = tuple(f"busy.{seamcall}.{mode}" for seamcall in SEAMCALLS for mode in LOCK_MODES)


def apply_settings(
    scenario: Scenario, orderings: Sequence[Ordering], settings: Sequence[str]
) -> tuple[Scenario, list[Ordering]]:
    """The scenario and the orderings with each `key=value` applied; a key of an ordering goes to every ordering.

    A value is TOML; what is not is taken as a word: `gate=flag`, `pages=128`, `kick.wait=false`,
    `expect=["tracking_not_done"]`, `yields.kick.load_acquire_ipi=0.01`. What comes out is checked once, when all are
    applied.
    Where the scenario has no module to refuse an order, orderings are known for what happens instead.
    """
    of_scenario: dict[str, Any] = {}
    of_ordering: dict[str, Any] = {}
    for setting in settings:
        key, value = key_and_value(setting)
        if key in SCENARIO_KEYS or key.startswith(BY_LABEL):
            of_scenario[key] = value
        elif key in (*ORDERING_KEYS, *IN_TABLES, *BY_LOCK):
            of_ordering[key] = value
        elif key == "orderings":
            raise ScenarioError("--set: orderings: not a setting; give --ordering instead")
        else:
            raise ScenarioError(f"--set: {unknown('key', key, (*SCENARIO_KEYS, *ORDERING_KEYS, *IN_TABLES))}")
    scenario = _with(scenario, "--set", of_scenario)
    return scenario, [expecting(_changed(ordering, of_ordering), scenario) for ordering in orderings]


def with_options(scenario: Scenario, **values: Any) -> Scenario:
    """The scenario with these keys changed; None leaves a key as it is. An error names the option: `--vcpus: ...`."""
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return _with(scenario, "", given)
    except ScenarioError as error:
        key, _, rest = str(error).partition(": ")
        raise ScenarioError(f"--{key.removesuffix('_s').replace('_', '-')}: {rest}") from None


def with_delays(scenario: Scenario, delays: Sequence[str]) -> Scenario:
    """The scenario with each `LABEL=TIME` beside its own delays."""
    values: dict[str, Any] = {}
    for delay in delays:
        label, equals, text = delay.rpartition("=")
        if not equals:
            raise ScenarioError(f"--delay: expected LABEL=TIME, found {shown(delay)}")
        values[f"delays.{label}"] = text
    return _with(scenario, "--delay", values)


def with_faults(orderings: Sequence[Ordering], faults: Sequence[str]) -> list[Ordering]:
    """Each ordering with these faults beside its own. Raises ScenarioError where there is no fault of that name."""
    for fault in faults:
        if fault not in FAULTS:
            raise ScenarioError(f"--fault: {elsewhere(fault) or unknown('fault', fault, FAULTS)}")
    return [
        ordering.model_copy(update={"faults": tuple(dict.fromkeys((*ordering.faults, *faults)))})
        for ordering in orderings
    ]


def setting_key(setting: str) -> str:
    """The key of `key=value`. Raises ScenarioError where there is no value."""
    return key_and_value(setting)[0]


def _with(scenario: Scenario, where: str, values: Mapping[str, Any]) -> Scenario:
    return validated(Scenario, where, scenario.name, _merged(scenario, values)) if values else scenario


def _changed(ordering: Ordering, values: Mapping[str, Any]) -> Ordering:
    if not values:
        return ordering
    for key in values:
        if key.startswith("kick.") and ordering.kick is None:
            raise ScenarioError(f'--set: {key}: ordering "{ordering.name}" has no kick')
    return validated(Ordering, f'--set: ordering "{ordering.name}"', ordering.name, _merged(ordering, values))


def _merged(model: Scenario | Ordering, values: Mapping[str, Any]) -> dict[str, Any]:
    """The model's table with each `key`, or one entry `head.rest` of a table; the rest may hold dots, as labels do."""
    table = model.model_dump(exclude={"name"}, exclude_none=True)
    for key, value in values.items():
        head, dot, rest = key.partition(".")
        inner = table.get(head)
        if head == "costs" and isinstance(inner, str):
            inner = {"": inner}
        inner = inner if isinstance(inner, dict) else {}
        if key in BY_LOCK:
            rest, _, mode = rest.partition(".")
            old = inner.get(rest, {})
            value = {**(dict.fromkeys(LOCK_MODES, old) if isinstance(old, str) else old), mode: value}
        table[head] = {**inner, rest: value} if dot else value
    return table


def key_and_value(setting: str) -> tuple[str, Any]:
    """Of `key=value`, with the value as TOML reads it, or else as a word. Raises ScenarioError where there is none."""
    # A label may hold "=", a probability or a delay may not.
    key, equals, text = setting.rpartition("=") if setting.startswith(BY_LABEL) else setting.partition("=")
    if not equals:
        raise ScenarioError(f"--set: expected key=value, found {shown(setting)}")
    return key.strip().replace('"', ""), _value(text.strip())


def _value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


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
