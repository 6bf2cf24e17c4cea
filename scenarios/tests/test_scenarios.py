"""A user's own scenario: what holds, and the one line for each thing that does not."""

from pathlib import Path

import pytest

from kernels.tdx.words import plan
from scenarios.loader import ScenarioError, load_orderings, load_scenario
from scenarios.models import Scenario

SMALL = 'orderings = ["spec"]\nvcpus = 1\nzappers = 1\n'


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The line that a scenario file of this text is refused with."""
    monkeypatch.chdir(tmp_path)

    def load(text: str) -> str:
        Path("mine.toml").write_text(text, encoding="utf-8")
        with pytest.raises(ScenarioError) as refused:
            load_scenario("mine.toml")
        return str(refused.value)

    return load


def test_a_scenario_needs_orderings_vcpus_and_zappers(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL)

    assert load_scenario(str(file)) == Scenario(
        name="mine",
        orderings=("spec",),
        vcpus=1,
        zappers=1,
        pages=64,
        tlb_entries=64,
        reads="uniform",
        tick_us=50,
        gap=2000,
        duration_s=5.0,
        warmup_s=0.5,
        rate=0.0,
        shootdowns=0,
        seed=1,
        workers="process",
        placement="apart",
        yields={},
        watchdog_s=5.0,
    )


def test_durations_are_numbers_of_seconds_or_words(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL + 'duration_s = "2m"\nwarmup_s = 0\nwatchdog_s = "500ms"')

    scenario = load_scenario(str(file))

    assert (scenario.duration_s, scenario.warmup_s, scenario.watchdog_s) == (120.0, 0.0, 0.5)


def test_yields_are_probabilities_by_label(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL + 'yields = { "kick.done" = 0.01, "kick: load_acquire ipi" = 1 }')

    assert load_scenario(str(file)).yields == {"kick.done": 0.01, "kick: load_acquire ipi": 1.0}


def test_orderings_by_path_stand_relative_to_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('shootdown = ["block", "track", "remove"]')
    file = tmp_path / "mine.toml"
    file.write_text('orderings = ["own.toml", "v18", "block,track,kick,remove"]\nvcpus = 1\nzappers = 1')

    scenario = load_scenario(str(file))

    assert scenario.orderings == (str(tmp_path / "own.toml"), "v18", "block,track,kick,remove")
    assert [ordering.name for ordering in load_orderings(scenario.orderings)] == [
        "own",
        "v18",
        "block,track,kick,remove",
    ]


def test_the_largest_scenario_that_holds_can_be_laid_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('orderings = ["spec"]\nvcpus = 512\nzappers = 62\npages = 65536\ntlb_entries = 4096')

    scenario = load_scenario(str(file))

    assert plan(scenario.vcpus, scenario.zappers, scenario.pages, scenario.tlb_entries).vcpus == 512


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("vcpu = 1", 'vcpu: unknown key; did you mean "vcpus"?'),
        ("tlb_entries = 48", "tlb_entries: expected a power of two from 1 to 4096, found 48"),
        ("tlb_entries = 8192", "tlb_entries: expected a power of two from 1 to 4096, found 8192"),
        ("tlb_entries = 0", "tlb_entries: expected a power of two from 1 to 4096, found 0"),
        ("pages = 0", "pages: expected a whole number from 1 to 65536, found 0"),
        ("pages = 64.0", "pages: expected a whole number from 1 to 65536, found 64.0"),
        ("pages = true", "pages: expected a whole number from 1 to 65536, found true"),
        ("pages = [1]", "pages: expected a whole number from 1 to 65536, found [1]"),
        (
            "pages = 0x1" + "0" * 5000,
            "pages: expected a whole number from 1 to 65536, found an integer of more than 60 digits",
        ),
        (
            'reads = "hot_set"\npages = 4',
            'pages: expected 8 or more, as reads = "hot_set" favours an eighth of the pages, found 4',
        ),
        ('reads = "random"', 'reads: unknown pattern "random"; expected uniform, sequential or hot_set'),
        ("tick_us = -1", "tick_us: expected a whole number of microseconds from 0 to 1000000, found -1"),
        ("gap = -1", "gap: expected a whole number of pauses from 0 to 1000000000, found -1"),
        (
            'duration_s = "5 parsecs"',
            'duration_s: expected a duration above 0 and up to 168h, such as 500ms, 5s, 2m or 1h, found "5 parsecs"',
        ),
        (
            "duration_s = 0",
            "duration_s: expected a duration above 0 and up to 168h, such as 500ms, 5s, 2m or 1h, found 0",
        ),
        (
            "duration_s = inf",
            "duration_s: expected a duration above 0 and up to 168h, such as 500ms, 5s, 2m or 1h, found inf",
        ),
        ("warmup_s = -1", "warmup_s: expected a duration from 0 to 1h, such as 500ms, 5s, 2m or 1h, found -1"),
        (
            "watchdog_s = nan",
            "watchdog_s: expected a duration above 0 and up to 1h, such as 500ms, 5s, 2m or 1h, found nan",
        ),
        (
            "rate = 1e-9",
            "rate: expected shootdowns a second, from 0.001 to 10000000, or 0 for a closed loop, found 1e-09",
        ),
        (
            "rate = 1e9",
            "rate: expected shootdowns a second, from 0.001 to 10000000, or 0 for a closed loop, found 1000000000.0",
        ),
        ("seed = -1", "seed: expected a whole number from 0 to 9223372036854775807, found -1"),
        ('placement = "mixt"', 'placement: unknown placement "mixt"; did you mean "mixed"?'),
        ('workers = "threads"', 'workers: unknown kind of worker "threads"; did you mean "thread"?'),
        ("matrix = [{ zappers = 0 }]", "matrix[0].zappers: expected a whole number from 1 to 62, found 0"),
        ("matrix = [{ zapper = 2 }]", 'matrix[0].zapper: unknown key; did you mean "zappers"?'),
        (
            'matrix = ["zappers=2"]',
            'matrix[0]: expected small machines such as { zappers = 2, set = ["lps=1"] }, found "zappers=2"',
        ),
        ('yields = { "kick.done" = 1.5 }', 'yields["kick.done"]: expected a probability from 0 to 1, found 1.5'),
        ('yields = { done = "often" }', 'yields.done: expected a probability from 0 to 1, found "often"'),
        (
            "yields = 0.01",
            "yields: expected a table of probabilities by label, "
            'such as { "kick.load_acquire_ipi" = 0.01 }, found 0.01',
        ),
    ],
)
def test_a_wrong_key_or_value_gives_one_line(refusal, text: str, line: str) -> None:
    assert refusal(SMALL + text) == f"mine.toml: {line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('orderings = ["spec"]\nvcpus = 0\nzappers = 1', "vcpus: expected a whole number from 1 to 512, found 0"),
        ('orderings = ["spec"]\nvcpus = 513\nzappers = 1', "vcpus: expected a whole number from 1 to 512, found 513"),
        ('orderings = ["spec"]\nvcpus = 1\nzappers = 63', "zappers: expected a whole number from 1 to 62, found 63"),
        ('orderings = ["spec"]\nvcpus = 1', "zappers: missing; expected a whole number from 1 to 62"),
        (
            "orderings = []\nvcpus = 1\nzappers = 1",
            "orderings: expected a list of at least one ordering: names, paths or steps, found []",
        ),
        (
            'orderings = "spec"\nvcpus = 1\nzappers = 1',
            'orderings: expected a list of at least one ordering: names, paths or steps, found "spec"',
        ),
        ("orderings = [1]\nvcpus = 1\nzappers = 1", "orderings[0]: expected an ordering in quotes, found 1"),
        (
            'orderings = ["spec", "v81"]\nvcpus = 1\nzappers = 1',
            'orderings: unknown ordering "v81"; did you mean "v18"? `tdx-stress list` names them all',
        ),
        (
            'orderings = ["spec", "spec"]\nvcpus = 1\nzappers = 1',
            'orderings: expected each at most once, found "spec" twice',
        ),
        (
            'orderings = ["own.toml"]\nvcpus = 1\nzappers = 1',
            "orderings: own.toml: expected a TOML file, found no such file",
        ),
    ],
)
def test_a_machine_that_cannot_run_gives_one_line(refusal, text: str, line: str) -> None:
    assert refusal(text) == f"mine.toml: {line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("reviews", 'unknown scenario "reviews"; did you mean "review"? `tdx-stress list` names them all'),
        ("xyz", 'unknown scenario "xyz"; `tdx-stress list` names them all'),
        ("v18", '"v18" is an ordering: --ordering v18'),
        ("orderings/spec", "orderings/spec: expected a TOML file, found no such file"),
    ],
)
def test_an_unknown_scenario_names_the_nearest_right_one(
    text: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ScenarioError) as refused:
        load_scenario(text)

    assert str(refused.value) == line
