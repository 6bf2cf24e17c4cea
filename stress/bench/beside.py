"""The bench `real`: arms are the model's `spec`, by each way to kick, and the kernel's own shootdowns."""

from collections.abc import Callable, Sequence

from results.collect.race import Run
from results.collect.real import interrupts_now, interrupts_since
from scenarios.fields import KICKS
from scenarios.loader import ScenarioError, load_ordering, load_scenario, with_options
from scenarios.models import Ordering, Scenario
from scenarios.reals import ARMS, SET, Real, load_real, with_values
from scenarios.wording import unknown
from stress.interrupts import Interrupts
from stress.options import BenchRequest
from stress.processes.kicks import refuse_missing, why_none
from stress.processes.prepared import Prepared
from stress.processes.race import Tally, race
from stress.processes.supervisor import Watch
from stress.real.race import race_real
from stress.real.resolve import refuse

MEAN_NOTHING = ("include_unsafe", "zappers", "warmup", "rate", "workers", "placement")
Show = Callable[[Tally], Watch]


def beside(request: BenchRequest, names: Sequence[str]) -> tuple[Scenario, list[Ordering]]:
    """The model's scenario with what both sides can be told, and the arms: these, or all that are to be had and need no
    KVM. Raises ScenarioError, UsageFault and CannotRunHere.
    """
    refuse(request, MEAN_NOTHING)
    options = {key: getattr(request, key.removesuffix("_s"), None) for key in SET}
    real = with_values(load_real(request.scenario), request.settings, (), **options)
    scenario = with_options(load_scenario("review"), **{key: getattr(real, key) for key in SET})
    scenario = scenario.model_copy(update={"name": real.name, "title": real.title})
    for kick_by in set(names) & set(KICKS):
        refuse_missing(kick_by)
    return scenario, arms_of(names or [*(kick for kick in KICKS if not why_none(kick)), *real.arms])


def arms_of(names: Sequence[str]) -> list[Ordering]:
    """The arms of these names: the model's spec, as far as each is an ordering. Raises ScenarioError."""
    spec, made = load_ordering("spec"), []
    for name in names:
        if name not in (*KICKS, *ARMS) or names.count(name) > 1:
            twice = f"expected each arm once, found {name} again"
            said = twice if names.count(name) > 1 else unknown("arm", name, (*KICKS, *ARMS))
            raise ScenarioError(f"--orderings: {said}")
        told = load_real(name) if name in ARMS else spec
        title = told.title if name in ARMS else f'the model: {spec.name} with kick_by = "{name}"'
        made.append(spec.model_copy(update={"name": name, "title": title, "source": told.source}))
    return made


def race_beside(prepared: Prepared, ordering: Ordering, scenario: Scenario, interrupts: Interrupts, show: Show) -> Run:
    """As `race` does, one arm, with the interrupts that the machine got. Raises HarnessFault."""
    if ordering.name in ARMS:
        real = Real(name="", arms=(ordering.name,), **{key: getattr(scenario, key) for key in SET})
        return race_real(ordering.name, real, prepared.clock, prepared.cpus, interrupts, lambda *_: None)
    before = interrupts_now()
    run = race(prepared, ordering, scenario.model_copy(update={"kick_by": ordering.name}), interrupts, show)
    run.json["interrupts"] = interrupts_since(before)
    return run
