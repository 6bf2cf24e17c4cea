"""What a reader must know before believing the numbers: every caveat typed here, as data.

Each says what was seen, what it means, and what to try. Pure: from the facts of the host, the scenario and the runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from results.machine.comparable import alike
from results.machine.findings import BUSY, HIGH_STEAL, MEANS
from results.numbers.statistics import ENOUGH
from results.verdict import FAILING, Ending, is_safe, lacking, seen, whole
from results.words import count, machine_size, nanoseconds, plural

RATE_MISSED = EARLY = 0.95
Facts = Mapping[str, Any]
Caveat = dict[str, str]


def caveat(id_: str, seen: str, means: str, try_: str) -> Caveat:
    """One caveat as it stands in a result; its `id` is stable, the rest is for people."""
    return {"id": id_, "seen": seen, "means": means, "try": try_}


def caveats(host: Facts, scenario: Facts, runs: Sequence[Facts], *, in_turns: bool = False) -> list[Caveat]:
    """All caveats of a result, those of the runs after those of the machine. `in_turns`: orderings race in rounds."""
    return [*_of_the_machine(host, scenario, in_turns=in_turns), *_of_the_runs(scenario, runs)]


def _of_the_machine(host: Facts, scenario: Facts, *, in_turns: bool) -> Iterator[Caveat]:
    cpus, vcpus, zappers = host.get("cpus_allowed") or 1, scenario.get("vcpus", 1), scenario.get("zappers", 1)
    if cpus == 1:
        yield caveat(
            "single_cpu",
            "1 CPU allowed",
            "nothing runs at the same time: races show only where Linux switches, latency is mostly waiting for a CPU",
            "a machine with more CPUs, or a wider mask (taskset, cpuset)",
        )
    actors = machine_size({"vcpus": vcpus, "zappers": zappers})
    if vcpus + zappers > cpus:
        yield caveat(
            "oversubscribed",
            f"oversubscribed, {' and '.join(actors)} on {plural(cpus, 'CPU')}",
            _placed(scenario) + ", and vCPUs leave the guest at every tick",
            f"--vcpus {max(cpus - zappers, 1)}" if cpus > zappers else "fewer actors, or more CPUs",
        )
    if host.get("hypervisor"):
        yield caveat("virtual_machine", f"a virtual machine ({host['hypervisor']})", *MEANS["hypervisor"])
    if host.get("constant_tsc") is False:
        yield caveat("no_constant_tsc", "no constant timestamp counter", *MEANS["counter"])
    quota = host.get("cpu_quota")
    if quota and quota < cpus:
        yield caveat("cpu_quota", f"a quota of {quota:g} CPUs on {cpus} allowed ones", *MEANS["cpu_quota"])
    if (host.get("busy") or 0) > BUSY:
        yield caveat(
            "busy_machine",
            f"a busy machine: {100 * host['busy']:.0f} % of its CPUs' time was taken just before the start",
            *MEANS["load"],
        )
    if host.get("governor") not in (None, "performance"):
        yield caveat("cpu_frequency", f"frequency governor {host['governor']}", *MEANS["frequency"])
    before, after = host.get("round_trip_ns"), host.get("round_trip_after_ns")
    not_measured, again = "a line's way from CPU to CPU and back was not measured", "again, when the CPUs are free"
    if trouble := host.get("round_trip_trouble"):
        means = "latencies cannot be read as multiples of it, nor two machines be told apart by it"
        yield caveat("no_round_trip", f"{not_measured}: {trouble}", means, again)
    elif trouble := host.get("round_trip_after_trouble"):
        means = "whether CPUs were moved meanwhile is not known"
        yield caveat("no_round_trip", f"{not_measured} again behind the races: {trouble}", means, again)
    if before and after and not alike(before, after):
        yield caveat(
            "cpus_moved",
            f"a line from CPU to CPU and back took {nanoseconds(before)} before the races, {nanoseconds(after)} after",
            "CPUs were moved, or others came: "
            + ("early and late rounds" if in_turns else "orderings that raced early and late")
            + " did not race alike",
            "ratios, which are taken within a round, or bare metal"
            if in_turns
            else "`bench`, whose rounds take turns, or bare metal",
        )
    if costs := scenario.get("costs"):
        yield caveat(
            "declared_costs",
            f"SEAMCALLs that take what was declared: {', '.join(f'{key} {cost}' for key, cost in costs.items())}",
            "assumed and not measured: only ratios between orderings under the same costs may be claimed, no time",
            "costs=none for what the steps take here",
        )
    if scenario.get("workers") == "thread":
        yield caveat(
            "threads",
            "workers are threads",
            "one process: a crash takes all of them, and memory is shared beyond the protocol's words",
            "--workers process",
        )


def _placed(scenario: Facts) -> str:
    """What it means that there are fewer CPUs than actors."""
    if scenario.get("placement", "mixed") == "mixed":
        return "Linux places all of them: latency holds time to be scheduled, many kicks meet nobody"
    return "zappers keep CPUs of their own: a kick meets at most one vCPU a CPU"


def _of_the_runs(scenario: Facts, runs: Sequence[Facts]) -> Iterator[Caveat]:
    yield from _of_the_samples(runs)
    yield from of_several_machines(runs)
    steal = {run["ordering"]: run.get("steal_share") or 0.0 for run in runs}
    if steal and max(steal.values()) > HIGH_STEAL:
        worst = max(steal, key=lambda name: steal[name])
        yield caveat(
            "high_steal",
            f"{100 * steal[worst]:.1f} % of the CPUs' time taken by the hypervisor during {worst}",
            *MEANS["steal"],
        )
    yield from _of_what_is_done_on_purpose(scenario, runs)
    if traced := [run for run in runs if run.get("trace")]:
        yield caveat(
            "traced",
            f"traced steps in {', '.join([run['ordering'] for run in traced])}",
            f"a step keeps an entry, {traced[0]['trace']['ns_of_entry']:.0f} ns until a failure froze that: rates and "
            "latency say nothing of an untraced run",
            "the same command without --trace for latency",
        )
    yield from _of_known_wrong_orderings([run for run in runs if not is_safe(run)])
    yield from alone(runs, lambda _: "--zappers 2")
    if stopped := [
        f"{run['ordering']} after {run['seconds']:.1f} s" for run in runs if run["ending"] == Ending.interrupted
    ]:
        yield caveat(
            "interrupted", f"interrupted: {', '.join(stopped)}", "fewer samples than asked for", "a run to the end"
        )
    if dead := dead_early(scenario, runs):
        when = [
            f"{name} after {nanoseconds(after * 1e9)}" if after else f"{name} amid its warm-up"
            for name, after in dead.items()
        ]
        yield caveat(
            "ended_early",
            f"KVM_BUG_ON ended the race of {', '.join(when)}: the VM is dead",
            "every n, rate and interval is of what was raced until then",
            "`--set on_error=leak_page`, with which a race goes on and counts",
        )
    rate = scenario.get("rate") or 0.0
    slow = {run["ordering"]: run["shootdowns_per_s"] for run in runs if run["shootdowns_per_s"] < RATE_MISSED * rate}
    if rate and slow:
        worst = min(slow, key=lambda name: slow[name])
        yield caveat(
            "rate_not_reached",
            f"asked for {rate:,.10g} shootdowns/s, {worst} did {slow[worst]:,.0f}",
            "response time grows with the backlog and measures the length of the run",
            "a lower --rate",
        )


def dead_early(scenario: Facts, runs: Sequence[Facts]) -> dict[str, float]:
    """The orderings whose race KVM_BUG_ON ended before its time, with the seconds that were measured."""
    ended = [run for run in runs if run.get("bug_on") and run["ending"] == Ending.finished]
    asked_s = 0.0 if scenario.get("shootdowns") else scenario.get("duration_s", 0.0)
    return {run["ordering"]: run["seconds"] for run in ended if run["seconds"] < EARLY * asked_s}


def of_several_machines(runs: Sequence[Facts]) -> Iterator[Caveat]:
    """Where they did not all race on one."""
    if (many := len({run.get("machine") for run in runs})) > 1:
        yield caveat(
            "several_machines",
            f"orderings that raced on {many} machines",
            "a time is its machine's: none ranks beside one of another",
            "one machine, or `tdx-stress bench`, whose rounds have every ordering each",
        )


def _of_what_is_done_on_purpose(scenario: Facts, runs: Sequence[Facts]) -> Iterator[Caveat]:
    perturbed = [run for run in runs if run.get("perturbed") and _at_labels(run.get("perturbation"))]
    if perturbed:
        told = [f"{run['ordering']}{_strength(run.get('perturbation'))}" for run in perturbed]
        yield caveat(
            "perturbed",
            f"declared yields or delays at named labels in {', '.join(told)}",
            "races are provoked on purpose: rates and latency say nothing of an undisturbed run",
            "a scenario without `yields` and `delays` for latency",
        )
    typed = scenario.get("changed", {})  # a shipped scenario's own are there for an ordering that comes by
    idle = {
        run["ordering"]: [
            label
            for label in (run.get("perturbation") or {}).get("never_struck", ())
            if scenario.get("own", True) or f"delays.{label}" in typed
        ]
        for run in perturbed
    }
    if any(idle.values()):
        yield caveat(
            "delay_never_struck",
            f"delays that held nobody up: {_by_ordering(idle)}",
            "no actor took these steps, or not with these odds",
            "`list --labels`, and a label that the ordering comes by",
        )
    if offset := scenario.get("start_offset"):
        yield caveat(
            "start_offset",
            f"all zappers' turns due at once, each put off by {offset}",
            "they meet on purpose: rates and latency say nothing of zappers that know nothing of one another",
            "a scenario without `start_offset` for latency",
        )
    if storm_us := scenario.get("storm_us"):
        yield caveat(
            "storm",
            f"a storm of entries and exits: a vCPU leaves the guest after {storm_us} us",
            "no host's timer ticks so fast: rates and latency say nothing of one that ticks as it should",
            "storm_us = 0 for latency",
        )


def _at_labels(perturbation: Facts | None) -> bool:
    """Whether something was declared at labels, not of starts alone."""
    return perturbation is None or set(perturbation["declared"]) != {"start_offset"}


def _strength(perturbation: Facts | None) -> str:
    """How much was done, in brackets: what struck how often, and for how long."""
    if perturbation is None:
        return ""
    delays = f", {count(perturbation['delays'])} delays of {nanoseconds(perturbation['delayed_ns'])} in all"
    return f" ({count(perturbation['yields'])} yields{delays if perturbation['delays'] else ''})"


def _of_known_wrong_orderings(runs: Sequence[Facts]) -> Iterator[Caveat]:
    missing = {
        r["ordering"]: [o["id"] for o in r["outcomes"] if o["id"] in r["expect"] and not o["count"]] for r in runs
    }
    if any(missing.values()):
        yield caveat(
            "expected_not_seen",
            f"expected and not seen: {_by_ordering(missing)}",
            "not a proof that it cannot happen: this run could not catch it",
            "a longer --duration, or `tdx-stress amplify`, which looks for what shows it most often",
        )
    yield from undeclared(
        {
            r["ordering"]: [name for name in seen(r, *FAILING) if name not in r["expect"]]
            for r in runs
            if r.get("own", True)  # else there is no `expect` of the reader's to name it in
        }
    )


def alone(runs: Sequence[Facts], more: Callable[[Facts], str]) -> Iterator[Caveat]:
    """Where safe orderings do not hold mmu_lock for write, and there was one zapper; `more`: a machine of two."""
    free = [
        run
        for run in runs
        if is_safe(run) and run["zappers"] == 1 and not (run.get("parameters") or {}).get("serialized", True)
    ]
    if free:
        names = dict.fromkeys(run["ordering"] for run in free)
        yield caveat(
            "one_zapper",
            f"one zapper, which meets no other: {' and '.join(names)} without mmu_lock for write",
            "what zappers do to each other there, a TRACK beside a TRACK or a gate that two raise, was not tried",
            more(free[0]),
        )


def undeclared(outcomes: Mapping[str, Sequence[str]]) -> Iterator[Caveat]:
    """Where known-wrong orderings showed forbidden outcomes, by ordering, that they do not declare."""
    if any(outcomes.values()):
        yield caveat(
            "undeclared_outcome",
            f"forbidden and not declared: {_by_ordering(outcomes)}",
            "these orderings fail in more ways than the one that each must show to pass",
            "naming an outcome in the ordering's `expect` makes it required",
        )


def _by_ordering(outcomes: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{ordering} {', '.join(names)}" for ordering, names in outcomes.items() if names)


def _of_the_samples(runs: Sequence[Facts]) -> Iterator[Caveat]:
    for name, label in (("p99", "p99"), ("p999", "p99.9")):
        enough = [run for run in runs if is_safe(run) and not lacking(run)]  # else its verdict says so
        few = {r["ordering"]: n for r in enough if (n := whole(r)["n"]) < ENOUGH[name]}
        if few:
            yield caveat(
                "too_few_samples",
                f"few samples: {', '.join(f'{n:,} of {name}' for name, n in few.items())} met a vCPU after the warm-up",
                f"below {ENOUGH[name]:,} a {label} has no 95 % interval, so none is printed",
                "a longer --duration, or fewer orderings in the same time",
            )
            return
