"""Memslots of private memory that go beneath faults: who waits for kvm->srcu, and for whom its readers wait."""

from kernels.search.explore import explore
from kernels.search.schedule import Schedule
from kernels.story.narrate import Narrator
from kernels.story.waits import waits
from kernels.tdx import bits
from kernels.tdx.protocol import of_flow
from kernels.tdx.rules import Fault, FaultRetry, Flow, Module, Rules
from kernels.tests.driver import seen, stepped
from kernels.tests.orders import SPEC, V6_16, V18, two_levels
from kernels.tests.witnesses import ONE, shows

GUEST = {"guest.reads_before_tick": 1}


def deleting(rules: Rules, flow: Flow = Flow.MEMSLOTS | Flow.ZERO_STEP, **fields: int) -> Rules:
    """The order's rules where memslots go, under a module that lets a vCPU in to accept the page that is listed."""
    module = int(Module.TDX_1_5_24) if flow & Flow.ZERO_STEP else 0
    return two_levels(rules, flow)._replace(**{"module": module, "epf_threshold": 1, **fields})


def retried(retry: FaultRetry, **fields: int) -> Rules:
    return deleting(V6_16)._replace(fault_retry=int(retry), **fields)


test_a_memslot_that_goes_takes_its_page_along_under_every_right_order = shows({
    "spec": (deleting(SPEC, Flow.MEMSLOTS), ONE, "", 4_811),
    "v18": (deleting(V18, Flow.MEMSLOTS), ONE, "", 5_569),
    "v6_16": (deleting(V6_16, Flow.MEMSLOTS), ONE, "", 6_114),
}, liveness=1)  # fmt: skip
BROKEN, NEVER = {"faults": int(Fault.INVALID_SLOT_RETRIED)}, "no_progress"
test_a_fault_retried_in_the_host_keeps_who_deletes_its_memslot_waiting_unless_it_leaves_for_that = shows({
    "enters again": (retried(FaultRetry.REENTER), ONE, "", 14_383),
    "local": (retried(FaultRetry.LOCAL), ONE, NEVER, 11_434),
    "leaves": (retried(FaultRetry.LOCAL_VALID), ONE, "", 15_058),
    "leaves, broken": (retried(FaultRetry.LOCAL_VALID, **BROKEN), ONE, NEVER, 11_434),
    "leaves, the module's threshold": (retried(FaultRetry.LOCAL_VALID, epf_threshold=6), ONE, "", 36_353),
    # Who leaves and faults again is taken for stepped, and TDX_1.5.01 lets it in no more.
    "leaves, TDX_1.5.01": (retried(FaultRetry.LOCAL_VALID, module=int(Module.TDX)), ONE, NEVER, 15_164),
}, liveness=1)  # fmt: skip


def state_of(run: Schedule) -> tuple[int, int]:
    return int(run.words[run.lay.memslot]) & 3, int(run.words[run.lay.srcu])


def test_who_deletes_a_memslot_waits_for_the_fault_that_has_found_it_and_zaps_what_that_maps() -> None:
    run = stepped(deleting(SPEC, Flow.MEMSLOTS), ONE)
    run.until("vcpu 0", "mem_add.try_lock_shared_tree_lock", GUEST)
    run.until("zapper 0", "synchronize_srcu.load_acquire_srcu")
    for _ in range(20):
        run.step("zapper 0")
    waited = run.site("zapper 0")
    awaited = state_of(run)

    run.until("vcpu 0", "srcu_read_unlock.store_release_srcu", GUEST)
    run.step("vcpu 0")
    run.until("zapper 0", "mem_range_block.load_acquire_sept")

    assert waited is not None and waited.name == "synchronize_srcu.load_acquire_srcu"
    assert awaited == (bits.Slot.INVALID, bits.Srcu.AWAITED)
    assert bits.state_of(int(run.words[run.lay.sept])) == bits.Sept.PENDING


def test_a_fault_without_a_memslot_maps_nothing_and_one_with_an_invalid_one_is_retried() -> None:
    run = stepped(deleting(SPEC, Flow.MEMSLOTS), ONE)
    for state, outcomes in ((bits.Slot.NONE, {"fault"}), (bits.Slot.INVALID, {"fault", "fault_retried"})):
        run.words[run.lay.memslot] = state
        run.step("vcpu 0")
        run.until("vcpu 0", "vm_is_dead.load_acquire_vm_bugged", GUEST)

        assert seen(run) == outcomes
        assert run.words[run.lay.mirror] == bits.Mirror.NONPRESENT


def test_who_waits_for_whom_is_told_of_the_two() -> None:
    rules = retried(FaultRetry.LOCAL)
    narrator = Narrator(*of_flow(rules), ONE)
    for move in explore(*of_flow(rules), ONE).outcomes["no_progress"]:
        narrator.step(move.actor, move.chosen)

    assert waits(narrator) == (
        "vcpu 0 waits for zapper 0 at memslot[page 0] = invalid, changing",
        "zapper 0 waits for vcpu 0 at srcu[vcpu 0] = inside, awaited",
    )


def test_who_waits_for_nobody_is_not_told() -> None:
    assert waits(Narrator(*of_flow(retried(FaultRetry.LOCAL_VALID)), ONE)) == ()
