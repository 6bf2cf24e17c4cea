"""The same search gives the same numbers and the same witnesses; one that is cut short never says that it is whole."""

from dataclasses import replace

import pytest

from kernels.layout import LINE_WORDS
from kernels.search.breadth_first import Search
from kernels.search.explore import explore
from kernels.search.schedule import Schedule
from kernels.search.tables import make_plan
from kernels.tdx.protocol import Size, explored, of_flow
from kernels.tests.orders import FLAG_UNSERIALIZED, KICK_THEN_TRACK, SPEC, UNSERIALIZED, V18
from kernels.tests.witnesses import ALWAYS_LEGAL, shows_at_its_end

LARGER = [(KICK_THEN_TRACK, Size(2, 1)), (UNSERIALIZED, Size(1, 2, 2))]


@pytest.mark.parametrize(("rules", "size"), LARGER)
def test_the_same_search_with_any_number_of_threads_is_the_same(rules, size):
    first, *others = (explore(*of_flow(rules), size, threads=threads, liveness=False) for threads in (1, 2, 3))

    assert [replace(other, seconds=first.seconds, threads=1) for other in others] == [first] * 2
    assert first.states > 50_000


def test_what_two_threads_write_for_every_move_stands_on_lines_of_its_own():
    start = Schedule(*of_flow(explored(SPEC)), Size(vcpus=2, zappers=1, pages=1, tlb_entries=1))
    made = Search(start, make_plan(start, symmetry=True, reduction=True), 2, 1 << 26).store

    assert made.work % LINE_WORDS == 0
    assert made.work >= made.columns + 3
    assert [array.ctypes.data % (8 * LINE_WORDS) for array in (made.scratch, made.filled, made.buckets)] == [0, 0, 0]


@pytest.mark.parametrize("megabytes", [1, 2, 4, 8, 16])
def test_a_search_that_runs_out_of_memory_says_so(megabytes):
    """The whole of it takes some 30 MB."""
    found = explore(*of_flow(FLAG_UNSERIALIZED), Size(1, 2, 2), threads=1, memory_bytes=megabytes << 20)

    assert not found.complete
    assert found.stopped_by == "memory"
    assert found.outcomes.keys() <= ALWAYS_LEGAL | {"tracking_not_done"}
    assert 1000 < found.states < 515_467
    for name, witness in found.outcomes.items():
        assert shows_at_its_end(FLAG_UNSERIALIZED, Size(1, 2, 2), witness, name)


def test_a_search_that_is_interrupted_says_so():
    found = explore(*of_flow(V18), Size(2, 2, 2), threads=2, watch=lambda progress: progress.states < 10_000)

    assert not found.complete
    assert found.stopped_by == "interrupt"
    assert found.states >= 10_000


def test_a_search_may_end_with_the_first_outcome_that_is_wanted():
    found = explore(*of_flow(KICK_THEN_TRACK), Size(2, 1), threads=1, until=["tracking_not_done"], liveness=False)
    whole = explore(*of_flow(KICK_THEN_TRACK), Size(2, 1), threads=1, liveness=False)

    assert not found.complete
    assert found.stopped_by == "first"
    assert found.outcomes["tracking_not_done"] == whole.outcomes["tracking_not_done"]
    assert found.states < whole.states
