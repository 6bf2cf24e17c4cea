"""Page-table pages that go beneath those who walk and populate them: TDH.MEM.SEPT.REMOVE, and what guards it."""

import pytest

from kernels.tdx import bits
from kernels.tdx.bits import RWX, STATE_MASK, SVE, TDEL, Sept
from kernels.tdx.kvm.shootdown import leaf_of
from kernels.tdx.module.mem import mem_page_remove, mem_range_block
from kernels.tdx.module.sept import mem_accept
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Fault, Flow, Rules, SeptFree, Step
from kernels.tdx.statuses import Leaf
from kernels.tests.naive import StepMachine, search
from kernels.tests.orders import KICK_THEN_TRACK, NO_KICK, SPEC, V6_16, V18, packed, two_levels
from kernels.tests.single_calls import (
    BUSY_ENTRY,
    BUSY_TREE,
    NOT_BLOCKED,
    NOT_TRACKED,
    PAGE_NOT_FREE,
    STATE_INCORRECT,
    VIOLATION,
    Machine,
    block,
    kept,
    remove,
    track,
)
from kernels.tests.witnesses import HARMLESS, shows

SUCCESS, HOST_PAGE = 0, 1 << 12
block_table, remove_table = kept(mem_range_block, 1), kept(mem_page_remove, 1)
accept_walking = kept(mem_accept, 0)


def freeing(rules: Rules, **fields: int) -> Rules:
    """The order's rules in the flow."""
    return two_levels(rules, Flow.SEPT_PAGES)._replace(**fields)


@pytest.fixture
def m() -> Machine:
    """A page-table page that is mapped, with nothing below."""
    machine = Machine(rules=freeing(SPEC))
    machine.words[table(machine, "sept")] = Sept.NL_MAPPED | RWX | SVE | HOST_PAGE
    machine.words[table(machine, "owner")] = 1 << 8
    return machine


def table(m: Machine, family: str) -> int:
    """Where a word of the page-table page stands."""
    return int(getattr(m.lay, family) + m.lay.page_stride)


def state(m: Machine) -> int:
    return int(m.words[table(m, "sept")]) & STATE_MASK


MAPPED_PAGE, BELOW = Sept.NL_MAPPED | RWX | SVE | HOST_PAGE, Sept.PENDING | SVE | HOST_PAGE


@pytest.mark.parametrize(
    ("calls", "page", "words", "status", "after"),
    [
        ((block_table, track), MAPPED_PAGE, {}, SUCCESS, Sept.FREE),
        ((), MAPPED_PAGE, {}, NOT_BLOCKED, Sept.NL_MAPPED),
        ((block_table,), MAPPED_PAGE, {}, NOT_TRACKED, Sept.NL_BLOCKED),
        ((block_table, track), MAPPED_PAGE, {"sept": BELOW}, PAGE_NOT_FREE, Sept.NL_BLOCKED),
        ((), Sept.FREE | SVE, {}, STATE_INCORRECT, Sept.FREE),
        ((), MAPPED_PAGE, {"tree_lock": 2}, BUSY_TREE, Sept.NL_MAPPED),
        ((), MAPPED_PAGE | TDEL, {}, BUSY_ENTRY, Sept.NL_MAPPED),
    ],
    ids=["blocked, tracked, empty", "mapped", "not tracked", "an entry below", "gone", "shared tree", "locked entry"],
)
def test_a_page_table_page_goes_once_it_is_blocked_tracked_and_empty(m, calls, page, words, status, after):
    m.words[table(m, "sept")] = page
    for call in calls:
        assert m.call(call) == SUCCESS
    for name, value in words.items():
        m[name] = value

    assert m.call(remove_table) == status
    assert (state(m), m["tree_lock"]) == (after, words.get("tree_lock", 0))


@pytest.mark.parametrize(
    ("fault", "of_table", "of_page"),
    [(Fault.SEPT_REMOVE_WITHOUT_TRACKING, SUCCESS, NOT_TRACKED), (Fault.REMOVE_WITHOUT_TRACKING, NOT_TRACKED, SUCCESS)],
)
def test_a_module_that_does_not_ask_of_pages_asks_of_page_table_pages_and_the_other_way_round(
    m, fault, of_table, of_page
):
    m.rules = m.rules._replace(faults=int(fault))
    m["sept"] = Sept.PENDING | SVE | HOST_PAGE
    of_guest = m.call(block), m.call(remove)
    m["sept"] = Sept.FREE | SVE
    of_kvm = m.call(block_table), m.call(remove_table)

    assert (of_guest, of_kvm) == ((SUCCESS, of_page), (SUCCESS, of_table))


def test_an_accept_whose_page_table_page_is_given_away_under_its_walk_is_told_from_one_whose_is_not(m):
    m["sept"] = Sept.PENDING | SVE | HOST_PAGE
    m.begin(accept_walking, "goes_on.load_relaxed_owner")
    m.words[table(m, "owner")] = 2 << 8 | bits.Phase.FREE

    assert m.end(accept_walking) == VIOLATION
    assert m["sept"] & STATE_MASK == Sept.PENDING


SMALL = Size(1, 1, 1, 2)
UNTRACKED = "tracking_not_done stale_after_done"
TAKEN = "entry_state_incorrect"  # of a fault, where KVM_BUG_ON leaves a page blocked and its SPTE not present
UNASKED, ONCE = Fault.SEPT_REMOVE_WITHOUT_TRACKING, Fault.FREEZE_CHILD_ONCE


test_page_table_pages_go = shows({
    f"{name}, {write}, {fault!r}": (freeing(rules, zap_for_write=write, faults=int(fault)), SMALL, harm, states)
    for name, rules, write, fault, harm, states in (
        # No walk goes on in a page that is given away, even where the module does not ask for tracking.
        ("spec", SPEC, 1, Fault(0), "", 5_766),
        ("spec", SPEC, 1, UNASKED, "", 5_766),
        ("spec", SPEC, 0, Fault(0), "", 9_009),
        ("spec", SPEC, 0, UNASKED, "", 9_009),
        # Only tracking keeps one out where the kernel does not.
        ("no_kick", NO_KICK, 1, Fault(0), f"{UNTRACKED} {TAKEN}", 6_420),
        ("no_kick", NO_KICK, 1, UNASKED, f"{UNTRACKED} {TAKEN} sept_use_after_free", 6_212),
        ("no_kick", NO_KICK, 0, Fault(0), UNTRACKED, 10_036),
        ("no_kick", NO_KICK, 0, UNASKED, f"{UNTRACKED} sept_use_after_free", 9_642),
        ("kick_then_track", KICK_THEN_TRACK, 0, Fault(0), UNTRACKED, 15_978),
        ("kick_then_track", KICK_THEN_TRACK, 0, UNASKED, f"{UNTRACKED} sept_use_after_free", 15_524),
        # Every fault below waits for mmu_lock, and behind the TRACK of the pages below every entry flushes: a vCPU that
        # was kicked caches nowhere where a page-table page was.
        ("kick_then_track", KICK_THEN_TRACK, 1, UNASKED, f"{UNTRACKED} {TAKEN}", 10_134),
        # A child that a fault has frozen is frozen again, or comes back below a page that goes.
        ("spec", SPEC, 1, ONCE, "", 5_766),
        ("spec", SPEC, 0, ONCE, "ept_page_not_free ept_walk_failed", 13_559),
    )
}, liveness=1)  # fmt: skip


@pytest.mark.parametrize("rules", [V18, V6_16], ids=["v18", "v6_16"])
def test_a_kernel_that_waits_for_the_release_of_the_hkid_zaps_below_and_keeps_the_page_table_page(rules):
    machine = StepMachine(freeing(rules, sept_free=int(SeptFree.AFTER_HKID)), SMALL)
    at = machine.lay.owner + machine.lay.page_stride

    space = search(machine)

    assert set(space.outcomes) <= HARMLESS
    assert {bits.generation_of(reached[at]) for reached in space.depth} == {1}
    assert {bits.generation_of(reached[machine.lay.owner]) for reached in space.depth} == {1, 2}


STAYS = freeing(SPEC, sept_free=int(SeptFree.AFTER_HKID))
test_beside_a_right_order_of_the_leaves_a_wrong_one_of_the_page_table_page_is_caught = shows({
    **{
        table: (freeing(SPEC, zap_for_write=0, table=packed(table)), SMALL, harm, states)
        for table, harm, states in (
            ("block track kick remove", "", 9_009),
            ("block track remove", "tracking_not_done", 9_276),
            ("block kick track remove", "tracking_not_done", 9_982),
            ("block remove track kick", "tracking_not_done", 6_584),
            ("track kick block remove", "tracking_not_done", 8_805),
            ("track kick remove", "not_blocked", 6_631),
        )
    },
    "none of one that stays": (STAYS, SMALL, "", 3_571),
    "one that stays has none": (STAYS._replace(table=packed("remove")), SMALL, "", 3_571),
})  # fmt: skip


def test_what_a_removal_is_called_hangs_on_what_is_removed(small_machine):
    names = [leaf_of(small_machine.lay, Step.REMOVE, gpa) for gpa in (3, 4)]

    assert names == [Leaf.TDH_MEM_PAGE_REMOVE, Leaf.TDH_MEM_SEPT_REMOVE]
