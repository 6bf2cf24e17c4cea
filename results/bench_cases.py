"""A bench as test cases: one an ordering and size, one for the A/A arm, one a gate."""

from collections.abc import Sequence

from results.bench_findings import seen, ungrounded
from results.bench_record import AGAIN, Bench
from results.cases import Case
from results.gate import Outcome
from results.grades import FAILING, grade_of

STATES = {"held": "passed", "failed": "failed", "undecided": "inconclusive"}


def bench_cases(bench: Bench, outcomes: Sequence[Outcome] = ()) -> list[Case]:
    """The cases of a bench; an unsafe ordering raced on purpose has none of its own, as nothing is expected of it."""
    totals = seen(bench)
    orderings = [
        _ordering(point, arm.ordering, totals[point, arm.ordering])
        for point in bench.points
        for arm in bench.arms
        if arm.safe and arm.arm != AGAIN and (point, arm.ordering) in totals
    ]
    return [*orderings, _against_itself(bench), *(_gate(outcome) for outcome in outcomes)]


def _ordering(point: str, ordering: str, entry: dict[str, object]) -> Case:
    outcomes = entry["outcomes"]
    assert isinstance(outcomes, dict)
    bad = [f"{name}: {count}" for name, count in outcomes.items() if grade_of(name) in FAILING]
    name = f"{ordering} {point}" if point else ordering
    shootdowns = f"shootdowns: {entry['all_shootdowns']}, met a vCPU: {entry['met']}"
    seconds = float(str(entry["seconds"]))
    return Case(name, str(entry["verdict"]), str(entry["reason"]), seconds, (*bad, shootdowns))


def _against_itself(bench: Bench) -> Case:
    if bench.aa is None:
        return Case("A/A", "inconclusive", f"too few rounds: {bench.finished_rounds}")
    if bench.aa.differs:
        return Case("A/A", "inconclusive", bench.aa.sentence)
    nothing = ungrounded(bench)
    return Case("A/A", "inconclusive" if nothing else "passed", nothing or bench.aa.sentence)


def _gate(outcome: Outcome) -> Case:
    return Case(f"gate {outcome.gate.text}", STATES[outcome.state], outcome.why)
