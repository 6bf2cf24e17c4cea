"""Round trips between pairs of CPUs as they stand in JSON: a matrix, and by what the two CPUs share. Pure."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Pair = tuple[int, ...]
# From near to far.
RELATIONS = ("core", "cache", "package", "machine")


def round_trips(
    cpus: Sequence[int], medians_ns: Mapping[Pair, float], relation: Callable[[int, int], str]
) -> dict[str, Any] | None:
    """Of these CPUs, from the median of each pair that was measured; None where none was.

    `matrix_ns` has a row and a column for each CPU, None on the diagonal and for a pair that was not measured.
    `by_relation` holds the pairs' number, median, least and most for each of RELATIONS that there is.
    """
    if not medians_ns:
        return None
    both = dict(medians_ns) | {pair[::-1]: value for pair, value in medians_ns.items()}
    groups: dict[str, list[float]] = {}
    for (a, b), value in medians_ns.items():
        groups.setdefault(relation(a, b), []).append(value)
    return {
        "cpus": list(cpus),
        **_summary(list(medians_ns.values())),
        "by_relation": {name: _summary(groups[name]) for name in RELATIONS if name in groups},
        "matrix_ns": [[both.get((a, b)) for b in cpus] for a in cpus],
    }


def _summary(values: Sequence[float]) -> dict[str, Any]:
    middle = round(statistics.median(values), 1)
    return {"pairs": len(values), "median_ns": middle, "least_ns": min(values), "most_ns": max(values)}
