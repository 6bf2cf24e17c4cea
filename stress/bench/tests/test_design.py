"""What a bench comes to: points, rounds, and how a budget is spent."""

from typing import Any

import pytest

from results.kinds.bench.wording import AXES
from scenarios.costs import COSTS
from scenarios.loader import ScenarioError, load_ordering
from stress.bench.design import Experiment, design
from stress.bench.round import arms, turns
from stress.errors import UsageFault
from stress.options import BenchRequest


def laid_out(orderings: tuple[str, ...] = ("spec", "v18"), **options: Any) -> Experiment:
    return design(BenchRequest(**{"scenario": "review", "orderings": orderings, **options}))


def test_a_bench_has_ten_rounds_of_short_races_unless_told_otherwise() -> None:
    layout = laid_out()

    assert (layout.rounds, layout.budget_s, layout.races) == (10, None, 3)
    assert (layout.scenario.duration_s, layout.scenario.warmup_s) == (1.0, 0.25)


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({"duration": "3s"}, (3.0, 0.25)),
        ({"settings": ("duration_s=2s", "warmup_s=0")}, (2.0, 0.0)),
    ],
)
def test_times_that_the_user_gives_stand(options: dict[str, Any], times: tuple[float, float]) -> None:
    layout = laid_out(**options)

    assert (layout.scenario.duration_s, layout.scenario.warmup_s) == times


def test_times_that_stand_in_a_scenario_file_stand(tmp_path: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('orderings = ["spec"]\nvcpus = 1\nzappers = 1\nduration_s = "750ms"\n')

    layout = laid_out((), scenario=str(path))
    assert (layout.scenario.duration_s, layout.scenario.warmup_s) == (0.75, 0.25)


def test_a_sweep_has_a_scenario_for_every_value_in_the_order_given() -> None:
    layout = laid_out(sweep="vcpus=4,1,2")

    assert [point.name for point in layout.points] == ["vcpus=4", "vcpus=1", "vcpus=2"]
    assert [point.scenario.vcpus for point in layout.points] == [4, 1, 2]
    assert layout.races == 9


def test_one_cost_can_be_swept_from_nothing_on_beside_others_that_stay() -> None:
    layout = laid_out(sweep="costs.track=0,0.5us,2us", settings=("costs=assumed", "costs.enter=0"))

    assert [point.name for point in layout.points] == ["costs.track=0", "costs.track=0.5us", "costs.track=2us"]
    assert [point.value for point in layout.points] == ["0", "0.5us", "2us"]
    assert [point.scenario.costs["track"] for point in layout.points] == ["0", "0.5us", "2us"]
    assert {(point.scenario.costs["block"], point.scenario.costs["enter"]) for point in layout.points} == {
        ("1.5us", "0")
    }


@pytest.mark.parametrize(("key", "values"), [("kick_by", ["word", "signal"]), ("workers", ["process", "thread"])])
def test_words_can_be_swept(key: str, values: list[str]) -> None:
    points = laid_out(sweep=f"{key}={','.join(values)}").points

    assert [point.value for point in points] == values
    assert [getattr(point.scenario, key) for point in points] == values


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rounds": 9}, "--rounds: expected 10 to 9999, found 9"),
        ({"rounds": 10, "budget": "1m"}, "expected either --rounds or --budget, found both"),
        ({"budget": "soon"}, "--budget: expected a duration such as 500ms"),
        ({"budget": "0s"}, "--budget: expected a duration above 0"),
        ({"budget": "2s"}, "--budget: 10 rounds of 3 races take"),
        ({"budget": "20s", "duration": "1s"}, "--budget: 10 rounds of 3 races take"),
        ({"sweep": "vcpus"}, "--sweep: expected key=value,value"),
        ({"sweep": "vcpus=1,,2"}, "--sweep: expected key=value,value"),
        ({"sweep": "vcpu=1,2"}, '--sweep: unknown key "vcpu"; did you mean "vcpus"?'),
        ({"sweep": "seed=1,2"}, '--sweep: unknown key "seed"'),
        ({"sweep": "vcpus=1,1"}, '--sweep: expected each value once, found "1" twice'),
        ({"sweep": "costs=none,assumed"}, '--sweep: unknown key "costs"; did you mean "costs.'),
        ({"sweep": "costs.trak=0,1us"}, '--sweep: unknown key "costs.trak"; did you mean "costs.track"?'),
        ({"sweep": "costs.track=0,1s"}, "--sweep: costs: track: expected a time of up to 1ms"),
        ({"sweep": "vcpus=1,many"}, "--sweep: vcpus: expected a whole number from 1 to 512"),
        ({"orderings": ("spec", "no_kick")}, 'ordering "no_kick" is known to be wrong (tracking_not_done)'),
    ],
)
def test_what_cannot_be_meant_is_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises((UsageFault, ScenarioError)) as refused:
        laid_out(**options)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unsafe_ordering_is_raced_where_that_is_asked_for() -> None:
    layout = laid_out(("spec", "no_kick"), include_unsafe=True)

    assert [arm.safe for arm in arms(layout.orderings, perturbed=False)] == [True, True, False]


def test_a_budget_with_time_to_spare_gets_more_rounds_of_the_same_length() -> None:
    layout = laid_out(budget="2m")

    assert layout.scenario.duration_s == 1.0
    assert 25 <= layout.rounds <= 31


def test_a_tight_budget_gets_ten_rounds_of_shorter_races_and_leaves_a_time_that_the_user_gave() -> None:
    layout = laid_out(budget="20s")

    assert layout.rounds == 10
    assert 0.3 < layout.scenario.duration_s < 0.6
    assert layout.scenario.warmup_s == pytest.approx(layout.scenario.duration_s / 4, rel=0.05)
    assert layout.points[0].scenario.duration_s == layout.scenario.duration_s
    chosen = laid_out(budget="30s", warmup="400ms").scenario
    assert (chosen.warmup_s, chosen.duration_s < 0.6) == (0.4, True)


def test_the_first_ordering_is_raced_twice_and_the_others_are_lettered() -> None:
    found = arms([load_ordering(name) for name in ("v18", "spec", "v6_16")], perturbed=False)

    assert [(arm.arm, arm.ordering) for arm in found] == [("A", "v18"), ("A2", "v18"), ("B", "spec"), ("C", "v6_16")]
    assert found[0].parameters["gate"] == "counter"


def test_a_round_has_every_arm_of_every_point_once_and_the_arms_of_a_point_together() -> None:
    layout = laid_out(sweep="vcpus=1,2,4")
    by_arm = {"A": layout.orderings[0], "A2": layout.orderings[0], "B": layout.orderings[1]}

    due = turns(1, 7, layout.points, by_arm)

    assert [turn.place for turn in due] == list(range(9))
    assert {(turn.point.name, turn.arm) for turn in due} == {(p.name, a) for p in layout.points for a in by_arm}
    assert all(len({turn.point.name for turn in due[start : start + 3]}) == 1 for start in (0, 3, 6))


def test_the_seed_shuffles_every_round_anew_and_the_same_way_again() -> None:
    layout = laid_out()
    by_arm = {"A": layout.orderings[0], "A2": layout.orderings[0], "B": layout.orderings[1]}

    rounds, again = ([turns(number, 7, layout.points, by_arm) for number in range(1, 21)] for _ in range(2))

    assert rounds == again
    # Of 20 shuffles of three, all in one of six orders: odds of 6 in 6 to the 20.
    assert len({tuple(turn.arm for turn in due) for due in rounds}) > 1
    # All arms of a round have one seed, and every round another.
    assert [len({turn.seed for turn in due}) for due in rounds] == [1] * 20
    assert len({due[0].seed for due in rounds}) == 20


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"listed": "word,tdx"}, '--orderings: unknown arm "tdx"; expected word, membarrier, signal, memfd, munmap, '),
        ({"listed": "word,word"}, "--orderings: expected each arm once, found word again"),
        ({"zappers": 1}, "--zappers: means nothing in scenario real: the kernel's own shootdown has no ordering, "),
        ({"sweep": "reads=hot_set"}, '--sweep: unknown key "reads"; expected vcpus, pages or gap'),
    ],
)
def test_what_only_the_model_has_is_refused_beside_the_machine(given: dict[str, Any], line: str) -> None:
    with pytest.raises((ScenarioError, UsageFault)) as refused:
        design(BenchRequest(scenario="real", **given))

    assert str(refused.value).startswith(line)


def test_every_cost_that_can_be_swept_has_words_for_a_title() -> None:
    assert {f"costs.{name}" for name in COSTS} <= set(AXES)
