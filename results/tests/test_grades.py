"""Every outcome has a grade; what nobody declared is unknown."""

import pytest

from kernels.tdx.outcomes import Outcome
from results.grades import GRADES, Grade, grade_of, why


def test_every_outcome_of_the_kernels_has_a_grade_and_a_reason():
    assert set(GRADES) == set(Outcome)
    assert all(len(reason) > 10 for _, reason in GRADES.values())


@pytest.mark.parametrize(
    ("name", "grade"),
    [
        ("fresh", "acceptable"),
        ("fault", "acceptable"),
        ("stale_in_window", "acceptable"),
        ("stale_after_kick", "interesting"),
        ("stale_after_done", "forbidden"),
        ("use_after_remove", "forbidden"),
        ("operand_busy", "acceptable"),
        ("previous_epoch_busy", "forbidden"),
        ("tracking_not_done", "forbidden"),
        ("not_blocked", "forbidden"),
        ("already_blocked", "forbidden"),
        ("entry_state_incorrect", "forbidden"),
        ("page_already_accepted", "acceptable"),
        ("refcount_broken", "forbidden"),
        ("no_progress", "forbidden"),
        ("unknown_status", "unknown"),
    ],
)
def test_the_grade_of_each_outcome(name: str, grade: str):
    assert grade_of(name) == grade


def test_an_undeclared_outcome_is_unknown():
    assert grade_of("gremlin") is Grade.unknown
    assert why("gremlin") == "undeclared: unknown fails"
