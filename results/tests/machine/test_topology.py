"""How CPUs hang together, read from a tree that a test has hung up, and round trips by what pairs share."""

from pathlib import Path
from typing import Any

import pytest

from results.machine.findings import round_trip_tables
from results.machine.topology import Pair, round_trips, spread, topology
from results.tests.builders.machine import CPUS, hang_up, two_sockets
from results.tests.views import printed

ALL = (0, 1, 2, 3, 4, 5, 6, 7)


def test_two_sockets_of_two_cores_of_two_threads(tmp_path: Path):
    found = topology(ALL, two_sockets(tmp_path))

    assert found.cores == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert found.caches == found.packages == found.nodes == ((0, 1, 4, 5), (2, 3, 6, 7))
    assert found.kinds == (ALL,)
    assert found.offline == (8,)
    assert found.one_a_core == (0, 1, 2, 3)


def test_only_the_cpus_that_may_be_used_are_grouped(tmp_path: Path):
    found = topology((1, 2, 5), two_sockets(tmp_path))

    assert found.cores == ((1, 5), (2,))
    assert found.packages == ((1, 5), (2,))


@pytest.mark.parametrize(("a", "b", "shared"), [(0, 4, "core"), (0, 5, "cache"), (4, 1, "cache"), (0, 2, "machine")])
def test_two_cpus_are_related_by_what_is_nearest(tmp_path: Path, a: int, b: int, shared: str):
    assert topology(ALL, two_sockets(tmp_path)).relation(a, b) == shared


def test_without_sys_every_cpu_is_a_core_and_all_are_one_package(tmp_path: Path):
    found = topology((0, 1, 3), tmp_path)

    assert found.cores == ((0,), (1,), (3,))
    assert found.caches == found.packages == found.nodes == found.kinds == ((0, 1, 3),)
    assert found.offline == ()


def test_an_older_kernel_has_other_names_for_the_same(tmp_path: Path):
    files = {f"{CPUS}/cpu{cpu}/topology/thread_siblings_list": "0-1\n" for cpu in (0, 1)}

    assert topology((0, 1), hang_up(tmp_path, files)).cores == ((0, 1),)


def test_cpus_of_two_speeds_are_of_two_kinds(tmp_path: Path):
    capacities = {f"{CPUS}/cpu{cpu}/cpu_capacity": f"{capacity}\n" for cpu, capacity in enumerate((1024, 446, 446))}

    assert topology((0, 1, 2), hang_up(tmp_path, capacities)).kinds == ((0,), (1, 2))


def test_few_cpus_are_all_tried_and_of_many_near_ones_and_far_ones(tmp_path: Path):
    found = topology(ALL, two_sockets(tmp_path))

    chosen = spread(ALL, found, 6)

    assert spread(ALL, found, 8) == ALL
    assert len(chosen) == 6
    assert {found.relation(chosen[0], cpu) for cpu in chosen[1:]} == {"core", "cache", "machine"}


@pytest.mark.parametrize("most", [2, 3, 24, 100])
def test_of_many_cpus_never_more_than_asked_for_are_tried(tmp_path: Path, most: int):
    many = tuple(range(512))

    chosen = spread(many, topology(many, tmp_path), most)

    assert len(chosen) == most
    assert set(chosen) <= set(many)


MEDIANS: dict[Pair, float] = {(0, 1): 100.0, (0, 4): 20.0, (1, 4): 90.0}


def relation(a: int, b: int) -> str:
    return "core" if {a, b} == {0, 4} else "package"


def test_medians_of_pairs_become_a_matrix_the_same_from_both_sides_and_a_line_for_each_kind_from_near_to_far():
    found = round_trips((0, 1, 4), MEDIANS, relation)

    assert found is not None
    assert (found["cpus"], found["pairs"], found["median_ns"]) == ([0, 1, 4], 3, 90.0)
    assert found["matrix_ns"] == [[None, 100.0, 20.0], [100.0, None, 90.0], [20.0, 90.0, None]]
    assert list(found["by_relation"]) == ["core", "package"]
    assert found["by_relation"]["package"] == {"pairs": 2, "median_ns": 95.0, "least_ns": 90.0, "most_ns": 100.0}


def test_a_pair_that_was_not_measured_is_none_and_nothing_measured_is_nothing():
    found = round_trips((0, 1, 4), {(0, 1): 100.0}, relation)

    assert found is not None
    assert found["matrix_ns"][2] == [None, None, None]
    assert round_trips((0,), {}, relation) is None


def shown(cpus: int, width: int) -> list[str]:
    return printed(*round_trip_tables(pairs(cpus), width), width=width).splitlines()


def pairs(cpus: int) -> dict[str, Any]:
    medians: dict[Pair, float] = {(a, b): 100.0 + a for a in range(cpus) for b in range(a + 1, cpus)}
    found = round_trips(range(cpus), medians, lambda a, b: "cache" if a < 2 else "machine")
    assert found is not None
    return found


def test_one_pair_needs_no_table():
    assert round_trip_tables(pairs(2), 80) == []
    assert round_trip_tables(None, 80) == []


def test_a_matrix_that_does_not_fit_is_left_to_json():
    lines = shown(24, 80)

    assert lines[-1] == "  All pairs stand in `doctor --json`, under round_trips."
    assert len(lines) == 4


@pytest.mark.parametrize("cpus", [3, 12, 24])
def test_a_matrix_that_is_shown_fits(cpus: int):
    assert max(map(len, shown(cpus, 110))) <= 110
