"""The answer to the reviewer's question, TRACK before the kick or after it: what both orders showed and what they cost.

And what the latencies have to be read against, the machine's own costs: told, never subtracted.
"""

from collections.abc import Mapping
from typing import Any

from results.verdict import lacking, whole
from results.words import changes, machine_size, nanoseconds, nanoseconds_with_interval, plural, share

TRACK_FIRST, KICK_FIRST = "spec", "v18"
Run = Mapping[str, Any]


def review_answer(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Three sentences from a result: what both orders showed, what they cost, and that one run ranks nothing; or why
    it decides nothing, in one.

    Intervals of percentiles are by order statistics: they hold within this run and say nothing of the next one.
    """
    runs = {run["ordering"]: run for run in result["runs"]}
    undecided = "This run does not decide whether TRACK or the kick comes first: {}."
    if missing := [name for name in (TRACK_FIRST, KICK_FIRST) if name not in runs]:
        return (undecided.format(f"{' and '.join(missing)} did not run"),)
    track, kick = runs[TRACK_FIRST], runs[KICK_FIRST]
    found = [(name, _not_passed(runs[name])) for name in runs if name in (TRACK_FIRST, KICK_FIRST)]
    if bad := [f"{name} {why}" for name, why in found if why]:
        return (undecided.format("; ".join(bad)),)
    return _right(track, kick), _costs(result, track, kick), _ranking(track, kick)


def _not_passed(run: Run) -> str | None:
    if told := changes(run):
        return f"raced with {', '.join(told)}"
    if run["verdict"] != "passed":
        return f"is {run['verdict']}" if run["verdict"] == "inconclusive" else str(run["verdict"])
    why = lacking(run)
    return why and f"is inconclusive ({why})"


def _right(track: Run, kick: Run) -> str:
    bounds = [
        o["would_have_caught"] or 0.0 for run in (track, kick) for o in run["outcomes"] if o["grade"] == "forbidden"
    ]
    return (
        f"Both hold: TRACK before the kick ({TRACK_FIRST}) and the kick before TRACK behind the gate ({KICK_FIRST}) "
        f"showed nothing forbidden; a rate of {share(max(bounds))} would have been caught."
    )


def _costs(result: Mapping[str, Any], track: Run, kick: Run) -> str:
    took = whole(track), whole(kick)
    outside = track["vcpu_ns"]["out_of_guest"], kick["vcpu_ns"]["out_of_guest"]
    cpus = result["host"].get("cpus_allowed")
    return (
        f"With {' and '.join(machine_size(track))}" + (f" on {plural(cpus, 'CPU')}" if cpus else "") + " a shootdown "
        f"that met a vCPU took at p50 {_value(took[0], 'p50')} with TRACK first against "
        f"{_value(took[1], 'p50')} with the kick first, at p99 {_value(took[0], 'p99')} against "
        f"{_value(took[1], 'p99')}, and vCPUs were out of the guest for {_value(outside[0], 'p50')} against "
        f"{_value(outside[1], 'p50')} a time at p50."
    )


def _value(phase: Mapping[str, Any], name: str) -> str:
    if phase[name] is None:
        return f"an unknown time (n = {phase['n']:,} is too small)"
    return nanoseconds_with_interval(phase[name], *phase["ci95"][name])


def _ranking(track: Run, kick: Run) -> str:
    """One run has no rounds and no arm that races against itself: it never ranks."""
    first, second = (whole(run)["p50"] for run in (track, kick))
    told = f" ({second / first:.2f}x at p50)" if first and second else ""
    return f"Which is faster one run does not decide{told}: tdx-stress bench"


def yardstick(host: Mapping[str, Any]) -> str:
    """What the machine's own steps cost just before the race; nothing if unknown."""
    costs = {
        "a shootdown with nobody to kick": host.get("empty_shootdown_ns"),
        "a line from CPU to CPU and back": host.get("round_trip_ns"),
    }
    return "; ".join(f"{what} {nanoseconds(value)}" for what, value in costs.items() if value)
