from pathlib import Path

import pytest

from stress.errors import UsageFault
from stress.options import RunRequest
from stress.resolve import changes_of, resolve
from stress.session import check_files


def test_without_options_the_scenario_speaks() -> None:
    scenario, orderings = resolve(RunRequest("review"))

    assert (scenario.vcpus, scenario.zappers, scenario.duration_s) == (2, 1, 5.0)
    assert [ordering.name for ordering in orderings] == ["spec", "v18", "v6_16"]


def test_an_option_goes_over_the_scenario_and_over_set() -> None:
    request = RunRequest(
        "review", orderings=("v18",), vcpus=5, duration="500ms", settings=("vcpus=3", "pages=8", "expect=safe")
    )

    scenario, orderings = resolve(request)

    assert (scenario.vcpus, scenario.pages, scenario.duration_s) == (5, 8, 0.5)
    assert [(ordering.name, ordering.safe) for ordering in orderings] == [("v18", True)]


@pytest.mark.parametrize(
    ("typed", "warmup_s"),
    [
        ({}, 0.5),
        ({"duration": "2s"}, 0.5),
        ({"duration": "200ms"}, 0.2),
        ({"duration": "200ms", "warmup": "400ms"}, 0.4),
        ({"settings": ("duration_s=0.3",)}, 0.3),
        ({"duration": "200ms", "settings": ("warmup_s=0.6",)}, 0.6),
    ],
)
def test_the_warm_up_of_a_short_race_is_no_longer_than_the_race_if_nobody_says_so(typed, warmup_s) -> None:
    assert resolve(RunRequest("review", **typed))[0].warmup_s == warmup_s


def test_what_options_change_is_known_of_the_scenario_and_of_each_ordering() -> None:
    request = RunRequest(orderings=("spec", "v18"), settings=("kick.wait=false", "pages=8"), faults=("lost_kick",))

    assert changes_of(request, *resolve(request)) == {
        "scenario": {"changed": {"pages": 8}, "own": False},
        "orderings": {name: {"changed": {"kick.wait": False}, "own": False} for name in ("spec", "v18")},
    }


def test_an_ordering_by_its_steps_is_the_users_own() -> None:
    request = RunRequest(orderings=("block,track,kick,remove",))

    assert changes_of(request, *resolve(request))["orderings"] == {
        "block,track,kick,remove": {"changed": {}, "own": True}
    }


def test_a_directory_for_a_junit_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="--junit: expected a file, found the directory"):
        check_files(None, tmp_path)


def test_checking_leaves_no_file(tmp_path: Path) -> None:
    check_files(str(tmp_path / "out.json"), tmp_path / "out.xml")

    assert list(tmp_path.iterdir()) == []


def test_a_device_is_not_opened_to_check_it() -> None:
    check_files("/dev/full", None)
