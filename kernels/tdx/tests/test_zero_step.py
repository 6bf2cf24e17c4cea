"""A guest stuck at one instruction: the module's 0-step filter, RET_PF_RETRY by re-entry and in the host, and what a
guest that stands back for the host is told. Nothing is compiled here.
"""

import pytest

from kernels.search.schedule import Schedule
from kernels.story.narrate import narrate
from kernels.tdx import bits
from kernels.tdx.bits import HP, ONE_EPOCH, RWX, SVE, TDEL, Mirror, Sept
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.rules import Fault, FaultRetry, Flow, Module, Rules
from kernels.tdx.statuses import HOST_PRIORITY_BUSY_TIMEOUT, Leaf, Status
from kernels.tests.driver import answered, seen, stepped
from kernels.tests.naive import Space, StepMachine, search
from kernels.tests.orders import SPEC, V6_16, V18, two_levels

LIMITS = {"epf_threshold": 6, "hp_lock_timeout": 2}
STEPPING = two_levels(SPEC, Flow.ZERO_STEP, **LIMITS)
RESTS = "vm_is_dead.load_acquire_vm_bugged"
GUEST = "guest.reads_before_tick"
FIRST_PAGE = 1 << bits.HPA_SHIFT


def start(rules: Rules = STEPPING) -> Schedule:
    """A vCPU, a zapper that takes no step, one page that nobody has mapped."""
    return stepped(rules, Size(vcpus=1, zappers=1))


def put(run: Schedule, entry: int) -> None:
    """The page's S-EPT entry, below a page-table page."""
    run.words[run.lay.sept + run.lay.page_stride] = Sept.NL_MAPPED | RWX | SVE | FIRST_PAGE
    run.words[run.lay.mirror + run.lay.page_stride] = Mirror.PRESENT
    run.words[run.lay.sept] = entry | SVE
    run.words[run.lay.owner] = bits.generation_of(int(run.words[run.lay.owner])) << 8


def freeze(run: Schedule) -> None:
    """Somebody else changes the page-table page above: a fault is retried for as long as he does."""
    run.words[run.lay.mirror + run.lay.page_stride] = Mirror.FROZEN


def stay(run: Schedule, *, accepts: int = 0, most: int = 1000) -> None:
    """In and out of the guest, which reads on, up to the next time that the vCPU rests between two entries."""
    run.step("vcpu 0")
    run.until("vcpu 0", RESTS, {GUEST: 1, "faults_or_accepts.accepts_first": accepts}, most)


def enter(run: Schedule) -> None:
    """Into the guest."""
    run.until("vcpu 0", GUEST)


def tracking(run: Schedule) -> tuple[int, int]:
    """EPT violations counted, and the guest page listed, from 1."""
    return int(run.words[run.lay.possibly_epf_stepping]), int(run.words[run.lay.last_epf_gpa])


def statuses(run: Schedule, leaf: Leaf, status: Status) -> int:
    """How often this call of the vCPU ended so."""
    return answered(run, leaf, status, "vcpu 0")


def test_an_ept_violation_behind_six_at_the_same_instruction_lists_its_page() -> None:
    run = start()
    freeze(run)

    counted = []
    for _ in range(7):
        stay(run)
        counted.append(tracking(run))

    assert counted == [*((n, 0) for n in range(1, 7)), (6, 1)]


@pytest.mark.parametrize(
    ("entry", "faults", "behind"),
    [(Sept.MAPPED | RWX, 7, "next_instruction.next_page"), (Sept.PENDING, 6, "mem_accept.load_acquire_sept")],
    ids=["it succeeds", "its #VE handler accepts"],
)
def test_what_was_counted_is_taken_back_once_the_instruction_is_another(entry: int, faults: int, behind: str) -> None:
    run = start()
    freeze(run)
    for _ in range(faults):
        stay(run)
    put(run, entry | FIRST_PAGE)
    enter(run)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", behind, {GUEST: 1})

    assert tracking(run) == (0, 0)


@pytest.mark.parametrize(("accepts", "outcomes"), [(0, {"fault", "access_before_accept"}), (1, {"fault"})])
def test_a_linux_td_lives_with_a_page_that_it_accepts_first_and_not_with_one_that_was_taken_away(
    accepts: int, outcomes: set[str]
) -> None:
    run = start(STEPPING._replace(sept_ve_disable=1))
    put(run, Sept.FREE)
    run.words[run.lay.mirror] = bits.Mirror.NONPRESENT

    stay(run, accepts=accepts)
    enter(run)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "next_instruction.next_page" if accepts else RESTS, {GUEST: 1})

    assert statuses(run, Leaf.TDG_MEM_PAGE_ACCEPT, Status.SUCCESS) == accepts
    assert seen(run) == outcomes


NEWER = {"module": int(Module.TDX_1_5_24)}
BUSY, FAULTS = {"operand_busy", "zero_step_busy"}, {"zero_step_fault"}


@pytest.mark.parametrize(
    ("entry", "tree", "fields", "status", "held", "shown"),
    [
        (Sept.MAPPED | RWX, 0, {}, Status.SUCCESS, 1, set()),
        (Sept.PENDING, 0, {}, Status.EPT_VIOLATION_EXIT, 1, FAULTS),
        (Sept.FREE, 0, {}, Status.EPT_VIOLATION_EXIT, 1, FAULTS),
        (Sept.MAPPED | RWX, 2, {}, Status.BUSY_SEPT_TREE, 2, BUSY),
        (Sept.MAPPED | RWX, 2, NEWER, Status.SUCCESS, 4, set()),
        (Sept.PENDING, 0, NEWER, Status.SUCCESS, 2, set()),
        (Sept.PENDING, 0, {**NEWER, "sept_ve_disable": 1}, Status.EPT_VIOLATION_EXIT, 2, FAULTS),
    ],
)
def test_a_vcpu_with_a_page_listed_comes_in_where_the_tree_is_had_and_the_page_faults_no_more(
    entry: int, tree: int, fields: dict[str, int], status: Status, held: int, shown: set[str]
) -> None:
    """Modules from 1.5.24 on share the tree, and take a pending page for one that faults with SEPT_VE_DISABLE alone."""
    run = start(STEPPING._replace(**fields))
    put(run, entry | FIRST_PAGE)
    run.words[run.lay.last_epf_gpa], run.words[run.lay.tree_lock] = 1, tree
    if status != Status.BUSY_SEPT_TREE:
        run.until("vcpu 0", "walk.load_acquire_sept")
    held_then = int(run.words[run.lay.tree_lock])
    run.until("vcpu 0", GUEST if status == Status.SUCCESS else "vcpu.store_release_mode")

    assert statuses(run, Leaf.TDH_VP_ENTER, status) == 1
    assert (held_then, int(run.words[run.lay.tree_lock]), seen(run)) == (held, tree, shown)
    assert bits.refcount_of(int(run.words[run.lay.epoch_tracking]), 1) == (status == Status.SUCCESS)


def test_v6_16_tries_a_fault_again_in_the_host_where_others_enter_again() -> None:
    run = start(STEPPING._replace(fault_retry=int(FaultRetry.LOCAL)))
    freeze(run)

    with pytest.raises(RuntimeError, match="did not come to"):
        stay(run)

    assert tracking(run) == (1, 0)
    assert "fault_retried" in seen(run)


def test_a_guest_that_stands_back_for_the_host_is_told_busy_and_after_so_many_times_is_left() -> None:
    run = start()
    put(run, Sept.PENDING | FIRST_PAGE | HP)

    stay(run)

    assert HOST_PRIORITY_BUSY_TIMEOUT & (1 << 64) - 1 == 0x9000020500000000
    assert statuses(run, Leaf.TDG_MEM_PAGE_ACCEPT, Status.BUSY_RCX) == LIMITS["hp_lock_timeout"] + 1
    assert statuses(run, Leaf.TDH_VP_ENTER, Status.HOST_PRIORITY_BUSY_TIMEOUT) == 1
    assert seen(run) == {"operand_busy", "host_priority_timeout"}
    assert run.words[run.lay.epoch_tracking] == ONE_EPOCH


def test_an_entry_that_is_only_locked_starts_the_count_of_standing_back_again() -> None:
    run = start()
    put(run, Sept.PENDING | FIRST_PAGE | HP)
    run.words[run.lay.hp_lock_busy] = LIMITS["hp_lock_timeout"]
    enter(run)
    run.words[run.lay.sept] |= TDEL

    run.step("vcpu 0", 1)
    run.until("vcpu 0", "mem_accept.load_acquire_sept", {GUEST: 1})
    run.until("vcpu 0", GUEST, {GUEST: 1}, most=5)

    assert run.words[run.lay.hp_lock_busy] == 0


def searched(rules: Rules, *, accepted: int = 0, **fields: int) -> Space:
    """Every interleaving of one vCPU and one zapper with one page, which is zapped once unless `fields` say more; from
    where another vCPU has `accepted` the page that is listed, if so.
    """
    machine = StepMachine(two_levels(rules, Flow.ZERO_STEP, hp_lock_timeout=1, **fields), Size(1, 1))
    if accepted:
        lay, words_then = machine.lay, list(machine.start)
        words_then[lay.sept + lay.page_stride] = Sept.NL_MAPPED | RWX | SVE
        words_then[lay.sept] = Sept.MAPPED | RWX | SVE | FIRST_PAGE
        words_then[lay.owner] = FIRST_PAGE >> bits.HPA_SHIFT << 8
        words_then[lay.mirror] = words_then[lay.mirror + lay.page_stride] = Mirror.PRESENT
        words_then[lay.last_epf_gpa] = 1
        machine.start = tuple(words_then)
    return search(machine)


@pytest.mark.parametrize(
    ("rules", "threshold", "states"), [(SPEC, 0, 1_434), (SPEC, 1, 6_052), (V18, 1, 10_421), (V6_16, 0, 1_929)]
)
def test_one_zap_of_a_right_order_sets_the_filter_off_below_the_threshold_that_its_retries_reach(
    rules: Rules, threshold: int, states: int
) -> None:
    """mmu_lock for write lets a vCPU fault once for a zap; with a frozen entry it faults as often as it enters. At
    threshold 0 the only vCPU comes to no page at all: its first fault lists the page that it has still to accept.
    """
    space = searched(rules, epf_threshold=threshold)
    storm = {"zero_step_busy", "zero_step_fault"}

    assert (storm <= set(space.outcomes)) == (rules is V18 or threshold == 0)
    assert len(space.depth) == states
    assert (len(space.deadlocks), len(space.hopeless)) == (0, 0)


def test_a_filter_that_keeps_the_tree_locked_lets_no_zapper_finish_where_another_vcpu_accepts_the_page() -> None:
    """Alone a vCPU never passes the filter."""
    broken = {"epf_threshold": 0, "faults": int(Fault.ZERO_STEP_KEEPS_TREE)}
    caught = searched(SPEC, accepted=1, **broken)
    hidden = searched(SPEC, **broken)
    right = searched(SPEC, accepted=1, epf_threshold=0)

    assert len(caught.hopeless) > 0
    assert [(len(space.deadlocks), len(space.hopeless)) for space in (hidden, right)] == [(0, 0), (0, 0)]


def test_a_filter_that_keeps_its_reference_is_refused_by_remove_where_the_order_sets_the_filter_off() -> None:
    caught = searched(V18, epf_threshold=1, faults=int(Fault.ZERO_STEP_KEEPS_REFERENCE))
    hidden = searched(SPEC, epf_threshold=2, faults=int(Fault.ZERO_STEP_KEEPS_REFERENCE))

    assert "tracking_not_done" in caught.outcomes
    assert set(hidden.outcomes) == {"fault", "operand_busy", "stale_in_window"}


def test_who_enters_again_in_the_fast_path_keeps_a_kicker_waiting_that_holds_it_out() -> None:
    """spec holds nobody out: nothing ends in the fast path there that does not end by itself."""
    caught = searched(V6_16, epf_threshold=1, faults=int(Fault.FASTPATH_REENTER))
    hidden = searched(SPEC, epf_threshold=1, faults=int(Fault.FASTPATH_REENTER))

    assert len(caught.hopeless) > 0
    assert (len(hidden.deadlocks), len(hidden.hopeless)) == (0, 0)


def test_the_filter_is_told_as_a_part_of_the_entry() -> None:
    rules = STEPPING._replace(epf_threshold=0)
    run = start(rules)
    stay(run)
    run.until("vcpu 0", "zero_step_filter.unlock_exclusive_tree_lock_2")

    told = narrate(*of_flow(rules), run.taken, Size(vcpus=1, zappers=1))
    listed = [access for event in told.events for access in event.own if access.word == "last_epf_gpa[vcpu 0]"]

    assert [(access.before, access.after) for access in listed] == [("none", "page 0")]
    assert [span.whole for span in told.spans if span.name == "TDH.VP.ENTER"] == [True, False]
