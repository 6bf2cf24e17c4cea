"""What was measured on the machine, as findings: clock, lines, store buffers, processes, memory. Pure.

Every function takes the facts that `doctor` gathers and gives one finding. A figure that is None was not measured, and
`trouble` is why.
"""

from results.findings import Facts, Finding, Limits
from results.wording import count, nanoseconds, plural, share, tenths

SLOW_TIMER_NS, COARSE_STEP_NS, UNEVEN = 100, 20, 1.5
NOT_MEASURED = "not measured"


def timer(facts: Facts) -> Finding:
    """What a stamp costs."""
    cost, step = facts["timer_ns"], facts["timer_step_ns"]
    found = f"{tenths(cost)} a reading, steps of {tenths(step)}"
    if cost > SLOW_TIMER_NS:
        means = "each reading leaves the guest or enters the kernel: short phases are mostly that"
        return Finding("timer", "timer", found, means, "another machine for latency", Limits.absolute)
    if step > COARSE_STEP_NS:
        return Finding("timer", "timer", found, "shorter phases than a step cannot be told apart", "", Limits.absolute)
    return Finding("timer", "timer", found, "contained once in every phase and in every shootdown; never subtracted")


def empty_shootdown(facts: Facts) -> Finding:
    """The floor of every latency."""
    floor = facts["empty_shootdown_ns"]
    if floor is None:
        return Finding("empty_shootdown", "empty shootdown", NOT_MEASURED, facts["trouble"])
    means = "the steps alone, with nobody to kick; what a shootdown takes beyond, it waits for others or for lines"
    return Finding("empty_shootdown", "empty shootdown", f"{nanoseconds(floor)} (spec, p50)", means)


def round_trip(facts: Facts) -> Finding:
    """How far apart two CPUs are."""
    trips = facts["round_trips"]
    name = "core to core"
    if not trips:
        why = facts["trouble"] or "it takes two CPUs"
        more = "" if facts["cpus_allowed"] == 1 else "again, when the CPUs are free"
        return Finding("round_trip", name, NOT_MEASURED, why, more)
    means = "a line's way there and back, the least a kick can take: read latencies as multiples of it"
    if len(trips["cpus"]) == 2:
        low, high = facts["round_trip_range_ns"]
        first, second = facts["round_trip_cpus"]
        found = f"{nanoseconds(trips['median_ns'])} ({low:.0f}-{high:.0f}) between CPUs {first} and {second}"
        return Finding("round_trip", name, found, means)
    least, most = trips["least_ns"], trips["most_ns"]
    found = (
        f"{nanoseconds(trips['median_ns'])}, {least:.0f} to {most:.0f} over {plural(trips['pairs'], 'pair')} of CPUs"
    )
    if len(trips["cpus"]) < facts["cpus_allowed"]:
        found += f", {len(trips['cpus'])} of {facts['cpus_allowed']} CPUs tried"
    missing = len(trips["cpus"]) * (len(trips["cpus"]) - 1) // 2 - trips["pairs"]
    if missing > 0:
        means += f"; {plural(missing, 'pair')} not measured: {facts['trouble']}"
    if most > UNEVEN * least:
        means += f"; pairs differ by {most / least:.1f}x"
        return Finding("round_trip", name, found, means, f"--cpus {facts['topology']['near']} (one cache)")
    return Finding("round_trip", name, found, means)


def store_buffering(facts: Facts) -> Finding:
    """Whether memory is weak, and whether fences hold."""
    seen = facts["store_buffering"]
    name = "store buffering"
    if seen is None:
        why = facts["trouble"] or "it takes two CPUs: whether fences hold is not known"
        return Finding("store_buffering", name, NOT_MEASURED, why)
    rate = share(seen["missed"] / seen["trials"])
    found = (
        f"{rate} of {count(seen['trials'])} trials, {seen['missed_fenced']:,} of {count(seen['trials_fenced'])} fenced"
    )
    if seen["missed_fenced"]:
        means = "both sides missed the other's store in spite of a fence: the base of every verdict does not hold"
        return Finding("store_buffering", name, found, means, "report it, with doctor --json", Limits.everything)
    if not seen["missed"]:
        return Finding(
            "store_buffering", name, found, "not seen: a missing fence may go unseen here", "--cpus of two cores"
        )
    means = "loads overtake stores here: an order that lacks a fence can be seen to fail"
    if facts["machine"] == "aarch64":
        means += "; aarch64 reorders more than that"
    return Finding("store_buffering", name, found, means)


def fork(facts: Facts) -> Finding:
    """What a worker's start costs."""
    cost = facts["fork_ns"]
    if cost is None:
        means = "no process is to be had: nothing can race"
        return Finding("fork", "fork", "refused", means, "ulimit -u, pids.max, or --workers thread", Limits.everything)
    means = f"64 workers take {nanoseconds(64 * cost)} to fork, before a race; no latency holds it"
    return Finding("fork", "fork", f"{nanoseconds(cost)} a process", means)


def memory(facts: Facts) -> Finding:
    """How many vCPUs have room."""
    room, asked = facts["vcpus_fit"], facts["vcpus_asked"]
    a_worker = "" if facts["worker_bytes"] is None else f", {facts['worker_bytes'] / 2**20:.1f} MiB a worker"
    found = f"{facts['memory_available_bytes'] / 2**30:.1f} GiB to be had{a_worker}"
    why = facts["vcpus_fit_because"]
    if asked is not None and asked > room:
        means = f"{plural(asked, 'vCPU')} do not fit: room for {room} ({why})"
        return Finding("memory", "room", found, means, f"--vcpus {room}", Limits.everything)
    more = f"; the {asked} asked for fit" if asked is not None else ""
    return Finding("memory", "room", found, f"room for {plural(room, 'vCPU')} ({why}){more}")


def cache(facts: Facts) -> Finding:
    """Whether compiled code is kept from run to run, and whole."""
    kept = facts["cache"]
    found = f"{plural(kept['files'], 'file')}, {kept['bytes'] / 2**20:.1f} MiB, whole"
    if kept["troubles"]:
        means = f"{kept['troubles'][0]}: each run may have to compile anew"
        return Finding("cache", "compiled code", found, means, "TDX_STRESS_CACHE, a directory of your own")
    if kept["damaged"]:
        means = f"{plural(kept['damaged'], 'damaged file')} thrown away, and compiled anew: something else wrote there"
        return Finding("cache", "compiled code", found, means, "again; if it comes back, look at the disk")
    return Finding("cache", "compiled code", found, "kernels are compiled once, for all later runs")
