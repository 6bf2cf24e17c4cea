import time

import pytest

from results.verdict import LEAST_OWN
from scenarios.loader import load_ordering
from stress.processes.own_time import EVERY_S, OwnTime, Spell, own_share
from stress.processes.tests.spinning import spinning
from stress.selftest.expectations import expectations
from stress.tests.lengthened import raced_here

FIRST, SECOND, BOTH = frozenset({0}), frozenset({1}), frozenset({0, 1})
NONE_IDLE = {0: 0.0, 1: 0.0}


@pytest.mark.parametrize(
    ("spells", "idle", "share"),
    [
        ([Spell(FIRST, 2.0, 0.0)], NONE_IDLE, 1.0),
        ([Spell(FIRST, 0.5, 1.5)], NONE_IDLE, 0.25),
        ([Spell(FIRST, 0.0, 0.0), Spell(BOTH, 0.0, 0.0)], NONE_IDLE, 1.0),
        ([Spell(FIRST, 0.5, 1.5), Spell(FIRST, 1.25, 0.75), Spell(FIRST, 0.25, 1.75)], {0: 0.0}, 1.0),
        ([Spell(FIRST, 0.75, 1.25), Spell(FIRST, 0.25, 1.75)], NONE_IDLE, 0.5),
        ([Spell(FIRST, 2.0, 0.0), Spell(SECOND, 0.2, 1.8), Spell(BOTH, 0.0, 0.0)], NONE_IDLE, 0.1),
        ([Spell(FIRST, 0.25, 0.0), Spell(FIRST, 0.25, 0.75), Spell(FIRST, 0.25, 1.25)], {0: 1.25, 1: 2.0}, 1.0),
        ([Spell(BOTH, 1.0, 1.0)] * 3, NONE_IDLE, 0.75),
        ([Spell(FIRST, 0.25, 0.5)], NONE_IDLE, 0.75),
        ([Spell(BOTH, 0.5, 7.5), Spell(BOTH, 1.0, 0.0)], NONE_IDLE, 0.5),
        ([Spell(FIRST, 0.002, 1.998)], NONE_IDLE, 0.05),
    ],
    ids=[
        "all time counts for who spins with a CPU to itself",
        "what others held of the only CPU does not count",
        "all time counts for who neither runs nor waits",
        "all time counts for workers that wait for each other",
        "workers that share a CPU with others lose what these got",
        "where workers got least decides",
        "workers that wake together on an idle machine lose nothing",
        "two CPUs are all that three workers can want",
        "a short wait of who mostly sleeps costs no more than itself",
        "a wait that began before costs no more than all",
        "a twentieth counts of who gives its CPU away all the time",
    ],
)
def test_of_two_seconds_so_much_was_the_workers_own(spells: list[Spell], idle: dict[int, float], share: float) -> None:
    assert own_share(2.0, spells, idle) == pytest.approx(share)


def until_counted(own: OwnTime, seconds: float) -> float:
    """How long that takes."""
    began = time.monotonic()
    while own.seconds < seconds:
        time.sleep(EVERY_S / 4)
        own.advance()
    return time.monotonic() - began


@pytest.mark.processes
def test_beside_three_others_on_its_cpu_a_fourth_or_so_of_the_time_is_a_workers_own() -> None:
    with spinning(4) as (worker, *_):
        until_counted(own := OwnTime(lambda: [worker]), 0.2)
        before, began = own.seconds, time.monotonic()
        until_counted(own, before + 0.5)
        share = (own.seconds - before) / (time.monotonic() - began)

    # No more than a third, whatever else is busy: the scheduler is fair to within a tenth over a second.
    assert 0 < share < 1 / 3


@pytest.mark.processes
def test_a_race_tells_how_much_of_the_cpus_its_actors_got_beside_others() -> None:
    (made,) = expectations([load_ordering("spec")], [], short=True, duration="500ms", seed=None)

    with spinning(4):
        run = raced_here(made.ordering, made.raced).json

    assert 0 < run["own_share"] < LEAST_OWN
