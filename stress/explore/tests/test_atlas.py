"""The verb `explore --orders`, as a user types it, and its races."""

import json
import os
import signal
from pathlib import Path

import pytest

from scenarios.loader import load_ordering
from stress.explore import order_races as atlas_race
from stress.explore.order_races import BESIDE, Heat, Raced, race_orders, racing_scenario
from stress.explore.resolve import resolve_atlas
from stress.interrupts import Interrupts
from stress.options import ExploreRequest
from stress.processes.prepared import prepared_for
from stress.tests.command import Command


def test_orders_of_which_none_is_safe_are_all_told_and_nothing_races(here: Command, tmp_path: Path) -> None:
    done = here("explore", "--orders", "--ordering", "no_kick", "--out", "out", "--json", "found.json", "-q")

    found = json.loads((tmp_path / "found.json").read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Order block,track,remove refused", "Order block,remove,track refused", "Order track,block,remove refused",
        "Order track,remove,block refused", "Order remove,block,track refused", "Order remove,track,block refused",
    ]  # fmt: skip
    assert (found["schema"], found["ordering"], found["races"]) == ("tdx-stress/atlas/1", "no_kick", None)
    assert found["summary"] == {"refused: tracking_not_done": 3, "refused: not_blocked": 3}
    assert found["explored"]["complete"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"atlas.json", "atlas.png", "atlas.svg", "pieces"}
    assert json.loads((tmp_path / "out" / "atlas.json").read_text()) == found


@pytest.mark.usefixtures("without_pictures")
def test_orders_that_took_more_memory_than_there_was_are_open_and_that_is_inconclusive(
    here: Command, tmp_path: Path
) -> None:
    done = here(
        "explore", "--orders", "--ordering", "no_kick", "--memory", "64MiB", "--threads", "256", "--junit", "j.xml"
    )

    shown = " ".join(done.stdout.split())
    assert done.returncode == 6, done.stderr
    assert "Orders are open where the search was ended, or ran out of memory: see --memory." in shown
    assert "within 0.25 MiB and 0.25 MiB" in shown
    assert 'type="inconclusive" message="open"' in (tmp_path / "j.xml").read_text()


def test_without_an_ordering_the_steps_are_v18s() -> None:
    _, ordering = resolve_atlas(ExploreRequest("small"))

    assert ordering == load_ordering("v18")


def test_settings_of_the_ordering_and_faults_are_applied() -> None:
    _, ordering = resolve_atlas(ExploreRequest("small", settings=("serialized=true",), faults=("no_flush_at_entry",)))

    assert (ordering.serialized, ordering.faults) == (True, ("no_flush_at_entry",))


def test_however_many_orders_are_safe_their_races_take_as_long_together() -> None:
    assert [racing_scenario(orderings, 1).duration_s for orderings in (4, 15, 45, 700)] == [1.0, 0.65, 0.117, 0.1]


@pytest.mark.processes
def test_each_round_races_every_order_once_and_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas_race, "ROUNDS", 2)
    monkeypatch.setattr(atlas_race, "RACING_S", 0.1)
    safe = load_ordering("block,track,kick,remove")
    heats: list[int] = []
    kept: list[int] = []
    ready = prepared_for(racing_scenario(1, 1))

    def keep(raced: Raced) -> None:
        kept.append(len(raced.rounds))

    with Interrupts() as interrupts:
        raced = race_orders(ready, [safe], 7, interrupts, lambda heat: heats.append(heat.number), keep)

    assert heats == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert kept == [1, 2]
    assert [set(one) for one in raced.rounds] == [{safe.name, *BESIDE}] * 2
    # Some thousandths of a second each: on a busy machine no kick need meet a vCPU.
    assert {run["verdict"] for one in raced.rounds for run in one.values()} <= {"passed", "inconclusive"}
    assert raced.document()["rounds"] == 2
    assert raced.caveats(interrupted=False) == []


@pytest.mark.processes
def test_races_that_were_interrupted_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas_race, "ROUNDS", 2)
    monkeypatch.setattr(atlas_race, "RACING_S", 0.1)

    with Interrupts() as interrupts:

        def ended(heat: Heat) -> None:
            if heat.number == 8:
                os.kill(os.getpid(), signal.SIGINT)

        raced = race_orders(
            prepared_for(racing_scenario(1, 1)),
            [load_ordering("block,track,kick,remove")],
            7,
            interrupts,
            ended,
            lambda _: None,
        )

    assert [len(one) for one in raced.rounds] == [5, 2]
    told = raced.caveats(interrupted=bool(interrupts))
    assert [one["seen"] for one in told] == ["interrupted after 1 of 2 rounds of races"]
