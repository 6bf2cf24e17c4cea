"""The flush of a range behind the removal of its pages: kvm_flush_remote_tlbs(), a second kick of each zap."""

from kernels.search.schedule import Schedule
from kernels.tdx import bits
from kernels.tdx.protocol import Size
from kernels.tests.driver import enter, finish, page_state, seen
from kernels.tests.naive import StepMachine, search
from kernels.tests.orders import BLOCK, FLUSH, KICK, REMOVE, TRACK, order
from kernels.tests.written_schedules import KICK_IPI, quick

FLUSHED = order(BLOCK, TRACK, KICK, REMOVE, FLUSH, serialized=1, entry_requests=1)


def leave_by_ipi(run: Schedule) -> None:
    """The guest finds the IPI, leaves, acknowledges it and looks at its requests."""
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "process_requests.load_acquire_requests")


def test_the_flush_behind_the_removal_is_another_kick_with_a_request_that_is_waited_for():
    run = quick(FLUSHED)
    enter(run)
    run.until("zapper 0", KICK_IPI)
    leave_by_ipi(run)
    enter(run)
    run.until("zapper 0", "kick.fetch_or_seq_cst_requests")
    removed = page_state(run)
    run.until("zapper 0", KICK_IPI)
    for _ in range(9):
        run.step("zapper 0")
    waits = run.site("zapper 0")
    leave_by_ipi(run)
    requested = int(run.words[run.lay.requests])
    finish(run, "zapper 0", "vcpu 0")

    assert removed == bits.Sept.FREE
    assert waits is not None and waits.name == KICK_IPI
    assert requested == 1
    assert seen(run) == set()


def test_no_schedule_of_one_page_breaks_an_order_that_flushes_behind_the_removal():
    space = search(StepMachine(FLUSHED, Size(1, 1)))

    assert set(space.outcomes) == {"fault", "operand_busy", "stale_in_window"}
    assert (len(space.deadlocks), len(space.hopeless)) == (0, 0)
