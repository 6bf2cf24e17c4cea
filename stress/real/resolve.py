"""What `run` of a real scenario was asked for; an option that means nothing there is refused."""

from collections.abc import Sequence

from scenarios.reals import Real, load_real, with_values
from stress.commands import typed
from stress.errors import UsageFault
from stress.options import BenchRequest, RunRequest

# What an ordering or a model has, and a kernel's own shootdown has not.
MEAN_NOTHING = (
    "orderings", "shootdowns", "warmup", "rate", "workers", "placement", "delays", "amplify", "outcome", "budget",
    "trace",
)  # fmt: skip


def resolve_real(request: RunRequest) -> Real:
    """The scenario with every option applied. Raises ScenarioError and UsageFault."""
    refuse(request, MEAN_NOTHING)
    if request.zappers not in (None, 1):
        raise UsageFault(f"--zappers: expected 1 in scenario {request.scenario}, found {request.zappers}")
    given = {"vcpus": request.vcpus, "pages": request.pages, "duration_s": request.duration, "seed": request.seed}
    return with_values(load_real(request.scenario), request.settings, request.faults, **given)


def refuse(request: RunRequest | BenchRequest, options: Sequence[str]) -> None:
    """Raises UsageFault where one of these was typed, as it means nothing there."""
    if refused := typed(request, options):
        why = "the kernel's own shootdown has no ordering, no step and no rate of ours"
        raise UsageFault(f"{refused[0]}: means nothing in scenario {request.scenario}: {why}; leave it out")
