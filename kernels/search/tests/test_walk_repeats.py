"""Random schedules: the seed says which, what they show can be taken again, and a right order shows nothing."""

from dataclasses import replace

import numpy as np
import pytest

from kernels.search import random_walk
from kernels.search.random_walk import _changes, walk
from kernels.tdx.protocol import Size, of_flow
from kernels.tests.orders import KICK_THEN_TRACK, SPEC, V18
from kernels.tests.witnesses import ALWAYS_LEGAL, shows_at_its_end

LARGER = Size(4, 2, 2, 2)
METHODS = pytest.mark.parametrize("depth", [None, 3])


@METHODS
def test_the_same_seed_gives_the_same_schedules_and_another_one_others(depth):
    first, again, other = (
        walk(*of_flow(KICK_THEN_TRACK), LARGER, schedules=200, seed=seed, depth=depth) for seed in (7, 7, 8)
    )

    assert replace(again, seconds=first.seconds) == first
    assert other.steps != first.steps


@METHODS
def test_the_kick_without_a_gate_is_found_and_its_schedule_shows_it_again(depth):
    """With these seeds in 2,000 schedules; the search finds 41 steps on the smallest machine, a walk needs more."""
    found = walk(*of_flow(KICK_THEN_TRACK), LARGER, schedules=2000, seed=1, depth=depth)

    assert "tracking_not_done" in found.outcomes
    for name, (schedules, schedule) in found.outcomes.items():
        assert 1 <= schedules <= found.schedules
        assert shows_at_its_end(KICK_THEN_TRACK, LARGER, schedule, name)
    assert len(found.outcomes["tracking_not_done"][1]) >= 41


@METHODS
@pytest.mark.parametrize("rules", [SPEC, V18])
def test_a_right_order_shows_nothing_forbidden(rules, depth):
    found = walk(*of_flow(rules), LARGER, schedules=500, seed=3, depth=depth)

    assert found.outcomes.keys() <= ALWAYS_LEGAL
    assert found.schedules == 500


def test_the_actor_in_front_falls_behind_at_a_step_within_the_longest_schedule_so_far():
    changes = _changes(np.random.default_rng(1), 4, 100)

    assert list(changes) == sorted(changes)
    assert len(changes) == 4
    assert all(1 <= change <= 100 for change in changes[:-1])
    assert changes[-1] == np.iinfo(np.int64).max
    assert list(_changes(np.random.default_rng(1), None, 100)) == [-1]


def test_schedules_that_are_cut_off_are_counted(monkeypatch):
    monkeypatch.setattr(random_walk, "LONGEST", 20)
    found = walk(*of_flow(SPEC), Size(2, 1), schedules=50, seed=5)

    assert found.unfinished == 50
    assert found.steps == 50 * 20
