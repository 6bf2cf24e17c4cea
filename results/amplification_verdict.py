"""What is said of an ordering after a search for amplifiers, whatever the outcome that was looked for. Pure.

`unexpected` of an entry are its races that hung or crashed, or showed a forbidden or unknown outcome for which the
ordering is not known: each with its `setting`, `ending`, `notes` and all that was `failing` in it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from results.amplification import factor, shown_at_all
from results.grades import FAILING, Grade, grade_of
from results.verdict import Ending, Judgement, Verdict, exit_code_of
from results.wording import plural

Entry = Mapping[str, Any]

# How grave an unexpected race is.
_FAILED, _HUNG, _CRASHED = range(3)


def is_unexpected(run: Entry, failing: Mapping[str, int]) -> bool:
    """Whether a race crashed, or showed what its ordering is not known for; a hang shows no_progress."""
    return run["ending"] == Ending.crashed or any(name not in _known(run) for name in failing)


def judge_amplification(entry: Entry) -> Judgement:
    """The verdict on one ordering with its reason, the gravest first.

    A race that hung after something else had failed has failed: a broken protocol need not come to an end.
    """
    gravest, safe = gravest_race(entry), entry["expect"] == "safe"
    if gravest is not None and _weight(gravest) > _FAILED:
        broken, plain = (
            (Verdict.crashed, "a worker died") if _weight(gravest) == _CRASHED else (Verdict.hung, "nothing progressed")
        )
        return Judgement(broken, f"{'; '.join(gravest['notes']) or plain}; under {gravest['setting']}")
    if gravest is not None and (bad := unexpected_texts(entry, *(FAILING if safe else (Grade.unknown,)))):
        said = "declared safe, and showed" if safe else "showed what nobody declared:"
        return Judgement(Verdict.failed, f"{said} {', '.join(bad)}; most often under {gravest['setting']}")
    if not shown_at_all(entry):
        return Judgement(Verdict.inconclusive, f"{entry['outcome']} did not show in {plural(entry['races'], 'race')}")
    times = times_as_often(entry)
    often = "" if times == "-" else f", {times}x as often with the best setting"
    return Judgement(Verdict.passed, f"{entry['outcome']} showed{often}")


def gravest_race(entry: Entry) -> Entry | None:
    """Of the unexpected races one that crashed, else one that hung, else the one in which most failed."""
    return max(entry["unexpected"], key=lambda one: (_weight(one), sum(one["failing"].values())), default=None)


def _weight(race: Entry) -> int:
    if race["ending"] == Ending.crashed:
        return _CRASHED
    return _HUNG if race["ending"] == Ending.hung and set(race["failing"]) <= {"no_progress"} else _FAILED


def unexpected_texts(entry: Entry, *grades: Grade) -> list[str]:
    """What showed unexpectedly, of these grades or of all: `stale_after_done 1,200 times in 3 races`."""
    events: Counter[str] = Counter()
    races: Counter[str] = Counter()
    for one in entry["unexpected"]:
        new = {name: seen for name, seen in one["failing"].items() if name not in _known(entry)}
        events.update(new)
        races.update(new.keys())
    return [
        f"{name} {plural(seen, 'time')} in {plural(races[name], 'race')}"
        for name, seen in events.items()
        if grade_of(name) in (grades or FAILING)
    ]


def _known(entry: Entry) -> Sequence[str]:
    """The outcomes that the ordering is known for."""
    return () if entry["expect"] == "safe" else entry["expect"]


def times_as_often(entry: Entry) -> str:
    """How many times as often the best setting shows it: `239`; `>27` where none shows nothing; `-` without a best."""
    best = next((one for one in entry["best"] if one["hits"]), None)
    if best is None:
        return "-"
    ratio, least, _ = factor(entry["without"], best)
    return f">{digits(least)}" if ratio is None else digits(ratio)


def digits(value: float) -> str:
    """Three digits at least, as a program reads them."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def amplified_line(entry: Entry) -> str:
    """The line to grep: `Amplified kick_then_track tracking_not_done 239 passed`."""
    return f"Amplified {entry['ordering']} {entry['outcome']} {times_as_often(entry)} {entry['verdict']}"


def amplification_exit_code(entries: Sequence[Entry], *, interrupted: bool) -> int:
    """The exit code of a whole search."""
    return exit_code_of((one["verdict"] for one in entries), interrupted=interrupted)
