"""What the tests of a selftest start from: claims of a wrong ordering and of a safe one."""

from typing import Any

from results.kinds.selftest import claim, raced
from results.tests.builders.exploration import explored
from results.tests.builders.run import a_run
from results.verdict import judge

KNOWN = ["tracking_not_done"]
CATCH = {"id": "tracking_not_done", "seconds": 0.25, "shootdowns": 59, "met": 47}


def run_of(ordering: str, seen: dict[str, int], **changes: Any) -> dict[str, Any]:
    """As a race leaves it, with its verdict."""
    run = a_run(ordering, seen, **changes)
    verdict, reason = judge(run)
    return run | {"verdict": verdict.value, "reason": reason}


CAUGHT = run_of("no_kick", {"tracking_not_done": 3}, expect=KNOWN, caught=CATCH)
MISSED = run_of("no_kick", {}, expect=KNOWN)


def found(**changes: Any) -> Any:
    return explored({"tracking_not_done": 33}, expect=KNOWN, vcpus=1, states=846, seconds=0.001, **changes)


def not_found(**changes: Any) -> Any:
    return explored({}, expect=KNOWN, **changes)


def wrong(*tried: Any, run: Any = CAUGHT) -> dict[str, Any]:
    return raced(claim("no_kick", KNOWN, (), tried), [run], {})


def safe(*tried: Any, run: Any = None) -> dict[str, Any]:
    return raced(claim("v18", "safe", (), tried), [run_of("v18", {}) if run is None else run], {})
