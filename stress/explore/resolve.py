"""What `explore` was asked for on the command line, and what it comes to: orderings on a machine of some size."""

from collections.abc import Sequence

from scenarios.loader import (
    ScenarioError,
    apply_settings,
    load_orderings,
    load_scenario,
    setting_key,
    with_faults,
    with_options,
)
from scenarios.models import MACHINE_KEYS, Ordering, Scenario
from stress.errors import UsageFault
from stress.options import ExploreRequest
from stress.unread import check_read, chosen_keys

# Where a scenario says nothing: the smallest machine, and a page for each zapper.
SMALLEST = {"tlb_entries": 1, "shootdowns": 1}
# Above, an exhaustive search has no hope, and its words no room.
MOST_ACTORS, MOST_PAGES = 8, 8
SETTABLE = ("vcpus", "zappers", "pages", "tlb_entries", "shootdowns", "seed")
NOT_SETTABLE = frozenset(Scenario.model_fields) - {*SETTABLE, *MACHINE_KEYS, "orderings"}
MOST_SCHEDULES, MOST_DEPTH, MOST_THREADS = 1_000_000_000, 100, 256


def resolve_exploration(request: ExploreRequest) -> tuple[Scenario, list[Ordering]]:
    """The machine with every option applied, and the orderings to explore in turn.

    A scenario's times, rate, pattern of reads and yields are dropped: they change how often something happens, not
    whether it can. Raises ScenarioError and UsageFault.
    """
    _check_method(request)
    scenario = load_scenario(request.scenario)
    orderings = load_orderings(request.orderings or scenario.orderings)
    said = set(scenario.model_fields_set)
    scenario = with_options(scenario, **{key: value for key, value in SMALLEST.items() if key not in said})
    scenario = scenario.model_copy(update={"rate": 0.0, "reads": "uniform", "yields": {}})
    said |= _settable(request.settings, orderings)
    scenario, orderings = apply_settings(scenario, orderings, request.settings)
    sizes = {key: getattr(request, key) for key in SETTABLE}
    scenario = with_options(scenario, **sizes)
    if "pages" not in said and request.pages is None:
        scenario = with_options(scenario, pages=scenario.zappers * scenario.batch)
    if request.random is None:
        _check_size(scenario)
    if not scenario.shootdowns:
        raise UsageFault("--shootdowns: expected 1 or more, for each zapper: an exploration without an end has none")
    orderings = with_faults(orderings, request.faults)
    check_read(scenario, orderings, chosen_keys(request.scenario, request.settings))
    return scenario, orderings


def _settable(settings: Sequence[str], orderings: Sequence[Ordering]) -> set[str]:
    """The keys that `--set` changes. Refuses keys of a scenario that mean nothing here."""
    keys = {setting_key(setting) for setting in settings}
    refuse_leaking(settings)
    for key in sorted(keys):
        if key in NOT_SETTABLE or key.partition(".")[0] in ("yields", "delays"):
            raise ScenarioError(f"--set: {key}: means nothing here, where all timings are explored; see `run`")
    return keys


def refuse_leaking(settings: Sequence[str]) -> None:
    """Refuses a reaction to errors that no search has, as they are the end of the VM. Raises ScenarioError."""
    for setting in settings:
        if setting_key(setting) == "on_error" and "leak_page" in setting:
            raise ScenarioError(
                '--set: on_error: "leak_page" means nothing here, where an error is the end of the VM, as in "stop"; '
                'it lets a race go on and count, see `run`; "free_page" has a meaning in both'
            )


def _check_method(request: ExploreRequest) -> None:
    if request.pct is not None and request.random is None:
        raise UsageFault("--pct: expected --random N beside it, the number of schedules to draw")
    for option, value, most in (
        ("--random", request.random, MOST_SCHEDULES),
        ("--pct", request.pct, MOST_DEPTH),
        ("--threads", request.threads, MOST_THREADS),
    ):
        if value is not None and not 1 <= value <= most:
            raise UsageFault(f"{option}: expected a whole number from 1 to {most}, found {value}")
    if request.random is not None:
        whole = {
            "--no-symmetry": request.no_symmetry,
            "--no-reduction": request.no_reduction,
            "--no-liveness": request.no_liveness,
        }
        given = [option for option, out in whole.items() if out]
        if given or request.memory is not None:
            option = given[0] if given else "--memory"
            raise UsageFault(f"{option}: belongs to a search of every interleaving, which --random is not")


def _check_size(scenario: Scenario) -> None:
    actors = scenario.vcpus + scenario.zappers
    found = f"{scenario.vcpus} vCPUs and {scenario.zappers} zappers"
    if actors > MOST_ACTORS:
        raise UsageFault(
            f"{scenario.name}: expected at most {MOST_ACTORS} actors to look at every interleaving, found {found}; "
            "try --vcpus 2 --zappers 2, or --random 10000"
        )
    if scenario.pages > MOST_PAGES:
        batch = "--set batch=2 --tlb-entries 2 " if scenario.batch > 1 else ""
        least = scenario.zappers * (2 if batch else 1)
        raise UsageFault(
            f"{scenario.name}: expected at most {MOST_PAGES} pages to look at every interleaving, found "
            f"{scenario.pages}; try {batch}--pages {least}, or --random 10000"
        )
