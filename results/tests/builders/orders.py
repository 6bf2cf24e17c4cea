"""What the tests of the atlas start from: all orders of three steps, and races of some of them."""

import itertools
from typing import Any

from results.kinds.orders import AS_IS, CHECK_OFF, HOST_FREES, Tier, atlas_document, order_entry

SMALLEST = Tier(vcpus=1, zappers=1, pages=1, shootdowns=1, liveness=True)
STEPS = ("block", "track", "remove")
NOT_DONE = {"tracking_not_done": 21, "stale_after_done": 30}


def order(steps: tuple[str, ...], **forbidden: int) -> dict[str, Any]:
    """An order decided on the smallest machine; a refused one is stale where the host frees."""
    found = {AS_IS: forbidden, **({HOST_FREES: {"use_after_remove": 25}} if forbidden else {})}
    return order_entry(steps, found, (), SMALLEST, 100)


def atlas(races: dict[str, Any] | None = None) -> dict[str, Any]:
    """All orders of three steps, of which one is safe."""
    entries = [
        order(steps) if steps == STEPS else order(steps, **{"not_blocked": 9} if steps[0] == "remove" else NOT_DONE)
        for steps in itertools.permutations(STEPS)
    ]
    bounds = {CHECK_OFF: 256 << 20, HOST_FREES: 32 << 20}
    subject = {
        "ordering": "mine", "parameters": {"expect": ["tracking_not_done"]}, "steps": list(STEPS),
        "machines": [SMALLEST._asdict()], "variant_bytes": bounds,
    }  # fmt: skip
    explored = {"orders": 6, "decided": 6, "complete": True, "states": 600, "transitions": 900, "threads": 2}
    return atlas_document({}, subject, {**explored, "seconds": 0.5}, entries, races, [])


def raced(p50_ns: int | None, met: int = 900) -> dict[str, Any]:
    """One race of a round; most of its shootdowns met nobody, and took no time."""
    phases = {"shootdown": {"n": 1000, "p50": 3}, "shootdown_met": {"n": met, "p50": p50_ns}}
    return {
        "latency_ns": phases, "verdict": "passed", "reason": "", "all_shootdowns": 1000,
        "met": {"kicks": 1_700, "shootdowns": 900},
    }  # fmt: skip


def twice(p50_ns: int, number: int) -> dict[str, Any]:
    """The reference and its copy, now one and now the other the faster."""
    return {"spec": raced(p50_ns + number % 2), "spec again": raced(p50_ns + (number + 1) % 2)}


TWICE = {"spec": ("a",), "spec again": ("a",)}
