"""What `explore --matrix` was asked for: orderings without a fault of their own, and faults."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scenarios.faults import faults
from scenarios.loader import apply_settings, load_orderings, load_scenario, shipped_orderings, with_faults
from scenarios.models import Ordering
from stress.errors import UsageFault
from stress.explore.atlas_request import SCENARIO, refuse_what_is_decided
from stress.explore.machines import MACHINES
from stress.options import ExploreRequest
from stress.unread import check_read, chosen_keys


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is crossed. `rows`, by flow: each fault alone, then each that shows only beside others with those."""

    orderings: tuple[Ordering, ...]
    rows: dict[str, list[tuple[str, ...]]]

    @property
    def faults(self) -> list[str]:
        """Every fault, in the order of the rows."""
        return list(dict.fromkeys(fault for its in self.rows.values() for row in its for fault in row))


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
    _, orderings = apply_settings(load_scenario(SCENARIO), chosen, request.settings)
    rows = _rows(request.faults)
    _check_settings(request, orderings, rows)
    return Matrix(tuple(orderings), rows)


def _check_settings(request: ExploreRequest, orderings: Sequence[Ordering], flows: Iterable[str]) -> None:
    """Raises UsageFault for a key of `--set` that no step looks at on the machines of any flow."""
    keys, refused = chosen_keys(SCENARIO, request.settings), []
    for flow in flows:
        try:
            check_read(*MACHINES[flow][0].under(orderings), keys)
        except UsageFault as fault:
            refused.append(fault)
        else:
            return
    if refused:
        raise refused[0]


def _rows(wanted: Sequence[str]) -> dict[str, list[tuple[str, ...]]]:
    """The rows of the faults that are wanted, of every one where none is named, in the order of the flows."""
    rows: dict[str, dict[tuple[str, ...], None]] = {flow: {} for flow in MACHINES}
    chosen = [shown for shown in faults().values() if not wanted or shown.name in wanted]
    for shown in chosen:
        rows[shown.flow][(shown.name,)] = None
    for shown in chosen:
        if shown.beside and not any(set(row) == set(shown.faults) for row in rows[shown.flow]):
            rows[shown.flow][shown.faults] = None
    return {flow: list(its) for flow, its in rows.items() if its}
