"""A user's own scenario: what holds, and the one line for each thing that does not."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kernels.tdx.rules import Flow
from kernels.tdx.words import plan
from scenarios.loader import load_orderings, load_scenario
from scenarios.models import Scenario, Small
from scenarios.tests.refusals import refused

SMALL = 'orderings = ["spec"]\nvcpus = 1\nzappers = 1\n'


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("", {}),
        ('duration_s = "2m"\nwarmup_s = 0\nwatchdog_s = "500ms"',
         {"duration_s": 120.0, "warmup_s": 0.0, "watchdog_s": 0.5}),
        ('yields = { "kick.done" = 0.01, "kick: load_acquire ipi" = 1 }',
         {"yields": {"kick.done": 0.01, "kick: load_acquire ipi": 1.0}}),
    ],
)  # fmt: skip
def test_a_scenario_needs_orderings_vcpus_and_zappers_and_may_say_more(mine, text: str, changes: Any) -> None:
    assert load_scenario(mine(SMALL + text)) == scenario(name="mine", **changes)


def test_orderings_by_path_stand_relative_to_the_scenario(mine, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('shootdown = ["block", "track", "remove"]')

    scenario = load_scenario(mine('orderings = ["own.toml", "v18", "block,track,kick,remove"]\nvcpus = 1\nzappers = 1'))

    assert scenario.orderings == (str(tmp_path / "own.toml"), "v18", "block,track,kick,remove")
    assert [ordering.name for ordering in load_orderings(scenario.orderings)] == [
        "own",
        "v18",
        "block,track,kick,remove",
    ]


def test_the_largest_scenario_that_holds_can_be_laid_out() -> None:
    its = scenario(vcpus=512, zappers=62, pages=65_536, tlb_entries=4_096)

    assert plan(its.vcpus, its.zappers, its.pages, its.tlb_entries).vcpus == 512


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
        ("pages = 0x1" + "0" * 5000,
         "pages: expected a whole number from 1 to 65536, found an integer of more than 60 digits"),
        ('reads = "hot_set"\npages = 4',
         'pages: expected 8 or more, as reads = "hot_set" favours an eighth of the pages, found 4'),
        ('reads = "random"', 'reads: unknown pattern "random"; expected uniform, sequential or hot_set'),
        ("tick_us = -1", "tick_us: expected a whole number of microseconds from 0 to 1000000, found -1"),
        ("gap = -1", "gap: expected a whole number of pauses from 0 to 1000000000, found -1"),
        ('duration_s = "5 parsecs"',
         'duration_s: expected a duration above 0 and up to 168h, such as 500ms, 5s, 2m or 1h, found "5 parsecs"'),
        ("duration_s = 0",
         "duration_s: expected a duration above 0 and up to 168h, such as 500ms, 5s, 2m or 1h, found 0"),
        ("duration_s = inf",
         "duration_s: expected a duration above 0 and up to 168h, such as 500ms, 5s, 2m or 1h, found inf"),
        ("warmup_s = -1", "warmup_s: expected a duration from 0 to 1h, such as 500ms, 5s, 2m or 1h, found -1"),
        ("watchdog_s = nan",
         "watchdog_s: expected a duration above 0 and up to 1h, such as 500ms, 5s, 2m or 1h, found nan"),
        ("rate = 1e-9",
         "rate: expected shootdowns a second, from 0.001 to 10000000, or 0 for a closed loop, found 1e-09"),
        ("rate = 1e9",
         "rate: expected shootdowns a second, from 0.001 to 10000000, or 0 for a closed loop, found 1000000000.0"),
        ("seed = -1", "seed: expected a whole number from 0 to 9223372036854775807, found -1"),
        ('placement = "mixt"', 'placement: unknown placement "mixt"; did you mean "mixed"?'),
        ('workers = "threads"', 'workers: unknown kind of worker "threads"; did you mean "thread"?'),
        ("matrix = [{ zappers = 0 }]", "matrix[0].zappers: expected a whole number from 1 to 62, found 0"),
        ("matrix = [{ zapper = 2 }]", 'matrix[0].zapper: unknown key; did you mean "zappers"?'),
        ("matrix = [{ set = 3 }]",
         'matrix[0].set: expected a list of settings as `--set` takes them, such as ["on_error=stop"], found 3'),
        ('matrix = ["zappers=2"]',
         'matrix[0]: expected small machines such as { zappers = 2, set = ["lps=1"] }, found "zappers=2"'),
        ('yields = { "kick.done" = 1.5 }', 'yields["kick.done"]: expected a probability from 0 to 1, found 1.5'),
        ('yields = { done = "often" }', 'yields.done: expected a probability from 0 to 1, found "often"'),
        ("yields = 0.01", "yields: expected a table of probabilities by label, "
         'such as { "kick.load_acquire_ipi" = 0.01 }, found 0.01'),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_gives_one_line(refusal, text: str, line: str) -> None:
    assert refusal(load_scenario, SMALL + text) == f"mine.toml: {line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('orderings = ["spec"]\nvcpus = 0\nzappers = 1', "vcpus: expected a whole number from 1 to 512, found 0"),
        ('orderings = ["spec"]\nvcpus = 513\nzappers = 1', "vcpus: expected a whole number from 1 to 512, found 513"),
        ('orderings = ["spec"]\nvcpus = 1\nzappers = 63', "zappers: expected a whole number from 1 to 62, found 63"),
        ('orderings = ["spec"]\nvcpus = 1', "zappers: missing; expected a whole number from 1 to 62"),
        ("orderings = []\nvcpus = 1\nzappers = 1",
         "orderings: expected a list of at least one ordering: names, paths or steps, found []"),
        ('orderings = "spec"\nvcpus = 1\nzappers = 1',
         'orderings: expected a list of at least one ordering: names, paths or steps, found "spec"'),
        ("orderings = [1]\nvcpus = 1\nzappers = 1", "orderings[0]: expected an ordering in quotes, found 1"),
        ('orderings = ["spec", "v81"]\nvcpus = 1\nzappers = 1',
         'orderings: unknown ordering "v81"; did you mean "v18"? `tdx-stress list` names them all'),
        ('orderings = ["spec", "spec"]\nvcpus = 1\nzappers = 1',
         'orderings: expected each at most once, found "spec" twice'),
        ('orderings = ["own.toml"]\nvcpus = 1\nzappers = 1',
         "orderings: own.toml: expected a TOML file, found no such file"),
    ],
)  # fmt: skip
def test_a_machine_that_cannot_run_gives_one_line(refusal, text: str, line: str) -> None:
    assert refusal(load_scenario, text) == f"mine.toml: {line}"


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

    assert refused(load_scenario, text) == line


def scenario(**changes: Any) -> Scenario:
    return Scenario(**{"name": "x", "orderings": ("spec",), "vcpus": 1, "zappers": 1, **changes})


# What a key wants beside it.
BESIDE: dict[str, dict[str, Any]] = {
    "epf_threshold": {"flow": "zero_step"}, "hp_lock_timeout": {"flow": "zero_step"},
    "batch": {"flow": "batch", "pages": 1_024, "tlb_entries": 1_024},
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "least", "most", "step"),
    [
        ("lps", 1, 64, 1), ("vcpus", 1, 512, 1), ("zappers", 1, 62, 1), ("pages", 1, 65_536, 1),
        ("tick_us", 0, 1_000_000, 1), ("storm_us", 0, 1_000_000, 1), ("gap", 0, 1_000_000_000, 1),
        ("shootdowns", 0, 1_125_899_906_842_624, 1), ("seed", 0, 9_223_372_036_854_775_807, 1),
        ("duration_s", 0.001, 604_800.0, 0.001), ("warmup_s", 0.0, 3_600.0, 0.001),
        ("watchdog_s", 0.001, 3_600.0, 0.001), ("rate", 0.0, 10_000_000.0, 0.001), ("tlb_entries", 1, 4_096, 1),
        ("epf_threshold", 0, 1_000_000, 1), ("hp_lock_timeout", 0, 1_000_000, 1), ("batch", 1, 512, 1),
    ],
)  # fmt: skip
def test_both_ends_of_a_range_hold_and_nothing_beyond(key: str, least: Any, most: Any, step: Any) -> None:
    beside = BESIDE.get(key, {})

    assert [getattr(scenario(**beside, **{key: end}), key) for end in (least, most)] == [least, most]
    for beyond in (least - step, most + step):
        with pytest.raises(ValidationError):
            scenario(**beside, **{key: beyond})


def test_what_no_file_says_is_this() -> None:
    said = {
        "title": "", "shows": "", "flow": "shootdown", "module": "tdx", "sept_ve_disable": False, "lps": 2,
        "epf_threshold": 6, "hp_lock_timeout": 100, "pages": 64, "batch": 1, "resched": False, "shared_pages": 0,
        "shared_flush": "request", "memslot_zap": "none", "tlb_entries": 64, "reads": "uniform", "tick_us": 50,
        "storm_us": 0, "gap": 2000, "duration_s": 5.0, "warmup_s": 0.5, "rate": 0.0, "start_offset": "",
        "shootdowns": 0, "seed": 1, "workers": "process", "placement": "apart", "yields": {}, "delays": {},
        "kick_by": "word", "watchdog_s": 5.0,
    }  # fmt: skip

    assert {key: value for key, value in scenario().model_dump().items() if key in said} == said
    assert Small().model_dump() == {
        "vcpus": 1, "zappers": 1, "pages": 1, "shootdowns": 1, "liveness": False, "tlb_entries": 1, "set": (),
        "only": "",
    }  # fmt: skip


def test_ioctls_stand_in_their_order_and_all_else_as_it_was_written() -> None:
    assert scenario(flow="build", ioctls="punch_hole+finalize").ioctls == "finalize+punch_hole"
    assert scenario(start_offset="0-2us").start_offset == "0-2us"
    assert scenario(tlb_entries=1).tlb_entries == 1
    with pytest.raises(ValidationError, match='unknown ioctl "finalise"; did you mean "finalize"'):
        scenario(flow="build", ioctls="finalise")
    with pytest.raises(ValidationError):
        scenario(start_offset="soon")


def test_a_scenario_says_which_parts_it_has() -> None:
    assert scenario(flow="mmio").has(Flow.MMIO)
    assert not scenario().has(Flow.MMIO)


@pytest.mark.parametrize(
    ("changes", "perturbed"),
    [
        ({}, False),
        ({"storm_us": 2}, False),
        ({"yields": {"kick.load_acquire_ipi": 0.5}}, True),
        ({"delays": {"kick.load_acquire_ipi": "1us"}}, True),
        ({"start_offset": "0-2us"}, True),
    ],
)
def test_a_scenario_is_perturbed_where_something_is_done_to_actors_on_purpose(
    changes: dict[str, Any], perturbed: bool
) -> None:
    assert scenario(**changes).perturbed is perturbed
