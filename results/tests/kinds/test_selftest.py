"""Claims from literal entries: verdicts, exit codes, and what stands on the terminal."""

from typing import Any

import pytest

from results.kinds.selftest import claim, is_complete, raced, selftest_exit_code
from results.tests.builders.exploration import explored
from results.tests.builders.selftest import CAUGHT, KNOWN, MISSED, found, not_found, run_of, safe, wrong

TRIED = run_of("no_kick", {}, expect=KNOWN, seconds=0.5, all_shootdowns=40, met={"kicks": 35, "shootdowns": 33})


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        # To the first catch, and 1 - 0.05 ** (1 / 47); of all the race where there is none.
        ([CAUGHT], {"caught": True, "seconds": 0.25, "shootdowns": 59, "met": 47, "would_have_caught": 0.061748}),
        ([MISSED], {"caught": False, "seconds": 5.0, "shootdowns": 5_000, "met": 4_321}),
        # Tries that another error stopped count.
        (
            [TRIED, TRIED, CAUGHT],
            {"caught": True, "seconds": 1.25, "shootdowns": 139, "met": 113, "tries": 3, "would_have_caught": 0.026163},
        ),
    ],
)
def test_the_time_and_the_shootdowns_of_a_race_are_those_to_the_first_catch(runs: Any, told: dict[str, Any]) -> None:
    race = raced(claim("no_kick", KNOWN, (), [found()]), runs, {})["race"]

    assert {key: race[key] for key in told} == {
        key: pytest.approx(value, abs=1e-5) if key == "would_have_caught" else value for key, value in told.items()
    }


STOPPED: Any = {"complete": False, "stopped_by": "memory"}
INTERRUPTED: Any = {"complete": False, "stopped_by": "interrupt"}
# By what is shown: the claims, the first one's verdict and what stands in its reason, and the exit code of all.
CLAIMS: dict[str, tuple[list[Any], str, str, int]] = {
    "a wrong ordering caught twice says both": (
        [wrong(found())], "passed",
        "exploring: caught: tracking_not_done in 33 steps; racing: caught: tracking_not_done 3 times", 0,
    ),
    "one size of machine that shows it is enough": (
        [wrong(not_found(), found())], "passed", "exploring: caught: tracking_not_done in 33 steps", 0,
    ),
    "what no search shows": (
        [wrong(not_found(), not_found(vcpus=3))], "failed", "cannot happen in a machine of this size (3 vCPUs", 1,
    ),
    "a search that did not end": (
        [wrong(not_found(), not_found(**STOPPED))], "inconclusive", "but the search ran out of the memory", 6,
    ),
    "only a race that did not see it": (
        [wrong(found(), run=MISSED), safe(explored())], "inconclusive",
        "racing: known for tracking_not_done, which did not show in this time", 6,
    ),
    "a safe ordering must hold on every size of machine": (
        [safe(explored(), explored({"tracking_not_done": 40}), explored())], "failed",
        "exploring: declared safe, and can happen: tracking_not_done in 40 steps", 1,
    ),
    "a safe ordering that held says on how many machines": (
        [safe(explored(), explored())], "passed",
        "exploring: nothing forbidden can happen in all 100,000 states of 2 sizes of machine; ", 0,
    ),
    "a safe ordering that shows something in a race": (
        [safe(explored(), run=run_of("v18", {"stale_after_done": 1})), wrong(found())], "failed",
        "racing: declared safe, and showed stale_after_done once", 1,
    ),
    "a crash is graver than a failure": (
        [safe(explored(), run=run_of("v18", {}, ending="crashed")), wrong(not_found())], "crashed", "a worker died", 3,
    ),
    "an interrupt is graver than everything": (
        [wrong(not_found(**INTERRUPTED)), wrong(not_found())], "inconclusive", "but the search was interrupted", 130,
    ),
    "a claim that was not raced": ([claim("no_kick", KNOWN, (), [found()])], "inconclusive", "was not raced", 6),
}  # fmt: skip


@pytest.mark.parametrize(("claims", "verdict", "reason", "code"), CLAIMS.values(), ids=CLAIMS)
def test_a_claim_holds_where_exploring_and_racing_show_it(claims: Any, verdict: str, reason: str, code: int) -> None:
    assert claims[0]["verdict"] == verdict
    assert reason in claims[0]["reason"]
    assert (selftest_exit_code(claims), selftest_exit_code([])) == (code, 5)


def test_a_selftest_is_complete_once_each_claim_has_been_searched_and_raced_to_its_end() -> None:
    unraced = claim("no_kick", KNOWN, (), [found()])
    interrupted = wrong(not_found(complete=False, stopped_by="interrupt"))

    assert is_complete([wrong(found()), safe(explored())], 2)
    assert is_complete([claim("no_kick", KNOWN, (), [found()], to_race=False)], 1)
    assert not is_complete([wrong(found())], 2)
    assert not is_complete([unraced], 1)
    assert not is_complete([interrupted], 1)
