"""Each fault of a flow of its own, explored: it is caught, and where a right kernel hides it, it is not.

Those of the default flow stand in kernels/tdx/tests/test_faults.py.
"""

import pytest

from results.grades import FAILING, grade_of
from results.kinds.exploration import failing
from scenarios.faults import Shown, faults, to_explore
from scenarios.loader import load_ordering
from stress.explore.machines import machines
from stress.explore.ordering import Whole, search
from stress.explore.pairs import look_at, rules_on

ELSEWHERE = {name: shown for name, shown in faults().items() if shown.flow != "shootdown"}
RIGHT = ("spec", "v18", "v6_16", "flag_gate")
# What shows only beside another fault, a right module or a right KVM hides whatever the order; the others some orders.
HIDDEN_BY = {
    **{name: RIGHT for name, shown in ELSEWHERE.items() if shown.beside},
    "sept_remove_without_tracking": RIGHT,
    "freeze_child_once": ("spec", "v6_16", "flag_gate"),
}
HIDDEN = [(name, ordering) for name, orderings in HIDDEN_BY.items() for ordering in orderings]


@pytest.mark.parametrize("shown", ELSEWHERE.values(), ids=lambda shown: shown.name)
def test_a_fault_is_caught_and_its_order_shows_nothing_of_the_kind_without_it(shown: Shown) -> None:
    ((machine,), ordering) = to_explore(shown)
    stuck = shown.shows == "no_progress"
    until = Whole(memory_bytes=1 << 30, threads=1, until=(shown.shows,), liveness=stuck)

    caught = search(ordering, machine, until, lambda _: True).entry
    without = search(ordering.model_copy(update={"faults": ()}), machine, until, lambda _: True).entry

    assert shown.shows in failing(caught)
    assert without["complete"]
    assert shown.shows not in failing(without)


@pytest.mark.parametrize("shown", [one for one in ELSEWHERE.values() if one.beside], ids=lambda shown: shown.name)
def test_beside_the_others_alone_nothing_of_the_kind_is_seen(shown: Shown) -> None:
    ((machine,), ordering) = to_explore(shown)
    others = ordering.model_copy(update={"faults": shown.beside})

    entry = search(others, machine, Whole(memory_bytes=1 << 30, threads=1, liveness=False), lambda _: True).entry

    assert entry["complete"]
    assert shown.shows not in failing(entry)


@pytest.mark.parametrize(("name", "ordering"), HIDDEN)
def test_a_right_order_hides_a_fault(name: str, ordering: str) -> None:
    flow = ELSEWHERE[name].flow

    for machine in machines(flow):
        if machine.tier.vcpus == 1:
            seen = look_at(rules_on(machine, load_ordering(ordering), (name,)), machine.tier)

            assert seen.complete
            assert not [outcome for outcome in seen.found if grade_of(outcome) in FAILING]
