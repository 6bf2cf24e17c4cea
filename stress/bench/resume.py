"""A bench that goes on from its record: its rounds as pieces, and a refusal where going on would mix two things."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results.kinds.bench.directory import read_bench, read_round
from results.kinds.bench.record import AGAIN, BENCH, Bench
from results.machine.comparable import Kind, differing
from results.machine.host import host_facts
from scenarios.models import Ordering, Scenario
from stress.bench.beside import arms_of
from stress.bench.design import Experiment, checked_budget, checked_rounds, points
from stress.bench.pieces import as_piece, job_of, subject_of
from stress.errors import UsageFault
from stress.options import BenchRequest
from stress.pieces.record import Pieces, Plain
from stress.pieces.run import refuse_changes
from stress.processes.placement import chosen_cpus, shown
from stress.provenance import commit, machine_id, version
from stress.session import opened

NOT_OF_MODEL = ("real", "changed", "own")  # of a record's scenario


def longer(subject: Plain, request: BenchRequest) -> Plain:
    """With the rounds or the budget that are asked for now. Raises UsageFault."""
    budget_s = checked_budget(request)
    if request.rounds is not None:
        return {**subject, "rounds": checked_rounds(request.rounds), "budget_s": None}
    return subject if budget_s is None else {**subject, "budget_s": budget_s}


def adopted(request: BenchRequest, more: Sequence[str]) -> tuple[Plain, Pieces]:
    """What the record in the directory of `--resume` was begun with, and its rounds. Raises UsageFault."""
    assert request.resume is not None
    path = request.resume
    bench = opened(partial(read_bench, path))
    refuse_changes(request, more)
    cpus = bench.host.get("cpus_used")
    subject = longer(subject_of(experiment_of(path / BENCH, bench), cpus), request)
    job, here = job_of(subject), machine_id()
    each_s = bench.seconds / max(bench.finished_rounds, 1)
    pieces = Pieces(path, {**job.header, "command": list(bench.command)})
    for machine in bench.machines:
        pieces.machines[machine or here] = bench.hosts.get(machine, bench.host)
    for number, key in enumerate(job.pieces, start=1):
        if races := [race for race in bench.rounds if race.round == number]:
            found = as_piece(
                races, opened(partial(read_round, path, number)), pieces.machines[races[0].machine or here]
            )
            told = {"seed": bench.seed, "machine": races[0].machine or here, "started": bench.started}
            pieces.done[key] = {**told, "seconds": each_s, "found": found}
    allowed = chosen_cpus(cpus)
    refuse_mixed(bench, {**host_facts(), "cpus_allowed": len(allowed), "cpus_used": shown(allowed)})
    pieces.fresh |= set(pieces.done)
    return subject, pieces


def refuse_mixed(bench: Bench, host: Mapping[str, Any]) -> None:
    """Raises UsageFault where rounds of then and now would not belong together; `host`: the machine as it is now."""
    for one in differing(bench.host, host) if "id" not in bench.host else ():
        if one.kind == Kind.machine:
            raise UsageFault(f"--resume: not the machine of the first rounds: {one.text}")
    for words, before, now in (("version", bench.version, version()), ("commit", bench.commit, commit())):
        if before != now:
            raise UsageFault(f"--resume: {words} was {before}, and is {now}: rounds of both do not compare")


def experiment_of(where: Path, bench: Bench) -> Experiment:
    """What the record was begun with. Raises UsageFault where it holds no scenario or ordering of ours."""
    of_model = {key: value for key, value in bench.scenario.items() if key not in NOT_OF_MODEL}
    sweep, design, real = bench.sweep, bench.design, bench.is_real
    arms = [arm for arm in bench.arms if arm.arm != AGAIN]
    names = [arm.ordering for arm in arms]
    try:
        scenario, key = Scenario.model_validate(of_model), sweep.key if sweep else None
        swept = [sweep.over(of_model, value) for value in sweep.values] if sweep else [of_model]
        scenarios = [Scenario.model_validate(one) for one in swept]
        orderings = arms_of(names) if real else [Ordering.model_validate(arm.parameters) for arm in arms]
    except ValidationError as refused:
        first = refused.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "its whole"
        said = f"found at {place}: {first['msg']}"
        raise UsageFault(f"{where}: expected a scenario and orderings of this version, {said}") from None
    of_scenario = {key: bench.scenario[key] for key in ("changed", "own") if key in bench.scenario}
    changed = {"scenario": of_scenario, "orderings": {arm.ordering: {"changed": arm.changed} for arm in arms}}
    return Experiment(scenario, orderings, key, points(key, scenarios), design.rounds, design.budget_s, changed, real)
