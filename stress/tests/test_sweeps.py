import pytest

from stress.errors import UsageFault
from stress.sweeps import axes
from stress.tests.command import Command


def test_a_sweep_has_keys_with_values_and_ranges() -> None:
    assert axes("vcpus=1..64*2,lps=1,2,pages=2..8+3") == {
        "vcpus": ["1", "2", "4", "8", "16", "32", "64"],
        "lps": ["1", "2"],
        "pages": ["2", "5", "8"],
    }


@pytest.mark.parametrize(
    "text", ["vcpus", "vcpus=1,,2", "=1", "vcpus=8..1", "vcpus=1..8*1", "vcpus=0..8*2", "vcpus=1,1"]
)
def test_what_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(UsageFault, match="--sweep: expected "):
        axes(text)


@pytest.mark.usefixtures("without_pictures")
def test_each_point_of_a_sweep_has_its_line(here: Command) -> None:
    done = here(
        "explore", "--ordering", "no_kick", "--random", "1", "--sweep", "seed=3..4,zappers=1,2", "-q", "--no-color"
    )

    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "no_kick@seed=3,zappers=1",
        "no_kick@seed=3,zappers=2",
        "no_kick@seed=4,zappers=1",
        "no_kick@seed=4,zappers=2",
    ]
