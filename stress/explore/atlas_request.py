"""What `explore --orders` was asked for: an ordering whose steps are taken in every order."""

from scenarios.loader import apply_settings, load_orderings, load_scenario, setting_key, with_faults
from scenarios.models import Ordering, Scenario
from scenarios.settings import SCENARIO_KEYS
from stress.errors import UsageFault
from stress.explore.resolve import MOST_THREADS, refuse_leaking
from stress.options import ExploreRequest
from stress.processes.memory import chosen_memory, in_address_space
from stress.unread import check_read, chosen_keys

DEFAULT, SCENARIO = "v18", "small"


def resolve_atlas(request: ExploreRequest) -> tuple[Scenario, Ordering]:
    """What no search looks at, and the ordering with its faults. Raises ScenarioError and UsageFault."""
    refuse_what_is_decided(request, "--orders")
    if len(request.orderings) > 1:
        raise UsageFault(
            f"--orders: expected one --ordering, whose steps are reordered, found {len(request.orderings)}"
        )
    if request.seed is not None and request.seed < 0:
        raise UsageFault(f"--seed: expected 0 or more, found {request.seed}")
    scenario, orderings = apply_settings(
        load_scenario(SCENARIO), load_orderings(request.orderings or (DEFAULT,)), request.settings
    )
    orderings = with_faults(orderings, request.faults)
    check_read(scenario, orderings, chosen_keys(SCENARIO, request.settings))
    return scenario, orderings[0]


def refuse_what_is_decided(request: ExploreRequest, verb: str) -> None:
    """The atlas, and the matrix, has machines of its own, and no one method, so that its tables can be held against one
    another.
    """
    given = {
        f"SCENARIO {request.scenario}": request.scenario != SCENARIO,
        "--vcpus": request.vcpus is not None,
        "--zappers": request.zappers is not None,
        "--pages": request.pages is not None,
        "--tlb-entries": request.tlb_entries is not None,
        "--shootdowns": request.shootdowns is not None,
        "--no-symmetry": request.no_symmetry,
        "--no-reduction": request.no_reduction,
        "--no-liveness": request.no_liveness,
        "--random": request.random is not None,
        "--pct": request.pct is not None,
        "--fail-fast": request.fail_fast,
    }
    given |= {f"--set {key}": key in SCENARIO_KEYS for key in map(setting_key, request.settings)}
    refuse_leaking(request.settings)
    if request.threads is not None and not 1 <= request.threads <= MOST_THREADS:
        raise UsageFault(f"--threads: expected a whole number from 1 to {MOST_THREADS}, found {request.threads}")
    found = next((option for option, there in given.items() if there), None)
    if found is not None:
        raise UsageFault(f"{found}: means nothing beside {verb}, which has machines of its own; leave one of them out")


def memory_of_each(request: ExploreRequest, threads: int, unsaid: int) -> int:
    """The bytes of one search where so many go on at once: their share of --memory, or what it is where none is given.
    Raises UsageFault.
    """
    if request.memory is None:
        return in_address_space(unsaid * threads) // threads
    return chosen_memory(request.memory) // threads
