"""The races of one ordering under a search, by a fake race: what is kept of those that failed, hung or crashed."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from results.tests.builders.run import a_run
from scenarios.loader import load_orderings, load_scenario
from stress.errors import HarnessFault
from stress.interrupts import Interrupts
from stress.options import RunRequest
from stress.run import amplified_races as amplify_races
from stress.run.amplified_races import Amplification, Subject
from stress.run.targets import Target

Race = Callable[[int], dict[str, Any]]
STUCK = {"ending": "hung", "notes": ["no progress for 5 s: zapper 0"]}


class Fake:
    """A search for operand_busy in `spec` whose races are made up: `race` is given how many there were before it. Each
    takes as long as it was to, by a clock that nothing else moves.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, race: Race, ordering: str = "spec", *settings: str) -> None:
        self.raced: list[Any] = []
        self.clock_s = 0.0

        def raced(machine: Any, ordering: Any, scenario: Any, *rest: Any) -> Any:
            self.raced.append(scenario)
            self.clock_s += scenario.duration_s
            run = a_run(seconds=scenario.duration_s, perturbation={"never_struck": []}, expect=ordering.expect)
            return SimpleNamespace(json=run | race(len(self.raced) - 1))

        monkeypatch.setattr(amplify_races, "race", raced)
        monkeypatch.setattr(amplify_races, "prepared_for", lambda *_: None)
        monkeypatch.setattr(amplify_races, "time", SimpleNamespace(monotonic=lambda: self.clock_s))
        scenario = load_scenario("small")
        target = Target(load_orderings([ordering])[0], ordering, "operand_busy")
        subject = Subject(RunRequest("small", settings=settings), scenario, scenario, target, 1.0, "here")
        self.search = Amplification(subject, None, Interrupts())

    def entry(self) -> dict[str, Any]:
        self.search.run()
        return self.search.entry()


def outcomes(**counts: int) -> dict[str, Any]:
    return {"outcomes": a_run(seen=counts)["outcomes"]}


def test_a_forbidden_outcome_that_nobody_looked_for_is_kept_with_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, lambda before: outcomes(operand_busy=5, tracking_not_done=2 * (before == 4)))

    entry = fake.entry()

    assert (entry["verdict"], entry["races"]) == ("failed", len(fake.raced))
    assert [one["failing"] for one in entry["unexpected"]] == [{"tracking_not_done": 2}]
    assert entry["unexpected"][0]["delays"] == fake.raced[4].delays
    assert entry["unexpected"][0]["seed"] == fake.raced[4].seed
    assert [one["failing"] for one in entry["tried"] if one["failing"]] == [{"tracking_not_done": 2}]


def test_what_the_first_race_of_all_shows_is_told_of_the_scenario_without_amplifiers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = Fake(monkeypatch, lambda before: outcomes(tracking_not_done=before == 0)).entry()

    assert [(one["setting"], one["delays"]) for one in entry["unexpected"]] == [("2 vCPUs, 1 zapper", {})]


def test_a_race_that_hung_before_its_first_shootdown_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    hung = {**STUCK, "all_shootdowns": 0, **outcomes(no_progress=1)}

    entry = Fake(monkeypatch, lambda before: hung if before == 2 else outcomes(operand_busy=1)).entry()

    assert (entry["verdict"], entry["reason"].split(":")[0]) == ("hung", "no progress for 5 s")
    assert [one["ending"] for one in entry["tried"]].count("hung") == 1
    assert entry["races"] > 3


def test_nothing_races_behind_a_crash_and_what_was_found_before_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(before: int) -> dict[str, Any]:
        ending = {"ending": "crashed", "notes": ["vcpu 1 was ended by SIGKILL"]} if before == 3 else {}
        return outcomes(operand_busy=1) | ending

    entry = Fake(monkeypatch, crash).entry()

    assert (entry["verdict"], entry["races"], len(entry["tried"])) == ("crashed", 4, 3)
    assert entry["reason"].startswith("vcpu 1 was ended by SIGKILL; under ")


def test_where_workers_cannot_be_started_what_was_found_before_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(before: int) -> dict[str, Any]:
        if before == 3:
            raise HarnessFault("no more processes")
        return outcomes(operand_busy=1)

    fake = Fake(monkeypatch, refuse)
    with pytest.raises(HarnessFault):
        fake.search.run()

    assert len(fake.search.entry()["tried"]) == 2


@pytest.mark.parametrize(
    ("ordering", "settings", "expected"), [("spec", (), 5.0), ("no_kick", (), 1.0), ("no_kick", ("watchdog_s=5",), 5.0)]
)
def test_only_a_wrong_ordering_that_stands_still_is_given_up_early(
    monkeypatch: pytest.MonkeyPatch, ordering: str, settings: tuple[str, ...], expected: float
) -> None:
    fake = Fake(monkeypatch, lambda _: {}, ordering, *settings)
    fake.search.run()

    assert {scenario.watchdog_s for scenario in fake.raced} == {expected}
