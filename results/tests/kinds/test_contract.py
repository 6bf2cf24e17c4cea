"""What the contract of the locks says of an ordering, and what it comes to."""

from typing import Any

import pytest

from results.kinds.contract import contract_answer, contract_cases, contract_exit_code, contract_lines
from results.tests.builders.contract import FAILS, GIVES_UP, ONCE, SPINS, a_contract, an_entry

KNOWN, OTHER = ["busy_given_up"], ["tracking_not_done"]


@pytest.mark.parametrize(
    ("conflicts", "expect", "complete", "verdict", "reason", "code"),
    [
        (ONCE, "safe", True, "passed", "gives no BUSY up in all 1,234 states", 0),
        (
            SPINS, "safe", False, "inconclusive",
            "no BUSY given up, and not all was looked at, as too large for --memory: mmio with 2 vCPUs", 6,
        ),
        (
            FAILS, "safe", False, "failed",
            "declared safe, and gives BUSY up: MEM.TRACK on epoch against VP.ENTER in 37 steps", 1,
        ),
        (
            GIVES_UP, "safe", True, "failed",
            "declared safe, and gives BUSY up: MEM.RANGE.BLOCK on tree against MEM.RANGE.BLOCK in 8 steps", 1,
        ),
        (
            GIVES_UP, KNOWN, True, "passed",
            "gives BUSY up: MEM.RANGE.BLOCK on tree against MEM.RANGE.BLOCK in 8 steps", 0,
        ),
        (ONCE, KNOWN, True, "failed", "known for busy_given_up, which does not show in all 1,234 states", 1),
        (ONCE, KNOWN, False, "inconclusive", "known for busy_given_up, which does not show in all 1,234 states", 6),
        (
            ONCE, OTHER, True, "passed",
            "gives no BUSY up in all 1,234 states; known for tracking_not_done, which is not asked", 0,
        ),
        (
            FAILS, OTHER, True, "passed",
            "gives BUSY up: MEM.TRACK on epoch against VP.ENTER in 37 steps; known for tracking_not_done, "
            "which is not asked", 0,
        ),
    ],
)  # fmt: skip
def test_only_a_busy_that_is_given_up_fails_what_is_declared_safe(
    conflicts: Any, expect: Any, complete: bool, verdict: str, reason: str, code: int
) -> None:
    one = an_entry("mine", conflicts, expect, complete=complete)

    assert (one["verdict"], one["reason"]) == (verdict, reason)
    assert contract_exit_code(a_contract(one)) == code


def test_an_ordering_known_for_something_else_is_not_called_caught() -> None:
    words = [case.word for case in contract_cases(a_contract(an_entry("a", ONCE, OTHER), an_entry("b", FAILS, KNOWN)))]

    assert words == ["passed", "caught"]


def test_the_answer_says_what_is_promised_and_what_one_adds_to_the_other() -> None:
    assert contract_answer(a_contract(an_entry("once", ONCE), an_entry("spun", SPINS, complete=False))).split("\n") == [
        "once, on these machines: the second try of MEM.RANGE.BLOCK and MEM.TRACK always succeeds; MEM.PAGE.ACCEPT: "
        "tried again without a bound.",
        "spun, as far as was looked: MEM.RANGE.BLOCK: tried again without a bound.",
        "spun adds to once: MEM.RANGE.BLOCK on tree against MEM.RANGE.BLOCK.",
        "spun takes from once: MEM.PAGE.ACCEPT on entry against host priority; MEM.TRACK on epoch against VP.ENTER.",
    ]


def test_an_ordering_that_meets_the_same_adds_nothing() -> None:
    same = contract_answer(a_contract(an_entry("once", ONCE), an_entry("twice", ONCE))).split("\n")

    assert same[2:] == ["twice adds nothing to once, and takes nothing from it."]


def test_a_lock_at_which_nobody_is_met_is_a_line_to_grep_like_any_other() -> None:
    assert contract_lines(a_contract(an_entry("once", ONCE)))[0:2] == [
        "Contract once MEM.RANGE.BLOCK entry MEM.PAGE.ACCEPT always",
        "Contract once MEM.RANGE.BLOCK tree nobody never",
    ]
