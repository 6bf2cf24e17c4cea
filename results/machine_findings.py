"""What the system tells of the machine, as findings: CPUs, clocks, whoever else is there, and what is granted. Pure.

Every function takes the facts that `doctor` gathers (`host` of a result and what is beside it there) and gives one
finding. A fact that is None was not to be read, as in a container without /sys.
"""

from results.findings import Facts, Finding, Limits
from results.wording import plural, share

HIGH_STEAL, BUSY, POOR_CLOCK_PPM = 0.01, 0.25, 100
# Clocks that Linux falls back to where it found the timestamp counter wanting.
SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "pit", "refined-jiffies")
NOT_TOLD = "not told"


def cpus(facts: Facts) -> Finding:
    """How many may be used."""
    allowed, online, offline = facts["cpus_allowed"], facts["cpus"] or facts["cpus_allowed"], facts["offline"]
    found = f"{allowed} allowed ({facts['cpus_used']}) of {online} online" + (f", {offline} offline" if offline else "")
    if allowed == 1:
        means = "nothing runs at the same time: races show only where Linux switches; no pair of CPUs to probe"
        more = "more CPUs, or a wider mask (taskset, cpuset, --cpus)"
        return Finding("cpus", "CPUs", found, means, more, Limits.verdicts)
    means = f"{allowed} actors race with a CPU each; of more, zappers keep CPUs apart from vCPUs, which take turns"
    return Finding("cpus", "CPUs", found, means, f"at most --vcpus {allowed - 1} --zappers 1 for latency")


def topology(facts: Facts) -> Finding:
    """How they hang together."""
    groups = facts["topology"]
    names = (("cores", "core"), ("caches", "last-level cache"), ("packages", "package"), ("nodes", "memory node"))
    found = f"{facts['cpu_model']}: {', '.join(plural(groups[key], word) for key, word in names)}"
    if groups["kinds"] > 1:
        means = f"CPUs of {groups['kinds']} speeds: the same step takes longer on some of them"
        return Finding("topology", "topology", found, means, f"--cpus {groups['alike']}", Limits.absolute)
    if groups["caches"] > 1 or groups["packages"] > 1:
        means = "some pairs of CPUs are farther apart than others: where actors land decides their latency"
        return Finding("topology", "topology", found, means, f"--cpus {groups['near']} (one cache)")
    if not groups["told"]:
        means = "how CPUs hang together cannot be read: each is taken for a core of its own, all for one package"
        return Finding(
            "topology", "topology", f"{facts['cpu_model']}: {NOT_TOLD}", means, "a container that shows /sys"
        )
    means = "all pairs of CPUs are about as far apart"
    if facts["hypervisor"]:
        means += ", as far as the hypervisor tells"
    return Finding("topology", "topology", found, means)


def smt(facts: Facts) -> Finding:
    """Whether CPUs share cores."""
    groups, allowed = facts["topology"], facts["cpus_allowed"]
    told = {True: "on", False: "off", None: NOT_TOLD}[facts["smt"]]
    if groups["cores"] < allowed:
        found = f"{told}: {plural(allowed, 'CPU')} on {plural(groups['cores'], 'core')}"
        means = "two actors on one core slow each other and share its store buffer"
        return Finding("smt", "SMT", found, means, f"--cpus {groups['one_a_core']}", Limits.absolute)
    if facts["smt"]:
        means = "our CPUs are on cores of their own, but others may run on the siblings"
        return Finding("smt", "SMT", told, means, "keep the siblings idle, or boot with nosmt")
    known = "no two of our CPUs share a core" if groups["told"] else "whether two of our CPUs share a core is not known"
    return Finding("smt", "SMT", told, known)


def frequency(facts: Facts) -> Finding:
    """Who sets the clock rate."""
    found = facts["governor"]
    if found is None:
        return Finding("frequency", "frequency", NOT_TOLD, "the clock rate is set by whoever is below, or fixed")
    if found == "performance":
        return Finding("frequency", "frequency", f"governor {found}", "the clock rate does not wait for load")
    means = "the clock rate follows the load: the first shootdowns are slower, and so are quiet CPUs"
    more = "cpupower frequency-set -g performance, or a longer --warmup"
    return Finding("frequency", "frequency", f"governor {found}", means, more, Limits.absolute)


def counter(facts: Facts) -> Finding:
    """What the kernels read the time from."""
    counter_name = "generic timer" if facts["machine"] == "aarch64" else "timestamp counter"
    if facts["clock"] != "TSC":
        means = "its rate is not constant, so time comes from clock_gettime: tens of ns a reading, short phases coarse"
        found = f"no constant {counter_name}"
        return Finding("counter", "counter", found, means, "another machine for latency", Limits.absolute)
    ppm = facts["clock_error_ppm"]
    found = f"constant {counter_name}, {facts['ticks_per_us']:,.1f} ticks/us, known to {ppm:.1f} ppm"
    if ppm > POOR_CLOCK_PPM:
        means = "calibrated while the CPUs were taken: latencies may be wrong by as much"
        return Finding("counter", "counter", found, means, "a quiet moment", Limits.absolute)
    return Finding("counter", "counter", found, "no latency is wrong by more than that through its clock")


def clocksource(facts: Facts) -> Finding:
    """What Linux itself trusts."""
    found = facts["clocksource"]
    if found in SLOW_CLOCKS:
        means = "Linux does not trust the counter that we read: CPUs may disagree about the time"
        return Finding("clocksource", "clock source", found, means, "dmesg | grep -i clocksource", Limits.absolute)
    means = "Linux keeps time by a fast clock, too" if found else "whether Linux trusts the counter is not known"
    return Finding("clocksource", "clock source", found or NOT_TOLD, means)


def hypervisor(facts: Facts) -> Finding:
    """What is below."""
    found = facts["hypervisor"]
    if found is None:
        return Finding("hypervisor", "hypervisor", "none seen", "our CPUs are the machine's own")
    named = "a virtual machine" + ("" if found == "unnamed" else f" ({found})")
    means = "the host below may take CPUs away or move them: tails, and identical runs, differ"
    more = "bare metal for latency; verdicts hold anywhere"
    return Finding("hypervisor", "hypervisor", named, means, more, Limits.absolute)


def steal(facts: Facts) -> Finding:
    """What the hypervisor took meanwhile."""
    stolen = facts["steal_share"]
    if stolen is None:
        return Finding("steal", "steal time", "not counted", "whether a hypervisor takes CPUs away is not known")
    found = f"{share(stolen)} of the CPUs' time just now" if stolen else "none just now"
    if stolen > HIGH_STEAL:
        means = "actors stand still without knowing: tails are the machine's, not the protocol's"
        more = "another hour or another machine; compare within interleaved rounds only"
        return Finding("steal", "steal time", found, means, more, Limits.latency)
    means = "the host below left us our CPUs while this was measured; not every hypervisor tells"
    return Finding("steal", "steal time", found, means if facts["hypervisor"] else "nobody below takes CPUs away")


def load(facts: Facts) -> Finding:
    """What others take."""
    found = f"{facts['busy']:.0%} of the CPUs' time just now, load average {facts['load_1m']:g}"
    if facts["busy"] > BUSY:
        means = "others run here, too: latency is theirs as well as ours"
        more = "an idle machine, or --cpus away from the others"
        return Finding("load", "load", found, means, more, Limits.latency)
    return Finding("load", "load", found, "the CPUs are ours")


def quota(facts: Facts) -> Finding:
    """What a container may use."""
    limit = facts["cpu_quota"]
    if limit is None:
        return Finding("cpu_quota", "CPU quota", "none", "no control group stops actors")
    found = f"{limit:g} CPUs of {facts['cpus_allowed']}"
    if limit >= facts["cpus_allowed"]:
        return Finding("cpu_quota", "CPU quota", found, "enough for an actor on each CPU")
    means = "the control group stops every actor when its share is used up: tails of some 100 ms"
    return Finding("cpu_quota", "CPU quota", found, means, "a container without a CPU limit", Limits.latency)


def realtime(facts: Facts) -> Finding:
    """Whether SCHED_FIFO is granted."""
    granted, allowed = facts["realtime"], facts["cpus_allowed"]
    if granted is None:
        return Finding("realtime", "real time", "not asked", facts["trouble"] or "not known")
    if not granted:
        means = "other tasks may take the CPU from an actor at any moment; only the tail shows it"
        return Finding("realtime", "real time", "SCHED_FIFO refused", means, "CAP_SYS_NICE, or ulimit -r 1")
    means = "actors can be kept from being preempted; not done unasked, as spinning ones starve the system"
    more = "chrt -f 1 tdx-stress run, with a CPU to spare" if allowed > 2 else ""
    return Finding("realtime", "real time", "SCHED_FIFO granted", means, more)


def isolation(facts: Facts) -> Finding:
    """Whether there are CPUs that Linux gives to nobody else."""
    isolated, ours = facts["isolated"], facts["isolated_allowed"]
    if ours:
        found = f"CPUs {ours} isolated" + (f", {facts['nohz_full']} without a tick" if facts["nohz_full"] else "")
        means = "Linux puts nobody else on them" + (", but the hypervisor may" if facts["hypervisor"] else "")
        return Finding("isolation", "isolation", found, means, f"--cpus {ours}")
    if isolated:
        means = "there are CPUs for us alone, outside of the mask that was inherited"
        return Finding(
            "isolation", "isolation", f"CPUs {isolated} isolated", means, f"taskset -c {isolated} tdx-stress run"
        )
    if isolated is None:
        return Finding("isolation", "isolation", NOT_TOLD, "whether some CPUs are kept from others cannot be read")
    means = "Linux runs others on our CPUs, too: their time is in the tails"
    return Finding(
        "isolation", "isolation", "none", means, "boot with isolcpus=LIST nohz_full=LIST, then taskset -c LIST"
    )
