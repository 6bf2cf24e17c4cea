"""What a selftest claims and what came of it: pure, from the entries of explorations and of runs.

A claim is that one ordering shows one forbidden outcome, or that a safe one shows none. It is held twice: by exploring,
which must show it, and by racing, which may miss in its time what is rare.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from results.exploration_verdict import INTERRUPT, failing
from results.met import met_shootdowns
from results.statistics import would_have_caught
from results.verdict import Ending, Judgement, Verdict, exit_code_of, hung_as_expected, is_safe

SCHEMA = "tdx-stress/selftest/1"
Entry = Mapping[str, Any]

EXPLORED = (
    "flow", "vcpus", "zappers", "pages", "tlb_entries", "shootdowns", "verdict", "reason",
    "states", "transitions", "depth", "seconds", "complete", "stopped_by", "deadlocks",
)  # fmt: skip
GRAVEST_FIRST = (Verdict.crashed, Verdict.hung, Verdict.failed, Verdict.inconclusive, Verdict.passed)


def claim(
    ordering: str, expect: str | Sequence[str], faults: Sequence[str], tried: Sequence[Entry], *, to_race: bool = True
) -> dict[str, Any]:
    """One claim after its explorations, one for each size of machine that was tried; `race` is still None.

    `to_race`: whether a race is to come; a short selftest claims some by exploring alone.
    """
    made: dict[str, Any] = {
        "ordering": ordering,
        "expect": expect if isinstance(expect, str) else list(expect),
        "faults": list(faults),
        "explored": [{**{key: one[key] for key in EXPLORED}, "failing": failing(one)} for one in tried],
        "to_race": to_race,
        "race": None,
    }
    return judged(made)


def raced(made: Entry, tries: Sequence[Entry], scenario: Entry) -> dict[str, Any]:
    """The claim with its race under this scenario: a run, and before it those that another error has stopped.

    The last one has the verdict. Seconds and shootdowns are those of all until the first catch, or the end.
    """
    *stopped, run = tries
    caught = run.get("caught")
    hung = hung_as_expected(run)
    seconds = run["seconds"] if caught is None else caught["seconds"]
    shootdowns = run["all_shootdowns"] if caught is None else caught["shootdowns"]
    shootdowns += sum(one["all_shootdowns"] for one in stopped)
    met = (met_shootdowns(run) or 0) if caught is None else caught["met"]
    met += sum(met_shootdowns(one) or 0 for one in stopped)
    race = {key: run[key] for key in ("vcpus", "zappers", "verdict", "reason", "ending", "notes", "perturbed")}
    race |= {
        "caught": caught is not None or hung,
        "seconds": seconds + sum(one["seconds"] for one in stopped),
        "shootdowns": shootdowns,
        "met": met,
        "would_have_caught": would_have_caught(met),
        "tries": len(tries),
        "scenario": dict(scenario),
    }
    return judged({**made, "race": race})


def judged(made: Entry) -> dict[str, Any]:
    """The claim with its verdict and reason."""
    verdict, reason = judge_claim(made)
    return {**made, "verdict": verdict.value, "reason": reason}


def judge_claim(made: Entry) -> Judgement:
    """The graver verdict of the two, with its reason; with both where both passed."""
    explored, race = judge_explored(made), Judgement(Verdict.inconclusive, "was not raced")
    if not made["to_race"]:
        return explored
    if made["race"] is not None:
        race = Judgement(Verdict(made["race"]["verdict"]), f"racing: {made['race']['reason']}")
    if explored.verdict == race.verdict == Verdict.passed:
        return Judgement(Verdict.passed, f"{explored.reason}; {race.reason}")
    return _gravest([explored, race])


def _gravest(found: Sequence[Judgement]) -> Judgement:
    return min(found, key=lambda one: GRAVEST_FIRST.index(one.verdict))


def judge_explored(made: Entry) -> Judgement:
    """A wrong ordering must be caught on one of the machines, a safe one hold on each."""
    if not made["explored"]:
        return Judgement(Verdict.inconclusive, "was not explored")
    verdicts = [Judgement(Verdict(one["verdict"]), f"exploring: {one['reason']}") for one in made["explored"]]
    if is_safe(made):
        gravest = _gravest(verdicts)
        if gravest.verdict != Verdict.passed:
            return gravest
        states, sizes = sum(one["states"] for one in made["explored"]), len(made["explored"])
        where = "a machine" if sizes == 1 else f"{sizes} sizes of machine"
        return Judgement(Verdict.passed, f"exploring: nothing forbidden can happen in all {states:,} states of {where}")
    caught = [one for one in verdicts if one.verdict == Verdict.passed]
    unknown = [one for one in verdicts if one.verdict == Verdict.inconclusive]
    return (caught or unknown or verdicts)[-1]


def selftest_exit_code(claims: Sequence[Entry]) -> int:
    """The exit code of a whole selftest."""
    interrupted = any(map(was_interrupted, claims))
    return exit_code_of((judge_claim(one).verdict for one in claims), interrupted=interrupted)


def is_complete(claims: Sequence[Entry], planned: int) -> bool:
    """Whether all claims were held to their end, by searches and by the races that belong to them."""
    held = [one for one in claims if not was_interrupted(one) and (one["race"] is not None or not one["to_race"])]
    return len(held) == planned


def expected(made: Entry) -> str:
    """What it must show: its outcomes, or nothing."""
    return "nothing" if is_safe(made) else ",".join(made["expect"])


def was_interrupted(made: Entry) -> bool:
    """Whether the user ended its search or its race."""
    searches = any(one["stopped_by"] == INTERRUPT for one in made["explored"])
    return searches or (made["race"] is not None and made["race"]["ending"] == Ending.interrupted)
