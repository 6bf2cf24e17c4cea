"""The clock of a race: which it is, and how its ticks become nanoseconds."""

from enum import IntEnum

NS_SHIFT = 20  # `ticks_to_ns` is nanoseconds a tick times 2**NS_SHIFT


class Clock(IntEnum):
    """Where timestamps come from."""

    TSC = 0
    MONOTONIC = 1
