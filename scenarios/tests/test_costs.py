"""What SEAMCALLs are declared to take: words, tables, changes of one cost, and what holds none."""

from typing import Any

import pytest

from scenarios.costs import COSTS, WORDS, cost_ns
from scenarios.loader import ScenarioError, apply_settings, load_scenario
from scenarios.models import Scenario
from scenarios.tests.refusals import refused
from scenarios.validation import validated

BARE = {"orderings": ["spec"], "vcpus": 1, "zappers": 1}
ASSUMED = {
    "seamcall": "1us", "block": "1.5us", "track": "500ns", "remove": "2us", "wbinvd": "1.5us", "enter": "1.2us",
    "exit": "1.2us",
}  # fmt: skip


def declared(value: Any) -> dict[str, str]:
    return validated(Scenario, "mine.toml", "mine", {**BARE, "costs": value}).costs


def after(*settings: str) -> dict[str, str]:
    return apply_settings(load_scenario("review"), [], settings)[0].costs


def test_nothing_takes_any_time_unless_it_is_declared() -> None:
    assert load_scenario("review").costs == declared("none") == {}


def test_what_is_assumed_comes_to_the_medians_of_whole_calls() -> None:
    assert declared("assumed") == ASSUMED
    whole = {key: cost_ns(ASSUMED["seamcall"]) + cost_ns(ASSUMED[key]) for key in ("block", "track", "remove")}
    assert whole == {"block": 2500, "track": 1500, "remove": 3000}
    assert all(cost.source and cost.labels for cost in COSTS.values())


@pytest.mark.parametrize(
    ("text", "ns"), [("0", 0), ("0ns", 0), ("500ns", 500), ("1.5us", 1500), ("0.25us", 250), ("1ms", 1_000_000)]
)
def test_a_cost_is_read_as_it_is_written(text: str, ns: int) -> None:
    assert cost_ns(text) == ns
    assert declared({"track": text, "enter": 0, "exit": " 2 us "}) == {"track": text, "enter": "0", "exit": "2us"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("assume", 'costs: unknown word for costs "assume"; did you mean "assumed"?'),
        (3, 'costs: expected "none", "assumed", or a table such as { track = "1.5us", block = "2.5us" }, found 3'),
        ({"tracks": "1us"}, 'costs: unknown cost "tracks"; did you mean "track"?'),
        ({"track": 2}, "costs: track: expected a time of up to 1ms such as 0, 500ns or 1.5us, found 2"),
        ({"track": True}, "costs: track: expected a time of up to 1ms such as 0, 500ns or 1.5us, found true"),
        ({"track": "1.1ms"}, 'costs: track: expected a time of up to 1ms such as 0, 500ns or 1.5us, found "1.1ms"'),
        ({"track": "1us-2us"}, 'costs: track: expected a time of up to 1ms such as 0, 500ns or 1.5us, found "1us-2us"'),
        ({"track": "-1us"}, 'costs: track: expected a time of up to 1ms such as 0, 500ns or 1.5us, found "-1us"'),
    ],
)
def test_what_is_no_cost_is_refused_in_one_line(value: Any, said: str) -> None:
    assert refused(declared, value) == f"mine.toml: {said}"


def test_one_cost_is_changed_beside_those_of_a_word_or_by_itself() -> None:
    assert after("costs.track=2us") == {"track": "2us"}
    assert after("costs=assumed", "costs.track=2us") == {**ASSUMED, "track": "2us"}
    assert after("costs.track=0") == {"track": "0"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("costs=asumed", "costs.track=2us"), 'costs: unknown word for costs "asumed"; did you mean "assumed"'),
        (("costs=assumed", "module=none"), 'costs: expected "none", as module = "none" has no SEAMCALL'),
    ],
)
def test_what_settings_make_no_costs_of_is_refused(settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(ScenarioError, match=f"--set: {said}"):
        after(*settings)


def test_a_scenario_holds_its_costs_as_a_table_that_makes_it_again() -> None:
    scenario = validated(Scenario, "mine.toml", "mine", {**BARE, "costs": "assumed"})

    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario
    assert WORDS["none"] == {}
