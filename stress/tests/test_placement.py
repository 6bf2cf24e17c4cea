import pytest

from kernels.layout import plan
from stress import placement
from stress.errors import UsageFault
from stress.placement import chosen_cpus, inherited_cpus, places, shares_cpus, shown


@pytest.fixture(autouse=True)
def _six_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "inherited_cpus", lambda: (0, 1, 2, 3, 6, 7))


def test_without_a_list_the_race_has_what_was_inherited() -> None:
    assert chosen_cpus(None) == (0, 1, 2, 3, 6, 7)


def test_a_list_of_ranges_and_numbers_is_taken_in_order_and_once() -> None:
    assert chosen_cpus("6, 0-2,1") == (0, 1, 2, 6)


def test_a_cpu_that_was_not_inherited_is_refused() -> None:
    with pytest.raises(UsageFault, match=r"--cpus: CPU 4 is not among those that this process may use \(0-3,6-7\)"):
        chosen_cpus("3-4")


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "1.5", "²", "999999999999"])
def test_what_is_no_list_of_cpus_is_refused(text: str) -> None:
    with pytest.raises(UsageFault, match="--cpus: expected a list such as 0-3,6"):
        chosen_cpus(text)


def test_a_range_that_falls_is_refused() -> None:
    with pytest.raises(UsageFault, match='--cpus: expected the lower CPU first, found "3-1"'):
        chosen_cpus("3-1")


def test_cpus_print_as_ranges() -> None:
    assert shown((7, 0, 1, 2, 6)) == "0-2,6-7"


def test_with_a_cpu_for_everybody_zappers_have_the_first_ones() -> None:
    lay = plan(vcpus=3, zappers=2, pages=1, tlb_entries=1)

    assert not shares_cpus(lay, (0, 1, 2, 3, 6))
    assert places(lay, (0, 1, 2, 3, 6)) == ([(0,), (1,)], [(2,), (3,), (6,)])


def test_with_more_actors_than_cpus_nobody_is_pinned() -> None:
    lay = plan(vcpus=3, zappers=2, pages=1, tlb_entries=1)

    assert shares_cpus(lay, (0, 1, 2, 3))
    assert places(lay, (0, 1, 2, 3)) == ([(0, 1, 2, 3)] * 2, [(0, 1, 2, 3)] * 3)


def test_what_is_inherited_is_not_empty() -> None:
    assert inherited_cpus()
