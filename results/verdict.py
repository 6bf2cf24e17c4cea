"""What outcomes mean for an ordering, and which shootdowns of a run can say anything: those that met a vCPU.

A shootdown met one where its kick found it in the guest, or where it read through the page's old translation. The
others would have ended alike under any order: they are no part of an n, a rate, or a latency. A result of an earlier
version has no such count, and then no absence is claimed from it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from kernels.tdx.outcomes import Grade, Outcome
from kernels.tdx.rules import Flow
from results.words import MARK, changes


class Meaning(NamedTuple):
    """What stands for an outcome that is not declared: a grade, and one line of why."""

    grade: Grade
    why: str


UNDECLARED = Meaning(Grade.unknown, "undeclared: unknown fails")
FAILING = frozenset({Grade.forbidden, Grade.unknown})


def meaning(outcome_id: str) -> Outcome | Meaning:
    """What the outcome of this id means; UNDECLARED where no such outcome is declared."""
    return Outcome[outcome_id] if outcome_id in Outcome.__members__ else UNDECLARED


def grade_of(outcome_id: str) -> Grade:
    """The grade of an outcome by its id; `unknown` where no such outcome is declared."""
    return meaning(outcome_id).grade


def why(outcome_id: str) -> str:
    """One line that says what the outcome means."""
    return meaning(outcome_id).why


def declared(flow: int) -> tuple[Outcome, ...]:
    """The outcomes that some step of a flow can raise: of no other is a zero worth telling."""
    from kernels.tdx.raising import raisable

    return tuple(sorted(raisable(Flow(flow))))


Run = Mapping[str, Any]
MET = "shootdown_met"  # the name of their latency, and of its histogram
LEAST_RATE = 0.01
# The fewest that catch what happens to one of a hundred with a probability of 95 %; or to one of ten thousand, where
# others have the CPUs, or few of a race's shootdowns meet a vCPU: it hardly is a race, as its actors take turns. A gate
# lowered too early showed nothing there in 3,171.
LEAST_MET, LEAST_OF_MANY = (math.ceil(math.log(0.05) / math.log1p(-rate)) for rate in (LEAST_RATE, LEAST_RATE / 100))
LEAST_SHARE, LEAST_OWN = 0.1, 0.8
REMEDY = "a longer --duration or an idle machine"


def met_shootdowns(run: Run) -> int | None:
    """How many shootdowns met a vCPU, warm-up included; None where nobody counted."""
    met = run.get("met")
    return None if met is None else int(met["shootdowns"])


def least_own(shares: Iterable[float | None]) -> float | None:
    """The `own_share` of many races: that of the one which got least, None where nobody looked."""
    return min((share for share in shares if share is not None), default=None)


def lacking(run: Run) -> str | None:
    """Why this race met too few vCPUs to say that something does not happen, or None."""
    return too_few(met_shootdowns(run), run["all_shootdowns"], run.get("own_share"), remedy(run))


def remedy(run: Run) -> str:
    """What has more shootdowns meet a vCPU in the same time, of what this race did not do: where CPUs were fewer than
    actors, zappers apart from vCPUs, then fewer vCPUs, whose turns on a CPU keep each other out of the guest.
    """
    placement = run.get("placement", "own")
    more = ["--placement apart"] if placement == "mixed" else []
    more += ["fewer --vcpus"] if placement != "own" and run["vcpus"] > 1 else []
    return ", ".join(["a longer --duration", *more, "or an idle machine"]) if more else REMEDY


def too_few(met: int | None, shootdowns: int, own_share: float | None = None, remedy: str = REMEDY) -> str | None:
    """Why so many that met a vCPU, of all shootdowns, do not suffice to say that something does not happen; or None.
    `own_share`: the share of the CPUs' time that actors wanted and got, None where nobody looked.
    """
    if met is None:
        return "made by an earlier version, which did not count the shootdowns that met a vCPU"
    needed = least_met(met, shootdowns, own_share)
    if met >= needed:
        return None
    why = (
        " where fewer than one in ten do"
        if _hardly_meets(met, shootdowns)
        else " where others have the CPUs"
        if needed > LEAST_MET
        else ""
    )
    return f"only {_some(met, shootdowns)}, and {needed:,} are needed{why}; try {remedy}"


def least_met(met: int, shootdowns: int, own_share: float | None = None) -> int:
    """How many must have met a vCPU, where so many of all did."""
    crowded = own_share is not None and own_share < LEAST_OWN
    return LEAST_OF_MANY if crowded or _hardly_meets(met, shootdowns) else LEAST_MET


def _hardly_meets(met: int, shootdowns: int) -> bool:
    return met < LEAST_SHARE * shootdowns


def times_longer(run: Run) -> float:
    """How many times longer a race should be that met too few vCPUs, half as long again as that takes and twice at
    least; a dozen times where it met none.
    """
    met = met_shootdowns(run)
    return max(2.0, 1.5 * least_met(met, run["all_shootdowns"], run.get("own_share")) / met) if met else 12.0


def said(run: Run) -> str:
    """`4,321 of 5,000 shootdowns met a vCPU`."""
    met, shootdowns = met_shootdowns(run), run["all_shootdowns"]
    return f"{shootdowns:,} shootdowns, not counted which met a vCPU" if met is None else _some(met, shootdowns)


def _some(met: int, shootdowns: int) -> str:
    return f"{met:,} of {shootdowns:,} shootdowns met a vCPU"


def is_thin(reason: str, met: int | None, shootdowns: int) -> bool:
    """Whether all that a race of many lacks is vCPUs met, by its reason: all together may have met enough."""
    return met is not None and reason.startswith(f"only {_some(met, shootdowns)}")


def whole(run: Run) -> Mapping[str, Any]:
    """The latency of the shootdowns that met a vCPU; of all in a result of an earlier version."""
    latency: Mapping[str, Mapping[str, Any]] = run["latency_ns"]
    return latency.get(MET) or latency["shootdown"]


def observation(name: str, forbidden: int, other: int) -> str:
    """The line to grep, `Observation v18 Never 0 812345`: Never, Sometimes or Always; forbidden; others."""
    often = "Never" if not forbidden else "Sometimes" if other else "Always"
    return f"Observation {name} {often} {forbidden} {other}"


class Verdict(StrEnum):
    """What is said of one ordering after a run."""

    passed = "passed"
    failed = "failed"
    inconclusive = "inconclusive"
    crashed = "crashed"
    hung = "hung"


GRAVEST_FIRST = (Verdict.crashed, Verdict.hung, Verdict.failed, Verdict.inconclusive, Verdict.passed)


class Ending(StrEnum):
    """How the race of one ordering came to its end."""

    finished = "finished"
    crashed = "crashed"
    hung = "hung"
    interrupted = "interrupted"


class Exit(IntEnum):
    """Exit codes of a run."""

    MET = 0
    FAILED = 1
    HARNESS = 3
    NOTHING_RAN = 5
    INCONCLUSIVE = 6
    GATE_FAILED = 7
    INTERRUPTED = 130


class Judgement(NamedTuple):
    """A verdict and the one line that says why."""

    verdict: Verdict
    reason: str

    @property
    def fields(self) -> dict[str, str]:
        """As they stand in a document."""
        return {"verdict": self.verdict.value, "reason": self.reason}


def is_safe(run: Run) -> bool:
    """Whether the ordering is declared safe."""
    return bool(run["expect"] == "safe")


def named(ordering: str, safe: bool) -> str:
    """An ordering's name beside a number of it: an unsafe one is marked wherever that stands."""
    return ordering if safe else f"{ordering} (unsafe)"


def name_of(run: Run) -> str:
    """The same of a run, marked where it is not the ordering that its file has."""
    return named(run["ordering"], is_safe(run)) + MARK * bool(changes(run))


def word_of(one: Run) -> str:
    """The verdict as people read it: a known-wrong ordering that shows what it is known for is caught."""
    caught = one["verdict"] == Verdict.passed and one.get("expect", "safe") != "safe"
    return "caught" if caught else str(one["verdict"])


def hung_as_expected(run: Run) -> bool:
    """Whether nothing progressed any more, and that is what the ordering is known for."""
    return bool(run["ending"] == Ending.hung and "no_progress" in run["expect"])


def seen(run: Run, *grades: Grade) -> dict[str, int]:
    """The outcomes of these grades that were seen, with their counts of events."""
    return {o["id"]: o["count"] for o in run["outcomes"] if o["grade"] in grades and o["count"] > 0}


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,} times" if count != 1 else f"{name} once" for name, count in counts.items())


def judge(run: Run) -> Judgement:
    """The verdict on one ordering, with its reason."""
    if run["ending"] in (Ending.crashed, Ending.hung) and not hung_as_expected(run):
        plain = "a worker died" if run["ending"] == Ending.crashed else "nothing progressed"
        said = "; ".join(run["notes"]) or plain
        bad = seen(run, *FAILING) if is_safe(run) else {}
        bad.pop("no_progress", None)
        return Judgement(Verdict(run["ending"]), f"{said}; until then {_list(bad)}" if bad else said)
    counts = {o["id"]: o["count"] for o in run["outcomes"]}
    if not is_safe(run):
        return _judge_known_wrong(run, counts)
    if bad := seen(run, *FAILING):
        return Judgement(Verdict.failed, f"declared safe, and showed {_list(bad)}")
    if run["all_shootdowns"] < 1:
        return Judgement(Verdict.inconclusive, "no shootdown was completed")
    if run["vcpus_entered"] < run["vcpus"]:
        return Judgement(
            Verdict.inconclusive, f"only {run['vcpus_entered']} of {run['vcpus']} vCPUs ever entered the guest"
        )
    if run["ending"] == Ending.interrupted:
        return Judgement(Verdict.inconclusive, "interrupted before its time; nothing forbidden until then")
    if why := lacking(run):
        return Judgement(Verdict.inconclusive, why)
    return Judgement(Verdict.passed, f"nothing forbidden in {met_shootdowns(run):,} shootdowns that met a vCPU")


def _judge_known_wrong(run: Run, counts: Mapping[str, int]) -> Judgement:
    expected = list(run["expect"])
    grades = FAILING if run.get("otherwise_safe", False) else (Grade.unknown,)
    undeclared = {name: count for name, count in seen(run, *grades).items() if name not in expected}
    if undeclared:
        return Judgement(Verdict.failed, f"showed what nobody declared: {_list(undeclared)}")
    missing = [name for name in expected if counts.get(name, 0) == 0]
    if missing:
        return Judgement(Verdict.inconclusive, f"known for {', '.join(missing)}, which did not show in this time")
    return Judgement(Verdict.passed, f"caught: {_list({name: counts[name] for name in expected})}")


def exit_code(runs: Sequence[Run]) -> int:
    """The exit code of a whole run."""
    interrupted = any(run["ending"] == Ending.interrupted for run in runs)
    return exit_code_of((judge(run).verdict for run in runs), interrupted=interrupted)


def exit_code_of(found: Iterable[str], *, interrupted: bool = False) -> int:
    """What these verdicts come to, the gravest first: interrupted, harness, failed, inconclusive; 5 if nothing ran."""
    verdicts = set(found)
    if interrupted:
        return Exit.INTERRUPTED.value
    if not verdicts:
        return Exit.NOTHING_RAN.value
    if verdicts & {Verdict.crashed, Verdict.hung}:
        return Exit.HARNESS.value
    if Verdict.failed in verdicts:
        return Exit.FAILED.value
    return (Exit.INCONCLUSIVE if Verdict.inconclusive in verdicts else Exit.MET).value
