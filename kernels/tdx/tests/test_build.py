"""A TD that several threads build: the TDR's lock on each call, and which locks of KVM's keep its holders apart."""

import functools

import pytest

from kernels.tdx import bits
from kernels.tdx.bits import TdState
from kernels.tdx.protocol import Size
from kernels.tdx.rules import Fault, Flow, Guard, Ioctl, Rules
from kernels.tdx.statuses import Leaf, Status
from kernels.tests.driver import answered, seen, stands, stepped
from kernels.tests.orders import V6_16
from kernels.tests.single_calls import Machine, kept_of
from kernels.tests.witnesses import shows

SUCCESS = 0
BUSY_RCX, BUSY_RDX, BUSY_TDR = 0x8000020000000001, 0x8000020000000002, 0x8000020000000080
OP_STATE, NOT_PRESENT, NOT_ASSOCIATED = 0xC000060800000000, 0xC0000B0300000001, 0x8000070200000000
ALL = Ioctl(31)


def built(guard: Guard = Guard.ALL, ioctls: Ioctl = ALL, faults: int = 0) -> Rules:
    """The rules of the merged order in the flow."""
    return V6_16._replace(flow=int(Flow.BUILD), guard=int(guard), ioctls=int(ioctls), faults=faults)


of_a_build = functools.partial(kept_of, Flow.BUILD)
create, init, extend = of_a_build("vp_create"), of_a_build("vp_init"), of_a_build("mr_extend", 0)
finalize, flush = of_a_build("mr_finalize"), of_a_build("vp_flush_shared")
block, track, remove = of_a_build("block_with_tdr", 0), of_a_build("track_with_tdr"), of_a_build("remove_with_tdr", 0)
enter, leave = of_a_build("vp_enter_alive"), of_a_build("td_exit_alive")


@pytest.fixture
def m() -> Machine:
    return Machine(rules=built())


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (block, BUSY_RDX),
        (track, BUSY_RCX),
        (remove, BUSY_RDX),
        (create, BUSY_RDX),
        (flush, BUSY_TDR),
        (enter, BUSY_TDR),
    ],
    ids=lambda it: getattr(it, "name", None),
)
def test_a_call_that_shares_the_tdr_is_busy_where_another_has_it_exclusive_alone(m, call, status):
    m["tdr_lock"] = 1
    assert m.call(call) == status
    m["tdr_lock"] = 2
    m["td_state"] = TdState.RUNNABLE
    assert m.call(call) != status


@pytest.mark.parametrize(
    ("call", "status"),
    [(init, BUSY_TDR), (extend, BUSY_RDX), (finalize, BUSY_RCX)],
    ids=lambda it: getattr(it, "name", None),
)
def test_a_call_that_takes_the_tdr_exclusive_is_busy_where_anybody_has_it(m, call, status):
    m["tdr_lock"] = 2
    assert m.call(call) == status
    m["tdr_lock"] = 0
    assert m.call(call) == SUCCESS
    assert m["tdr_lock"] == 0


@pytest.mark.parametrize("call", [create, init, extend, finalize], ids=lambda it: it.name)
def test_what_builds_a_td_is_refused_once_it_is_finalized(m, call):
    m["td_state"] = TdState.RUNNABLE

    assert (m.call(call), m["tdr_lock"]) == (OP_STATE, 0)


def test_a_page_is_measured_where_it_is_mapped(m):
    assert m.call(extend) == SUCCESS
    m["sept"] = bits.Sept.FREE
    assert m.call(extend) == NOT_PRESENT


def test_a_td_that_is_finalized_can_run_and_its_tdr_is_shared_from_entry_to_exit(m):
    assert m.call(enter) == OP_STATE
    assert m.call(finalize) == SUCCESS
    assert m["td_state"] == TdState.RUNNABLE
    assert (m.call(enter), m["tdr_lock"]) == (SUCCESS, 2)
    assert m.call(init, 1) == BUSY_TDR
    m.call(leave)
    assert (m.call(flush), m["num_assoc_vcpus"], m["tdr_lock"]) == (SUCCESS, 0, 0)
    assert m.call(flush) == NOT_ASSOCIATED


def test_half_of_the_pages_are_there_at_first():
    run = stepped(built(), Size(1, 1, 2))
    states = [bits.state_of(int(run.words[run.lay.sept + page * run.lay.page_stride])) for page in range(2)]

    assert states == [bits.Sept.MAPPED, bits.Sept.FREE]
    assert run.words[run.lay.td_state] == TdState.INITIALIZED


INIT, HOLE, SLOT, LAST = Ioctl.INIT_VCPU, Ioctl.PUNCH_HOLE, Ioctl.DELETE_SLOT, Ioctl.FINALIZE
UNTRACKED, TWO = "busy_given_up tracking_not_done stale_after_done", Size(1, 2, 2)
test_the_guard_of_v6_19_keeps_all_apart_but_finalize_and_a_punch_hole = shows({
    "all but finalize": (built(ioctls=ALL & ~LAST), TWO, "", 24015),
    "all but a hole": (built(ioctls=ALL & ~HOLE), TWO, "", 29952),
    "the two": (built(ioctls=LAST | HOLE), TWO, UNTRACKED, 37190),
    "all, with finalize inside": (built(Guard.ALL_AND_FINALIZE), TWO, "", 61729),
    "a vCPU and a hole before the guard": (built(Guard.OWN, INIT | HOLE), TWO, "busy_given_up", 8788),
    "a slot and a hole before the guard": (built(Guard.OWN, HOLE | SLOT), TWO, "", 6545),
    # A vCPU that waits for its mutex answers whoever has met it in the guest: the guard waits for a zap that holds
    # slots_lock, the zap for an IPI that came behind the vCPU's exit.
    "a slot and finalize, twice": (built(ioctls=LAST | SLOT)._replace(shootdowns=2), Size(1, 2), "", 146_386),
}, liveness=1)  # fmt: skip


def test_a_zap_is_told_busy_twice_while_a_vcpu_is_initialized_outside_mmu_lock():
    run = stepped(built(ioctls=Ioctl.INIT_VCPU | Ioctl.PUNCH_HOLE, faults=int(Fault.VP_INIT_UNLOCKED)), Size(1, 2, 1))
    run.until("zapper 0", "vp_init.unlock_exclusive_tdr_lock", {"make_ioctl.next_ioctl": 0})
    run.until("zapper 1", "kick.next_vcpu", {"make_ioctl.next_ioctl": 1})
    assert "busy_given_up" not in seen(run)
    run.until("zapper 1", "punch_hole.write_unlock_invalidate_lock")

    assert answered(run, Leaf.TDH_MEM_RANGE_BLOCK, Status.BUSY_RDX, "zapper 1") == 2
    assert "busy_given_up" in seen(run)


def test_a_zap_waits_for_mmu_lock_where_a_vcpu_is_initialized_inside_it():
    run = stepped(built(ioctls=Ioctl.INIT_VCPU | Ioctl.PUNCH_HOLE), Size(1, 2, 1))
    run.until("zapper 0", "vp_init.unlock_exclusive_tdr_lock", {"make_ioctl.next_ioctl": 0})
    run.until("zapper 1", "write_lock_mmu.try_lock_exclusive_mmu_lock", {"make_ioctl.next_ioctl": 1})
    run.step("zapper 1")

    assert stands(run, "zapper 1").name == "write_lock_mmu.try_lock_exclusive_mmu_lock"
