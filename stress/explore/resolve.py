"""What `explore` was asked for, and what it comes to: orderings on a machine of some size; with --orders one ordering
whose steps are taken in every order; with --matrix orderings without a fault of their own, and faults.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scenarios.faults import faults
from scenarios.fields import FLOW_NAMES
from scenarios.loader import (
    ScenarioError,
    apply_settings,
    load_orderings,
    load_scenario,
    setting_key,
    shipped_orderings,
    with_faults,
    with_options,
)
from scenarios.models import MACHINE_KEYS, Ordering, Scenario
from scenarios.settings import SCENARIO_KEYS
from stress.commands import typed
from stress.errors import UsageFault
from stress.explore.machines import CONTRACT, GUARDED, OWN_TRACK, Machine, machines
from stress.options import ExploreRequest
from stress.resolve import check_read, chosen_keys, own_locks

# Where a scenario says nothing: the smallest machine, and a page for each zapper.
SMALLEST = {"tlb_entries": 1, "shootdowns": 1}
# Above, an exhaustive search has no hope, and its words no room.
MAX_ACTORS, MAX_PAGES = 8, 8
SETTABLE = ("vcpus", "zappers", "pages", "tlb_entries", "shootdowns", "seed")
NOT_SETTABLE = frozenset(Scenario.model_fields) - {*SETTABLE, *MACHINE_KEYS, "orderings"}
DEFAULT, SCENARIO = "v18", "small"  # of the atlas; what neither it nor the matrix decides
MAX = {"random": 1_000_000_000, "pct": 100, "threads": 256}
WHOLE = ("no_symmetry", "no_reduction", "no_liveness")  # of a search of every interleaving
OF_MACHINES = (
    "vcpus", "zappers", "pages", "tlb_entries", "shootdowns", *WHOLE, "random", "pct", "fail_fast", "dump", "sweep",
)  # fmt: skip


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
    said |= _settable(request.settings)
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


def _settable(settings: Sequence[str]) -> set[str]:
    """The keys that `--set` changes. Refuses keys of a scenario that mean nothing here."""
    keys = {setting_key(setting) for setting in settings}
    refuse_leaking(settings)
    for key in sorted(keys):
        if key in NOT_SETTABLE or key.partition(".")[0] in ("yields", "delays", "costs"):
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
    _check_bounds(request, MAX)
    if request.random is not None and (given := typed(request, (*WHOLE, "memory"))):
        raise UsageFault(f"{given[0]}: belongs to a search of every interleaving, which --random is not")


def _check_bounds(request: ExploreRequest, names: Iterable[str]) -> None:
    for name in names:
        value = getattr(request, name)
        if value is not None and not 1 <= value <= MAX[name]:
            raise UsageFault(f"--{name}: expected a whole number from 1 to {MAX[name]}, found {value}")


def _check_size(scenario: Scenario) -> None:
    actors = scenario.vcpus + scenario.zappers
    found = f"{scenario.vcpus} vCPUs and {scenario.zappers} zappers"
    if actors > MAX_ACTORS:
        raise UsageFault(
            f"{scenario.name}: expected at most {MAX_ACTORS} actors to look at every interleaving, found {found}; "
            "try --vcpus 2 --zappers 2, or --random 10000"
        )
    if scenario.pages > MAX_PAGES:
        batch = "--set batch=2 --tlb-entries 2 " if scenario.batch > 1 else ""
        least = scenario.zappers * (2 if batch else 1)
        raise UsageFault(
            f"{scenario.name}: expected at most {MAX_PAGES} pages to look at every interleaving, found "
            f"{scenario.pages}; try {batch}--pages {least}, or --random 10000"
        )


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
    if locks := own_locks(orderings[0]):
        raise UsageFault(f'--orders: {orderings[0].name}: expected steps without locks, found "{locks[0]}"')
    return scenario, orderings[0]


def refuse_what_is_decided(request: ExploreRequest, verb: str) -> None:
    """The atlas, and the matrix, has machines of its own, and no one method, so that its tables can be held against one
    another.
    """
    given = [f"SCENARIO {request.scenario}"] if request.scenario != SCENARIO else []
    given += typed(request, OF_MACHINES)
    given += [f"--set {key}" for key in map(setting_key, request.settings) if key in SCENARIO_KEYS]
    refuse_leaking(request.settings)
    _check_bounds(request, ("threads",))
    if given:
        raise UsageFault(
            f"{given[0]}: means nothing beside {verb}, which has machines of its own; leave one of them out"
        )
    if verb != "--orders" and request.seed is not None:
        raise UsageFault(f"--seed {request.seed}: nothing is drawn by {verb}; leave it out")


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is crossed. `rows`, by flow: each fault alone, then each that shows only beside others with those."""

    orderings: tuple[Ordering, ...]
    rows: dict[str, list[tuple[str, ...]]]


def resolve_matrix(request: ExploreRequest) -> Matrix:
    """Every shipped ordering and every fault where none are named. Raises ScenarioError and UsageFault."""
    refuse_what_is_decided(request, "--matrix")
    named = load_orderings(request.orderings) if request.orderings else []
    with_faults(named, request.faults)  # refuses what is no fault
    for ordering in named:
        if ordering.faults:
            raise UsageFault(
                f"--ordering {ordering.name}: expected one without faults, found {', '.join(ordering.faults)}; "
                "--matrix adds them one at a time"
            )
    chosen = named or [ordering for ordering in shipped_orderings() if not ordering.faults]
    _, orderings = apply_settings(load_scenario(SCENARIO), chosen, request.settings)
    rows = _rows(request.faults)
    _check_settings(request, orderings, [machines(flow)[0] for flow in rows])
    return Matrix(tuple(orderings), rows)


Parts = dict[str, tuple[Machine, ...]]


def resolve_contract(request: ExploreRequest) -> tuple[list[Ordering], Parts]:
    """The orderings, the scenario's where none is named, and the machines: of every part, or of its own. Raises
    ScenarioError and UsageFault.
    """
    refuse_what_is_decided(request._replace(scenario=SCENARIO), "--contract")
    if given := typed(request, ("share", "cluster", "resume")):
        raise UsageFault(f"{given[0]}: means nothing beside --contract, which has no pieces; leave it out")
    scenario = load_scenario(request.scenario)
    flow = scenario.flow
    if "+" in flow and not scenario.matrix:
        raise UsageFault(f"SCENARIO {request.scenario}: expected small machines of {flow} in its `matrix`, found none")
    found = {flow: machines(flow, CONTRACT, request.scenario if scenario.matrix else "")}
    if request.scenario == SCENARIO:
        found = {flow: machines(flow, CONTRACT) for flow in FLOW_NAMES}
    named = load_orderings(request.orderings or scenario.orderings)
    _, orderings = apply_settings(load_scenario(SCENARIO), named, request.settings)
    orderings = with_faults(orderings, request.faults)
    if all(ordering.gate == "none" for ordering in orderings):
        found.pop(OWN_TRACK, None)
    if request.scenario == SCENARIO and all(ordering.guard == "own" for ordering in orderings):
        found.pop(GUARDED)
    if not found:
        raise UsageFault(f"SCENARIO {request.scenario}: expected an --ordering with a gate, for which its vCPUs TRACK")
    _check_settings(request, orderings, [its[0] for its in found.values()])
    return orderings, found


def _check_settings(request: ExploreRequest, orderings: Sequence[Ordering], first: Iterable[Machine]) -> None:
    """Raises UsageFault for a key of `--set` that no step looks at on any of these machines, the first of each flow."""
    keys, refused = chosen_keys(SCENARIO, request.settings), []
    for machine in first:
        try:
            check_read(*machine.under(orderings), keys)
        except UsageFault as fault:
            refused.append(fault)
        else:
            return
    if refused:
        raise refused[0]


def _rows(wanted: Sequence[str]) -> dict[str, list[tuple[str, ...]]]:
    """The rows of the faults that are wanted, of every one where none is named, in the order of the flows."""
    rows: dict[str, dict[tuple[str, ...], None]] = {flow: {} for flow in FLOW_NAMES}
    chosen = [shown for shown in faults().values() if not wanted or shown.name in wanted]
    for shown in chosen:
        rows.setdefault(shown.flow, {})[(shown.name,)] = None
    for shown in chosen:
        if shown.beside and not any(set(row) == set(shown.faults) for row in rows[shown.flow]):
            rows[shown.flow][shown.faults] = None
    return {flow: list(its) for flow, its in rows.items() if its}
