"""What the contract of the locks says of an ordering, and what it comes to."""

from typing import Any

import pytest

from results.kinds.contract import contract_answer, contract_cases, contract_table
from results.kinds.kind import BY_NAME
from results.tests.builders.contract import (
    ACCEPT,
    BLOCK,
    ENTER,
    FAILS,
    GIVES_UP,
    ONCE,
    SPINS,
    TRACK,
    a_contract,
    an_entry,
)

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
    assert BY_NAME["contract"].exit_code(a_contract(one)) == code


def test_an_ordering_known_for_something_else_is_not_called_caught() -> None:
    words = [case.word for case in contract_cases(a_contract(an_entry("a", ONCE, OTHER), an_entry("b", FAILS, KNOWN)))]

    assert words == ["passed", "caught"]


def test_an_ordering_that_meets_the_same_adds_nothing_and_of_one_not_looked_at_to_the_end_that_is_said() -> None:
    same = contract_answer(a_contract(an_entry("once", ONCE), an_entry("twice", ONCE, complete=False))).split("\n")

    assert [line.partition(":")[0] for line in same] == [
        "once, on these machines", "twice, as far as was looked",
        "twice adds nothing to once, and takes nothing from it.",
    ]  # fmt: skip


def test_rows_in_which_orderings_differ_come_first() -> None:
    other = (*ONCE[:2], (*ONCE[2][:3], "spins", *ONCE[2][4:]), ONCE[3])
    rows = contract_table(a_contract(an_entry("once", ONCE), an_entry("spins", other))).rows

    assert [row[:5] for row in rows] == [
        ("MEM.TRACK", "epoch", "VP.ENTER", "always 20", "spins 20"),
        ("MEM.RANGE.BLOCK", "entry", "MEM.PAGE.ACCEPT", "always 74", "always 74"),
        ("", "tree", "nobody", "never", "never"),
        ("MEM.PAGE.ACCEPT", "entry", "host priority", "spins 91", "spins 91"),
    ]


def test_of_many_that_are_given_up_the_shortest_three_are_told_and_holders_of_one_lock_together() -> None:
    holders = {BLOCK: 40, TRACK: 20, ENTER: 30, ACCEPT: 50, "host priority": 10}
    one = an_entry("mine", [(TRACK, "TDR", it, "can fail", ["build"], 1, 9, steps) for it, steps in holders.items()])

    assert one["reason"].endswith(
        "MEM.TRACK on TDR against host priority in 10 steps; MEM.TRACK on TDR against MEM.TRACK in 20 steps; "
        "MEM.TRACK on TDR against VP.ENTER in 30 steps; and 2 more"
    )
    assert contract_answer(a_contract(one)).endswith(
        "given up: MEM.TRACK on TDR against MEM.RANGE.BLOCK, MEM.TRACK, VP.ENTER and 2 more."
    )
