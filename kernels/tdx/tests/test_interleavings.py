"""Written-out interleavings on the step machine: the right orders hold where the wrong ones fail (known_orders)."""

from kernels.search.schedule import Schedule
from kernels.tdx import bits
from kernels.tdx.rules import Fault, Rules
from kernels.tests.driver import enter, finish, leave, page_state, read, seen, stands, start
from kernels.tests.orders import FLAG_GATE, KICK_THEN_TRACK, NO_BLOCK, NO_WAIT, SPEC, V6_16, V18

TRACK = "mem_track.try_lock_exclusive_epoch_lock"
REMOVE = "mem_page_remove.try_lock_shared_tree_lock"
KICK_IPI = "kick.load_acquire_ipi"
FIRST_KICK = "kick.exiting_guest_mode_mode"


def two_zappers_in_the_gate(rules: Rules, lowering: str) -> Schedule:
    """Zapper 0 has tracked; zapper 1 blocks and raises the gate; then zapper 0 lowers it. The vCPU is outside."""
    run = start(rules, zappers=2, pages=2)
    run.until("zapper 0", lowering, {"claim_page.any_page": 0})
    run.until("zapper 1", "kick.fetch_or_seq_cst_requests", {"claim_page.any_page": 1})
    run.step("zapper 0")
    return run


def test_spec_removes_the_page_once_the_kicked_vcpu_has_left_and_it_flushes_at_its_next_entry():
    run = start(SPEC)
    enter(run)
    read(run)
    run.until("zapper 0", KICK_IPI)
    run.step("vcpu 0", 1)  # a burst begins: the IPI is pending at its first look
    run.until("vcpu 0", "td_exit.fetch_add_seq_cst_epoch_tracking")
    run.step("zapper 0")

    assert stands(run, "zapper 0").name == KICK_IPI
    run.until("vcpu 0", "vcpu.store_seq_cst_mode")
    run.until("zapper 0", "populate.store_release_owner")
    assert page_state(run) == bits.Sept.FREE
    enter(run)
    assert run.words[run.lay.tlb] == 0
    assert seen(run) == set()


def test_spec_lets_a_vcpu_that_enters_behind_track_run_on_since_it_has_flushed():
    run = start(SPEC)
    run.until("zapper 0", FIRST_KICK)
    enter(run)
    run.until("zapper 0", "kick.fetch_or_seq_cst_ipi")
    run.until("zapper 0", KICK_IPI)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "vcpu.store_seq_cst_mode")
    finish(run)

    assert seen(run) == set()
    assert int(run.words[run.lay.epoch_tracking]) >> 24 == 2


def test_spec_reads_the_old_translation_only_before_the_flush_is_declared_done():
    run = start(SPEC)
    enter(run)
    read(run)
    run.until("zapper 0", TRACK)
    read(run)

    assert seen(run) == {"stale_in_window"}


def test_v18_keeps_the_kicked_vcpu_outside_until_track_is_done():
    run = start(V18)
    enter(run)
    read(run)
    run.until("zapper 0", KICK_IPI)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "flush_tlb.load_acquire_gate")
    run.until("zapper 0", TRACK)
    for _ in range(6):
        run.step("vcpu 0")

    assert stands(run, "vcpu 0").function in ("flush_tlb", "acknowledge")
    run.until("zapper 0", "populate.store_release_owner")
    assert page_state(run) == bits.Sept.FREE
    enter(run)
    assert run.words[run.lay.tlb] == 0
    assert seen(run) == set()


def test_v18_holds_without_a_lock_since_a_counter_stays_raised_for_the_other_zapper():
    run = two_zappers_in_the_gate(V18, "lower_gate.lower_gate")
    run.until("zapper 1", TRACK)
    for _ in range(8):
        run.step("vcpu 0")

    assert stands(run, "vcpu 0").function in ("flush_tlb", "acknowledge")
    finish(run, "zapper 1")
    assert seen(run) == set()


def test_kick_then_track_shows_a_stale_read_after_the_kick_before_track():
    run = start(KICK_THEN_TRACK)
    enter(run)
    read(run)
    leave(run)
    run.until("zapper 0", TRACK)
    enter(run)
    read(run)

    assert seen(run) == {"stale_after_kick"}


def test_no_block_is_refused_as_not_blocked():
    run = start(NO_BLOCK)
    finish(run)

    assert seen(run) == {"not_blocked"}
    assert page_state(run) == bits.Sept.MAPPED


def test_a_guest_reads_a_page_that_is_gone_while_the_ipi_of_a_kick_that_does_not_wait_is_in_flight():
    """The module, too, is broken: it lets TRACK and REMOVE come between an entry's sample and its count."""
    run = start(NO_WAIT._replace(faults=int(Fault.ENTRY_WITHOUT_EPOCH_LOCK)))
    enter(run)
    read(run)
    leave(run)
    run.until("vcpu 0", "vp_enter.fetch_add_seq_cst_epoch_tracking")
    run.until("zapper 0", "shootdown.write_unlock_mmu_lock")
    enter(run)
    read(run)

    assert seen(run) == {"use_after_remove"}
    assert run.words[run.lay.ipi] == 1


def test_an_ipi_that_arrives_ends_the_stay_before_the_next_read():
    run = start(NO_WAIT)
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    run.until("zapper 0", TRACK)
    enter(run)
    finish(run)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "interrupted.arrives")
    run.step("vcpu 0", 1)

    assert stands(run, "vcpu 0").name == "td_exit.fetch_add_seq_cst_epoch_tracking"


def test_the_ipi_of_a_kick_that_waits_could_as_well_have_been_sent_later():
    run = start(SPEC)
    enter(run)
    run.until("zapper 0", KICK_IPI)
    run.step("vcpu 0", 1)
    run.step("vcpu 0")

    assert stands(run, "vcpu 0").name == "td_exit.fetch_add_seq_cst_epoch_tracking"


def test_a_flag_for_a_gate_holds_serialized_since_the_other_zapper_waits_for_mmu_lock():
    run = start(FLAG_GATE, zappers=2, pages=2)
    run.until("zapper 0", "lower_gate.store_release_gate", {"claim_page.any_page": 0})
    for _ in range(20):
        run.step("zapper 1", 1 if run.choices("zapper 1") > 1 else 0)

    assert stands(run, "zapper 1").name == "write_lock_mmu.try_lock_exclusive_mmu_lock"


def test_the_schedule_that_shows_m1_faults_where_the_module_flushes():
    run = start(SPEC)
    enter(run)
    read(run)
    leave(run)
    run.until("zapper 0", REMOVE)
    enter(run)
    run.until("zapper 0", "shootdown.write_unlock_mmu_lock")
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "td_exit.fetch_add_seq_cst_epoch_tracking")

    assert seen(run) == {"fault"}


def test_v6_16_keeps_vcpus_out_for_one_retry_when_track_is_busy():
    run = start(V6_16)
    run.until("vcpu 0", "vp_enter.load_acquire_epoch_tracking")
    run.until("zapper 0", "seamcall_until.store_seq_cst_wait_for_sept_zap")
    run.until("zapper 0", KICK_IPI)
    enter(run)
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "exit_requested.load_seq_cst_wait_for_sept_zap")
    run.step("vcpu 0")

    assert stands(run, "vcpu 0").name == "vcpu.store_release_mode"
    finish(run, "zapper 0", "vcpu 0")
    assert seen(run) == {"operand_busy"}
    assert run.words[run.lay.wait_for_sept_zap] == 0


def test_a_vcpu_in_the_gate_acknowledges_the_next_kick():
    run = start(V18, zappers=2, pages=2)
    enter(run)
    run.until("zapper 0", KICK_IPI, {"claim_page.any_page": 0})
    run.step("vcpu 0", 1)
    run.until("vcpu 0", "flush_tlb.load_acquire_gate")
    run.until("zapper 1", "kick.fetch_or_seq_cst_requests", {"claim_page.any_page": 1})
    run.until("zapper 1", TRACK)

    assert run.words[run.lay.ipi] == 0
