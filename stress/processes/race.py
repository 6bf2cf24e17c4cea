"""One ordering's race under one scenario: the machine is laid out, workers run the kernels over it, a Run comes out."""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from kernels.layout import GO, Layout
from kernels.tdx.bits import refcount_of
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import Flow, KickBy, Rules, flow_named, own_locks, writes_back
from kernels.tdx.words import plan, vcpu_actor, zapper_actor
from results.collect.race import Run, RunFacts, run_record
from results.collect.tally import Snapshot, snapshot
from results.machine.host import cpu_times, steal_share
from scenarios.expectations import otherwise_safe
from scenarios.models import Ordering, Scenario
from stress.interrupts import Interrupts
from stress.processes.kicks import interruptible, told_to
from stress.processes.perturbation import (
    costs_by_site,
    declare,
    declare_costs,
    declared_sites,
    declared_texts,
    never_struck,
)
from stress.processes.placement import Placed, places
from stress.processes.prepared import Prepared, rules_by
from stress.processes.shared_words import Words, shared_words
from stress.processes.supervisor import Supervisor, Watch
from stress.processes.tracing import arm, last_steps, ring_entries
from stress.processes.watchdog import finished
from stress.processes.worker import Job
from stress.processes.workers import Workers

Tally = Callable[[], Snapshot]


def race(
    prepared: Prepared,
    ordering: Ordering,
    scenario: Scenario,
    interrupts: Interrupts,
    show: Callable[[Tally], Watch],
    until: Collection[Outcome] = (),
    longest_s: float = 0.0,
) -> Run:
    """Race this ordering once. However it ends, no worker is left, and what was measured until then is in the Run.

    `show` is given the means to look at the tally and gives what to call at every look. The first outcome of `until`
    ends the race, and is the Run's `caught`: which, after how many seconds and shootdowns. Where the scenario's time
    has met too few vCPUs for a verdict the race goes on until it has, or for `longest_s`. Raises HarnessFault where the
    workers could not be started.
    """
    rings = 0 if prepared.ns_of_entry is None else ring_entries(scenario.vcpus + scenario.zappers)
    flow = int(flow_named(scenario.flow))
    sizes = scenario.vcpus, scenario.zappers, scenario.pages, scenario.tlb_entries
    its = rules_by(prepared.clock, ordering, scenario, shared_cpus=False)
    lay = plan(*sizes, flow=flow, lps=scenario.lps, locks=own_locks(its), wbinvd=writes_back(its), trace=rings)
    words = shared_words(lay.total_words)
    placed = places(lay, prepared.cpus, scenario.placement)
    rules = rules_by(prepared.clock, ordering, scenario, shared_cpus=placed.kind != "own")
    protocol_of(Flow(flow)).prepare(words, lay, rules, scenario.seed)
    sites = declared_sites(scenario)
    assert prepared.looks or not (sites or scenario.costs), "kernels that look for nothing"
    declare(words, lay, sites, prepared.clock)
    declare_costs(words, lay, costs_by_site(scenario), prepared.clock)
    arm(words, lay)
    for lp in range(lay.lps):  # more of them than CPUs share those
        words[lay.lp_cpus + lp] = 1 + prepared.cpus[lp % len(prepared.cpus)]
    jobs = _jobs(prepared, words, lay, rules, placed, mixed_first=_mixes_first(scenario, placed))
    teams = [jobs] if scenario.workers == "thread" else [[job] for job in jobs]
    workers = Workers(teams, go=lambda: bool(words[lay.control + GO]))
    watch = show(partial(snapshot, words, lay))
    supervisor = Supervisor(words, lay, scenario, workers, interrupts, watch, until, longest_s)
    before = cpu_times()
    try:
        ending = supervisor.run()
    finally:
        workers.kill()
    traced = prepared.ns_of_entry and last_steps(words, lay, prepared.clock, ordering.name, prepared.ns_of_entry)
    facts = RunFacts(
        ordering=ordering.name,
        title=ordering.title,
        source=ordering.source,
        shootdown=ordering.shootdown,
        expect=ordering.expect,
        ending=ending,
        notes=tuple(supervisor.notes),
        seconds=supervisor.seconds,
        warmup_s=scenario.warmup_s,
        perturbed=scenario.perturbed,
        declared=declared_texts(scenario),
        never_struck=tuple(never_struck(words, lay, scenario, sites)),
        ticks_to_ns=prepared.clock.ticks_to_ns,
        last_steps=traced or None,
        flow=flow,
        placement=placed.kind,
        otherwise_safe=otherwise_safe(ordering, scenario),
        references_left=_references_left(words, lay),
        own_share=supervisor.own_share,
    )
    run = run_record(facts, supervisor.warm, snapshot(words, lay), supervisor.series)
    run.json["steal_share"] = steal_share(before, cpu_times())
    run.json["ready_s"] = supervisor.ready_s
    if caught := supervisor.caught:
        run.json["caught"] = {"id": caught.outcome.name} | {
            key: getattr(caught, key) for key in ("seconds", "shootdowns", "met")
        }
    run.json["parameters"] = ordering.model_dump(mode="json")
    return run


def _references_left(words: Words, lay: Layout) -> int:
    """What the epoch's reference counts hold where every actor has ended, vCPUs outside the guest: none, or some are
    lost.
    """
    epochs = int(words[lay.epoch_tracking])
    left = refcount_of(epochs, 0) + refcount_of(epochs, 1)
    return left if finished(words, lay) else 0


def _mixes_first(scenario: Scenario, placed: Placed) -> bool:
    """Whether Linux places the actors until the warm-up is over: vCPUs that share a CPU are never in the guest at once,
    and so every meeting that the machine can have is had. Threads have no pid by which they could be moved later.
    """
    return placed.kind == "apart" and scenario.warmup_s > 0 and scenario.workers == "process"


def _jobs(
    prepared: Prepared, words: Words, lay: Layout, rules: Rules, placed: Placed, *, mixed_first: bool
) -> list[Job]:
    """Every actor's work; vCPUs first, so that they line up before those that would kick them."""
    kernels, kick_by = prepared.kernels, KickBy(rules.kick_by).name.lower()
    vcpus = [
        Job(
            f"vcpu {i}",
            partial(kernels["vcpu"], words, lay, rules, vcpu_actor(lay, i)),
            cpus,
            opens=partial(interruptible, kick_by),
            begins=partial(told_to, words, lay, i),
        )
        for i, cpus in enumerate(placed.vcpus)
    ]
    zappers = [
        Job(f"zapper {i}", partial(kernels["zapper"], words, lay, rules, zapper_actor(lay, i)), cpus)
        for i, cpus in enumerate(placed.zappers)
    ]
    return [replace(job, first_cpus=prepared.cpus) if mixed_first else job for job in vcpus + zappers]
