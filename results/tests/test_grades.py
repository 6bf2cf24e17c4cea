"""Every outcome has a grade; what nobody declared is unknown."""

from kernels.tdx.outcomes import Grade, Outcome
from results.verdict import grade_of, why

# Once more by hand: a grade that is changed decides what fails.
GRADES_BY_NAME = {
    "acceptable": """
        fresh fault stale_in_window operand_busy page_already_accepted fault_retried mmio_installed ve_in_guest
        mmio_emulated vcpu_not_associated flushvp_not_done zero_step_busy zero_step_fault
    """,
    "interesting": """
        stale_after_kick host_priority_timeout
    """,
    "forbidden": """
        stale_after_done use_after_remove previous_epoch_busy tracking_not_done not_blocked already_blocked
        entry_state_incorrect refcount_broken busy_given_up ept_walk_failed mirror_disagrees two_owners not_zeroed
        no_progress ve_on_memory access_before_accept vcpu_associated sept_use_after_free ept_page_not_free
        td_state_incorrect hkid_leaked write_lost metadata_incorrect written_back_late
    """,
    "unknown": """
        unknown_status
    """,
}


def test_every_outcome_has_the_grade_that_stands_here() -> None:
    stand = {name: grade for grade, names in GRADES_BY_NAME.items() for name in names.split()}

    assert {outcome.name: outcome.grade.value for outcome in Outcome} == stand
    assert set(stand) == set(Outcome.__members__)


def test_every_outcome_has_a_reason_that_stands_beside_it_on_a_terminal() -> None:
    assert all(10 < len(outcome.why) <= 56 for outcome in Outcome)


def test_an_undeclared_outcome_is_unknown() -> None:
    assert grade_of("gremlin") is Grade.unknown
    assert why("gremlin") == "undeclared: unknown fails"
