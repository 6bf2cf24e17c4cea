"""The verb `selftest` as a user types it, and what it claims."""

import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from xml.etree import ElementTree

import pytest

from scenarios.faults import faults
from scenarios.loader import ScenarioError, load_ordering, shipped_orderings
from scenarios.models import Ordering, Scenario
from stress.interrupts import Interrupts
from stress.processes.perturbation import declared_sites
from stress.processes.prepared import Prepared, prepared_for
from stress.selftest.expectations import Expectation, expectations
from stress.selftest.verb import race_expected
from stress.tests.command import Command, Start
from stress.tests.lengthened import raced_here


def everything(*, short: bool = False) -> list[Expectation]:
    """What a selftest without options claims."""
    return expectations([], [], short=short, duration=None, seed=None)


def no_block_as_mine(tmp_path: Path, *changed: str) -> None:
    """The shipped ordering as a file of one's own, by turns what stands there and what takes its place."""
    text = (Path(__file__).parents[3] / "scenarios/orderings/no_block.toml").read_text()
    for before, after in zip(changed[::2], changed[1::2], strict=True):
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "mine.toml").write_text(text)


def test_every_shipped_ordering_and_every_fault_is_claimed_and_raced() -> None:
    made = everything()

    assert {one.ordering.name for one in made} == {*(ordering.name for ordering in shipped_orderings(None)), *faults()}
    assert {fault for one in made for fault in one.ordering.faults} == set(faults())
    assert all(one.to_race for one in made)


def test_a_short_selftest_explores_every_claim_and_races_those_of_the_default_flow() -> None:
    made = everything(short=True)

    assert {one.ordering.name for one in made} == {one.ordering.name for one in everything()}
    assert {one.raced.flow for one in made if one.to_race} == {"shootdown"}
    assert "shootdown" not in {one.raced.flow for one in made if not one.to_race}


def test_each_outcome_that_an_ordering_is_known_for_is_a_claim_of_its_own() -> None:
    both = load_ordering("no_kick").model_copy(update={"expect": ("tracking_not_done", "stale_after_done")})

    made = expectations([both], [], short=False, duration=None, seed=None)

    assert [one.ordering.expect for one in made] == [("tracking_not_done",), ("stale_after_done",)]
    assert [one.explored.expect for one in made] == [("tracking_not_done",), ("stale_after_done",)]


def test_a_safe_ordering_races_without_delays_and_a_wrong_one_may_stand_still_for_all_its_time() -> None:
    safe, wrong = expectations(
        [load_ordering("v18"), load_ordering("no_kick")], [], short=False, duration="30s", seed=7
    )

    assert (safe.raced.delays, safe.raced.watchdog_s) == ({}, 5.0)
    assert (bool(wrong.raced.delays), wrong.raced.watchdog_s) == (True, 30.0)
    assert (safe.raced.seed, wrong.raced.warmup_s) == (7, 0.0)


def test_where_standing_still_is_the_catch_the_watchdog_is_the_scenarios_own() -> None:
    (made,) = expectations([], ["fastpath_reenter"], short=True, duration=None, seed=None)

    assert (made.raced.watchdog_s, made.raced.duration_s, made.to_race) == (1.0, 60.0, True)


@pytest.mark.processes
@pytest.mark.parametrize("name", [name for name, shown in faults().items() if shown.shows == "no_progress"])
def test_where_standing_still_is_the_catch_nobody_stands_still_without_the_fault(name: str) -> None:
    (made,) = expectations([], [name], short=False, duration="2s", seed=None)
    scenario = made.raced.model_copy(update={"watchdog_s": 1.0})

    raced = raced_here(made.ordering.model_copy(update={"faults": ()}), scenario).json

    assert raced["ending"] == "finished", raced["notes"]


def test_a_fault_that_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r'--fault: unknown fault "reclaim_erly"; did you mean "reclaim_early"\?'):
        expectations([], ["reclaim_erly"], short=False, duration=None, seed=None)


def test_every_label_at_which_a_race_of_the_selftest_perturbs_is_one_of_its_flow() -> None:
    assert all(set(declared_sites(made.raced)) for made in everything() if made.raced.yields or made.raced.delays)


def test_all_tries_of_a_race_share_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = expectations([load_ordering("no_kick")], [], short=False, duration="1s", seed=7)
    begun: list[tuple[int, float]] = []

    def stopped(prepared: Prepared, ordering: Ordering, scenario: Scenario, *_: object) -> SimpleNamespace:
        """A race that another error ends after 0.375 s."""
        begun.append((scenario.seed, scenario.duration_s))
        return SimpleNamespace(json={"verdict": "inconclusive", "seconds": min(0.375, scenario.duration_s)})

    monkeypatch.setattr("stress.selftest.verb.race", stopped)
    with Interrupts() as interrupts:
        tries = race_expected(cast(Prepared, None), made, "", None, interrupts)

    assert begun == [(7, 1.0), (8, 0.625), (9, 0.25)]
    assert sum(one["seconds"] for one in tries) == 1.0


def test_only_a_safe_ordering_without_a_duration_may_be_raced_on() -> None:
    both = [load_ordering("v18"), load_ordering("no_kick")]

    usual = expectations(both, [], short=True, duration=None, seed=None)
    chosen = expectations(both, [], short=True, duration="1s", seed=None)

    assert [one.longest_s for one in usual] == [120.0, 0.0]
    assert [one.longest_s for one in chosen] == [0.0, 0.0]


@pytest.mark.processes
@pytest.mark.parametrize(("longest_s", "least_s", "looks"), [(30.0, 2.1, 3), (0.5, 0.5, 1), (0.0, 0.1, 0)])
def test_a_race_goes_on_until_it_has_met_enough_or_for_as_long_as_it_may(
    monkeypatch: pytest.MonkeyPatch, longest_s: float, least_s: float, looks: int
) -> None:
    (made,) = expectations([load_ordering("spec")], [], short=True, duration="100ms", seed=None)
    answers = ["only 3 of 7,000 shootdowns met a vCPU"] * 2 + [None]
    monkeypatch.setattr("stress.processes.supervisor.too_few", lambda *_: answers.pop(0))
    prepared = prepared_for(made.raced)

    with Interrupts() as interrupts:
        (run,) = race_expected(prepared, replace(made, longest_s=longest_s), "", None, interrupts)

    assert (run["ending"], len(answers)) == ("finished", 3 - looks)
    assert run["seconds"] >= least_s


@pytest.mark.processes
def test_a_fault_of_another_flow_is_caught_in_its_own_flow(tdx_stress: Command) -> None:
    # The first TD that is torn down shows it, without chance.
    done = tdx_stress("selftest", "--fault", "reclaim_early", "--duration", "60s", "--json", "-")

    (made,) = json.loads(done.stdout)["claims"]
    assert (done.returncode, made["verdict"]) == (0, "passed")
    assert [(one["flow"], one["failing"]["td_state_incorrect"]) for one in made["explored"]] == [("teardown", 39)]
    assert (made["race"]["caught"], made["race"]["scenario"]["flow"]) == (True, "teardown")


@pytest.mark.processes
def test_a_race_ends_at_the_first_catch_and_a_safe_ordering_is_explored_on_every_machine_and_raced_to_its_end(
    tdx_stress: Command, tmp_path: Path
) -> None:
    """no_block refuses every REMOVE: the first shootdown shows it, without chance."""
    done = tdx_stress("selftest", "--ordering", "no_block", "--ordering", "spec", "--short", "--json", "-")

    wrong, safe = json.loads(done.stdout)["claims"]
    assert done.returncode in (0, 6)  # 6: beside others, of whom two minutes are not enough for a verdict
    assert wrong["verdict"] == "passed"
    assert [(one["vcpus"], one["zappers"], one["failing"]["not_blocked"]) for one in wrong["explored"]] == [(1, 1, 17)]
    assert wrong["race"]["caught"] is True
    assert 0 < wrong["race"]["seconds"] < 60
    assert wrong["race"]["shootdowns"] >= 1
    assert [(one["verdict"], one["complete"]) for one in safe["explored"]] == [("passed", True)] * 3
    assert (safe["race"]["caught"], safe["race"]["seconds"] >= 2) == (False, True)
    stored = json.loads((tmp_path / "runs/latest/selftest.json").read_text())
    assert (stored["complete"], stored["planned"]) == (True, 2)
    assert stored == json.loads(done.stdout)


@pytest.mark.processes
def test_what_takes_two_zappers_is_found_on_the_third_machine(tdx_stress: Command) -> None:
    done = tdx_stress("selftest", "--ordering", "spec_unserialized", "--duration", "100ms", "--json", "-")

    (made,) = json.loads(done.stdout)["claims"]
    assert [(one["vcpus"], one["zappers"], one["verdict"]) for one in made["explored"]] == [
        (1, 1, "failed"), (2, 1, "failed"), (1, 2, "passed"),
    ]  # fmt: skip


@pytest.mark.processes
def test_a_race_that_another_error_has_stopped_is_begun_anew_and_what_is_not_shown_fails(
    tdx_stress: Command, tmp_path: Path
) -> None:
    """Every REMOVE is refused, and the first one ends its zapper."""
    no_block_as_mine(tmp_path, '["not_blocked"]', '["previous_epoch_busy"]', '"leak_page"', '"stop"')

    done = tdx_stress("selftest", "--ordering", "mine.toml", "--duration", "60s", "--json", "-")

    (made,) = json.loads(done.stdout)["claims"]
    told = " ".join(done.stderr.split())
    assert (done.returncode, made["race"]["tries"], made["race"]["caught"]) == (1, 10, False)
    assert made["race"]["scenario"]["seed"] == 1
    assert "Begun anew after another error, and all tries counted: mine 10." in told
    assert "<== FAILED mine: previous_epoch_busy: exploring: known for " in told


@pytest.mark.processes
@pytest.mark.parametrize(("number", "ended"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_selftest_that_is_ended_leaves_what_is_known_so_far(
    start_tdx_stress: Start, tmp_path: Path, number: signal.Signals, ended: int
) -> None:
    both = ("--ordering", "no_block", "--ordering", "spec")
    process = start_tdx_stress("selftest", *both, "--duration", "60s", "--out", "out")
    said = ""
    while "no_block: passed" not in said:
        said += process.stderr.readline()  # type: ignore[union-attr]
    time.sleep(0.5)
    process.send_signal(number)
    process.communicate()

    found = json.loads((tmp_path / "out/selftest.json").read_text())
    claims = [(one["ordering"], one["verdict"]) for one in found["claims"]]
    assert (process.returncode, found["complete"], found["planned"]) == (ended, False, 2)
    assert claims == [("no_block", "passed"), ("spec", "inconclusive")][: 2 if number == signal.SIGINT else 1]


@pytest.mark.processes
def test_fail_fast_stops_at_the_first_that_fails_and_junit_has_a_case_a_row(
    tdx_stress: Command, tmp_path: Path
) -> None:
    no_block_as_mine(tmp_path, '["not_blocked"]', '"safe"')
    orderings = ("--ordering", "no_block", "--ordering", "mine.toml", "--ordering", "spec")

    done = tdx_stress("selftest", *orderings, "--short", "--fail-fast", "--junit", "junit.xml", "--json", "-")

    made = json.loads(done.stdout)
    cases = ElementTree.parse(tmp_path / "junit.xml").getroot().findall("testsuite/testcase")
    assert done.returncode == 1
    assert (made["complete"], [one["ordering"] for one in made["claims"]]) == (False, ["no_block", "mine"])
    assert made["claims"][1]["race"] is None  # exploring has failed it
    said = "<== FAILED mine: nothing: exploring: declared safe, and can happen: not_blocked in 17 steps"
    assert said in " ".join(done.stderr.split())
    assert [(case.get("name"), [child.tag for child in case]) for case in cases] == [
        ("no_block: not_blocked", []),
        ("mine: nothing", ["failure"]),
    ]
