"""Each fault of a flow of its own, explored: it is caught, and where a right kernel hides it, it is not.

Those of the default flow stand in kernels/tdx/tests/test_faults.py.
"""

import pytest

from kernels.search.explore import Exploration
from kernels.tdx.rules import PARTS
from results.kinds.exploration import failing
from results.verdict import FAILING, grade_of
from scenarios.faults import Shown, faults, to_explore
from scenarios.loader import load_ordering
from stress.explore.grid import alone, forbidden
from stress.explore.machines import machines
from stress.explore.ordering import Whole, search
from stress.explore.pairs import look_at, rules_on

ELSEWHERE = {name: shown for name, shown in faults().items() if shown.flow != "shootdown"}
RIGHT = ("spec", "v18", "v6_16", "flag_gate")
# What shows only beside another fault, a right module or a right KVM hides whatever the order; the others some orders.
# In the flow build no other order than v6_19 is right: none guards the state of a TD.
HIDDEN_BY = {
    **{name: RIGHT for name, shown in ELSEWHERE.items() if shown.beside and shown.flow != "build"},
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


# By part the states with a lost kick under v18, a mode and an answer that come too early under spec; by its first
# machine, but for the guest that is stepped from its second violation on.
KICKED = {
    "batch": (31552, 14426, 14506),
    "flush_current": (16737, 7418, 7568),
    "migrate": (20418, 12990, 13098),
    "mmio": (24379, 16725, 18436),
    "populate": (6503, 3862, 4291),
    "sept_pages": (19486, 7183, 7999),
    "shared_ept": (9141, 6745, 6909),
    "teardown": (35158, 18563, 19965),
    "zero_step": (15515, 5498, 6150),
}
TOO_EARLY = (("lost_kick", "v18"), ("outside_too_early", "spec"), ("acknowledged_too_early", "spec"))


@pytest.mark.parametrize("part", KICKED)
def test_a_kick_that_is_lost_or_answered_too_early_is_seen_beside_every_part(part: str) -> None:
    machine = machines(part)[2 if part == "zero_step" else 0]

    def searched(ordering: str, *faults: str) -> Exploration:
        rules = rules_on(machine, load_ordering(ordering), faults)
        return alone(rules, machine.tier, lambda: True, liveness=False)

    assert not any(forbidden(searched(ordering)) for ordering in ("v18", "spec"))
    for (fault, ordering), states in zip(TOO_EARLY, KICKED[part], strict=True):
        found = searched(ordering, fault)
        assert "tracking_not_done" in found.outcomes
        assert (found.states, found.complete) == (states, True)


def test_every_part_whose_vcpus_run_under_a_module_is_among_them() -> None:
    """Who writes does so on a plain EPT: there a vCPU that has said so early, and reads no more, harms nobody. Memslots
    go beside zero_step, whose vCPU is kicked.
    """
    assert KICKED.keys() == set(PARTS) - {"build", "memslots", "writes"}
