"""Whatever stands in a file or on the command line: a value, or one line."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.tdx.outcomes import FORBIDDEN
from scenarios.busy import FULL, LOCK_MODES, OLD, WORDS
from scenarios.fields import ENTRY_CHECKS
from scenarios.fields import STEPS as STEP_WORDS
from scenarios.files import parsed
from scenarios.loader import ScenarioError, apply_settings, load_ordering, load_scenario, with_options
from scenarios.models import Ordering, Scenario
from scenarios.times import parse_duration
from scenarios.validation import validated

# Neither a time limit, which would make a duration a verdict, nor a database, which would leave files behind.
anything = settings(deadline=None, database=None, max_examples=100)

STEPS = tuple(word.replace("NAME", "sept_lock") for word in STEP_WORDS)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(STEPS)
Value = TypeVar("Value")

VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
KEYS = st.sampled_from([*Ordering.model_fields, *Scenario.model_fields]) | st.text(max_size=6)
MEANT_STEPS = st.lists(st.sampled_from(STEPS), max_size=6, unique=True)
BY_LOCK = st.fixed_dictionaries({}, optional=dict.fromkeys(LOCK_MODES, st.sampled_from(WORDS)))
MEANT = {
    "kick": st.fixed_dictionaries({"request": st.sampled_from(["none", "tlb_flush"]), "wait": st.booleans()}),
    "gate": st.sampled_from(["none", "counter", "flag"]),
    "entry": st.lists(st.sampled_from(ENTRY_CHECKS), max_size=3),
    "track_busy": st.sampled_from((*WORDS, *OLD, *FULL)),
    "busy": st.fixed_dictionaries({}, optional={"remove": st.sampled_from(WORDS), "aug": BY_LOCK}),
    "serialized": st.booleans(),
    "expect": st.just("safe") | st.lists(st.sampled_from(FORBIDDEN), max_size=3),
}


def value_or_line(call: Callable[[], Value], start: str = "") -> Value | None:
    """What the call gives, or None after a refusal in one line with this start."""
    try:
        return call()
    except ScenarioError as error:
        line = str(error)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert line.startswith(start)
    return None


@anything
@given(st.text(max_size=40))
def test_any_text_on_the_command_line_is_an_ordering_or_one_line(text: str) -> None:
    value = value_or_line(lambda: load_ordering(text))

    assert value is None or isinstance(value, Ordering)


@anything
@given(st.lists(st.sampled_from(STEPS), min_size=2, max_size=7))
def test_any_steps_are_an_ordering_of_these_steps_or_one_line(steps: list[str]) -> None:
    value = value_or_line(lambda: load_ordering(",".join(steps)))

    assert value is None or value.shootdown == tuple(steps)


@anything
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@pytest.mark.parametrize("load", [load_ordering, load_scenario])
def test_any_bytes_in_a_file_are_refused_in_one_line(tmp_path_factory: Any, load: Any, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(content)

    assert value_or_line(lambda: load(str(file)), f"{file}: ") is None


@anything
@given(st.dictionaries(KEYS, VALUES, max_size=6))
@pytest.mark.parametrize("model", [Ordering, Scenario])
def test_any_table_is_a_value_or_one_line(model: Any, table: dict[str, Any]) -> None:
    value = value_or_line(lambda: validated(model, "mine.toml", "mine", table), "mine.toml: ")

    assert value is None or isinstance(value, model)


@anything
@given(st.fixed_dictionaries({"shootdown": MEANT_STEPS}, optional=MEANT))
def test_an_ordering_that_holds_comes_back_from_its_own_table(table: dict[str, Any]) -> None:
    value = value_or_line(lambda: validated(Ordering, "mine.toml", "mine", table), "mine.toml: ")

    if value:
        again = value.model_dump(exclude={"name"}, exclude_none=True)
        assert validated(Ordering, "again.toml", "mine", again) == value


@anything
@given(st.text(max_size=40))
def test_any_toml_text_is_a_table_or_one_line(text: str) -> None:
    table = value_or_line(lambda: parsed(text, "mine.toml"), "mine.toml: ")

    assert table is None or len(table) > 0


@anything
@given(
    st.text(max_size=20)
    | st.tuples(KEYS | st.sampled_from(["kick.wait", "yields.done"]), st.text(max_size=12)).map("=".join)
)
def test_any_setting_is_applied_or_one_line(setting: str) -> None:
    review, v18 = load_scenario("review"), load_ordering("v18")

    changed = value_or_line(lambda: apply_settings(review, [v18], [setting]), "--set: ")

    assert changed is None or [ordering.name for ordering in changed[1]] == ["v18"]


@anything
@given(st.integers() | st.floats() | st.text(max_size=8))
def test_any_option_is_taken_or_one_line(value: Any) -> None:
    review = load_scenario("review")

    changed = value_or_line(
        lambda: with_options(review, duration_s=value), "--duration: expected a duration above 0 and up to 168h"
    )

    assert changed is None or 0 < changed.duration_s <= 168 * 3600


@anything
@given(st.text(max_size=12) | st.from_regex(r"[0-9.]{1,14}(ms|s|m|h)?"))
def test_any_text_is_a_duration_or_one_line(text: str) -> None:
    seconds = value_or_line(lambda: parse_duration(text), "expected a duration")

    assert seconds is None or seconds >= 0
