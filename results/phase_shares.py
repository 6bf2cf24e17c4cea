"""Where the time of a shootdown goes: each phase's share of them all, at the median. Pure.

Phases are those of stamped shootdowns, one in PHASES_EVERY, and each of them holds a reading of the clock, which takes
about as long as a short phase does: together they are longer than a whole shootdown that is stamped at its ends alone.
So they are told as shares of their own sum, and never beside the whole's time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from kernels.tdx.counters import PHASES_EVERY
from results.plot_style import PHASES
from results.tables import marked, plain_table
from results.verdict import is_safe

Run = Mapping[str, Any]

# A step of an ordering and the phases that it is measured in; the lock comes before all of them.
STEP_PHASES = {"block": ("block",), "kick": ("kick_send", "kick_ack"), "track": ("track",), "remove": ("remove",)}
STAMPED = (
    f"Shares of the phases' sum, medians of the shootdowns that are stamped between phases, one of {PHASES_EVERY}. "
    "Each phase holds one reading of the clock."
)


def phase_shares(run: Run) -> dict[str, float]:
    """The share (0 to 1) of each phase that has a median, in the order in which this ordering takes them; they add up
    to 1. None where no phase was measured."""
    steps = [step for step in run["shootdown"] if step in STEP_PHASES] or list(STEP_PHASES)
    names = dict.fromkeys(["lock", *(phase for step in steps for phase in STEP_PHASES[step])])
    medians = {name: run["latency_ns"].get(name, {}).get("p50") or 0 for name in names}
    whole = sum(medians.values())
    return {name: median / whole for name, median in medians.items() if median}


def share_cells(run: Run) -> list[str]:
    """A cell a phase, in the order of PHASES: `12 %`, or a dash."""
    shares = phase_shares(run)
    return [f"{100 * shares[name]:.0f} %" if name in shares else "-" for name in PHASES]


def phase_table(runs: Sequence[Run]) -> RenderableType:
    """A row an ordering that measured any phase, a column a phase."""
    measured = [run for run in runs if phase_shares(run)]
    if not measured:
        return Group()
    heads = (name.removeprefix("wait for ") for name, _, _ in PHASES.values())
    table = plain_table(("WHERE THE TIME GOES", "left"), *((head, "right") for head in heads))
    for run in measured:
        table.add_row(marked(run["ordering"], is_safe(run)), *share_cells(run))
    return Group(table, Padding(Text(STAMPED, style="dim"), (0, 0, 0, 2)), "")
