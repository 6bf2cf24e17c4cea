"""What `run --amplify` was asked for: an outcome for each ordering and a budget; the command that repeats a setting."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from scenarios.fields import OUTCOMES
from scenarios.loader import setting_key
from scenarios.models import Ordering, Scenario
from scenarios.wording import unknown
from stress.commands import typed
from stress.errors import UsageFault
from stress.options import RunRequest
from stress.resolve import budget_seconds
from stress.run.drawn_settings import Setting

DEFAULT_BUDGET, NOT_COUNTED = "60s", "no_progress"
DECIDED = ("duration_s", "shootdowns", "warmup_s")
# Of what was typed, what decides a search and stands in the command that repeats a setting.
REPEATED = (
    "scenario", "vcpus", "zappers", "pages", "rate", "seed", "workers", "placement", "cpus", "settings", "faults",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """An ordering, as it was typed or stands in the scenario, and the outcome that it is to show."""

    ordering: Ordering
    typed: str
    outcome: str


def resolve_amplification(
    request: RunRequest, scenario: Scenario, orderings: Sequence[Ordering]
) -> tuple[list[Target], float]:
    """Each ordering with the outcome to look for, and the seconds for each. Raises UsageFault."""
    if request.amplify != "auto":
        found = f'found "{request.amplify}"; a setting of your own is --delay and --set'
        raise UsageFault(f"--amplify: expected auto, {found}")
    if request.trace:
        raise UsageFault("--amplify: expected no --trace beside it: trace the setting that it finds")
    _refuse_what_is_decided(request)
    outcome = request.outcome
    if outcome is not None and outcome not in OUTCOMES:
        raise UsageFault(f"--for: {unknown('outcome', outcome, OUTCOMES)}")
    named = request.orderings or scenario.orderings
    targets = [Target(one, text, _expected(one, outcome)) for one, text in zip(orderings, named, strict=True)]
    return targets, budget_seconds(request.budget or DEFAULT_BUDGET)


def _refuse_what_is_decided(request: RunRequest) -> None:
    """Races are as many and as long as the budget allows, without a warm-up."""
    keys = set(map(setting_key, request.settings))
    given = typed(request, ("duration", "shootdowns", "warmup")) + [f"--set {key}" for key in DECIDED if key in keys]
    if given:
        raise UsageFault(f"{given[0]}: means nothing beside --amplify, whose races share out --budget; leave it out")


def _expected(ordering: Ordering, outcome: str | None) -> str:
    if outcome is None and isinstance(ordering.expect, str):
        raise UsageFault(f"--for: expected an outcome to look for, as {ordering.name} is declared safe, found none")
    chosen = outcome or ordering.expect[0]
    if chosen == NOT_COUNTED:
        raise UsageFault(f"--for: expected an outcome that is counted, found {NOT_COUNTED}, which ends a race")
    return chosen


def repeated(request: RunRequest, scenario: Scenario, target: Target, setting: Setting) -> str:
    """The command that races this setting for itself."""
    words = ["tdx-stress", "run", request.scenario, "--ordering", target.typed]
    words += ["--vcpus", str(setting.vcpus), "--zappers", str(setting.zappers), "--duration", "5s"]
    pages = setting.applied(scenario).pages
    if request.pages is not None or pages != scenario.pages:
        words += ["--pages", str(pages)]
    for option, value in (
        ("--rate", setting.start_rate if setting.start_offset else request.rate),
        ("--seed", request.seed),
        ("--workers", request.workers),
        ("--placement", request.placement),
        ("--cpus", request.cpus),
    ):
        words += [option, str(value)] if value is not None else []
    for fault in request.faults:
        words += ["--fault", fault]
    for text in request.settings:
        words += ["--set", text]
    if scenario.yields or setting.yields:
        inner = ", ".join(f'"{label}" = {odds:g}' for label, odds in setting.yields)
        words += ["--set", f"yields={{ {inner} }}" if inner else "yields={}"]
    if scenario.storm_us or setting.storm_us:
        words += ["--set", f"storm_us={setting.storm_us}"]
    if scenario.start_offset or setting.start_offset:
        words += ["--set", f'start_offset="{setting.start_offset}"']
    if scenario.delays:
        words += ["--set", "delays={}"]
    for label, delay in setting.delays:
        words += ["--delay", f"{label}={delay}"]
    return shlex.join(words)
