"""How much a setting amplifies a race: rates with intervals, how many times as often, and what is said of it.

A measurement is a dict of the JSON: `shootdowns` that met a vCPU, `hits`, those that showed the outcome, and `seconds`;
beside them `failing`, the events of every forbidden or unknown outcome, the one that is looked for or not. `unexpected`
of an entry are its races that hung or crashed, or showed a forbidden or unknown outcome for which the ordering is not
known: each with its `setting`, `ending`, `notes` and all that was `failing` in it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator
from rich.console import RenderableType
from rich.text import Text

from kernels.tdx.outcomes import Grade
from results.exchange.cases import Case, case_of, unreached
from results.kinds.shape import Count, DocumentShape, OrderingShape, ScenarioShape, Seconds, Shape, Share
from results.numbers.statistics import clopper_pearson
from results.table import Table, verdict_line
from results.verdict import FAILING, Ending, Judgement, Verdict, grade_of, is_safe, met_shootdowns, name_of, seen
from results.words import count, nanoseconds, per_second, plural, rate_with_interval

SCHEMA = "tdx-stress/amplification/1"
Measured = Mapping[str, Any]


class _Measured(Shape):
    shootdowns: Count
    hits: Count
    rate: Share
    ci95: tuple[Share, Share] = Field(strict=False)
    per_s: Seconds
    seconds: Seconds
    first_catch_s: Seconds | None = None
    catches_s: list[Seconds | None] = Field(default_factory=list)

    @model_validator(mode="after")
    def _rate_in_its_interval(self) -> "_Measured":
        low, high = self.ci95
        if not low <= self.rate <= high or not high or (self.hits and not low):
            raise ValueError(f"expected an interval that holds the rate {self.rate:g}, found {low:g} to {high:g}")
        return self


class _Best(_Measured):
    setting: str


class _Unexpected(Shape):
    setting: str
    ending: str
    notes: list[str]
    failing: dict[str, Count]
    command: str


class _Amplified(OrderingShape):
    outcome: str
    races: Count
    cap_s: Seconds
    without: _Measured
    best: list[_Best]
    command: str | None
    seconds: Seconds
    unexpected: list[_Unexpected]


class AmplificationShape(DocumentShape):
    """The whole of amplification.json."""

    scenario: ScenarioShape
    orderings: list[_Amplified]
    asked: list[str] = Field(default_factory=list)


def measured(run: Mapping[str, Any], outcome: str) -> dict[str, Any]:
    """What one race says of an outcome. Where that belongs to no shootdown its events count, each as one."""
    found = next((one for one in run["outcomes"] if one["id"] == outcome), None)
    hits = 0 if found is None else found["count"] if found["met"] is None else found["met"]
    rate = judged(met_shootdowns(run) or 0, hits, run["seconds"])
    return {**rate, "failing": seen(run, *FAILING), "ending": str(run["ending"])}


def not_raced() -> dict[str, Any]:
    """The measurement of a setting whose race did nothing, or never began."""
    return {**judged(0, 0, 0.0), "failing": {}, "ending": None}


def with_catches(one: Measured, catches: Sequence[tuple[float | None, Mapping[str, int]]]) -> dict[str, Any]:
    """The measurement with the seconds to the first catch of some more races, and with what else failed in these."""
    seconds = [caught for caught, _ in catches]
    failing: Counter[str] = Counter(one["failing"])
    for _, more in catches:
        failing.update(more)
    return {**one, "failing": dict(failing), "catches_s": seconds, "first_catch_s": median_catch(seconds)}


def judged(shootdowns: int, hits: int, seconds: float) -> dict[str, Any]:
    """The measurement with its rate and 95 % interval, and how many shootdowns showed it a second."""
    hits = min(hits, shootdowns)
    low, high = clopper_pearson(hits, shootdowns) if shootdowns else (0.0, 1.0)
    return {
        "shootdowns": shootdowns, "hits": hits, "seconds": round(seconds, 3),
        "rate": hits / shootdowns if shootdowns else 0.0, "ci95": [low, high],
        "per_s": round(hits / seconds, 3) if seconds > 0 else 0.0,
    }  # fmt: skip


def score(one: Measured) -> float:
    """What settings are ranked by: the least that it is shown a second, with 97.5 %; 0 where it is not."""
    often = one["ci95"][0] * one["shootdowns"] / one["seconds"] if one["seconds"] > 0 else 0.0
    return float(often)


def factor(base: Measured, amplified: Measured) -> tuple[float | None, float, float | None]:
    """The ratio of two rates with an interval from the ends of theirs, wider than 95 %: (ratio, least, most).

    Ratio and most are None where the base showed nothing: then only the least is known.
    """
    least = amplified["ci95"][0] / base["ci95"][1]
    if not base["hits"]:
        return None, least, None
    return amplified["rate"] / base["rate"], least, amplified["ci95"][1] / base["ci95"][0]


def factor_per_s(base: Measured, amplified: Measured) -> tuple[float | None, float, float | None]:
    """The same of how often it is shown a second, by which settings are ranked: a setting can cost more shootdowns than
    it makes tell.
    """
    if not (base["shootdowns"] and base["seconds"] and amplified["seconds"]):
        return None, 0.0, None
    pace = (amplified["shootdowns"] / amplified["seconds"]) / (base["shootdowns"] / base["seconds"])
    ratio, least, most = factor(base, amplified)
    return None if ratio is None else ratio * pace, least * pace, None if most is None else most * pace


def is_better(entry: Mapping[str, Any]) -> bool:
    """Whether the best setting shows the outcome more often a second than no amplifier."""
    return bool(entry["best"]) and entry["best"][0]["per_s"] > entry["without"]["per_s"]


def median_catch(catches: Sequence[float | None]) -> float | None:
    """The median of the seconds to the first catch, None counting as later than all; None where that is the median."""
    ranked = sorted(catches, key=lambda one: float("inf") if one is None else one)
    return ranked[len(ranked) // 2] if ranked else None


def shown_at_all(entry: Mapping[str, Any]) -> bool:
    """Whether any race showed the outcome, amplified or not."""
    raced = (entry["without"], *entry["best"], *entry["tried"])
    return any(one["hits"] or any(catch is not None for catch in one.get("catches_s", ())) for one in raced)


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
    gravest, safe = gravest_race(entry), is_safe(entry)
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
    often = f", {times}x as often a second with the best setting" if is_better(entry) else ""
    if entry["best"] and entry["without"]["hits"] and not often:
        often = "; nothing is better than no amplifier"
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
    return () if is_safe(entry) else entry["expect"]


def times_as_often(entry: Entry) -> str:
    """How many times as often a second the best setting shows it: `239`; `>27` where none shows nothing; `-` without a
    best. Up to 1 nothing is better than no amplifier.
    """
    best = next((one for one in entry["best"] if one["hits"]), None)
    if best is None:
        return "-"
    ratio, least, _ = factor_per_s(entry["without"], best)
    return f">{digits(least)}" if ratio is None else digits(ratio)


def digits(value: float) -> str:
    """Three digits at least, as a program reads them."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def amplified_line(entry: Entry) -> str:
    """The line to grep: `Amplified kick_then_track tracking_not_done 239 passed`."""
    return f"Amplified {entry['ordering']} {entry['outcome']} {times_as_often(entry)} {entry['verdict']}"


def amplification_screen(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Each ordering: the rate without and with the best settings, what these are, the command of the best; what showed
    beside the outcome that was looked for, and the verdict. Then the time to the first catch of all.
    """
    entries = document["orderings"]
    for entry in entries:
        yield Text(f"{name_of(entry)}: amplified for {entry['outcome']}", "bold")
        yield rates_table(entry)
        yield from _below(entry)
        yield ""
    if len(entries) > 1:
        yield first_catch_table(entries)
        yield "Time to the first catch, median of three races each; looked at every 10 ms."
        yield ""


def rates_table(entry: Entry) -> Table:
    """Without any amplifier, and with the best settings."""
    base, cap_s = entry["without"], entry["cap_s"]
    rows = [("none", _rate(base), "", per_second(base["per_s"]), "", _catch(base, cap_s))]
    for place, one in enumerate(entry["best"], start=1):
        often, often_per_s = (_times_of(one, ratio(base, one)) for ratio in (factor, factor_per_s))
        rows.append((str(place), _rate(one), often, per_second(one["per_s"]), often_per_s, _catch(one, cap_s)))
    head = ("SETTING", "of shootdowns", "times as often", "a second", "times as often", "first catch")
    return Table("", head, tuple(rows), frozenset({1, 2, 3, 4, 5}))


def _rate(one: Entry) -> str:
    return rate_with_interval(
        {"rate": one["rate"], "ci95": one["ci95"], "of": one["shootdowns"], "shootdowns": one["hits"]}
    )


def _times_of(one: Entry, found: tuple[float | None, float, float | None]) -> str:
    if not one["hits"]:
        return "not shown"
    ratio, least, most = found
    if ratio is None or most is None:
        return f"> {_times(least)}x"
    return f"{_times(ratio)}x ({_times(least)}-{_times(most)})"


def _times(value: float) -> str:
    return count(value) if value >= 100 else f"{value:.3g}"


def _catch(one: Entry, cap_s: float) -> str:
    if not one.get("catches_s"):
        return "-"
    caught_s = one.get("first_catch_s")
    return f"> {nanoseconds(cap_s * 1e9)}" if caught_s is None else nanoseconds(caught_s * 1e9)


def _below(entry: Entry) -> Iterator[Text]:
    for place, one in enumerate(entry["best"], start=1):
        yield Text(f"{place}: {one['setting']}")
    yield Text(f"{entry['races']} races; ranked by how many shootdowns a second show it, the best raced anew.")
    if entry["command"]:
        yield Text("The best again: " if is_better(entry) else "1 again: ", style="bold") + Text(entry["command"])
    if also := unexpected_texts(entry):
        yield Text("Also forbidden: ", style="bold") + Text(", ".join(also))
    gravest = gravest_race(entry)
    if gravest is not None and entry["verdict"] in (Verdict.failed, Verdict.hung, Verdict.crashed):
        yield Text("That again: ", style="bold") + Text(gravest["command"])
    yield verdict_line(entry)


def first_catch_table(entries: Sequence[Entry]) -> Table:
    """Time to the first catch of each ordering, before and after."""
    rows = []
    for entry in entries:
        best = entry["best"][0] if is_better(entry) else entry["without"]
        name = f"{name_of(entry)}: {entry['outcome']}"
        both = (entry["without"], best)
        rows.append((name, *(_catch(one, entry["cap_s"]) for one in both), *map(_rate, both)))
    head = ("ORDERING: expected", "before", "after", "rate before", "rate after")
    bad = frozenset(place for place, entry in enumerate(entries) if not is_safe(entry))
    return Table("", head, tuple(rows), frozenset({1, 2, 3, 4}), bad)


def amplification_cases(document: Mapping[str, Any]) -> list[Case]:
    """A case an ordering, with what showed unexpectedly and who stood where."""
    cases = []
    for entry in document["orderings"]:
        notes = dict.fromkeys(note for one in entry["unexpected"] for note in one["notes"])
        cases.append(case_of(entry, [*unexpected_texts(entry), plural(entry["races"], "race"), *notes]))
    return cases + unreached(document.get("asked", ()), cases, document.get("command", ()))
