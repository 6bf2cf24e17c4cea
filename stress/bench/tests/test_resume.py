"""Whether a bench may go on: on the machine that it began on, with the options that only say how long."""

from pathlib import Path
from typing import Any

import pytest

from results.kinds.bench.record import Bench
from results.tests.builders.bench import a_bench, noisy
from scenarios.loader import load_ordering, load_scenario
from stress.bench.design import design
from stress.bench.pieces import subject_of
from stress.bench.resume import experiment_of, longer, refuse_mixed
from stress.bench.verb import LONGER
from stress.errors import UsageFault
from stress.options import BenchRequest
from stress.pieces.run import refuse_changes
from stress.provenance import commit, version


def begun() -> Bench:
    return a_bench(3, noisy({})).model_copy(update={"version": version(), "commit": commit()})


def asked(**options: Any) -> BenchRequest:
    return BenchRequest(rounds=12, **options)


def test_on_the_machine_of_its_first_rounds_it_goes_on() -> None:
    bench = begun()
    subject = subject_of(design(BenchRequest(budget="1m")), None)

    measured = {**bench.host, "round_trip_ns": 100.0, "empty_shootdown_ns": 50}

    # A busy moment, and what was not measured again, refuse nothing.
    refuse_mixed(bench.model_copy(update={"host": measured}), {**bench.host, "busy": 0.9})
    assert (longer(subject, asked())["rounds"], longer(subject, asked())["budget_s"]) == (12, None)
    assert longer(subject, BenchRequest(budget="2m"))["budget_s"] == 120


def test_on_another_machine_it_does_not_where_its_rounds_do_not_say_whose_they_are() -> None:
    bench = begun()

    with pytest.raises(
        UsageFault, match=r"^--resume: not the machine of the first rounds: CPU: Some CPU in the first, "
    ):
        refuse_mixed(bench, {**bench.host, "cpu_model": "Another"})
    refuse_mixed(bench.model_copy(update={"host": {**bench.host, "id": "1a2b3c4d"}}), {"cpu_model": "Another"})


def test_its_verdicts_may_go_anywhere_but_other_options_are_refused() -> None:
    refuse_changes(asked(junit=Path("b.xml"), ktap="b.ktap", json="-"), LONGER)
    with pytest.raises(UsageFault, match="goes on with what it began with, found --vcpus; only --rounds or --budget"):
        refuse_changes(asked(vcpus=3), LONGER)


def test_a_sweep_of_one_cost_goes_on_with_the_costs_that_it_began_with() -> None:
    bench = a_bench(3, noisy({}), values=("0", "0.5us"), key="costs.track")
    scenario = {**load_scenario("review").model_dump(mode="json"), "costs": {"track": "9us", "exit": "1us"}}
    arms = [arm.model_copy(update={"parameters": load_ordering(arm.ordering).model_dump()}) for arm in bench.arms]

    experiment = experiment_of(Path("bench.json"), bench.model_copy(update={"scenario": scenario, "arms": tuple(arms)}))

    assert [point.name for point in experiment.points] == ["costs.track=0", "costs.track=0.5us"]
    assert [point.scenario.costs for point in experiment.points] == [
        {"track": "0", "exit": "1us"},
        {"track": "0.5us", "exit": "1us"},
    ]
