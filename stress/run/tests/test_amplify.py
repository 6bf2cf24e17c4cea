"""The search for amplifiers: what it draws and keeps, what it refuses, and once a real one."""

import json
import shlex
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from results.kinds.amplification import judged, measured
from results.tests.builders.run import a_run
from scenarios.loader import load_orderings, load_scenario
from stress.errors import UsageFault
from stress.options import RunRequest
from stress.resolve import resolve
from stress.run.drawn_settings import Drawer, Pass, Setting, amplify, as_json, passes
from stress.run.targets import Target, repeated, resolve_amplification
from stress.tests.command import Command
from stress.tests.lengthened import lengthened

LABELS = [f"step.{number}" for number in range(10)]
PASSES = (Pass(20, 0, 1.0), Pass(10, 5, 2.0))


def a_drawer(seed: int = 1, **fixed: int) -> Drawer:
    return Drawer(load_scenario("small"), LABELS, fixed, seed)


def found(hits: int) -> dict[str, Any]:
    return judged(1000, hits, 1.0)


def test_the_same_seed_draws_the_same_settings_and_another_one_others() -> None:
    first, again, other = ([drawer.draw() for _ in range(5)] for drawer in (a_drawer(), a_drawer(), a_drawer(2)))

    assert first == again != other


def test_every_label_is_drawn_before_one_is_drawn_again() -> None:
    drawer = a_drawer()
    drawn = [label for _ in range(5) for one in [drawer.draw()] for label, _ in (*one.delays, *one.yields)]

    assert len(drawn) == len(set(drawn)) >= 5


def test_a_size_that_was_asked_for_stays() -> None:
    drawer = a_drawer(vcpus=3, zappers=2)

    assert {(one.vcpus, one.zappers) for one in (drawer.draw() for _ in range(30))} == {(3, 2)}


def test_sizes_that_contradict_the_scenario_are_not_drawn() -> None:
    """One thread builds and destroys the TDs of this flow; of 100 settings about 30 have another size."""
    drawer = Drawer(load_scenario("teardown"), LABELS, {}, 1)

    assert {one.zappers for one in (drawer.draw() for _ in range(100))} == {1}


def test_a_setting_leaves_every_zapper_a_page_and_nothing_of_what_was_declared() -> None:
    scenario = load_scenario("wrong").model_copy(update={"pages": 1})
    applied = Setting(2, 3, delays=(("a", "1us"),)).applied(scenario)

    assert (applied.vcpus, applied.zappers, applied.pages) == (2, 3, 3)
    assert (applied.yields, applied.delays, applied.storm_us) == ({}, {"a": "1us"}, 0)


def test_the_search_comes_back_with_the_setting_that_shows_it_most_often() -> None:
    """A fake race shows the outcome often only where something is done at step.7."""
    raced: list[tuple[Setting, float]] = []

    def measure(setting: Setting, seconds: float) -> dict[str, Any]:
        raced.append((setting, seconds))
        return found(500 if "step.7" in {**dict(setting.delays), **dict(setting.yields)} else 1)

    best = amplify(a_drawer(5), measure, PASSES, lambda: True)

    assert "step.7" in str(best[0].setting)
    assert len(raced) == 30
    assert [seconds for _, seconds in raced[18:22]] == [1.0, 1.0, 2.0, 2.0]


def test_what_the_scenario_declares_is_tried_first() -> None:
    first: list[Setting] = []
    scenario = load_scenario("wrong")

    amplify(Drawer(scenario, LABELS, {}, 1), lambda setting, _: first.append(setting), PASSES, lambda: True)

    assert dict(first[0].delays) == scenario.delays


def test_a_search_that_is_out_of_time_races_one_setting_a_pass() -> None:
    raced: list[float] = []

    def measure(setting: Setting, seconds: float) -> dict[str, Any]:
        raced.append(seconds)
        return found(0)

    amplify(a_drawer(), measure, PASSES, lambda: len(raced) < 4)

    assert raced == [1.0, 1.0, 1.0, 1.0, 2.0]


def test_passes_fit_their_budget_unless_it_is_too_small_for_any() -> None:
    for budget_s, a_race_s in ((10.0, 0.1), (33.0, 0.1), (33.0, 0.5), (300.0, 0.05)):
        planned = passes(budget_s, a_race_s)

        assert sum(one.count * (one.seconds + a_race_s) for one in planned) == pytest.approx(budget_s)


def asked(*, ordering: str = "spec", **typed: Any) -> Any:
    request = RunRequest("small", orderings=(ordering,), **typed)
    return resolve_amplification(request, *resolve(request))


TIMES: list[tuple[dict[str, Any], str]] = [
    ({"duration": "5s"}, "--duration"), ({"shootdowns": 100}, "--shootdowns"), ({"warmup": "1s"}, "--warmup"),
    ({"settings": ("gap=5", "duration_s=5.0")}, "--set duration_s"),
    ({"settings": ("shootdowns=100",)}, "--set shootdowns"), ({"settings": ("warmup_s=1.0",)}, "--set warmup_s"),
]  # fmt: skip
DECIDED = "means nothing beside --amplify, whose races share out --budget; leave it out"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"amplify": "always"}, "--amplify: expected auto"),
        ({}, "--for: expected an outcome to look for, as spec is declared safe"),
        ({"outcome": "stale"}, '--for: unknown outcome "stale"'),
        ({"outcome": "no_progress"}, "--for: expected an outcome that is counted"),
        ({"outcome": "operand_busy", "budget": "0s"}, "--budget: expected a duration above 0"),
        *(({"outcome": "fresh", **typed}, f"{named}: {DECIDED}") for typed, named in TIMES),
    ],
)
def test_what_cannot_be_amplified_is_refused_in_one_line(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageFault) as refused:
        asked(**{"amplify": "auto", **options})

    assert str(refused.value).startswith(expected)


def test_a_wrong_ordering_is_amplified_for_what_it_is_known_for() -> None:
    targets, budget_s = asked(amplify="auto", ordering="kick_then_track")

    assert ([one.outcome for one in targets], budget_s) == (["tracking_not_done"], 60.0)


def test_the_command_that_repeats_a_setting_comes_to_that_setting() -> None:
    request = RunRequest("wrong", orderings=("no_kick",), settings=("gap=100",), seed=5)
    target = Target(load_orderings(["no_kick"])[0], "no_kick", "tracking_not_done")
    setting = Setting(1, 2, (("a.b", 0.5),), (("c.d", "0-5us@0.3"),), 20, "0-2us", 2000.0)
    words = shlex.split(repeated(request, load_scenario("wrong"), target, setting))
    given = [(words[place], words[place + 1]) for place in range(3, len(words), 2)]
    typed = {option: [value for name, value in given if name == option] for option, _ in given}

    scenario, orderings = resolve(
        RunRequest(
            words[2],
            orderings=tuple(typed["--ordering"]),
            vcpus=int(typed["--vcpus"][0]),
            zappers=int(typed["--zappers"][0]),
            duration=typed["--duration"][0],
            seed=int(typed["--seed"][0]),
            rate=float(typed["--rate"][0]),
            settings=tuple(typed["--set"]),
            delays=tuple(typed["--delay"]),
        )
    )
    assert [one.name for one in orderings] == ["no_kick"]
    assert (scenario.gap, scenario.seed, scenario.duration_s, scenario.rate) == (100, 5, 5.0, 2000.0)
    assert (scenario.vcpus, scenario.zappers, scenario.storm_us) == (1, 2, 20)
    assert scenario.start_offset == "0-2us"
    assert (scenario.yields, scenario.delays) == ({"a.b": 0.5}, {"c.d": "0-5us@0.3"})


def test_a_rate_and_faults_that_were_asked_for_stand_in_the_command_that_repeats_a_setting() -> None:
    target = Target(load_orderings(["no_kick"])[0], "no_kick", "tracking_not_done")
    asked_for = RunRequest("small", rate=500.0, faults=("let_in_too_early", "entry_unchecked"))
    command = repeated(asked_for, load_scenario("small"), target, Setting(1, 2))

    assert command.endswith("--rate 500.0 --fault let_in_too_early --fault entry_unchecked")


def test_only_several_zappers_are_drawn_to_start_together_and_in_an_open_loop() -> None:
    """Of 300 settings about 30 are: 3 in 10 have another size, of which two thirds have several zappers, and 3 in 10 of
    these; of them vary 60 in 5 ways.
    """
    drawer = a_drawer()
    drawn = [drawer.draw() for _ in range(300)]
    together = [one for one in drawn if one.start_offset]
    varied = [drawer.varied(one) for one in together for _ in range(20)]

    assert 0 < len(together) < 100
    assert all(one.zappers > 1 and one.start_rate for one in (*together, *varied) if one.start_offset)
    assert any(not one.start_offset and one.zappers == 1 for one in varied)


def test_a_setting_and_what_its_race_showed_share_no_key() -> None:
    assert not as_json(Setting(1, 2)).keys() & measured(a_run(), "fresh").keys()


def test_a_rate_of_the_scenario_is_that_of_zappers_that_start_together() -> None:
    drawer = Drawer(load_scenario("wrong").model_copy(update={"rate": 700.0}), LABELS, {}, 1)

    assert {one.start_rate for one in (drawer.draw() for _ in range(100))} == {0.0, 700.0}


@pytest.mark.processes
def test_a_search_of_a_second_races_settings_and_writes_down_what_they_show(
    tdx_stress: Command, tmp_path: Path
) -> None:
    """Current translations are read in every race: what is tested is that rates, settings and the command come out."""
    options = "--ordering spec --vcpus 2 --zappers 1 --amplify auto --for fresh --out out --budget"

    def search(budget: str) -> tuple[CompletedProcess[str], dict[str, Any]]:
        done = tdx_stress("run", "review", *options.split(), budget)
        return done, json.loads((tmp_path / "out" / "amplification.json").read_text())["orderings"][0]

    done, entry = lengthened(search, lambda searched: searched[1]["command"] and searched[1]["without"]["shootdowns"])

    assert done.returncode == 0, done.stderr
    assert entry["without"]["shootdowns"] > 0
    assert entry["races"] >= len(entry["tried"]) > 0
    assert all((one["vcpus"], one["zappers"]) == (2, 1) for one in entry["tried"])
    assert entry["command"] is not None
    assert entry["command"].split()[:5] == ["tdx-stress", "run", "review", "--ordering", "spec"]
    assert "spec: amplified for fresh" in done.stdout
