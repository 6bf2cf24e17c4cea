"""What tests of a search for amplifiers start from: an entry of amplification.json, and a race that showed too much."""

from typing import Any

from results.kinds.amplification import judge_amplification, judged


def an_entry(**changes: Any) -> dict[str, Any]:
    """A wrong ordering that was caught seldom, and with a setting often."""
    best = {**judged(1000, 640, 2.0), "setting": "1 vCPU, 1 zapper, mem_track.try 20us", "first_catch_s": 0.0247}
    entry: dict[str, Any] = {
        "ordering": "kick_then_track", "expect": ["tracking_not_done"], "outcome": "tracking_not_done",
        "forbidden": True, "races": 50, "cap_s": 2.5,
        "without": {**judged(20_000, 40, 2.0), "first_catch_s": None, "catches_s": [None, None, 1.9]},
        "best": [{**best, "catches_s": [0.02, 0.0247, 0.03]}], "seconds": 60.0,
        "command": "tdx-stress run review --delay mem_track.try=20us", "unexpected": [], "tried": [],
    }  # fmt: skip
    return entry | changes


def a_judged_entry(**changes: Any) -> dict[str, Any]:
    """The same with its verdict."""
    entry = an_entry(**changes)
    verdict, reason = judge_amplification(entry)
    return entry | {"verdict": str(verdict), "reason": reason}


def an_unexpected(**changes: Any) -> dict[str, Any]:
    """A race that ended as it should, of a setting that is told in short."""
    race = {
        "setting": "2 vCPUs, 1 zapper", "ending": "finished", "notes": [], "failing": {}, "command": "tdx-stress run",
    }  # fmt: skip
    return race | changes
