import pytest

from kernels.tdx.rules import Flow
from kernels.tdx.words import plan
from stress.errors import UsageFault
from stress.processes import placement
from stress.processes.placement import Placed, chosen_cpus, places


@pytest.fixture(autouse=True)
def _six_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "inherited_cpus", lambda: (0, 1, 2, 3, 6, 7))


def test_a_list_of_ranges_and_numbers_is_taken_in_order_and_once_and_without_one_what_was_inherited() -> None:
    assert chosen_cpus(None) == (0, 1, 2, 3, 6, 7)
    assert chosen_cpus("6, 0-2,1") == (0, 1, 2, 6)


NO_LIST = ("", "a", "1-", "-1", "1,,2", "1.5", "²", "999999999999")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3-4", r"--cpus: CPU 4 is not among those that this process may use \(0-3,6-7\)"),
        ("3-1", '--cpus: expected the lower CPU first, found "3-1"'),
        *((text, "--cpus: expected a list such as 0-3,6") for text in NO_LIST),
    ],
)
def test_what_is_no_list_of_cpus_that_were_inherited_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageFault, match=said):
        chosen_cpus(text)


ALL_FOUR = (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("actors", "cpus", "wanted", "placed"),
    [
        ((3, 2), (0, 1, 2, 3, 6), ("apart", "mixed"), Placed("own", ((0,), (1,)), ((2,), (3,), (6,)))),
        ((3, 2), ALL_FOUR, ("mixed",), Placed("mixed", (ALL_FOUR,) * 2, (ALL_FOUR,) * 3)),
        ((5, 3), ALL_FOUR, ("apart",), Placed("apart", ((0,), (1,), (0,)), ((2,), (3,), (2,), (3,), (2,)))),
        ((3, 2), (1, 3, 7), ("apart",), Placed("apart", ((1,), (1,)), ((3,), (7,), (3,)))),
        ((6, 1), ALL_FOUR, ("apart",), Placed("apart", ((0,),), ((1,), (2,), (3,), (1,), (2,), (3,)))),
        ((64, 4), (0, 1), ("apart",), Placed("apart", ((0,),) * 4, ((1,),) * 64)),
        ((1, 1), (3,), ("apart", "mixed"), Placed("mixed", ((3,),), ((3,),))),
    ],
    ids=[
        "with a CPU for everybody zappers have the first ones under either placement",
        "mixed with more actors than CPUs nobody is pinned",
        "apart zappers have half of the CPUs at most and vCPUs the others in turn",
        "apart on three CPUs zappers have one and vCPUs two",
        "apart a zapper takes no more CPUs than there are zappers",
        "apart four zappers share one of two CPUs and 64 vCPUs the other",
        "a single CPU leaves no choice",
    ],
)
def test_actors_are_placed(
    actors: tuple[int, int], cpus: tuple[int, ...], wanted: tuple[str, ...], placed: Placed
) -> None:
    vcpus, zappers = actors
    lay = plan(vcpus=vcpus, zappers=zappers, pages=1, tlb_entries=1)

    assert [places(lay, cpus, one) for one in wanted] == [placed] * len(wanted)


@pytest.mark.parametrize("cpus", [(0, 1), (0, 1, 2, 3, 6, 7)])
def test_vcpus_that_move_among_processors_are_mixed_however_many_cpus_there_are(cpus: tuple[int, ...]) -> None:
    placed = places(plan(vcpus=2, zappers=1, pages=1, tlb_entries=1, flow=Flow.MIGRATE, lps=2), cpus, "apart")

    assert placed == Placed("mixed", (cpus,), (cpus, cpus))
