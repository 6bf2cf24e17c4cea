"""What a selftest claims, what came of it, and how that is shown: one row a claim, faults and safe ones apart.

A claim is that one ordering shows one forbidden outcome, or that a safe one shows none. It is held twice: by exploring,
which must show it, and by racing, which may miss in its time what is rare.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from results.exchange.cases import Case, case_of
from results.kinds.exploration import INTERRUPT, failing, size_words
from results.numbers.statistics import would_have_caught
from results.table import Table
from results.verdict import (
    GRAVEST_FIRST,
    Ending,
    Judgement,
    Verdict,
    exit_code_of,
    hung_as_expected,
    is_safe,
    met_shootdowns,
    word_of,
)
from results.words import count, nanoseconds, plural, share

SCHEMA = "tdx-stress/selftest/1"
Entry = Mapping[str, Any]
EXPLORED = (
    "flow", "vcpus", "zappers", "pages", "tlb_entries", "shootdowns", "verdict", "reason",
    "states", "transitions", "depth", "seconds", "complete", "stopped_by", "deadlocks",
)  # fmt: skip


def claim(
    ordering: str, expect: str | Sequence[str], faults: Sequence[str], tried: Sequence[Entry], *, to_race: bool = True
) -> dict[str, Any]:
    """One claim after its explorations, one for each size of machine that was tried; `race` is still None.

    `to_race`: whether a race is to come; a short selftest claims some by exploring alone.
    """
    made: dict[str, Any] = {
        "ordering": ordering, "expect": expect if isinstance(expect, str) else list(expect), "faults": list(faults),
        "explored": [{**{key: one[key] for key in EXPLORED}, "failing": failing(one)} for one in tried],
        "to_race": to_race, "race": None,
    }  # fmt: skip
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
        "caught": caught is not None or hung, "seconds": seconds + sum(one["seconds"] for one in stopped),
        "shootdowns": shootdowns, "met": met, "would_have_caught": would_have_caught(met), "tries": len(tries),
        "scenario": dict(scenario),
    }  # fmt: skip
    return judged({**made, "race": race})


def judged(made: Entry) -> dict[str, Any]:
    """The claim with its verdict and reason."""
    return {**made, **judge_claim(made).fields}


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


Claim = Mapping[str, Any]


def selftest_screen(claims: Sequence[Claim]) -> Iterator[RenderableType]:
    """The claims by their kinds: how many were held, and what the slowest and the weakest of them came to."""
    rows = tuple(_group_row(title, group) for title, group in _groups(claims) if group)
    head = ("WHAT IS HELD", "claims", "by exploring", "by racing", "longest race", "power, at least")
    yield Table("", head, rows, frozenset(range(1, len(head))))
    yield "POWER: a rate that would have been caught (95 %), of shootdowns that met a vCPU."
    yield from _remarks(claims)
    yield ""


def _group_row(title: str, group: Sequence[Claim]) -> tuple[str, ...]:
    races = [one["race"] for one in group if one["race"] is not None]
    explored = sum(judge_explored(one).verdict == Verdict.passed for one in group)
    good = sum(one["race"] is not None and one["race"]["verdict"] == Verdict.passed for one in group)
    longest = nanoseconds(max((race["seconds"] for race in races), default=0.0) * 1e9) if races else "-"
    powers = [race["would_have_caught"] for race in races if race["would_have_caught"] is not None]
    power = share(max(powers)) if powers and is_safe(group[0]) else "-"  # the others end at the first catch
    return title, str(len(group)), f"{explored} of {len(group)}", f"{good} of {len(races)}", longest, power


def selftest_table(claims: Sequence[Claim]) -> Table:
    """A row a claim: the machine that showed it (vCPUs x zappers, x shootdowns of each), the steps to it, and the time
    to the first catch, or all of it."""
    rows = []
    for one in (one for _, group in _groups(claims) for one in group):
        name = one["ordering"] if is_safe(one) else f"{one['ordering']}: {expected(one)}"
        states, seconds = (sum(search[key] for search in one["explored"]) for key in ("states", "seconds"))
        explored = _machine(one), _steps(one), count(states), nanoseconds(seconds * 1e9)
        rows.append((name, *explored, *_raced(one["race"]), word_of(one)))
    head = ("claim", "machine", "steps", "states", "explored", "raced", "shootdowns", "met", "power", "verdict")
    return Table("Every claim", head, tuple(rows), frozenset(range(1, 9)), least=(6, 1, 3))


def selftest_lines(claims: Sequence[Claim]) -> list[str]:
    """The lines to grep, `Selftest kick_then_track tracking_not_done passed`."""
    return [f"Selftest {one['ordering']} {expected(one)} {one['verdict']}" for one in claims]


def _groups(claims: Sequence[Claim]) -> Iterator[tuple[str, list[Claim]]]:
    yield "known-wrong orderings", [one for one in claims if not is_safe(one) and not one["faults"]]
    yield "faults of the module and of KVM", [one for one in claims if not is_safe(one) and one["faults"]]
    yield "safe orderings", [one for one in claims if is_safe(one)]


def _machine(one: Claim) -> str:
    tried = one["explored"]
    if is_safe(one):
        return "-" if not tried else _size(tried[0]) if len(tried) == 1 else f"{len(tried)} sizes"
    return _size(tried[-1]) if tried else "-"


def _size(explored: Mapping[str, Any]) -> str:
    size = f"{explored['vcpus']}x{explored['zappers']}"
    return size if explored["shootdowns"] == 1 else f"{size}x{explored['shootdowns']}"


def _steps(one: Claim) -> str:
    shown = [
        steps for tried in one["explored"][-1:] for name, steps in tried["failing"].items() if name in one["expect"]
    ]
    return count(shown[0]) if shown and not is_safe(one) else "-"


def _raced(race: Mapping[str, Any] | None) -> tuple[str, ...]:
    if race is None:
        return ("-",) * 4
    power = "-" if race["would_have_caught"] is None else share(race["would_have_caught"])
    return nanoseconds(race["seconds"] * 1e9), count(race["shootdowns"]), count(race["met"]), power


def _remarks(claims: Sequence[Claim]) -> Iterator[str]:
    if beside := {one["ordering"]: one["faults"][1:] for one in claims if len(one["faults"]) > 1}:
        pairs = "; ".join(f"{name} beside {' and '.join(others)}" for name, others in beside.items())
        yield f"Hidden alone, and so shown with another fault: {pairs}."
    if any(not one["to_race"] for one in claims):
        yield "Explored alone: faults of flows that a short selftest does not compile; the whole one races them."
    if again := [one for one in claims if one["race"] is not None and one["race"]["tries"] > 1]:
        tries = ", ".join(f"{one['ordering']} {one['race']['tries']}" for one in again)
        yield f"Begun anew after another error, and all tries counted: {tries}."
    wrong, safe = [one for one in claims if not is_safe(one)], [one for one in claims if is_safe(one)]
    explored = sum(judge_explored(one).verdict == Verdict.passed for one in wrong)
    raced = sum(one["race"] is not None and one["race"]["caught"] for one in wrong)
    unraced = sum(not one["to_race"] for one in claims)
    rare = f" ({unraced} not raced)" if unraced else ""
    clean = sum(one["verdict"] == Verdict.passed for one in safe)
    yield (
        f"Of {len(wrong)} known wrong {explored} caught by exploring, {raced} by racing{rare}; "
        f"of {len(safe)} safe {clean} showed nothing."
    )


def selftest_cases(claims: Sequence[Claim]) -> list[Case]:
    """A case a claim, named by the ordering or the fault and by what it must show."""
    cases = []
    for one in claims:
        seconds = sum(held["seconds"] for held in (*one["explored"], *filter(None, [one["race"]])))
        what = f"--fault {one['faults'][0]}" if one["faults"] else f"--ordering {one['ordering']}"
        told = {**one, "ordering": f"{one['ordering']}: {expected(one)}", "seconds": seconds}
        cases.append(case_of(told, tuple(_details(one)), f"tdx-stress selftest {what} -v"))
    return cases


def _details(one: Claim) -> Iterator[str]:
    for tried in one["explored"]:
        yield f"exploring {size_words(tried)}: {tried['verdict']}: {tried['reason']}"
    if one["race"] is not None:
        race = one["race"]
        how_far = f"{plural(race['shootdowns'], 'shootdown')} in {race['seconds']:.3f} s"
        tries = f" and {race['tries']} tries" if race["tries"] > 1 else ""
        yield f"racing, {how_far}{tries}: {race['verdict']}: {race['reason']}"
        yield from race["notes"]
