"""What stands on the screen when an exploration is over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.exchange.columns import Columns, every_step, folded
from results.kinds.exploration import is_sampled
from results.kinds.exploration_views import exploration_observation, exploration_table, explorations_table
from results.table import caveat_lines
from results.words import plural
from stress.screen import Screen
from stress.witness import Recorded

MODEL = "A model of the protocol, stepped on this machine, not Intel silicon."
Witnesses = Mapping[Path, Recorded]


def report_exploration(
    screen: Screen,
    found: Sequence[tuple[Mapping[str, Any], Witnesses]],
    caveats: Sequence[Mapping[str, str]],
    *,
    stepwise: bool = False,
) -> None:
    """Each ordering's outcomes and a shortest schedule to each that fails; then all in one table, caveats, and the
    lines to grep.

    `found` holds an entry of the record for each ordering, and its witnesses by their files. `stepwise`: a schedule's
    steps are not folded into calls.
    """
    for entry, witnesses in found:
        screen.show(exploration_table(entry), "")
        for path, witness in witnesses.items():
            which = "the shortest drawn" if is_sampled(entry) else "a shortest way"
            _show_witness(screen, path, witness, which, stepwise=stepwise)
    entries = [entry for entry, _ in found]
    if len(entries) > 1:
        screen.show(explorations_table(entries), "")
    if caveats:
        screen.show(caveat_lines(caveats), "")
    exploration_observations(screen, entries)


def report_files(screen: Screen, directory: Path) -> None:
    """The last lines."""
    screen.line(f"\n{MODEL}\nFiles: {directory}/")


def exploration_observations(screen: Screen, explorations: Sequence[Mapping[str, Any]]) -> None:
    """One line an ordering, to grep."""
    for exploration in explorations:
        screen.line(exploration_observation(exploration))


def _show_witness(screen: Screen, path: Path, found: Recorded, which: str, *, stepwise: bool) -> None:
    """The schedule, one column an actor, and how to run it again."""
    name, steps = found.witness.ordering["name"], plural(len(found.witness.steps), "step")
    screen.line(f"{name}: {which} to {found.witness.outcome}, {steps}\n")
    rows = every_step(found.story) if stepwise else folded(found.story)
    screen.show(Columns(found.story.actors, rows), "")
    screen.line(f"Again, step by step: tdx-stress replay {path}\n")
