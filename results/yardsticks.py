"""What the latencies of a result have to be read against: the machine's own costs, each told and none subtracted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results.met import whole
from results.verdict import is_safe
from results.wording import nanoseconds, tenths


def in_round_trips(value_ns: float | None, round_trip_ns: float | None) -> str:
    """A latency as a multiple of the core-to-core round trip, `3.1`; a dash where one of them is not known."""
    if value_ns is None or not round_trip_ns:
        return "-"
    multiple = value_ns / round_trip_ns
    return f"{multiple:,.0f}" if multiple >= 99.5 else f"{multiple:.2g}"


def yardstick_lines(host: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the machine's own steps cost just before the race, and every median in round trips; nothing if unknown."""
    costs = []
    if host.get("round_trip_ns"):
        low, high = (nanoseconds(value) for value in host["round_trip_range_ns"])
        first, second = host["round_trip_cpus"]
        costs.append(
            f"a line from CPU {first} to CPU {second} and back {nanoseconds(host['round_trip_ns'])} ({low} to {high})"
        )
    if host.get("empty_shootdown_ns"):
        costs.append(f"a shootdown with nobody to kick {nanoseconds(host['empty_shootdown_ns'])}")
    if host.get("timer_ns"):
        costs.append(f"a reading of the clock {tenths(host['timer_ns'])}")
    if costs:
        yield f"Before the race: {', '.join(costs)}; contained in the figures above, not subtracted."
    medians = [
        f"{run['ordering']}{'' if is_safe(run) else ' (unsafe)'} {in_round_trips(median, host['round_trip_ns'])}"
        for run in runs
        if host.get("round_trip_ns") and (median := whole(run)["p50"]) is not None
    ]
    if medians:
        yield f"A shootdown that met a vCPU at p50, in such round trips: {', '.join(medians)}."
