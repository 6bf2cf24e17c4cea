"""What `explore --matrix` was asked for: orderings without a fault of their own, and faults."""

from dataclasses import dataclass

from kernels.rules import Fault
from scenarios.faults import FAULTS, name_of
from scenarios.loader import apply_settings, load_orderings, load_scenario, shipped_orderings, with_faults
from scenarios.models import Ordering, Scenario
from stress.atlas_request import SCENARIO, refuse_what_is_decided
from stress.errors import UsageFault
from stress.exploring import ExploreRequest


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is crossed; `scenario` gives what no search looks at."""

    scenario: Scenario
    orderings: tuple[Ordering, ...]
    faults: tuple[Fault, ...]


def resolve_matrix(request: ExploreRequest) -> Matrix:
    """Every shipped ordering and every fault where none are named. Raises ScenarioError and UsageFault."""
    refuse_what_is_decided(request, "--matrix")
    if request.seed is not None:
        raise UsageFault(f"--seed {request.seed}: nothing is drawn by --matrix; leave it out")
    named = load_orderings(request.orderings) if request.orderings else []
    with_faults(named, request.faults)  # refuses what is no fault
    for ordering in named:
        if ordering.faults:
            raise UsageFault(
                f"--ordering {ordering.name}: expected one without faults, found {', '.join(ordering.faults)}; "
                "--matrix adds them one at a time"
            )
    chosen = named or [ordering for ordering in shipped_orderings() if not ordering.faults]
    scenario, orderings = apply_settings(load_scenario(SCENARIO), chosen, request.settings)
    faults = tuple(fault for fault in FAULTS if not request.faults or name_of(fault) in request.faults)
    return Matrix(scenario, tuple(orderings), faults)
