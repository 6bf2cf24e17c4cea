"""What latencies are read against."""

import pytest

from results.kinds.run.tables import in_round_trips, yardstick_lines
from results.tests.builders.machine import facts
from results.tests.builders.run import HOST, a_run


@pytest.mark.parametrize(
    ("value_ns", "trip_ns", "shown"),
    [
        (271, 100.0, "2.7"),
        (50, 100.0, "0.5"),
        (9949, 100.0, "99"),
        (12345, 10.0, "1,234"),
        (1, None, "-"),
        (None, 9, "-"),
    ],
)
def test_a_latency_in_round_trips(value_ns: float | None, trip_ns: float | None, shown: str):
    assert in_round_trips(value_ns, trip_ns) == shown


def test_without_a_round_trip_no_multiple_is_told():
    [costs] = yardstick_lines(facts(round_trip_ns=None), [a_run("spec")])

    assert costs.startswith("Before the race: a shootdown with nobody to kick 50 ns")


def test_an_older_result_has_no_yardsticks():
    assert list(yardstick_lines(HOST, [a_run("spec")])) == []
