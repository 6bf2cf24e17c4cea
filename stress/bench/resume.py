"""A bench that goes on: its experiment from its own record, and a refusal where going on would mix two things."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results.kinds.bench.record import AGAIN, Bench
from results.machine.comparable import Kind, differing
from scenarios.models import Ordering, Scenario
from stress.bench.beside import arms_of
from stress.bench.design import Experiment, checked_rounds, points
from stress.commands import typed
from stress.errors import UsageFault
from stress.options import BenchRequest
from stress.provenance import commit, version
from stress.resolve import budget_seconds

STILL_FREE = {
    *("scenario", "include_unsafe", "rounds", "budget", "resume", "fail_if"),
    *("json", "junit", "ktap", "csv", "parquet", "quiet", "verbose", "no_color"),
}


def resumed(bench: Bench, request: BenchRequest, host: Mapping[str, Any]) -> Bench:
    """The record with the rounds or the budget that are asked for now; `host` are the machine's facts as they are now.

    Raises UsageFault where rounds of then and now would not belong together.
    """
    _refuse_changes(request)
    for one in differing(bench.host, host):
        if one.kind == Kind.machine:
            raise UsageFault(f"--resume: not the machine of the first rounds: {one.text}")
    for words, before, now in (("version", bench.version, version()), ("commit", bench.commit, commit())):
        if before != now:
            raise UsageFault(f"--resume: {words} was {before}, and is {now}: rounds of both do not compare")
    design = bench.design
    if request.rounds is not None:
        design = design.model_copy(update={"rounds": checked_rounds(request.rounds), "budget_s": None})
    if request.budget is not None:
        design = design.model_copy(update={"budget_s": budget_seconds(request.budget)})
    return bench.model_copy(update={"design": design})


def _refuse_changes(request: BenchRequest) -> None:
    """Everything else stands in the record already."""
    changed = typed(request, (name for name in BenchRequest._fields if name not in STILL_FREE))
    if changed or request.scenario:
        what = changed[0] if changed else f'the scenario "{request.scenario}"'
        raise UsageFault(
            f"--resume: goes on with what the bench began with, found {what}; only --rounds or --budget change"
        )
    if request.rounds is not None and request.budget is not None:
        raise UsageFault("--budget: expected either --rounds or --budget, found both; a budget decides on the rounds")


def experiment_of(where: Path, bench: Bench) -> Experiment:
    """What the record was begun with. Raises UsageFault where it holds no scenario or ordering of ours."""
    try:
        return _experiment(bench)
    except ValidationError as refused:
        first = refused.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "its whole"
        said = f"found at {place}: {first['msg']}"
        raise UsageFault(f"{where}: expected a scenario and orderings of this version, {said}") from None


def _experiment(bench: Bench) -> Experiment:
    of_model = {key: value for key, value in bench.scenario.items() if key != "real"}
    scenario = Scenario.model_validate(of_model)
    key, scenarios, real = None, [scenario], bench.is_real
    if sweep := bench.sweep:
        key = sweep.key
        scenarios = [Scenario.model_validate(sweep.over(of_model, value)) for value in sweep.values]
    arms = [arm for arm in bench.arms if arm.arm != AGAIN]
    names = [arm.ordering for arm in arms]
    orderings = arms_of(names) if real else [Ordering.model_validate(arm.parameters) for arm in arms]
    design = bench.design
    return Experiment(scenario, orderings, key, points(key, scenarios), design.rounds, design.budget_s, real)
