"""Which try of a module lock can fail against which SEAMCALL, and what comes of the second try."""

from typing import Any

import pytest

from kernels.layout import OUTCOME_COUNTS
from kernels.search.schedule import Schedule
from kernels.tdx.counters import HOST_PRIORITY, ModuleLock
from kernels.tdx.lock_contract import Conflict, Contract, contract
from kernels.tdx.outcomes import Outcome, Second
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Busy, Fault, Flow, Rules, tries
from kernels.tdx.statuses import Leaf
from kernels.tests.orders import SPEC, UNSERIALIZED, V6_16, V18, busy, order, two_levels

BLOCK, TRACK, REMOVE, AUG, ENTER, ACCEPT, UNBLOCK = (
    Leaf.TDH_MEM_RANGE_BLOCK, Leaf.TDH_MEM_TRACK, Leaf.TDH_MEM_PAGE_REMOVE, Leaf.TDH_MEM_PAGE_AUG, Leaf.TDH_VP_ENTER,
    Leaf.TDG_MEM_PAGE_ACCEPT, Leaf.TDH_MEM_RANGE_UNBLOCK,
)  # fmt: skip
EPOCH, TREE, ENTRY, _ = ModuleLock
TWICE = V6_16._replace(shootdowns=2)
MOST = 1 << 30
# The function of steps that is a leaf's SEAMCALL, written out.
FUNCTIONS = {
    BLOCK: "mem_range_block", TRACK: "mem_track", REMOVE: "mem_page_remove", AUG: "mem_page_aug", ENTER: "vp_enter",
    ACCEPT: "mem_page_accept",
}  # fmt: skip


def looked_at(rules: Rules, *size: int) -> Contract:
    found = contract(*of_flow(rules), Size(*size), MOST)
    assert found is not None
    return found


def table(found: Contract) -> dict[tuple[int, int, int], Second]:
    return {(*one.tried, one.holder): one.second for one in found.conflicts}


def retried_once(rules: Rules, **fields: int) -> Rules:
    return rules._replace(**busy(Busy.RETRY_WITHOUT_VCPUS), entry_wait_for_sept_zap=1, **fields)


def test_under_mmu_lock_zappers_meet_vcpus_alone_and_the_second_try_always_succeeds():
    assert table(looked_at(TWICE, 1, 1)) == {
        (TRACK, EPOCH, ENTER): "always",
        (BLOCK, ENTRY, ACCEPT): "always",
        (ENTER, EPOCH, TRACK): "spins",
        (ACCEPT, ENTRY, BLOCK): "spins",
        (ACCEPT, ENTRY, AUG): "spins",
    }


def test_without_mmu_lock_zappers_meet_one_another_and_behind_the_gate_no_track_meets_an_entry():
    assert table(looked_at(V18, 1, 2, 2)) == {
        (BLOCK, TREE, BLOCK): "spins", (BLOCK, TREE, REMOVE): "spins", (BLOCK, TREE, AUG): "spins",
        (BLOCK, ENTRY, ACCEPT): "spins", (TRACK, EPOCH, TRACK): "spins", (REMOVE, TREE, BLOCK): "spins",
        (AUG, TREE, BLOCK): "spins", (ACCEPT, ENTRY, BLOCK): "spins", (ACCEPT, ENTRY, AUG): "spins",
    }  # fmt: skip


def test_every_lock_that_is_tried_is_told_though_nobody_is_ever_met_at_it():
    assert looked_at(V6_16, 1, 1).tried == {
        (BLOCK, TREE), (BLOCK, ENTRY), (TRACK, EPOCH), (REMOVE, TREE), (REMOVE, ENTRY), (AUG, TREE), (AUG, ENTRY),
        (ENTER, EPOCH), (ACCEPT, ENTRY),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "second"),
    [
        (V6_16, "always"),
        (V6_16._replace(faults=int(Fault.LET_IN_TOO_EARLY)), "can fail"),
        (V6_16._replace(faults=int(Fault.ENTRY_UNCHECKED)), "can fail"),
        (V6_16._replace(entry_wait_for_sept_zap=0), "can fail"),
        (SPEC, "spins"),
        (SPEC._replace(**busy(Busy.BUG, "track")), "gives up"),
        (SPEC._replace(**busy(Busy.SKIP, "track")), "skips"),
        (SPEC._replace(**busy(Busy.HAND_UP, "track")), "anew"),
        (SPEC._replace(**busy(tries(2), "track")), "can fail"),
    ],
)
def test_the_second_track_succeeds_only_while_every_vcpu_is_kept_out(rules: Rules, second: str):
    assert table(looked_at(rules, 1, 1))[TRACK, EPOCH, ENTER] == second


def test_what_is_tried_again_for_one_lock_alone_is_given_up_at_another():
    found = table(looked_at(V18._replace(**busy(Busy.SPIN_EXACT, "block", "remove")), 1, 2, 2))

    assert found[BLOCK, ENTRY, ACCEPT] == "gives up"
    assert found[BLOCK, TREE, AUG] == "can fail"  # not at the tree: the next try may come to the entry
    assert found[REMOVE, TREE, BLOCK] == found[TRACK, EPOCH, TRACK] == "spins"


@pytest.mark.parametrize(("policy", "second"), [(Busy.HAND_UP, "anew"), (Busy.SKIP, "skips"), (Busy.BUG, "gives up")])
def test_a_fault_hands_up_takes_for_done_or_gives_up_what_is_busy_once(policy: Busy, second: str):
    rules = two_levels(V18, Flow.POPULATE, shootdowns=2, **busy(policy, "aug"))

    found = [one for one in looked_at(rules, 1, 1, 2).conflicts if (*one.tried, one.holder) == (AUG, TREE, BLOCK)]

    assert [(one.second, bool(one.given_up)) for one in found] == [(second, policy is Busy.BUG)]


def test_an_unblock_has_the_policy_of_remove_and_is_taken_for_done_as_that_is():
    rules = order("block track kick unblock", **busy(Busy.SKIP, "remove"))

    assert table(looked_at(rules, 1, 2, 2))[UNBLOCK, TREE, BLOCK] == "skips"


def test_the_second_track_of_two_zappers_without_mmu_lock_meets_the_other_ones():
    found = table(looked_at(retried_once(UNSERIALIZED), 1, 2, 2))

    assert found[TRACK, EPOCH, TRACK] == "can fail"


@pytest.mark.parametrize(("fault", "second"), [(Fault(0), "always"), (Fault.ZERO_STEP_KEEPS_TREE, "can fail")])
def test_a_tree_that_a_vcpu_takes_into_the_guest_is_kept_from_the_second_try_of_block(fault: Fault, second: str):
    rules = two_levels(V6_16, Flow.ZERO_STEP, epf_threshold=0, faults=int(fault))

    assert table(looked_at(rules, 2, 1))[BLOCK, TREE, ENTER] == second


def played(rules: Rules, size: tuple[int, ...], moves: Any) -> tuple[Schedule, str]:
    """The schedule up to its last move, and whose that is."""
    run = Schedule(*of_flow(rules), Size(*size))
    for move in moves[:-1]:
        run.step(move.actor, move.chosen)
    return run, moves[-1].actor


def noted(run: Schedule, actor: str, outcome: Outcome) -> int:
    return int(run.words[run.actor(actor).tally + OUTCOME_COUNTS + outcome])


@pytest.mark.parametrize(("rules", "size"), [(TWICE, (1, 1)), (V18, (1, 2, 2)), (TWICE, (2, 1))], ids=str)
def test_each_conflict_has_a_schedule_whose_last_step_is_told_busy(rules: Rules, size: tuple[int, ...]):
    for one in looked_at(rules, *size).conflicts:
        run, actor = played(rules, size, one.moves)
        before = noted(run, actor, Outcome.operand_busy)
        run.step(actor, one.moves[-1].chosen)

        assert noted(run, actor, Outcome.operand_busy) == before + 1, one


def stands_in(run: Schedule, leaf: int) -> set[str]:
    return {actor for actor in run.actors if FUNCTIONS[Leaf(leaf)] in run.calls(actor)}


@pytest.mark.parametrize(("rules", "size"), [(TWICE, (1, 1)), (V18, (1, 2, 2)), (TWICE, (2, 1))], ids=str)
def test_where_a_try_fails_another_actor_stands_in_the_seamcall_that_is_blamed(rules: Rules, size: tuple[int, ...]):
    """Held against where everybody stands, of which the search of who holds what knows nothing."""
    blamed: list[Conflict] = [one for one in looked_at(rules, *size).conflicts if one.holder != HOST_PRIORITY]
    for one in blamed:
        actor, at = one.moves[-1].actor, len(one.moves)
        while True:  # back to the try
            at -= 1
            run = Schedule(*of_flow(rules), Size(*size))
            for move in one.moves[:at]:
                run.step(move.actor, move.chosen)
            site = run.site(actor)
            if site is not None and ("try_lock" in site.name or site.name.endswith(".fetch_or_seq_cst_sept")):
                break

        assert actor in stands_in(run, one.tried.leaf), one
        assert stands_in(run, one.holder) - {actor}, one
    assert len(blamed) > 4


def test_a_busy_that_is_given_up_has_a_schedule_to_where_it_is():
    rules = V6_16._replace(faults=int(Fault.LET_IN_TOO_EARLY))
    (one,) = [one for one in looked_at(rules, 1, 1).conflicts if one.tried == (TRACK, EPOCH)]
    run, actor = played(rules, (1, 1), one.given_up)

    assert noted(run, actor, Outcome.busy_given_up) == 0
    run.step(actor, one.given_up[-1].chosen)
    assert noted(run, actor, Outcome.busy_given_up) == 1
    assert len(one.moves) < len(one.given_up)


def test_a_machine_that_does_not_fit_or_that_is_interrupted_has_no_contract():
    assert contract(*of_flow(V6_16), Size(1, 1), 1 << 20) is None
    assert contract(*of_flow(TWICE), Size(2, 1), MOST, lambda: False) is None
