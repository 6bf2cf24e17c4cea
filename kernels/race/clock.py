"""The clock of a run: the timestamp counter, calibrated against CLOCK_MONOTONIC_RAW, or that clock itself."""

import platform
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kernels.language.atomics import timestamp
from kernels.language.compile import Code, compiled
from kernels.race.ticks import NS_SHIFT, Clock


@dataclass(frozen=True, slots=True)
class Calibration:
    """Ticks of the clock that the kernels read. `ticks_to_ns` is nanoseconds a tick times 2**NS_SHIFT; the error is in
    parts per million.
    """

    clock: Clock
    ticks_per_s: float
    ticks_to_ns: int
    error_ppm: float
    constant_tsc: bool


def has_constant_counter() -> bool:
    """Whether the timestamp counter runs at one rate: always on aarch64, on x86-64 where the CPU says so."""
    if platform.machine() == "aarch64":
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return "constant_tsc" in flags and "nonstop_tsc" in flags


def ticks_now() -> int:
    """The counter, in ticks."""
    return timestamp()


@cache
def counter() -> Code:
    """The same, compiled or from the cache."""
    made: Code = compiled("clock", (ticks_now,), {}).ticks_now
    return made


def _sample() -> tuple[int, int, int]:
    """Counter ticks and raw nanoseconds at one moment, as exact as the shortest of several tries; third, how exact in
    ns.
    """
    tries, read = [], counter().bare
    for _ in range(20):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        ticks = read()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        tries.append((after - before, ticks, (before + after) // 2))
    width, ticks, ns = min(tries)
    return ticks, ns, width


def calibrate(seconds: float = 0.05) -> Calibration:
    """Measure the counter's rate over `seconds`; takes CLOCK_MONOTONIC_RAW itself where the counter has no constant
    rate.
    """
    if not has_constant_counter():
        return Calibration(Clock.MONOTONIC, 1e9, 1 << NS_SHIFT, 0.0, False)
    ticks, ns, width = _sample()
    time.sleep(seconds)
    ticks_after, ns_after, width_after = _sample()
    span = ns_after - ns
    rate = (ticks_after - ticks) / span
    error = (width + width_after) / span * 1e6
    return Calibration(Clock.TSC, rate * 1e9, round((1 << NS_SHIFT) / rate), error, True)
