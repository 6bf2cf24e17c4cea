import pytest

from kernels.tdx.rules import Flow
from kernels.tdx.words import plan
from stress.errors import UsageFault
from stress.processes import placement
from stress.processes.placement import Placed, chosen_cpus, inherited_cpus, places, shown


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


@pytest.mark.parametrize("placement", ["apart", "mixed"])
def test_with_a_cpu_for_everybody_zappers_have_the_first_ones_under_either_placement(placement: str) -> None:
    placed = places(plan(vcpus=3, zappers=2, pages=1, tlb_entries=1), (0, 1, 2, 3, 6), placement)

    assert placed == Placed("own", ((0,), (1,)), ((2,), (3,), (6,)))
    assert not placed.shared


def test_mixed_with_more_actors_than_cpus_nobody_is_pinned() -> None:
    placed = places(plan(vcpus=3, zappers=2, pages=1, tlb_entries=1), (0, 1, 2, 3), "mixed")

    assert placed == Placed("mixed", ((0, 1, 2, 3), (0, 1, 2, 3)), ((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3)))
    assert placed.shared


def test_apart_zappers_have_half_of_the_cpus_at_most_and_vcpus_the_others_in_turn() -> None:
    placed = places(plan(vcpus=5, zappers=3, pages=1, tlb_entries=1), (0, 1, 2, 3), "apart")

    assert placed == Placed("apart", ((0,), (1,), (0,)), ((2,), (3,), (2,), (3,), (2,)))
    assert placed.shared


def test_apart_on_three_cpus_zappers_have_one_and_vcpus_two() -> None:
    placed = places(plan(vcpus=3, zappers=2, pages=1, tlb_entries=1), (1, 3, 7), "apart")

    assert placed == Placed("apart", ((1,), (1,)), ((3,), (7,), (3,)))


def test_apart_a_zapper_takes_no_more_cpus_than_there_are_zappers() -> None:
    placed = places(plan(vcpus=6, zappers=1, pages=1, tlb_entries=1), (0, 1, 2, 3), "apart")

    assert placed == Placed("apart", ((0,),), ((1,), (2,), (3,), (1,), (2,), (3,)))


def test_apart_four_zappers_share_one_of_two_cpus_and_64_vcpus_the_other() -> None:
    placed = places(plan(vcpus=64, zappers=4, pages=1, tlb_entries=1), (0, 1), "apart")

    assert placed == Placed("apart", ((0,),) * 4, ((1,),) * 64)


@pytest.mark.parametrize("placement", ["apart", "mixed"])
def test_a_single_cpu_leaves_no_choice(placement: str) -> None:
    placed = places(plan(vcpus=1, zappers=1, pages=1, tlb_entries=1), (3,), placement)

    assert placed == Placed("mixed", ((3,),), ((3,),))


@pytest.mark.parametrize("cpus", [(0, 1), (0, 1, 2, 3, 6, 7)])
def test_vcpus_that_move_among_processors_are_mixed_however_many_cpus_there_are(cpus: tuple[int, ...]) -> None:
    placed = places(plan(vcpus=2, zappers=1, pages=1, tlb_entries=1, flow=Flow.MIGRATE, lps=2), cpus, "apart")

    assert placed == Placed("mixed", (cpus,), (cpus, cpus))


def test_what_is_inherited_is_not_empty() -> None:
    assert inherited_cpus()
