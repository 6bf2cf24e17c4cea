"""The clock of a run, against the one that it is calibrated by."""

import time

import pytest

from kernels.race import clock
from kernels.race.clock import Calibration, calibrate, has_constant_counter
from kernels.race.ticks import NS_SHIFT, Clock


def test_without_a_constant_counter_the_clock_is_the_raw_monotonic_one(monkeypatch):
    monkeypatch.setattr(clock, "has_constant_counter", lambda: False)

    assert calibrate() == Calibration(Clock.MONOTONIC, 1e9, 1 << NS_SHIFT, 0.0, False)


def test_ticks_become_the_nanoseconds_that_have_passed(monkeypatch):
    """The counter against the raw clock over some 20 ms, whatever the machine says of its counter.

    Both ends are read twice, the clock around the counter, so however long this test is put aside the true time lies
    between the two differences; 1 % is left for a calibration over 20 ms.
    """
    monkeypatch.setattr(clock, "has_constant_counter", lambda: True)
    made = calibrate(0.02)
    stamps = [time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)]
    ticks = [clock.counter()()]
    stamps.append(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))
    time.sleep(0.02)
    stamps.append(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))
    ticks.append(clock.counter()())
    stamps.append(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))

    passed = ((ticks[1] - ticks[0]) * made.ticks_to_ns) >> NS_SHIFT
    assert 0.99 * (stamps[2] - stamps[1]) <= passed <= 1.01 * (stamps[3] - stamps[0])


def test_the_two_rates_of_a_calibration_say_the_same_and_an_error_comes_with_them(monkeypatch):
    """Two samples, each as wide as a read of the clock around the counter takes: never 0, and below the span itself."""
    monkeypatch.setattr(clock, "has_constant_counter", lambda: True)
    made = calibrate(0.005)

    assert (made.clock, made.constant_tsc) == (Clock.TSC, True)
    assert made.ticks_to_ns * made.ticks_per_s / (1 << NS_SHIFT) == pytest.approx(1e9, rel=1e-5)
    assert 0 < made.error_ppm < 1e6


@pytest.mark.parametrize(
    ("flags", "constant"),
    [
        ("flags\t\t: fpu constant_tsc nonstop_tsc", True),
        ("flags\t\t: fpu constant_tsc", False),
        ("flags\t\t: fpu tsc", False),
        ("vendor_id : none", False),
    ],
)
def test_a_counter_is_constant_where_the_cpu_says_so_and_that_it_never_stops(monkeypatch, flags, constant):
    monkeypatch.setattr(clock.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(clock.Path, "read_text", lambda path: f"model : a\n{flags}\nbugs : none\n")

    assert has_constant_counter() is constant


def test_a_cpu_that_cannot_be_asked_has_no_constant_counter(monkeypatch):
    def refuse(path):
        raise PermissionError(path)

    monkeypatch.setattr(clock.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(clock.Path, "read_text", refuse)

    assert has_constant_counter() is False


def test_the_counter_of_aarch64_is_always_constant(monkeypatch):
    monkeypatch.setattr(clock.platform, "machine", lambda: "aarch64")

    assert has_constant_counter() is True
