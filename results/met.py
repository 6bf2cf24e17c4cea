"""Which shootdowns of a run can say anything: those that met a vCPU.

A shootdown met one where its kick found it in the guest, or where it read through the page's old translation. The
others would have ended alike under any order: they are no part of an n, a rate, or a latency. A result of an earlier
version has no such count, and then no absence is claimed from it.
"""

import math
from collections.abc import Mapping
from typing import Any

Run = Mapping[str, Any]
MET = "shootdown_met"  # the name of their latency, and of its histogram
LEAST_RATE = 0.01
# The fewest that catch what happens to one of a hundred with a probability of 95 %.
LEAST_MET = math.ceil(math.log(0.05) / math.log1p(-LEAST_RATE))
REMEDY = "a longer --duration, --vcpus, --placement apart, or an idle machine"


def met_shootdowns(run: Run) -> int | None:
    """How many shootdowns met a vCPU, warm-up included; None where nobody counted."""
    met = run.get("met")
    return None if met is None else int(met["shootdowns"])


def too_few(met: int | None, shootdowns: int) -> str | None:
    """Why so many that met a vCPU, of all shootdowns, do not suffice to say that something does not happen; or None."""
    if met is None:
        return "made by an earlier version, which did not count the shootdowns that met a vCPU"
    if met >= LEAST_MET:
        return None
    return f"only {_some(met, shootdowns)}, and {LEAST_MET} are needed; try {REMEDY}"


def said(run: Run) -> str:
    """`4,321 of 5,000 shootdowns met a vCPU`."""
    met, shootdowns = met_shootdowns(run), run["all_shootdowns"]
    return f"{shootdowns:,} shootdowns, not counted which met a vCPU" if met is None else _some(met, shootdowns)


def _some(met: int, shootdowns: int) -> str:
    return f"{met:,} of {shootdowns:,} shootdowns met a vCPU"


def is_thin(reason: str, met: int | None, shootdowns: int) -> bool:
    """Whether all that a race of many lacks is vCPUs met, by its reason: all together may have met enough."""
    return met is not None and reason == too_few(met, shootdowns)


def whole(run: Run) -> Mapping[str, Any]:
    """The latency of the shootdowns that met a vCPU; of all in a result of an earlier version."""
    latency: Mapping[str, Mapping[str, Any]] = run["latency_ns"]
    return latency.get(MET) or latency["shootdown"]
