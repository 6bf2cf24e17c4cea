"""Medians of pairs become a matrix and a line for each kind of pair."""

from results.machine.topology import Pair, round_trips

MEDIANS: dict[Pair, float] = {(0, 1): 100.0, (0, 4): 20.0, (1, 4): 90.0}


def relation(a: int, b: int) -> str:
    return "core" if {a, b} == {0, 4} else "package"


def test_the_matrix_is_the_same_from_both_sides_and_empty_on_its_diagonal():
    found = round_trips((0, 1, 4), MEDIANS, relation)

    assert found is not None
    assert found["cpus"] == [0, 1, 4]
    assert found["matrix_ns"] == [[None, 100.0, 20.0], [100.0, None, 90.0], [20.0, 90.0, None]]


def test_pairs_are_told_by_what_they_share_from_near_to_far():
    found = round_trips((0, 1, 4), MEDIANS, relation)

    assert found is not None
    assert list(found["by_relation"]) == ["core", "package"]
    assert found["by_relation"]["package"] == {"pairs": 2, "median_ns": 95.0, "least_ns": 90.0, "most_ns": 100.0}
    assert (found["pairs"], found["median_ns"]) == (3, 90.0)


def test_a_pair_that_was_not_measured_is_none():
    found = round_trips((0, 1, 4), {(0, 1): 100.0}, relation)

    assert found is not None
    assert found["matrix_ns"][2] == [None, None, None]


def test_nothing_measured_is_nothing():
    assert round_trips((0,), {}, relation) is None
