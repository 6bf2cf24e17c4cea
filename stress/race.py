"""One ordering's race under one scenario: the machine is laid out, a crew runs the kernels over it, a Run comes out."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

from kernels.layout import GO, Layout
from kernels.race.clock import Calibration
from kernels.race.lines import Run as Line
from kernels.race.lines import label_text
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import PROTOCOLS
from kernels.tdx.rules import Flow, Rules
from kernels.tdx.words import plan, refcount_of, vcpu_actor, zapper_actor
from results.collect.race import Run, RunFacts, run_record
from results.collect.tally import Snapshot, snapshot
from results.machine.host import cpu_times, steal_share
from scenarios.expectations import otherwise_safe
from scenarios.models import Ordering, Scenario
from scenarios.rules import compile_rules
from stress.course import Course, Watch
from stress.crew import Crew
from stress.interrupts import Interrupts
from stress.memory import Words, shared_words
from stress.perturbation import Sites, declare, declared_texts, never_struck
from stress.placement import Cpus, Places, places
from stress.tracing import arm, last_steps, ring_entries
from stress.watchdog import actors, finished
from stress.worker import Job

Tally = Callable[[], Snapshot]


@dataclass(frozen=True, slots=True)
class Machine:
    """What all races of one command share: jitted kernels, the clock, the CPUs to race on, and what is
    done to actors on purpose."""

    kernels: Mapping[str, Line]
    clock: Calibration
    cpus: Cpus
    perturbation: Sites  # what is declared by site
    ns_of_entry: float | None = None  # of a traced step; None where the kernels do not trace
    flow: str = "shootdown"


def race(
    machine: Machine,
    ordering: Ordering,
    scenario: Scenario,
    interrupts: Interrupts,
    show: Callable[[Tally], Watch],
    until: Collection[Outcome] = (),
) -> Run:
    """Race this ordering once. However it ends, no worker is left, and what was measured until then is in the Run.

    `show` is given the means to look at the tally and gives what to call at every look. The first outcome of `until`
    ends the race, and is the Run's `caught`: which, after how many seconds and shootdowns. Raises HarnessFault where
    the workers could not be started.
    """
    rings = 0 if machine.ns_of_entry is None else ring_entries(scenario.vcpus + scenario.zappers)
    flow = int(Flow[scenario.flow.upper()])
    sizes = scenario.vcpus, scenario.zappers, scenario.pages, scenario.tlb_entries
    lay = plan(*sizes, flow=flow, lps=scenario.lps, trace=rings)
    words = shared_words(lay.total_words)
    placed = places(lay, machine.cpus, scenario.placement)
    rules = _rules(machine, ordering, scenario, shared_cpus=placed.shared)
    PROTOCOLS[Flow(flow)].prepare(words, lay, rules, scenario.seed)
    declare(words, lay, machine.perturbation, machine.clock)
    arm(words, lay)
    for lp in range(lay.lps):  # more of them than CPUs share those
        words[lay.lp_cpus + lp] = 1 + machine.cpus[lp % len(machine.cpus)]
    jobs = _jobs(machine, words, lay, rules, placed, mixed_first=_mixes_first(scenario, placed))
    teams = [jobs] if scenario.workers == "thread" else [[job] for job in jobs]
    crew = Crew(teams, go=lambda: bool(words[lay.control + GO]))
    watch = show(partial(snapshot, words, lay))
    course = Course(words, lay, scenario, crew, interrupts, label_text, watch, until)
    before = cpu_times()
    try:
        ending = course.run()
    finally:
        crew.kill()
    traced = machine.ns_of_entry and last_steps(words, lay, machine.clock, ordering.name, machine.ns_of_entry)
    facts = RunFacts(
        ordering=ordering.name,
        title=ordering.title,
        source=ordering.source,
        shootdown=ordering.shootdown,
        expect=ordering.expect,
        ending=ending,
        notes=tuple(course.notes),
        seconds=course.seconds,
        warmup_s=scenario.warmup_s,
        perturbed=bool(machine.perturbation) or scenario.perturbed,
        declared=declared_texts(scenario),
        never_struck=tuple(never_struck(words, lay, scenario, machine.perturbation)),
        ticks_to_ns=machine.clock.ticks_to_ns,
        last_steps=traced or None,
        flow=flow,
        placement=placed.kind,
        otherwise_safe=otherwise_safe(ordering, scenario),
        references_left=_references_left(words, lay),
    )
    run = run_record(facts, course.warm, snapshot(words, lay), course.series)
    run.json["steal_share"] = steal_share(before, cpu_times())
    run.json["ready_s"] = course.ready_s
    if caught := course.caught:
        run.json["caught"] = {"id": caught.outcome.name} | {
            key: getattr(caught, key) for key in ("seconds", "shootdowns", "met")
        }
    run.json["parameters"] = ordering.model_dump(mode="json")
    return run


def _rules(machine: Machine, ordering: Ordering, scenario: Scenario, *, shared_cpus: bool) -> Rules:
    clock = machine.clock
    return compile_rules(
        ordering,
        scenario,
        clock=clock.clock,
        ticks_per_s=clock.ticks_per_s,
        ticks_to_ns=clock.ticks_to_ns,
        shared_cpus=shared_cpus,
    )


def _references_left(words: Words, lay: Layout) -> int:
    """What the epoch's reference counts hold where every actor has ended, vCPUs outside the guest: none, or some are
    lost.
    """
    epochs = int(words[lay.epoch_tracking])
    left = refcount_of(epochs, 0) + refcount_of(epochs, 1)
    return left if finished(words, lay, actors(lay)) else 0


def _mixes_first(scenario: Scenario, placed: Places) -> bool:
    """Whether Linux places the actors until the warm-up is over: vCPUs that share a CPU are never in the guest at once,
    and so every meeting that the machine can have is had. Threads have no pid by which they could be moved later.
    """
    return placed.kind == "apart" and scenario.warmup_s > 0 and scenario.workers == "process"


def _jobs(machine: Machine, words: Words, lay: Layout, rules: Rules, placed: Places, *, mixed_first: bool) -> list[Job]:
    """Every actor's work; vCPUs first, so that they line up before those that would kick them."""
    kernels = machine.kernels
    vcpus = [
        Job(f"vcpu {i}", partial(kernels["vcpu"], words, lay, rules, vcpu_actor(lay, i)), cpus)
        for i, cpus in enumerate(placed.vcpus)
    ]
    zappers = [
        Job(f"zapper {i}", partial(kernels["zapper"], words, lay, rules, zapper_actor(lay, i)), cpus)
        for i, cpus in enumerate(placed.zappers)
    ]
    return [replace(job, first_cpus=machine.cpus) if mixed_first else job for job in vcpus + zappers]
