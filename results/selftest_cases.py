"""A selftest as test cases, one a claim: what each search and the race came to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results.cases import Case
from results.exploration_verdict import size_words
from results.selftest import expected
from results.wording import plural

Claim = Mapping[str, Any]


def selftest_cases(claims: Sequence[Claim]) -> list[Case]:
    """A case a claim, named by the ordering or the fault and by what it must show."""
    return [
        Case(f"{one['ordering']}: {expected(one)}", one["verdict"], one["reason"], _seconds(one), tuple(_details(one)))
        for one in claims
    ]


def _seconds(one: Claim) -> float:
    raced = 0.0 if one["race"] is None else one["race"]["seconds"]
    return float(sum(tried["seconds"] for tried in one["explored"]) + raced)


def _details(one: Claim) -> Iterator[str]:
    for tried in one["explored"]:
        yield f"exploring {size_words(tried)}: {tried['verdict']}: {tried['reason']}"
    if one["race"] is not None:
        race = one["race"]
        how_far = f"{plural(race['shootdowns'], 'shootdown')} in {race['seconds']:.3f} s"
        tries = f" and {race['tries']} tries" if race["tries"] > 1 else ""
        yield f"racing, {how_far}{tries}: {race['verdict']}: {race['reason']}"
        yield from race["notes"]
