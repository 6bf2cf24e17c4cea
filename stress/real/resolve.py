"""What `run` of a real scenario was asked for; an option that means nothing there is refused."""

from scenarios.reals import Real, load_real, with_values
from stress.commands import typed
from stress.errors import UsageFault
from stress.options import RunRequest

# What an ordering or a model has, and a kernel's own shootdown has not.
MEAN_NOTHING = (
    "orderings", "shootdowns", "warmup", "rate", "workers", "placement", "delays", "amplify", "outcome", "budget",
    "trace",
)  # fmt: skip
WHY_NOTHING = "the kernel's own shootdown has no ordering, no step and no rate of ours"


def resolve_real(request: RunRequest) -> Real:
    """The scenario with every option applied. Raises ScenarioError and UsageFault."""
    if refused := typed(request, MEAN_NOTHING):
        raise UsageFault(f"{refused[0]}: means nothing in scenario {request.scenario}: {WHY_NOTHING}; leave it out")
    if request.zappers not in (None, 1):
        raise UsageFault(f"--zappers: expected 1 in scenario {request.scenario}, found {request.zappers}")
    given = {"vcpus": request.vcpus, "pages": request.pages, "duration_s": request.duration, "seed": request.seed}
    return with_values(load_real(request.scenario), request.settings, request.faults, **given)
