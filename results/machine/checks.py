"""The checks of the machine, one function each. Pure.

Every check takes the facts that `doctor` gathers (`host` of a result and what is beside it there). A fact that is None
was not to be read, as in a container without /sys; a figure that is None was not measured, and `trouble` is why.
"""

from collections.abc import Callable

from results.machine.findings import BUSY, HIGH_STEAL, MEANS, POOR_CLOCK_PPM, Facts, Finding, Limits
from results.verdict import LEAST_OF_MANY, LEAST_OWN
from results.words import count, nanoseconds, plural, share, tenths

# Clocks that Linux falls back to where it found the timestamp counter wanting.
SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "pit", "refined-jiffies")
SLOW_TIMER_NS, COARSE_STEP_NS, UNEVEN = 100, 20, 1.5
NOT_TOLD, NOT_MEASURED = "not told", "not measured"
WAYS = ("membarrier", "signal")  # to kick for real


CHECKS: list[Callable[[Facts], Finding]] = []


def check(what: str) -> Callable[[Callable[[Facts], Finding]], Callable[[Facts], Finding]]:
    """Take a function among the checks, in the order in which they are read; its name is the finding's id."""

    def take(function: Callable[[Facts], Finding]) -> Callable[[Facts], Finding]:
        CHECKS.append(lambda facts: function(facts)._replace(id=function.__name__.removeprefix("_"), what=what))
        return function

    return take


def diagnose(facts: Facts) -> list[Finding]:
    return [one(facts) for one in CHECKS]


@check("CPUs")
def _cpus(facts: Facts) -> Finding:
    allowed, online, offline = facts["cpus_allowed"], facts["cpus"] or facts["cpus_allowed"], facts["offline"]
    found = f"{allowed} allowed ({facts['cpus_used']}) of {online} online" + (f", {offline} offline" if offline else "")
    if allowed == 1:
        means = "nothing runs at the same time: races show only where Linux switches; no pair of CPUs to probe"
        more = "more CPUs, or a wider mask (taskset, cpuset, --cpus)"
        return Finding(found, means, more, Limits.verdicts)
    means = f"{allowed} actors race with a CPU each; of more, zappers keep CPUs apart from vCPUs, which take turns"
    return Finding(found, means, f"at most --vcpus {allowed - 1} --zappers 1 for latency")


@check("topology")
def _topology(facts: Facts) -> Finding:
    groups = facts["topology"]
    names = (("cores", "core"), ("caches", "last-level cache"), ("packages", "package"), ("nodes", "memory node"))
    found = f"{facts['cpu_model']}: {', '.join(plural(groups[key], word) for key, word in names)}"
    if groups["kinds"] > 1:
        means = f"CPUs of {groups['kinds']} speeds: the same step takes longer on some of them"
        return Finding(found, means, f"--cpus {groups['alike']}", Limits.absolute)
    if groups["caches"] > 1 or groups["packages"] > 1:
        means = "some pairs of CPUs are farther apart than others: where actors land decides their latency"
        return Finding(found, means, f"--cpus {groups['near']} (one cache)")
    if not groups["told"]:
        means = "how CPUs hang together cannot be read: each is taken for a core of its own, all for one package"
        return Finding(f"{facts['cpu_model']}: {NOT_TOLD}", means, "a container that shows /sys")
    means = "all pairs of CPUs are about as far apart"
    if facts["hypervisor"]:
        means += ", as far as the hypervisor tells"
    return Finding(found, means)


@check("SMT")
def _smt(facts: Facts) -> Finding:
    groups, allowed = facts["topology"], facts["cpus_allowed"]
    told = {True: "on", False: "off", None: NOT_TOLD}[facts["smt"]]
    if groups["cores"] < allowed:
        found = f"{told}: {plural(allowed, 'CPU')} on {plural(groups['cores'], 'core')}"
        means = "two actors on one core slow each other and share its store buffer"
        return Finding(found, means, f"--cpus {groups['one_a_core']}", Limits.absolute)
    if facts["smt"]:
        means = "our CPUs are on cores of their own, but others may run on the siblings"
        return Finding(told, means, "keep the siblings idle, or boot with nosmt")
    known = "no two of our CPUs share a core" if groups["told"] else "whether two of our CPUs share a core is not known"
    return Finding(told, known)


@check("frequency")
def _frequency(facts: Facts) -> Finding:
    found = facts["governor"]
    if found is None:
        return Finding(NOT_TOLD, "the clock rate is set by whoever is below, or fixed")
    if found == "performance":
        return Finding(f"governor {found}", "the clock rate does not wait for load")
    return Finding(f"governor {found}", *MEANS["frequency"], Limits.absolute)


@check("hypervisor")
def _hypervisor(facts: Facts) -> Finding:
    found = facts["hypervisor"]
    if found is None:
        return Finding("none seen", "our CPUs are the machine's own")
    named = "a virtual machine" + ("" if found == "unnamed" else f" ({found})")
    return Finding(named, *MEANS["hypervisor"], Limits.absolute)


@check("steal time")
def _steal(facts: Facts) -> Finding:
    stolen = facts["steal_share"]
    if stolen is None:
        return Finding("not counted", "whether a hypervisor takes CPUs away is not known")
    found = f"{share(stolen)} of the CPUs' time just now" if stolen else "none just now"
    if stolen > HIGH_STEAL:
        return Finding(found, *MEANS["steal"], Limits.latency)
    means = "the host below left us our CPUs while this was measured; not every hypervisor tells"
    return Finding(found, means if facts["hypervisor"] else "nobody below takes CPUs away")


@check("load")
def _load(facts: Facts) -> Finding:
    found = f"{100 * facts['busy']:.0f} % of the CPUs' time just now, load average {facts['load_1m']:g}"
    own = facts["own_share"]
    if own is not None and own < LEAST_OWN:
        means = f"our probes got {100 * own:.0f} % of the time that they wanted the CPUs for: a safe ordering"
        need = f"needs {LEAST_OF_MANY:,} shootdowns that met a vCPU where others have them, or it is inconclusive"
        return Finding(found, f"{means} {need}", MEANS["load"][1], Limits.verdicts)
    if facts["busy"] > BUSY:
        return Finding(found, *MEANS["load"], Limits.latency)
    return Finding(found, "the CPUs are ours")


@check("CPU quota")
def _cpu_quota(facts: Facts) -> Finding:
    limit = facts["cpu_quota"]
    if limit is None:
        return Finding("none", "no control group stops actors")
    found = f"{limit:g} CPUs of {facts['cpus_allowed']}"
    if limit >= facts["cpus_allowed"]:
        return Finding(found, "enough for an actor on each CPU")
    return Finding(found, *MEANS["cpu_quota"], Limits.latency)


@check("counter")
def _counter(facts: Facts) -> Finding:
    counter_name = "generic timer" if facts["machine"] == "aarch64" else "timestamp counter"
    if facts["clock"] != "TSC":
        found = f"no constant {counter_name}"
        return Finding(found, *MEANS["counter"], Limits.absolute)
    ppm = facts["clock_error_ppm"]
    found = f"constant {counter_name}, {facts['ticks_per_us']:,.1f} ticks/us, known to {ppm:.1f} ppm"
    if ppm > POOR_CLOCK_PPM:
        means = "calibrated while the CPUs were taken: latencies may be wrong by as much"
        return Finding(found, means, "a quiet moment", Limits.absolute)
    return Finding(found, "no latency is wrong by more than that through its clock")


@check("clock source")
def _clocksource(facts: Facts) -> Finding:
    found = facts["clocksource"]
    if found in SLOW_CLOCKS:
        means = "Linux does not trust the counter that we read: CPUs may disagree about the time"
        return Finding(found, means, "dmesg | grep -i clocksource", Limits.absolute)
    means = "Linux keeps time by a fast clock, too" if found else "whether Linux trusts the counter is not known"
    return Finding(found or NOT_TOLD, means)


@check("timer")
def _timer(facts: Facts) -> Finding:
    cost, step = facts["timer_ns"], facts["timer_step_ns"]
    found = f"{tenths(cost)} a reading, steps of {tenths(step)}"
    if cost > SLOW_TIMER_NS:
        means = "each reading leaves the guest or enters the kernel: short phases are mostly that"
        return Finding(found, means, "another machine for latency", Limits.absolute)
    if step > COARSE_STEP_NS:
        return Finding(found, "shorter phases than a step cannot be told apart", "", Limits.absolute)
    return Finding(found, "contained once in every phase and in every shootdown; never subtracted")


@check("empty shootdown")
def _empty_shootdown(facts: Facts) -> Finding:
    floor = facts["empty_shootdown_ns"]
    if floor is None:
        return Finding(NOT_MEASURED, facts["trouble"])
    means = "the steps alone, with nobody to kick; what a shootdown takes beyond, it waits for others or for lines"
    return Finding(f"{nanoseconds(floor)} (spec, p50)", means)


@check("core to core")
def _round_trip(facts: Facts) -> Finding:
    trips = facts["round_trips"]
    if not trips:
        why = facts["trouble"] or "it takes two CPUs"
        more = "" if facts["cpus_allowed"] == 1 else "again, when the CPUs are free"
        return Finding(NOT_MEASURED, why, more)
    means = "a line's way there and back, the least a kick can take: read latencies as multiples of it"
    if len(trips["cpus"]) == 2:
        low, high = facts["round_trip_range_ns"]
        first, second = facts["round_trip_cpus"]
        found = f"{nanoseconds(trips['median_ns'])} ({low:.0f}-{high:.0f}) between CPUs {first} and {second}"
        return Finding(found, means)
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
        return Finding(found, means, f"--cpus {facts['topology']['near']} (one cache)")
    return Finding(found, means)


@check("real kicks")
def _kicks(facts: Facts) -> Finding:
    parts, why = [f"{name} {nanoseconds(value)}" for name, value in facts["kicks_ns"].items()], []
    parts += [f"no {name}" for name in facts["kicks_missing"]]
    if lacking := [way for way in WAYS if way not in facts["kicks_ns"] and way not in facts["kicks_missing"]]:
        parts.append(NOT_MEASURED if len(lacking) == len(WAYS) else f"{', '.join(lacking)} {NOT_MEASURED}")
        alone = "it takes two CPUs" if facts["cpus_allowed"] == 1 else "the CPU to interrupt was with others"
        why.append(facts["trouble"] or alone)
    means = "the system call of `kick_by` with one busy CPU to interrupt: membarrier waits for it, a signal does not"
    told = [*([means] if facts["kicks_ns"] else []), *why, *facts["kicks_missing"].values()]
    again = "again, when the CPUs are free" if lacking and facts["cpus_allowed"] > 1 else ""
    return Finding(", ".join(parts), "; ".join(told), again)


@check("store buffering")
def _store_buffering(facts: Facts) -> Finding:
    seen = facts["store_buffering"]
    if seen is None:
        why = facts["trouble"] or "it takes two CPUs: whether fences hold is not known"
        return Finding(NOT_MEASURED, why)
    rate = share(seen["missed"] / seen["trials"])
    found = (
        f"{rate} of {count(seen['trials'])} trials, {seen['missed_fenced']:,} of {count(seen['trials_fenced'])} fenced"
    )
    if seen["missed_fenced"]:
        means = "both sides missed the other's store in spite of a fence: the base of every verdict does not hold"
        return Finding(found, means, "report it, with doctor --json", Limits.everything)
    if not seen["missed"]:
        return Finding(found, "not seen: a missing fence may go unseen here", "--cpus of two cores")
    means = "loads overtake stores here: an order that lacks a fence can be seen to fail"
    if facts["machine"] == "aarch64":
        means += "; aarch64 reorders more than that"
    return Finding(found, means)


@check("fork")
def _fork(facts: Facts) -> Finding:
    cost = facts["fork_ns"]
    if cost is None:
        means = "no process is to be had: nothing can race"
        return Finding("refused", means, "ulimit -u, pids.max, or --workers thread", Limits.everything)
    means = f"64 workers take {nanoseconds(64 * cost)} to fork, before a race; no latency holds it"
    return Finding(f"{nanoseconds(cost)} a process", means)


@check("room")
def _memory(facts: Facts) -> Finding:
    room, asked = facts["vcpus_fit"], facts["vcpus_asked"]
    a_worker = "" if facts["worker_bytes"] is None else f", {facts['worker_bytes'] / 2**20:.1f} MiB a worker"
    found = f"{facts['memory_available_bytes'] / 2**30:.1f} GiB to be had{a_worker}"
    why = facts["vcpus_fit_because"]
    if asked is not None and asked > room:
        means = f"{plural(asked, 'vCPU')} do not fit: room for {room} ({why})"
        return Finding(found, means, f"--vcpus {room}", Limits.everything)
    more = f"; the {asked} asked for fit" if asked is not None else ""
    return Finding(found, f"room for {plural(room, 'vCPU')} ({why}){more}")


@check("compiled code")
def _cache(facts: Facts) -> Finding:
    kept = facts["cache"]
    found = f"{plural(kept['files'], 'file')}, {kept['bytes'] / 2**20:.1f} MiB, whole"
    if kept["troubles"]:
        means = f"{kept['troubles'][0]}: each run may have to compile anew"
        return Finding(found, means, "TDX_STRESS_CACHE, a directory of your own")
    if kept["damaged"]:
        means = f"{plural(kept['damaged'], 'damaged file')} thrown away, and compiled anew: something else wrote there"
        return Finding(found, means, "again; if it comes back, look at the disk")
    return Finding(found, "kernels are compiled once, for all later runs")


@check("real time")
def _realtime(facts: Facts) -> Finding:
    granted, allowed = facts["realtime"], facts["cpus_allowed"]
    if granted is None:
        return Finding("not asked", facts["trouble"] or "not known")
    if not granted:
        means = "other tasks may take the CPU from an actor at any moment; only the tail shows it"
        return Finding("SCHED_FIFO refused", means, "CAP_SYS_NICE, or ulimit -r 1")
    means = "actors can be kept from being preempted; not done unasked, as spinning ones starve the system"
    more = "chrt -f 1 tdx-stress run, with a CPU to spare" if allowed > 2 else ""
    return Finding("SCHED_FIFO granted", means, more)


@check("isolation")
def _isolation(facts: Facts) -> Finding:
    isolated, ours = facts["isolated"], facts["isolated_allowed"]
    if ours:
        found = f"CPUs {ours} isolated" + (f", {facts['nohz_full']} without a tick" if facts["nohz_full"] else "")
        means = "Linux puts nobody else on them" + (", but the hypervisor may" if facts["hypervisor"] else "")
        return Finding(found, means, f"--cpus {ours}")
    if isolated:
        means = "there are CPUs for us alone, outside of the mask that was inherited"
        return Finding(f"CPUs {isolated} isolated", means, f"taskset -c {isolated} tdx-stress run")
    if isolated is None:
        return Finding(NOT_TOLD, "whether some CPUs are kept from others cannot be read")
    means = "Linux runs others on our CPUs, too: their time is in the tails"
    return Finding("none", means, "boot with isolcpus=LIST nohz_full=LIST, then taskset -c LIST")


@check("TDX host")
def _tdx(facts: Facts) -> Finding:
    its = facts["tdx"]
    if not its["enabled"]:
        return Finding("none", "no TD runs here; the model is of module 1.5.01 where a scenario does not say otherwise")
    if its["module"] is None:
        means = 'which of the model\'s modules is like it is not known: module = "host" is refused'
        return Finding("yes, its module's version is not told", means, 'a newer kernel, or module = "tdx" (1.5.01)')
    means = f'module = "host" is "{its["module"]}" in the model, where modules differ in the flow "zero_step" alone'
    return Finding(f"yes, module {its['version']}", means)
