"""The reviewer's question, TRACK before the kick or after it, answered in one sentence by the numbers of one result."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results.verdict import met_shootdowns, name_of, too_few, whole
from results.words import machine_size, nanoseconds, nanoseconds_with_interval, plural, share, tenths

TRACK_FIRST, KICK_FIRST = "spec", "v18"
Run = Mapping[str, Any]


def review_sentence(result: Mapping[str, Any]) -> str:
    """One sentence from a result: what both orders showed and what they cost.

    Intervals of percentiles are by order statistics: they hold within this run and say nothing of the next one.
    """
    runs = {run["ordering"]: run for run in result["runs"]}
    missing = [name for name in (TRACK_FIRST, KICK_FIRST) if name not in runs]
    if missing:
        return f"This run does not decide whether TRACK or the kick comes first: {' and '.join(missing)} did not run."
    track, kick = runs[TRACK_FIRST], runs[KICK_FIRST]
    bad = [f"{name} {why}" for name in runs if name in (TRACK_FIRST, KICK_FIRST) and (why := _not_passed(runs[name]))]
    if bad:
        return f"This run does not decide whether TRACK or the kick comes first: {'; '.join(bad)}."
    return f"{_setting(result)}, {_right(track, kick)}; {_costs(track, kick)}; {_ranking(track, kick)}."


def _not_passed(run: Run) -> str | None:
    if run["verdict"] != "passed":
        return f"{run['verdict']} ({run['reason']})"
    lacking = too_few(met_shootdowns(run), run["all_shootdowns"])
    return lacking and f"inconclusive ({lacking})"


def _setting(result: Mapping[str, Any]) -> str:
    run, cpus = result["runs"][0], result["host"].get("cpus_allowed")
    return f"On this machine, with {' and '.join(machine_size(run))}" + (f" on {plural(cpus, 'CPU')}" if cpus else "")


def _right(track: Run, kick: Run) -> str:
    bounds = [
        o["would_have_caught"] or 0.0 for run in (track, kick) for o in run["outcomes"] if o["grade"] == "forbidden"
    ]
    return (
        f"TRACK before the kick ({TRACK_FIRST}) and the kick before TRACK behind the gate ({KICK_FIRST}) both held: no "
        f"forbidden outcome in {met_shootdowns(track):,} and {met_shootdowns(kick):,} shootdowns that met a "
        f"vCPU (a rate of {share(max(bounds))} or more would have been caught)"
    )


def _costs(track: Run, kick: Run) -> str:
    took = whole(track), whole(kick)
    outside = track["vcpu_ns"]["out_of_guest"], kick["vcpu_ns"]["out_of_guest"]
    return (
        f"a shootdown that met a vCPU took at p50 {_value(took[0], 'p50')} with TRACK first against "
        f"{_value(took[1], 'p50')} with the kick first, at p99 {_value(took[0], 'p99')} against "
        f"{_value(took[1], 'p99')}, and vCPUs were out of the guest for {_value(outside[0], 'p50')} against "
        f"{_value(outside[1], 'p50')} a time at p50"
    )


def _value(phase: Mapping[str, Any], name: str) -> str:
    if phase[name] is None:
        return f"an unknown time (n = {phase['n']:,} is too small)"
    return nanoseconds_with_interval(phase[name], *phase["ci95"][name])


def _ranking(track: Run, kick: Run) -> str:
    """One run has no rounds and no arm that races against itself: it never ranks."""
    first, second = (whole(run)["p50"] for run in (track, kick))
    told = f" ({second / first:.2f}x at p50)" if first and second else ""
    return f"which is faster one run does not decide{told}: tdx-stress bench"


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
        f"{name_of(run)} {in_round_trips(median, host['round_trip_ns'])}"
        for run in runs
        if host.get("round_trip_ns") and (median := whole(run)["p50"]) is not None
    ]
    if medians:
        yield f"A shootdown that met a vCPU at p50, in such round trips: {', '.join(medians)}."
