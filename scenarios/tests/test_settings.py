"""`--set key=value`, and the options that stand for one key of a scenario."""

from typing import Any

import pytest

from scenarios.loader import apply_settings, load_ordering, load_scenario, with_faults, with_options
from scenarios.models import Kick
from scenarios.settings import ORDERING_KEYS, SCENARIO_KEYS
from scenarios.tests.refusals import refused


def test_no_key_belongs_to_both_a_scenario_and_an_ordering() -> None:
    assert not set(SCENARIO_KEYS) & set(ORDERING_KEYS)


def test_a_key_of_the_scenario_changes_the_scenario_alone() -> None:
    scenario, spec = load_scenario("review"), load_ordering("spec")

    changed, orderings = apply_settings(scenario, [spec], ["pages=128", "reads=hot_set", "duration_s=500ms"])

    assert changed == scenario.model_copy(update={"pages": 128, "reads": "hot_set", "duration_s": 0.5})
    assert orderings == [spec]


def test_a_key_of_an_ordering_changes_every_ordering() -> None:
    scenario, both = load_scenario("review"), [load_ordering("spec"), load_ordering("no_kick")]

    unchanged, orderings = apply_settings(scenario, both, ["serialized=false", "expect=safe"])

    assert unchanged == scenario
    assert orderings == [one.model_copy(update={"serialized": False, "expect": "safe"}) for one in both]


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        # One entry of the kick changes and the other stays.
        (["kick.wait=false"], {"kick": Kick(request="tlb_flush", wait=False)}),
        # A value is TOML, and what is not is a word.
        (['expect=["tracking_not_done"]', 'on_error="leak_page"', "gate = flag"],
         {"expect": ("tracking_not_done",), "on_error": "leak_page", "gate": "flag"}),
        # They are checked together when all are applied.
        (["gate=none", 'entry=["requests"]', 'shootdown=["block", "kick", "track", "remove"]'],
         {"gate": "none", "entry": ("requests",), "shootdown": ("block", "kick", "track", "remove")}),
    ],
)  # fmt: skip
def test_a_setting_changes_its_key_of_an_ordering(settings: list[str], fields: dict[str, Any]) -> None:
    v18 = load_ordering("v18")

    assert apply_settings(load_scenario("review"), [v18], settings)[1] == [v18.model_copy(update=fields)]


@pytest.mark.parametrize(
    ("settings", "yields"),
    [
        (["yields.kick.done=0.25"], {"kick.done": 0.25}),
        (['yields."kick.done"=0.25'], {"kick.done": 0.25}),
        (['yields={"kick.done" = 0.25}'], {"kick.done": 0.25}),
        (["yields.a: b=0.25", "yields.c=1"], {"a: b": 0.25, "c": 1.0}),
    ],
)
def test_yields_are_set_by_their_labels_one_by_one(settings: list[str], yields: dict[str, float]) -> None:
    assert apply_settings(load_scenario("review"), [], settings)[0].yields == yields


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("kick.wait=false", '--set: kick.wait: ordering "no_kick" has no kick'),
        ("vcpu=3", '--set: unknown key "vcpu"; did you mean "vcpus"?'),
        ("kick.wiat=false", '--set: unknown key "kick.wiat"; did you mean "kick.wait"?'),
        ("vcpus", '--set: expected key=value, found "vcpus"'),
        ("vcpus=0", "--set: vcpus: expected a whole number from 1 to 512, found 0"),
        ("vcpus=many", '--set: vcpus: expected a whole number from 1 to 512, found "many"'),
        ("pages=4\ngap=1", '--set: pages: expected a whole number from 1 to 65536, found "4\\ngap=1"'),
        ("yields.done=2", "--set: yields.done: expected a probability from 0 to 1, found 2"),
        ("gate=flag",
         '--set: ordering "no_kick": gate: expected "none", as the shootdown has no gate steps, found "flag"'),
        ("expect=[safe]",
         '--set: ordering "no_kick": expect: expected "safe" or a list of forbidden outcomes, found "[safe]"; '
         'did you mean "safe"?'),
        ("orderings=[]", "--set: orderings: not a setting; give --ordering instead"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_hold_gives_one_line(setting: str, line: str) -> None:
    assert refused(apply_settings, load_scenario("review"), [load_ordering("no_kick")], [setting]) == line


def test_options_change_their_keys_and_one_that_is_not_given_changes_nothing() -> None:
    review = load_scenario("review")

    changed = with_options(review, vcpus=8, duration_s="2m", workers="thread", placement="mixed", rate=1000, seed=None)

    values = {"vcpus": 8, "duration_s": 120.0, "workers": "thread", "placement": "mixed", "rate": 1000.0}
    assert changed == review.model_copy(update=values)
    assert with_options(review, vcpus=None) == review


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"vcpus": 0}, "--vcpus: expected a whole number from 1 to 512, found 0"),
        ({"tlb_entries": 3}, "--tlb-entries: expected a power of two from 1 to 4096, found 3"),
        (
            {"duration_s": "2y"},
            '--duration: expected a duration above 0 and up to 168h, such as 500ms, 5s, 2m or 1h, found "2y"',
        ),
        ({"placement": "near"}, '--placement: unknown placement "near"; expected apart or mixed'),
        ({"workers": "fork"}, '--workers: unknown kind of worker "fork"; expected process or thread'),
    ],
)
def test_an_option_that_does_not_hold_names_the_option(options: dict[str, Any], line: str) -> None:
    assert refused(with_options, load_scenario("review"), **options) == line


def test_faults_come_beside_those_of_the_ordering_each_once() -> None:
    broken = load_ordering("no_flush_at_entry")

    orderings = with_faults([load_ordering("spec"), broken], ["no_flush_at_entry"])

    assert [ordering.faults for ordering in orderings] == [("no_flush_at_entry",), ("no_flush_at_entry",)]


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("no_flush_at_entri", '--fault: unknown fault "no_flush_at_entri"; did you mean "no_flush_at_entry"?'),
        ("xyz", '--fault: unknown fault "xyz"; `tdx-stress list` names them all'),
        ("no_kick", '--fault: "no_kick" is an ordering: --ordering no_kick'),
    ],
)
def test_an_unknown_fault_is_refused_with_the_nearest_right_one(fault: str, line: str) -> None:
    assert refused(with_faults, [load_ordering("spec")], [fault]) == line
