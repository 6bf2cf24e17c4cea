"""What the steps of each flow can raise, held against what races and searches of it are known to show."""

import pytest

from kernels.tdx.outcomes import Outcome
from kernels.tdx.raising import raisable
from kernels.tdx.rules import FLOWS, Flow, flow_name

EVERYWHERE = {
    "fresh", "fault", "stale_in_window", "stale_after_kick", "stale_after_done", "use_after_remove", "operand_busy",
    "previous_epoch_busy", "tracking_not_done", "not_blocked", "already_blocked", "entry_state_incorrect",
    "page_already_accepted", "refcount_broken", "no_progress", "unknown_status", "busy_given_up",
    "metadata_incorrect",
}  # fmt: skip
TWO_LEVELS = {"fault_retried", "ept_walk_failed", "mirror_disagrees", "two_owners", "not_zeroed"}
MORE = {
    Flow.SHOOTDOWN: set(),
    Flow.BATCH: set(),
    Flow.SHARED_EPT: set(),
    Flow.MIGRATE: {"vcpu_associated", "vcpu_not_associated", "flushvp_not_done"},
    Flow.MMIO: {"mmio_installed", "ve_in_guest", "mmio_emulated", "ve_on_memory", "access_before_accept"},
    Flow.POPULATE: TWO_LEVELS,
    Flow.MEMSLOTS: TWO_LEVELS,
    Flow.SEPT_PAGES: TWO_LEVELS | {"sept_use_after_free", "ept_page_not_free"},
    Flow.TEARDOWN: TWO_LEVELS | {"vcpu_not_associated", "flushvp_not_done", "td_state_incorrect", "hkid_leaked"},
    Flow.FLUSH_CURRENT: set(),
    Flow.BUILD: {"vcpu_not_associated", "td_state_incorrect"},
    Flow.WRITES: {"write_lost", "written_back_late"},
    Flow.ZERO_STEP: TWO_LEVELS | {"zero_step_busy", "zero_step_fault", "host_priority_timeout", "access_before_accept"},
}


@pytest.mark.parametrize("flow", FLOWS, ids=flow_name)
def test_a_flow_can_raise_what_its_steps_note_and_nothing_else(flow: Flow):
    assert {outcome.name for outcome in raisable(flow)} == EVERYWHERE | MORE[flow]


def test_every_outcome_can_be_raised_by_some_flow():
    assert set.union(*(set(raisable(flow)) for flow in FLOWS)) == set(Outcome)
