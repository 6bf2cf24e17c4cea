"""What the options of `explore` come to, without exploring anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scenarios.loader import ScenarioError
from scenarios.models import Ordering, Scenario
from stress.errors import UsageFault
from stress.explore.resolve import resolve_atlas, resolve_contract, resolve_exploration, resolve_matrix
from stress.options import ExploreRequest

CRAMPED = 'orderings = ["spec"]\nvcpus = 1\nzappers = 2\n'


def resolved(scenario: str = "small", **options: Any) -> tuple[Scenario, list[Ordering]]:
    """The machine and the orderings of these options."""
    return resolve_exploration(ExploreRequest(scenario, **options))


def sizes(scenario: str = "small", **options: Any) -> tuple[int, ...]:
    """vCPUs, zappers, pages, TLB entries, shootdowns of each zapper."""
    machine, _ = resolved(scenario, **options)
    return machine.vcpus, machine.zappers, machine.pages, machine.tlb_entries, machine.shootdowns


def test_without_options_it_is_the_reviews_orders_on_two_vcpus() -> None:
    machine, orderings = resolved()

    assert [ordering.name for ordering in orderings] == ["spec", "v18", "v6_16"]
    assert (machine.name, sizes()) == ("small", (2, 1, 1, 1, 1))


@pytest.mark.parametrize(
    ("scenario", "options", "expected"),
    [
        ("small", {"zappers": 2}, (2, 2, 2, 1, 1)),  # where nothing is said a page for each zapper
        ("small", {"settings": ("zappers=3",)}, (2, 3, 3, 1, 1)),
        ("small", {"zappers": 2, "pages": 1}, (2, 2, 1, 1, 1)),
        ("small", {"zappers": 2, "settings": ("pages=4",)}, (2, 2, 4, 1, 1)),
        ("review", {}, (2, 1, 1, 1, 1)),  # of a scenario for races its actors, and the smallest of the rest
        ("crowd", {"random": 10, "pages": 64}, (64, 4, 64, 1, 1)),  # random schedules on a machine of any size
    ],
)
def test_sizes_are_those_that_are_said_and_else_the_smallest(
    scenario: str, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    assert sizes(scenario, **options) == expected


def test_what_a_file_says_of_its_size_stands(tmp_path: Path) -> None:
    file = tmp_path / "cramped.toml"
    file.write_text(f'{CRAMPED}pages = 1\nshootdowns = 2\nreads = "sequential"\nrate = 100.0\n')

    machine, _ = resolved(str(file))

    assert (machine.pages, machine.shootdowns, machine.reads, machine.rate) == (1, 2, "uniform", 0.0)


def test_yields_and_times_of_a_scenario_are_dropped() -> None:
    machine, _ = resolved("wrong", vcpus=2, zappers=2)

    assert machine.yields == {}


def test_faults_are_added_to_those_of_each_ordering() -> None:
    _, orderings = resolved(orderings=("v18", "no_flush_at_entry"), faults=("no_flush_at_entry",))

    assert [ordering.faults for ordering in orderings] == [("no_flush_at_entry",), ("no_flush_at_entry",)]


@pytest.mark.parametrize(
    "setting",
    [
        *("duration_s=5", "rate=3", "reads=sequential", "yields.x=0.5", "workers=thread"),
        *("kick_by=signal", "costs=assumed", "costs.track=1us"),
    ],
)
def test_a_setting_that_means_nothing_here_is_refused(setting: str) -> None:
    with pytest.raises(ScenarioError, match=r"--set: .*: means nothing here, where all timings are explored"):
        resolved(settings=(setting,))


def test_settings_of_an_ordering_are_for_all_of_them() -> None:
    _, orderings = resolved(settings=("serialized=false",))

    assert [ordering.serialized for ordering in orderings] == [False, False, False]


LEAKS = {"settings": ("on_error=leak_page",)}
LEAKING = '--set: on_error: "leak_page" means nothing here'
UNREAD = {"orderings": ("spec",), "faults": ("no_flush_at_entry",), "settings": ("fault_retry=local",)}


@pytest.mark.parametrize(
    ("resolve", "options", "said"),
    [
        (resolve_exploration, {"vcpus": 6, "zappers": 3},
         "small: expected at most 8 actors .*, found 6 vCPUs and 3 zappers; try --vcpus 2"),
        (resolve_exploration, {"pages": 64},
         "small: expected at most 8 pages .*, found 64; try --pages 1, or --random 10000"),
        (resolve_exploration, {"shootdowns": 0}, "--shootdowns: expected 1 or more"),
        (resolve_exploration, {"random": 0}, "--random: expected a whole number from 1 to 1000000000, found 0"),
        (resolve_exploration, {"pct": 3}, "--pct: expected --random N beside it"),
        (resolve_exploration, {"pct": 0, "random": 10}, "--pct: expected a whole number from 1 to 100, found 0"),
        (resolve_exploration, {"threads": 0}, "--threads: expected a whole number from 1 to 256, found 0"),
        (resolve_exploration, {"random": 10, "no_symmetry": True},
         "--no-symmetry: belongs to a search of every interleaving"),
        (resolve_exploration, {"random": 10, "memory": "1G"}, "--memory: belongs to a search of every interleaving"),
        (resolve_exploration, LEAKS, LEAKING),
        (resolve_atlas, {"orderings": ("v18", "spec")}, "expected one --ordering"),
        (resolve_atlas, {"scenario": "crowd"}, "SCENARIO crowd: means nothing"),
        (resolve_atlas, {"settings": ("pages=3",)}, "--set pages: means nothing"),
        (resolve_atlas, {"threads": 0}, "--threads: expected a whole number from 1"),
        (resolve_atlas, {"seed": -1}, "--seed: expected 0 or more"),
        (resolve_atlas, LEAKS, LEAKING),
        (resolve_matrix, {"vcpus": 3}, "--vcpus: means nothing beside --matrix"),
        (resolve_matrix, {"seed": 3}, "--seed 3: nothing is drawn by --matrix"),
        (resolve_matrix, {"threads": 0}, "--threads: expected a whole number from 1"),
        (resolve_matrix, {"orderings": ("no_flush_at_entry",)}, "expected one without faults"),
        (resolve_matrix, UNREAD, "--set: fault_retry: no step of the flow"),
        (resolve_matrix, LEAKS, LEAKING),
        (resolve_contract, {"vcpus": 3}, "--vcpus: means nothing beside --contract"),
        (resolve_contract, {"seed": 3}, "--seed 3: nothing is drawn by --contract"),
        (resolve_contract, {"scenario": "migrate", "faults": ("no_grace_period",)}, 'fault "no_grace_period"'),
        (resolve_contract, {"scenario": "flush_current", "orderings": ("v6_16",)}, "an --ordering with a gate"),
    ],
)  # fmt: skip
def test_what_cannot_be_explored_is_one_line_with_what_to_try(
    resolve: Callable[[ExploreRequest], Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises((ScenarioError, UsageFault), match=said):
        resolve(ExploreRequest(**{"scenario": "small", **options}))


def test_a_page_may_be_freed_after_an_error_in_every_interleaving_too() -> None:
    _, (spec,) = resolved(orderings=("no_kick",), settings=("on_error=free_page",))

    assert spec.on_error == "free_page"


def test_the_seed_of_random_schedules_is_the_scenarios_unless_one_is_given() -> None:
    assert resolved(random=5)[0].seed == 1
    assert resolved(random=5, seed=9)[0].seed == 9
