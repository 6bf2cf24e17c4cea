"""The rounds of a bench as pieces. A round stays on one machine, and the record says which: latencies of two machines
are never put together.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from rich.text import Text

from results.kinds.bench.directory import csv_text, write_bench, write_parquet
from results.kinds.bench.findings import bench_caveats, exit_code, found
from results.kinds.bench.gate import gates_code, judged, parse_gate
from results.kinds.bench.record import AGAIN, Bench, Design, Race, Sweep, round_file
from results.kinds.bench.tables import bench_cases, bench_screen
from results.kinds.files import write_bench_report
from results.store import RunDirectory, write_file
from scenarios.models import Ordering, Scenario
from scenarios.reals import ARMS
from stress.bench.beside import race_beside
from stress.bench.design import MAX_ROUNDS, Experiment, points, race_seconds
from stress.bench.round import Turn, arms, run_round, turns
from stress.host.quick import host_after, host_record
from stress.interrupts import Interrupts
from stress.pieces.record import Job, Pieces, Plain, arrays_of, key_of, packed
from stress.pieces.run import told_of_missing
from stress.processes.prepared import Prepared, prepared_for
from stress.processes.race import Tally, race
from stress.processes.supervisor import Watch
from stress.progress import Display, display
from stress.provenance import machine_id
from stress.real.arms import warmed
from stress.screen import Screen
from stress.session import Session

BENCH = "bench"
_took: list[float] = []  # seconds of the rounds of this process


def subject_of(experiment: Experiment, cpus: str | None) -> Plain:
    """What decides the rounds, as JSON."""
    return {
        "scenario": experiment.scenario.model_dump(mode="json"),
        "orderings": [one.model_dump(mode="json") for one in experiment.orderings],
        "sweep": experiment.sweep_key,
        "points": [one.scenario.model_dump(mode="json") for one in experiment.points],
        "rounds": experiment.rounds,
        "budget_s": experiment.budget_s,
        "changed": experiment.changed,
        "real": experiment.real,
        "cpus": cpus,
    }


def experiment_in(subject: Mapping[str, Any]) -> Experiment:
    """The way back."""
    scenario = Scenario.model_validate(subject["scenario"])
    orderings = [Ordering.model_validate(one) for one in subject["orderings"]]
    its = points(subject["sweep"], [Scenario.model_validate(one) for one in subject["points"]])
    told = (subject[key] for key in ("rounds", "budget_s", "changed", "real"))
    return Experiment(scenario, orderings, subject["sweep"], its, *told)


def job_of(subject: Plain) -> Job:
    """A round a piece; with a budget as many as may be."""
    seed, most = subject["scenario"]["seed"], MAX_ROUNDS if subject["budget_s"] is not None else subject["rounds"]
    pieces = {
        key_of(number, "round"): {"round": number, "seed": seed, "bench": subject} for number in range(1, most + 1)
    }
    return Job(BENCH, BENCH, subject, pieces, run_piece, races=True, keep=keep, leave=leave)


def get_ready(subject: Plain, progress: Screen | None = None, *, verbose: bool = False) -> Prepared:
    """What all races of a bench stand on."""
    its = experiment_in(subject)
    costs = any(point.scenario.costs for point in its.points)
    prepared = prepared_for(its.scenario, subject["cpus"], progress, costs=costs, verbose=verbose)
    if its.real:
        warmed([one.name for one in its.orderings if one.name in ARMS], prepared.clock)
    return prepared


def run_piece(described: Plain, interrupts: Interrupts, progress: Screen | None) -> tuple[Plain, bool]:
    """One round: its races and their arrays; and whether it is whole. Raises HarnessFault for a race that broke."""
    subject, number, begun = described["bench"], described["round"], time.monotonic()
    its = experiment_in(subject)
    with interrupts.at_once():
        prepared = get_ready(subject)
        host = host_record(prepared)
    if interrupts:
        return {}, False
    named = {ordering.name: ordering for ordering in its.orderings}
    its_arms = arms(its.orderings, perturbed=its.scenario.perturbed, real=its.real)
    due = turns(number, its.scenario.seed, its.points, {arm.arm: named[arm.ordering] for arm in its_arms})
    with display(progress) as drawn:
        took = _took or [(len(its.orderings) + 1) * sum(race_seconds(point.scenario) for point in its.points)]
        left = its.rounds - number + 1

        def show(turn: Turn) -> Callable[[Tally], Watch]:
            left_s = left * sum(took) / len(took) - (time.monotonic() - begun)
            return race_line(drawn, turn, rounds=its.rounds, races=its.races, left_s=left_s)

        done = run_round(prepared, due, interrupts, show, race_beside if its.real else race)
    if done is None:
        return {}, False
    _took.append(time.monotonic() - begun)
    return as_piece(*done, host), True


def as_piece(races: Sequence[Race], arrays: Mapping[str, NDArray[Any]], host: Mapping[str, Any]) -> Plain:
    """A round as it is stored."""
    told = [race.model_dump(mode="json", exclude={"machine"}) for race in races]
    return {"races": told, "host": dict(host), "arrays": packed(arrays)}


def record_of(job: Job, pieces: Pieces) -> Bench:
    """The rounds that are there, each with its machine."""
    its, ours = experiment_in(job.subject), pieces.of(job).values()
    head, scenario, sweep = pieces.head(job), its.scenario, None
    if its.sweep_key is not None:
        values, names = tuple(point.value for point in its.points), tuple(point.name for point in its.points)
        sweep = Sweep(key=its.sweep_key, values=values, points=names)
    shown = {
        **scenario.model_dump(mode="json"),
        "orderings": [o.name for o in its.orderings],
        **({"real": True} if its.real else its.changed["scenario"]),
    }
    hosts = head.pop("hosts")
    return Bench(
        **head,
        hosts=hosts if len(hosts) > 1 else {},
        seed=scenario.seed,
        scenario=shown,
        design=Design(
            rounds=its.rounds,
            budget_s=its.budget_s,
            duration_s=scenario.duration_s,
            warmup_s=scenario.warmup_s,
            seed=scenario.seed,
        ),
        sweep=sweep,
        arms=arms(its.orderings, perturbed=scenario.perturbed, real=its.real, changed=its.changed.get("orderings", {})),
        rounds=tuple(Race(**race, machine=one["machine"]) for one in ours for race in one["found"]["races"]),
        seconds=round(sum(one["seconds"] for one in ours), 3),
    )


def keep(directory: RunDirectory, job: Job, pieces: Pieces) -> None:
    """The record so far, with the arrays that are new in it. Raises StoreError."""
    arrays = {}
    for key, described in job.pieces.items():
        number = described["round"]
        if key in pieces.done and (key in pieces.fresh or not round_file(directory.path, number).exists()):
            arrays[number] = arrays_of(pieces.done[key]["found"]["arrays"])
            pieces.fresh.discard(key)
    write_bench(directory, record_of(job, pieces), arrays)


def leave(its: Session, directory: RunDirectory, job: Job, pieces: Pieces) -> int:
    """All that a bench leaves; the exit code."""
    if job.subject["budget_s"] is not None:  # as many as there are
        job = job_of({**job.subject, "rounds": max(len(pieces.done), 1), "budget_s": None})
    if not pieces.done:
        return its.nothing()
    with its.noted():
        keep(directory, job, pieces)
    bench, here = record_of(job, pieces), machine_id()
    if here in bench.machines and (after := host_after(its.interrupts)):
        hosts = {name: {**host, **(after if name == here else {})} for name, host in bench.hosts.items()}
        host = {**bench.host, **(after if bench.host["id"] == here else {})}
        bench = bench.model_copy(update={"hosts": hosts, "host": host})
    return told_of_missing(its, pieces, job, _finished(its, directory, bench))


def _finished(its: Session, directory: RunDirectory, bench: Bench) -> int:
    """Compare, judge, store, show; returns the exit code."""
    made = found(bench)
    made = made.model_copy(update={"caveats": bench_caveats(made)})
    gates = [parse_gate(text) for text in getattr(its.request, "fail_if", ())]
    outcomes = [judged(gate, made.comparisons, made.points) for gate in gates]
    csv, parquet = (getattr(its.request, name, None) for name in ("csv", "parquet"))
    with its.noted():
        write_bench(directory, made, {})
        if its.interrupts.received < 2:
            with its.drawing():
                write_bench_report(directory.path, made)
    with its.noted():
        if csv is not None:
            write_file(csv, csv_text(made).encode())
        if parquet is not None:
            write_parquet(made, parquet)
    its.leave(made, bench_cases(made, outcomes, directory.path), shown=bench_screen(made, outcomes))
    # Doubt in the bench comes before its gates: they would judge noise.
    return its.end(exit_code(made) or gates_code(outcomes))


def race_line(drawn: Display, turn: Turn, *, rounds: int, races: int, left_s: float) -> Callable[[Tally], Watch]:
    """What a race that is about to start takes as `show`: which of which round it is, and the time that the bench still
    takes, with it, as a line of a display.
    """
    again, point = " again" * (turn.arm == AGAIN), f" at {turn.point.name}" * bool(turn.point.name)
    where = f"round {turn.round} of {rounds}, race {turn.place + 1} of {races}: {turn.ordering.name}{again}{point}"
    ends_at = time.monotonic() + left_s

    def draw(*_: object) -> None:
        if drawn.is_due():
            line = f"{where}; {time_left(ends_at - time.monotonic())} left"
            drawn.draw(Text(line, no_wrap=True, overflow="ellipsis"), line)

    draw()
    return lambda tally: draw


def time_left(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `1 h 05 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
