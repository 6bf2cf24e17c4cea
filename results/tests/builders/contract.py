"""What the tests of a contract start from: an ordering that is retried once, one that spins, one that gives up."""

from typing import Any

from results.kinds.contract import SCHEMA, entry

BLOCK, TRACK, ENTER, ACCEPT = "TDH.MEM.RANGE.BLOCK", "TDH.MEM.TRACK", "TDH.VP.ENTER", "TDG.MEM.PAGE.ACCEPT"
AUG = "TDH.MEM.PAGE.AUG"
ONCE = (
    (ACCEPT, "entry", "host priority", "spins", ["shootdown"], 7, 91, None),
    (BLOCK, "entry", ACCEPT, "always", ["shootdown", "batch"], 3, 74, None),
    (TRACK, "epoch", ENTER, "always", ["shootdown", "batch"], 9, 20, None),
    (BLOCK, "tree", None, "never", ["shootdown"], 0, None, None),
)
SPINS = (
    (BLOCK, "tree", BLOCK, "spins", ["shootdown"], 11, 6, None),
    (BLOCK, "entry", ACCEPT, "spins", ["batch"], 5, 68, None),
    (AUG, "tree", BLOCK, "anew", ["batch"], 4, 40, None),
)
GIVES_UP = ((BLOCK, "tree", BLOCK, "gives up", ["shootdown"], 13, 8, 8),)
FAILS = ((TRACK, "epoch", ENTER, "can fail", ["batch"], 2, 22, 37),)
KEYS = ("leaf", "lock", "holder", "second", "parts", "states", "steps", "given_up_steps")
MACHINES = {"shootdown": [{"vcpus": 1}, {"vcpus": 2}], "batch": [{"vcpus": 1}]}


def an_entry(name: str, conflicts: Any, expect: Any = "safe", *, complete: bool = True) -> dict[str, Any]:
    """One ordering, judged."""
    how = {"complete": complete, "open": [] if complete else ["mmio with 2 vCPUs"], "states": 1_234, "seconds": 2.5}
    return entry({"ordering": name, "expect": expect}, how, [dict(zip(KEYS, one, strict=True)) for one in conflicts])


def a_contract(*entries: dict[str, Any]) -> dict[str, Any]:
    """The document of these orderings."""
    usual = (an_entry("once", ONCE), an_entry("spun", SPINS), an_entry("literal", GIVES_UP, ["busy_given_up"]))
    subject = {"explored": {"threads": 2}, "machines": MACHINES, "left_out": ["KOT", "TDR but in teardown"]}
    return {"schema": SCHEMA, **subject, "orderings": list(entries or usual)}
