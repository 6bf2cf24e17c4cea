"""What the tests of the matrix start from: a right order and a wrong one, each with three faults."""

from collections.abc import Sequence
from typing import Any

from results.kinds.faults import NO_FAULT, Pair, entries, matrix_document
from results.kinds.orders import Tier

FLOW = "shootdown"
SMALLEST = Tier(vcpus=1, zappers=1, pages=1, shootdowns=1, liveness=True)
NOT_DONE, STALE = {"tracking_not_done": 33, "stale_after_done": 32}, {"use_after_remove": 40, "tracking_not_done": 33}


def pair(ordering: str, fault: str, found: dict[str, int], *, complete: bool = True) -> Pair:
    """A pair looked at on the smallest machine."""
    return Pair(FLOW, ordering, fault, found, complete, 100, SMALLEST._asdict() if found else None)


# `blind` shows in the wrong order alone, `late` breaks the right one, `kind` heals the wrong one.
PAIRS = [
    pair("right", NO_FAULT, {}), pair("right", "blind", {}), pair("right", "late", NOT_DONE), pair("right", "kind", {}),
    pair("wrong", NO_FAULT, NOT_DONE), pair("wrong", "blind", STALE), pair("wrong", "late", NOT_DONE),
    pair("wrong", "kind", {}),
]  # fmt: skip


def matrix(pairs: Sequence[Pair] = PAIRS) -> dict[str, Any]:
    """The document of these pairs."""
    told = {
        (FLOW, "wrong", "blind"): [
            {"actor": "vcpu 0", "step": "guest: load_relaxed owner (kernels/tdx/kvm/vcpu_run.py:1)"}
        ]
    }
    explored = {"pairs": 8, "complete": True, "states": 800, "transitions": 900, "threads": 2, "seconds": 1.5}
    machines = {FLOW: [{**SMALLEST._asdict(), "set": ["lps=1"]}]}
    expect = {"right": "safe", "wrong": ["tracking_not_done"]}
    orderings = [{"name": name, "expect": expect[name]} for name in dict.fromkeys(pair.ordering for pair in pairs)]
    return matrix_document({}, {"orderings": orderings, "machines": machines}, explored, entries(pairs, told))
