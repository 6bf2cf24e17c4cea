"""What an exploration found, as JSON: one entry an ordering, and the document that holds them.

`outcomes` names every outcome that was reached, `witness_steps` the length of a shortest schedule to each, `witnesses`
the schedules to what is forbidden or unknown. What stands under `broken` are invariants that a reached state breaks.
Only an exhaustive search has states; only random schedules have `schedules`, `schedules_with` and a seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from results.exploration_caveats import exploration_caveats
from results.exploration_verdict import INVARIANT_OUTCOMES, judge_exploration
from results.grades import GRADES

SCHEMA, SEVERAL_SCHEMA = "tdx-stress/exploration/1", "tdx-stress/explorations/1"
EXHAUSTIVE, RANDOM, PCT = "exhaustive", "random", "pct"


@dataclass(frozen=True, slots=True)
class Subject:
    """What was explored: an ordering, and the size of the machine that it ran on."""

    ordering: str
    title: str
    source: str
    expect: str | Sequence[str]
    parameters: Mapping[str, Any]
    faults: Sequence[str]
    vcpus: int
    zappers: int
    pages: int
    tlb_entries: int
    shootdowns: int  # for each zapper
    flow: str = "shootdown"
    otherwise_safe: bool = False  # a right order: `expect` is what the machine shows whatever the order


@dataclass(frozen=True, slots=True)
class Search:
    """How it was explored, and how far. None where a method has no such number.

    `depth` is the longest schedule of random ones, the number of levels of an exhaustive search; `frontier` the states
    found and not yet expanded when it stopped. `chance_of_miss`: exhaustive, that two states shared a fingerprint.
    """

    method: str
    seconds: float
    complete: bool
    stopped_by: str
    transitions: int
    depth: int
    states: int | None = None
    frontier: int | None = None
    deadlocks: int | None = None
    symmetry: bool | None = None
    reduction: bool | None = None
    threads: int | None = None
    memory_bytes: int | None = None
    chance_of_miss: float | None = None
    liveness: Mapping[str, Any] | None = None
    schedules: int | None = None
    unfinished: int | None = None
    seed: int | None = None
    pct_depth: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An outcome that was reached, or an invariant that was broken: a shortest schedule to it, and, of random ones, how
    many schedules showed it. `witness` says who took which step, where it is to be kept.
    """

    steps: int
    schedules: int | None = None
    witness: Sequence[Mapping[str, Any]] = field(default=())


def record(
    subject: Subject, search: Search, outcomes: Mapping[str, Found], broken: Mapping[str, Found]
) -> dict[str, Any]:
    """One entry, verdict and reason included. Outcomes stand in the order of `kernels.tdx.outcomes.Outcome`."""
    reached = dict(outcomes)
    for name, found in broken.items():
        if outcome := INVARIANT_OUTCOMES.get(name):
            reached.setdefault(outcome, found)
    order = {outcome.name: place for place, outcome in enumerate(GRADES)}
    names = sorted(reached, key=lambda name: (order.get(name, len(order)), name))
    both = {**{name: reached[name] for name in names}, **broken}
    made: dict[str, Any] = {
        **asdict(subject),
        "expect": subject.expect if isinstance(subject.expect, str) else list(subject.expect),
        "faults": list(subject.faults),
        **asdict(search),
        "outcomes": names,
        "broken": sorted(broken),
        "grades": {outcome.name: grade.value for outcome, (grade, _) in GRADES.items()},
        "witness_steps": {name: found.steps for name, found in both.items()},
        "schedules_with": {name: found.schedules for name, found in both.items() if found.schedules is not None},
        "witnesses": {name: list(found.witness) for name, found in both.items() if found.witness},
    }
    judgement = judge_exploration(made)
    return {"ordering": made.pop("ordering"), "verdict": judgement.verdict.value, "reason": judgement.reason, **made}


def document(header: Mapping[str, Any], explorations: Sequence[Mapping[str, Any]], *, single: bool) -> dict[str, Any]:
    """What goes into a file: the one exploration itself where one was asked for, else a list under `explorations`.

    `header` says where it comes from: command, version, commit, time and host.
    """
    found = {"caveats": exploration_caveats(explorations)}
    if single and len(explorations) == 1:
        return {"schema": SCHEMA, **header, **found, **explorations[0]}
    return {"schema": SEVERAL_SCHEMA, **header, **found, "explorations": list(explorations)}
