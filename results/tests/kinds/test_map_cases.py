"""The atlas and the matrix as test cases, from literals."""

from typing import Any

import pytest

from results.exchange.cases import Case, summary
from results.kinds.faults import pair_cases
from results.kinds.orders_views import order_cases


def atlas(**race: Any) -> dict[str, Any]:
    """Two orders, of which one is open, and one race if it is given."""
    orders = [
        {"order": ["block", "remove"], "verdict": "refused", "statuses": ["tracking_not_done"]},
        {"order": ["remove", "block"], "verdict": "open", "statuses": []},
    ]
    return {"orders": orders, "races": {"orders": [{"name": "v18", **race}]} if race else None}


def test_an_order_passes_unless_it_is_open() -> None:
    assert order_cases(atlas()) == [
        Case("block,remove", "passed", "refused: tracking_not_done", word="refused"),
        Case("remove,block", "inconclusive", "open", word="open"),
    ]


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        (["passed"], "passed"),
        (["inconclusive", "passed"], "passed"),
        (["failed", "passed"], "failed"),
        (["crashed", "failed"], "crashed"),
    ],
)
def test_a_race_is_as_good_as_its_gravest_round(verdicts: list[str], state: str) -> None:
    assert order_cases(atlas(verdicts=verdicts))[-1] == Case(
        "race of v18", state, ", ".join(verdicts), word="raced" if state == "passed" else ""
    )


def test_a_pair_passes_unless_it_is_open() -> None:
    pairs = [
        {"flow": "mmio", "ordering": "v18", "fault": "none", "verdict": "safe", "outcome": None},
        {"flow": "mmio", "ordering": "v18", "fault": "keep", "verdict": "stuck", "outcome": "ve_on_memory"},
        {"flow": "mmio", "ordering": "v18", "fault": "late", "verdict": "open", "outcome": None},
    ]

    cases = pair_cases({"pairs": pairs})
    assert cases == [
        Case("mmio v18 none", "passed", "safe", word="safe"),
        Case("mmio v18 keep", "passed", "stuck: ve_on_memory", word="stuck"),
        Case("mmio v18 late", "inconclusive", "open", word="open"),
    ]
    assert summary(cases) == "1 safe, 1 stuck, 1 open"
    assert [case.told for case in cases] == ["safe", "stuck: ve_on_memory", "open"]
