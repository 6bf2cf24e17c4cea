"""What the tests of explorations start from: an entry as it stands in exploration.json."""

from typing import Any

from results.kinds.exploration import Found, record

SUBJECT: dict[str, Any] = {
    "ordering": "v18", "title": "A title", "source": "A mail", "expect": "safe", "parameters": {}, "faults": [],
    "vcpus": 2, "zappers": 1, "pages": 1, "tlb_entries": 1, "shootdowns": 1, "flow": "shootdown",
    "otherwise_safe": False,
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "method": "exhaustive", "seconds": 0.5, "complete": True, "stopped_by": "", "transitions": 123_456, "depth": 61,
    "states": 50_000, "frontier": 0, "deadlocks": 0, "symmetry": True, "reduction": True, "threads": 2,
    "memory_bytes": 1 << 30, "chance_of_miss": 6.8e-11,
    "liveness": {"states": 90_000, "seconds": 1.0, "livelocks": 0, "refused": {}, "starving": {}},
}  # fmt: skip
DRAWN: dict[str, Any] = {
    "method": "random", "seconds": 0.5, "complete": False, "stopped_by": "", "transitions": 400_000, "depth": 512,
    "schedules": 1000, "unfinished": 0, "seed": 7,
}  # fmt: skip


def explored(reached: dict[str, int] | None = None, broken: dict[str, int] | None = None, **changes: Any) -> Any:
    """A complete search of a safe ordering; outcomes and broken invariants by the steps of their shortest schedules."""
    return _record(WHOLE, reached or {}, broken or {}, changes)


def drawn(reached: dict[str, tuple[int, int]] | None = None, **changes: Any) -> Any:
    """A thousand random schedules of a safe ordering; outcomes by steps, and by how many schedules showed them."""
    return _record(DRAWN, reached or {}, {}, changes)


def _record(search: dict[str, Any], reached: dict[str, Any], broken: dict[str, Any], changes: dict[str, Any]) -> Any:
    subject = {key: changes.pop(key, value) for key, value in SUBJECT.items()}
    return record(subject, {**search, **changes}, _found(reached), _found(broken))


def _found(reached: dict[str, Any]) -> dict[str, Found]:
    return {name: Found(*(steps if isinstance(steps, tuple) else (steps,))) for name, steps in reached.items()}
