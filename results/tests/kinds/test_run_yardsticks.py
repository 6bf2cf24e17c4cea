"""What latencies are read against."""

import pytest

from results.kinds.run.answer import in_round_trips, yardstick_lines
from results.tests.builders.machine import facts
from results.tests.builders.run import HOST, a_run, phase


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


def test_the_machines_own_costs_stand_beside_the_medians():
    runs = [
        a_run("spec"),
        a_run("flag_gate", expect=["tracking_not_done"]),
        a_run("v18", latency_ns={"shootdown": phase(3)}),
    ]

    costs, medians = yardstick_lines(facts(), runs[:2])

    assert costs == (
        "Before the race: a line from CPU 0 to CPU 1 and back 86 ns (81 ns to 95 ns), a shootdown with nobody to kick "
        "50 ns, a reading of the clock 9.5 ns; contained in the figures above, not subtracted."
    )
    assert medians == "A shootdown that met a vCPU at p50, in such round trips: spec 7.7, flag_gate (unsafe) 7.7."


def test_without_a_round_trip_no_multiple_is_told():
    [costs] = yardstick_lines(facts(round_trip_ns=None), [a_run("spec")])

    assert costs.startswith("Before the race: a shootdown with nobody to kick 50 ns")


def test_an_older_result_has_no_yardsticks():
    assert list(yardstick_lines(HOST, [a_run("spec")])) == []
