"""The atlas and the matrix as test cases. Nothing is expected of an order or a pair: a case passes unless it is open,
or a race contradicts the search, or broke.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from results.atlas import OrderVerdict, kind_of
from results.cases import Case
from results.matrix import PairVerdict
from results.verdict import Verdict

GRAVE = (Verdict.crashed, Verdict.hung, Verdict.failed)


def order_cases(atlas: Mapping[str, Any]) -> list[Case]:
    """A case an order, then one each that raced."""
    searched = [
        Case(",".join(one["order"]), _state(one["verdict"] == OrderVerdict.open), kind_of(one))
        for one in atlas["orders"]
    ]
    raced = (atlas["races"] or {}).get("orders", ())
    return searched + [Case(f"race of {one['name']}", *_race(one["verdicts"])) for one in raced]


def pair_cases(matrix: Mapping[str, Any]) -> list[Case]:
    """A case a pair."""
    return [
        Case(f"{one['flow']} {one['ordering']} {one['fault']}", _state(one["verdict"] == PairVerdict.open), _why(one))
        for one in matrix["pairs"]
    ]


def _state(is_open: bool) -> str:
    return (Verdict.inconclusive if is_open else Verdict.passed).value


def _why(pair: Mapping[str, Any]) -> str:
    return str(pair["verdict"]) if pair["outcome"] is None else f"{pair['verdict']}: {pair['outcome']}"


def _race(verdicts: Sequence[str]) -> tuple[str, str]:
    """The gravest of a race's rounds; one in which too little happened says nothing against the order."""
    grave = next((verdict.value for verdict in GRAVE if verdict in verdicts), Verdict.passed.value)
    return grave, ", ".join(verdicts)
