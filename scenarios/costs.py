"""What a race declares that SEAMCALLs take, beside the steps of this model: `costs = "assumed"`, or a table of times.

Nobody has published what BLOCK, TRACK and REMOVE take, so these are medians to assume; what may be claimed from them is
how orderings compare under the same ones. A cost is spun, the locks of its call held, with lengths that are log-normal
about its median.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator

from scenarios.times import UNITS_NS
from scenarios.wording import problem, shown, unknown

# The standard deviation of a length's logarithm: nine of ten lie between 0.66 and 1.51 times the median.
SIGMA = 0.25
MOST_NS = 1_000_000
A_COST = "a time of up to 1ms such as 0, 500ns or 1.5us"
A_TABLE = '"none", "assumed", or a table such as { track = "1.5us", block = "2.5us" }'
_COST = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(ns|us|ms)", re.ASCII)


class Cost(NamedTuple):
    """The labels before whose steps the time passes, the median to assume, and where that is from."""

    labels: tuple[str, ...]
    assumed: str
    source: str


_REMOVED = "the 15.3 us that a page took in a measurement of teardown posted for KVM, shared out; 1 us of it `seamcall`"
_TDCALL = "half of the 5,276 cycles that a TDCALL took in Erebor (EuroSys '25)"
COSTS: dict[str, Cost] = {
    # Outside of the locks, so of a call that is told BUSY as well.
    "seamcall": Cost(
        (
            "mem_range_block.try_lock_exclusive_tree_lock",
            "mem_track.try_lock_exclusive_epoch_lock",
            "mem_page_remove.try_lock_shared_tree_lock",
            "mem_page_remove.try_lock_exclusive_tree_lock",
            "mem_page_aug.try_lock_shared_tree_lock",
            "mem_add.try_lock_shared_tree_lock",
        ),
        "1us",
        "the way into the module and back, from differences between published totals: 0.5 to 2 us",
    ),
    # With the tree and the entry, the epoch, the tree (shared) and the entry.
    "block": Cost(("mem_range_block.load_acquire_sept",), "1.5us", _REMOVED),
    "track": Cost(("mem_track.load_acquire_epoch_tracking",), "500ns", _REMOVED),
    "remove": Cost(("mem_page_remove.load_acquire_sept",), "2us", _REMOVED),
    # No lock, and the way there and back with it.
    "wbinvd": Cost(("phymem_page_wbinvd.load_acquire_sept",), "1.5us", _REMOVED),
    # Before the epoch's lock, which the module holds for three instructions; and with the reference to the epoch.
    "enter": Cost(("vp_enter.try_lock_shared_epoch_lock", "vp_enter_here.associate_assoc_lpid"), "1.2us", _TDCALL),
    "exit": Cost(("td_exit.fetch_add_seq_cst_epoch_tracking",), "1.2us", _TDCALL),
}
WORDS: dict[str, dict[str, str]] = {"none": {}, "assumed": {key: cost.assumed for key, cost in COSTS.items()}}


def cost_ns(text: str) -> int:
    """Nanoseconds of a cost. Raises ValueError."""
    if text == "0":
        return 0
    found = _COST.fullmatch(text)
    ns = round(float(found[1]) * UNITS_NS[found[2]]) if found else -1
    if not 0 <= ns <= MOST_NS:
        raise ValueError
    return ns


def table_of(value: Any) -> dict[str, str]:
    """The table that a word stands for, or that is written; under "" a word that the rest of it changes."""
    if isinstance(value, str):
        if value not in WORDS:
            raise problem(unknown("word for costs", value, tuple(WORDS)))
        return WORDS[value]
    if not isinstance(value, Mapping):
        raise problem(f"expected {A_TABLE}, found {shown(value)}")
    rest = {key: cost for key, cost in value.items() if key != ""}
    return {**(table_of(value[""]) if "" in value else {}), **{key: _cost(key, cost) for key, cost in rest.items()}}


def _cost(key: str, value: Any) -> str:
    if key not in COSTS:
        raise problem(unknown("cost", key, tuple(COSTS)))
    text = "0" if value == 0 and not isinstance(value, bool) else value
    try:
        cost_ns(text.replace(" ", ""))
    except (AttributeError, ValueError):
        raise problem(f"{key}: expected {A_COST}, found {shown(value)}") from None
    return str(text.replace(" ", ""))


Costs = Annotated[dict[str, str], BeforeValidator(table_of)]
