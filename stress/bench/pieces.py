"""A bench whose rounds are pieces: in shares, or over a cluster. A round stays on one machine, and where several ran
some, the machine is the axis along which all is compared: latencies of two machines are never put together.
"""

import base64
import io
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from results.kinds.bench.directory import reopen_bench_directory
from results.kinds.bench.gate import parse_gate
from results.kinds.bench.record import MACHINE, Race, Sweep
from results.store import RunDirectory
from scenarios.models import Ordering, Scenario
from stress.bench.design import Experiment, points
from stress.bench.round import RoundBroken, arms, run_round, turns
from stress.bench.verb import BenchProgress, finish, first_record, make_room_for
from stress.errors import HarnessFault, UsageFault
from stress.host.quick import host_record
from stress.interrupts import Interrupts
from stress.options import BenchRequest
from stress.pieces.record import FOLDER, JOB, Job, Pieces, facts, key_of
from stress.pieces.run import begun, run_job, told_of_missing
from stress.processes.perturbation import AtSite, declared_sites
from stress.processes.placement import chosen_cpus
from stress.processes.prepared import Prepared, prepare_races
from stress.progress import display
from stress.screen import Screen
from stress.session import Session, opened

BENCH = "bench"


def in_pieces(request: BenchRequest) -> bool:
    """Whether it is asked for, or was begun so."""
    resumes = request.resume is not None and (request.resume / FOLDER / JOB).exists()
    return resumes or request.share is not None or request.cluster is not None


def run_pieces(request: BenchRequest, experiment: Experiment | None) -> int:
    """Race, store, compare, show; returns the exit code. Raises what `bench` does."""
    for text in request.fail_if:
        parse_gate(text)
    if experiment is None:
        subject = begun(request, BENCH)
    elif experiment.real:
        raise UsageFault(f"SCENARIO {request.scenario}: its rounds run on one machine; leave --share and --cluster out")
    elif experiment.budget_s is not None:
        raise UsageFault("--budget: of a bench in pieces the rounds are known before it starts; give --rounds")
    else:
        subject = {
            "scenario": experiment.scenario.model_dump(mode="json"),
            "orderings": [one.model_dump(mode="json") for one in experiment.orderings],
            "sweep": experiment.sweep_key,
            "points": [one.scenario.model_dump(mode="json") for one in experiment.points],
            "rounds": experiment.rounds,
            "cpus": request.cpus,
        }
    chosen_cpus(subject["cpus"])
    make_room_for(_experiment(subject).points)
    return run_job(request, job_of(subject), subject["scenario"]["name"], lambda its: None, threads=0)


def job_of(subject: dict[str, Any]) -> Job:
    """A round a piece."""
    seed = subject["scenario"]["seed"]
    pieces = {
        key_of(number, "round"): {"round": number, "seed": seed, "bench": subject}
        for number in range(1, subject["rounds"] + 1)
    }
    return Job(BENCH, subject, pieces, run_piece, lambda *given: {}, races=True, leave=_leave)


def _experiment(subject: Mapping[str, Any]) -> Experiment:
    scenario = Scenario.model_validate(subject["scenario"])
    orderings = [Ordering.model_validate(one) for one in subject["orderings"]]
    its = points(subject["sweep"], [Scenario.model_validate(one) for one in subject["points"]])
    return Experiment(scenario, orderings, subject["sweep"], its, subject["rounds"], None)


@cache
def _prepared(flow: str, perturbed: bool, costs: bool, cpus: str | None) -> tuple[Prepared, dict[str, Any]]:
    """What races stand on, and what was measured of the machine, once a process."""
    sites = {0: AtSite()} if perturbed else {}
    prepared = prepare_races(chosen_cpus(cpus), sites, None, flow=flow, costs=costs)
    return prepared, host_record(prepared)


def run_piece(
    described: dict[str, Any], interrupts: Interrupts, progress: Screen | None
) -> tuple[dict[str, Any], bool]:
    """One round: its races and their arrays; and whether it is whole. Raises HarnessFault for a race that broke."""
    subject, number = described["bench"], described["round"]
    its = _experiment(subject)
    sites = declared_sites(its.scenario)
    costs, ready = any(point.scenario.costs for point in its.points), None
    with interrupts.at_once():
        ready = _prepared(its.scenario.flow, bool(sites), costs, subject["cpus"])
    if ready is None:
        return {}, False
    named = {ordering.name: ordering for ordering in its.orderings}
    by_arm = {arm.arm: named[arm.ordering] for arm in arms(its.orderings, perturbed=its.scenario.perturbed)}
    due = turns(number, its.scenario.seed, its.points, by_arm)
    with display(progress) as drawn:
        view = BenchProgress(drawn)

        def show(turn: Any) -> BenchProgress:
            view.at(turn, rounds=its.rounds, races=its.races, left_s=None)
            return view

        try:
            done = run_round(replace(ready[0], perturbation=sites), due, interrupts, show)
        except RoundBroken as error:
            raise HarnessFault(str(error)) from None
    if done is None:
        return {}, False
    packed = io.BytesIO()
    np.savez_compressed(packed, **done.arrays)  # type: ignore[arg-type]
    races = [race.model_dump(mode="json") for race in done.races]
    return {"races": races, "host": ready[1], "arrays": base64.b64encode(packed.getvalue()).decode()}, True


def _leave(its: Session, directory: RunDirectory, job: Job, pieces: Pieces) -> int:
    """The record of the rounds that are there, with their arrays, and all that a bench leaves; the exit code."""
    subject, found = _experiment(job.subject), {key: pieces.done[key] for key in job.pieces if key in pieces.done}
    machines = sorted({one["machine"] for one in found.values()})
    apart = len(machines) > 1
    if apart and subject.sweep_key is not None:
        raise UsageFault(f"a sweep stays on one machine, and {len(machines)} ran its rounds: merge those of one")
    hosts = {name: pieces.machines.get(name, {}) for name in machines}
    for one in found.values():
        hosts[one["machine"]] = {**hosts[one["machine"]], **one["found"]["host"]}
    place = opened(partial(reopen_bench_directory, directory.path))
    try:
        bench = first_record(subject, hosts[machines[0]] if machines else facts()).model_copy(update={"hosts": hosts})
        if apart:
            names = tuple(f"{MACHINE}={name}" for name in machines)
            bench = bench.model_copy(update={"sweep": Sweep(key=MACHINE, values=tuple(machines), points=names)})
        rounds: dict[int, tuple[list[Race], dict[str, Any]]] = {}
        counts = dict.fromkeys(machines, 0)
        for one in found.values():
            name = one["machine"]
            counts[name] += 1
            races, arrays = rounds.setdefault(counts[name], ([], {}))
            point = f"{MACHINE}={name}" if apart else None
            races += [
                Race(**{**race, "round": counts[name], **({"point": point} if point else {})})
                for race in one["found"]["races"]
            ]
            with np.load(io.BytesIO(base64.b64decode(one["found"]["arrays"])), allow_pickle=False) as packed:
                arrays |= {f"{point}/{key}" if point else key: packed[key] for key in packed.files}
        for races, arrays in rounds.values():
            seconds = round(bench.seconds + sum(race.seconds for race in races), 3)
            bench = bench.model_copy(update={"rounds": (*bench.rounds, *races), "seconds": seconds})
            place.write_round(bench, arrays)
        if not rounds:
            return its.nothing()
        code = finish(its, place, bench, [parse_gate(text) for text in getattr(its.request, "fail_if", ())])
        return told_of_missing(its, pieces, job, code)
    finally:
        place.close()
