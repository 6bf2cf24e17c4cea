"""`tdx-stress compare` as a user types it, on stored benches."""

import json
from pathlib import Path
from typing import Any

import pytest

from results.kinds.bench.compare import LATER
from results.kinds.exploration import document
from results.tests.builders.bench import ARMS, a_bench, an_arm, noisy
from results.tests.builders.exploration import explored
from scenarios.models import Scenario
from stress.tests.command import Command


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Three benches: `before`; `slow`, where v18 takes 1.5 times as long; `other`, of an ordering of its own."""
    benches = {
        "before": a_bench(12, noisy({}, seed=1)),
        "slow": a_bench(12, noisy({"B": 1.5}, seed=2)),
        "other": a_bench(12, noisy({}), (an_arm("A", "mine"), an_arm("A2", "mine"))),
        "few": a_bench(4, noisy({}, seed=3), ARMS),
    }
    for name, bench in benches.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "bench.json").write_text(bench.json_text())
    return tmp_path


def test_a_planted_slowdown_fails_its_gate(here: Command, stored: Path) -> None:
    done = here("compare", "before", "slow", "--fail-if", "p99>+15%")

    assert done.returncode == 7
    assert "gate p99>+15% FAILED: v18: shootdown, p99 1." in done.stdout
    assert "rounds of two moments" in done.stdout


def test_the_same_directory_twice_holds_every_gate(here: Command, stored: Path) -> None:
    done = here("compare", "slow", "slow", "--fail-if", "p99>+15%", "--fail-if", "reads/s<-5%")

    assert (done.returncode, done.stderr) == (0, "")


def test_the_comparison_as_json_is_alone_on_stdout(here: Command, stored: Path) -> None:
    done = here("compare", "before", "slow", "--fail-if", "v18:p50>+15%", "--json", "-")

    document = json.loads(done.stdout)
    assert document["schema"] == "tdx-stress/comparison/1"
    assert [gate["state"] for gate in document["gates"]] == ["failed"]
    assert {one["ordering"] for one in document["comparisons"]} == {"spec", "v18"}


def test_another_scenario_is_refused_with_what_differs(here: Command, stored: Path) -> None:
    bench = a_bench(12, noisy({}))
    more = bench.model_copy(update={"scenario": {**bench.scenario, "vcpus": 8, "placement": "mixed"}})
    (stored / "more").mkdir()
    (stored / "more/bench.json").write_text(more.json_text())

    done = here("compare", "before", "more")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "tdx-stress: not comparable: vcpus 2 in A, 8 in B; placement apart in A, mixed in B; give two results of one "
        "scenario\n"
    )


def test_nothing_in_common_is_exit_5(here: Command, stored: Path) -> None:
    done = here("compare", "before", "other")

    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "tdx-stress: nothing to compare: before holds spec, v18; other holds mine\n"


def test_a_gate_on_an_ordering_that_one_side_lacks_is_a_usage_error(here: Command, stored: Path) -> None:
    done = here("compare", "before", "slow", "--fail-if", "v6_16:p99>+15%")

    assert done.returncode == 2
    assert 'no ordering "v6_16" in both; expected one of spec, v18' in done.stderr


@pytest.mark.parametrize(("other", "said"), [("few", "fewer than 10 rounds in B"), ("slow", "rounds of two moments")])
def test_without_a_gate_neither_a_difference_nor_a_warning_is_a_failure(
    here: Command, stored: Path, other: str, said: str
) -> None:
    done = here("compare", "before", other)

    assert done.returncode == 0
    assert said in done.stdout


def test_results_without_figures_are_held_against_each_other_by_their_verdicts(here: Command, tmp_path: Path) -> None:
    head: dict[str, Any] = {
        "command": ["tdx-stress"], "version": "0.1.0", "commit": None, "started": "2026-11-22", "host": {},
    }  # fmt: skip
    safe, bad, larger = explored(), explored({"stale_after_done": 9}), explored(vcpus=3)
    for name, one in {"safe": safe, "bad": bad, "larger": larger}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "exploration.json").write_text(json.dumps(document(head, [one], single=True)))

    worse, same, unlike = (here("compare", "safe", other) for other in ("bad", "safe", "larger"))

    assert (worse.returncode, worse.stdout.splitlines()[-1]) == (1, "1 of 1 cases differ in B; 1 passed in A alone")
    assert (same.returncode, same.stdout) == (0, "0 of 1 cases differ in B; 0 passed in A alone\n")
    assert (unlike.returncode, unlike.stderr) == (2, "tdx-stress: not comparable: vcpus 2 in A, 3 in B\n")


def test_results_of_two_kinds_are_refused(here: Command, stored: Path) -> None:
    (stored / "other/bench.json").rename(stored / "other/selftest.json")
    done = here("compare", "before", "other")

    assert (done.returncode, done.stdout) == (2, "")
    assert "not comparable: A is a bench, B is a selftest; give two results of one kind" in done.stderr


# What a scenario had when results were first compared, or what has no part in it.
FIRST = {
    "name", "title", "source", "why", "shows", "orderings", "matrix", "vcpus", "zappers", "pages", "tlb_entries",
    "reads", "tick_us", "gap", "duration_s", "warmup_s", "rate", "shootdowns", "seed", "workers", "watchdog_s",
}  # fmt: skip


def test_every_key_that_a_scenario_has_had_since_is_held_for_what_it_was_before_it_came() -> None:
    scenario = Scenario(name="any", orderings=("spec",), vcpus=2, zappers=1).model_dump(mode="json")
    later = {key: value for key, value in scenario.items() if key not in FIRST}

    assert later | {"placement": "mixed"} == LATER
