"""The verb `replay`: a recorded schedule runs again, step by step, and must end where it ended."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels.language.cache import sources_digest
from kernels.story.events import RETURNED, Story
from kernels.story.narrate import Narrator
from kernels.tdx.protocol import Size, of_flow
from results.exchange.columns import Columns, every_step, folded, held_table
from results.store import open_run_directory
from scenarios.fields import FAULTS
from scenarios.loader import load_ordering
from scenarios.witness import Step, Witness, WitnessError, read_witness
from scenarios.wording import ScenarioError, listed, unknown
from stress.errors import UsageFault
from stress.explore.pairs import pair_witness
from stress.explore.witness import (
    head_digest,
    is_noted,
    layout_digest,
    ordering_of,
    rules_digest,
    rules_of,
    scenario_of,
    steps_of,
    title_of,
    write_pictures,
)
from stress.options import ReplayRequest
from stress.provenance import version
from stress.resolve import check_read
from stress.screen import DRAWING, Screen
from stress.session import check_writable, hand_out, json_text, named_file, opened, reading_screen

SCHEMA = "tdx-stress/replay/1"
SHOWN = ("words",)
AGREES, DIFFERS = 0, 1


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it. `difference` is what differs from the recording first, in words; empty where nothing does."""

    witness: Witness
    story: Story
    difference: str

    @property
    def whole(self) -> bool:
        """Whether every step was taken: only then can the end be compared."""
        return len(self.story.events) == len(self.witness.steps)


def replay(request: ReplayRequest) -> int:
    """Run the file's schedule again and show it; 0 where it agrees, else 1. Raises UsageFault, StoreError."""
    if request.show not in (None, *SHOWN):
        raise UsageFault(f'--show: expected {listed(SHOWN)}, found "{request.show}"')
    witness, narrator = _prepared(request)
    if (path := named_file(request.json)) is not None:
        check_writable("--json", path)
    out = request.out
    directory = None if out is None else opened(lambda: open_run_directory(out, "replay")).path
    done = _run(witness, narrator, len(witness.steps) if request.until is None else request.until)
    _show(request, done)
    if directory is not None:
        told = Screen(sys.stderr, color=not request.no_color)
        with told.during("" if request.quiet else DRAWING):
            paths = write_pictures(directory, witness, done.story)
        for path in () if request.quiet else paths:
            told.line(f"wrote {path}")
    hand_out(request.json, json_text(as_json(done)))
    return DIFFERS if done.difference else AGREES


def _prepared(request: ReplayRequest) -> tuple[Witness, Narrator]:
    """The file, and the machine that it was recorded on. Raises UsageFault where it is none of ours."""
    where = request.file
    try:
        witness = read_witness(where) if request.pair is None else pair_witness(where, request.pair)
        if (witness.version, witness.kernels) != (version(), sources_digest()):
            recorded, ours = f"{witness.version} ({witness.kernels[:8]})", f"{version()} ({sources_digest()[:8]})"
            raise UsageFault(
                f"{where}: recorded by version {recorded}, this is {ours}: explore again to record it anew"
            )
        ordering = ordering_of(witness, str(where))
    except (WitnessError, ScenarioError) as error:
        raise UsageFault(str(error)) from None
    for fault in witness.faults:
        if fault not in FAULTS:
            raise UsageFault(f"{where}: faults: {unknown('fault', fault, FAULTS)}")
    try:
        rules = rules_of(ordering, witness.shootdowns, witness.faults, witness.machine)
    except ScenarioError as error:
        raise UsageFault(f"{where}: {error}") from None
    if rules_digest(rules) != witness.rules:
        found = f"rules {witness.rules[:8]}, ordering {ordering.name} has {rules_digest(rules)[:8]}"
        raise UsageFault(f"{where}: recorded from another ordering: {found}")
    broken = ordering.model_copy(update={"faults": witness.faults})
    check_read(scenario_of(ordering, witness.machine), [broken], dict.fromkeys(witness.machine, f"{where}: machine"))
    if request.ordering is not None:
        wanted = load_ordering(request.ordering)
        if rules_digest(rules_of(wanted, witness.shootdowns, witness.faults, witness.machine)) != witness.rules:
            raise UsageFault(f"{where}: recorded from another ordering: from {ordering.name}, not from {wanted.name}")
    steps = len(witness.steps)
    if request.until is not None and not 0 <= request.until <= steps:
        raise UsageFault(f"--until: expected a step from 0 to {steps}, found {request.until}")
    narrator = _narrator(where, witness, rules)
    if request.pair is None and head_digest(witness) != witness.head:
        raise UsageFault(f"{where}: changed since it was recorded: names, machine, faults or outcome are not its own")
    return witness, narrator


def _narrator(where: Path, witness: Witness, rules: Any) -> Narrator:
    try:
        narrator = Narrator(*of_flow(rules), Size(**witness.size.model_dump()))
    except ValueError as error:
        raise UsageFault(f"{where}: size: {error}") from None
    if layout_digest(narrator.run.lay) != witness.layout:
        ours = layout_digest(narrator.run.lay)[:8]
        raise UsageFault(f"{where}: recorded with another layout of the words: {witness.layout[:8]}, this is {ours}")
    return narrator


def _run(witness: Witness, narrator: Narrator, until: int) -> Replay:
    """Take the steps; stop at the first one that cannot be taken."""
    impossible = ""
    for number, step in enumerate(witness.steps[:until], start=1):
        try:
            narrator.step(step.actor, step.chosen)
        except (KeyError, ValueError) as error:
            known = error if isinstance(error, ValueError) else f"there is no {step.actor}"
            impossible = f"step {number} cannot be taken: {known}"
            break
    story = narrator.story()
    return Replay(witness, story, impossible or _difference(witness, story))


def _difference(witness: Witness, story: Story) -> str:
    """The first step that went another way, or what differs at the end."""
    for number, (ours, theirs) in enumerate(zip(steps_of(story), witness.steps, strict=False), start=1):
        if ours != theirs:
            return f"step {number} differs: recorded {_said(theirs)}, found {_said(ours)}"
    if len(story.events) < len(witness.steps):
        return ""
    if story.state_sha256 != witness.end_state_sha256:
        found = story.state_sha256[:12]
        return f"the state at the end differs: recorded {witness.end_state_sha256[:12]}, found {found}"
    if is_noted(witness.outcome) and witness.outcome not in story.events[-1].outcomes:
        seen = ", ".join(story.events[-1].outcomes) or "nothing"
        return f"the outcome differs: recorded {witness.outcome}, the last step shows {seen}"
    return ""


def _said(step: Step) -> str:
    word = f" {step.word} {step.before} -> {step.after}" if step.word else ""
    return f"{step.actor} {step.label}{word}" + (f" ({', '.join(step.outcomes)})" if step.outcomes else "")


def _show(request: ReplayRequest, done: Replay) -> None:
    """The table, the words where they are wanted, where everybody stands, and the verdict."""
    screen, story = reading_screen(request), done.story
    if not request.quiet:
        screen.line(title_of(done.witness) + "\n")
        rows = every_step(story) if request.verbose else folded(story)
        screen.show(Columns(story.actors, rows), "")
        if request.show == "words":
            screen.show(held_table(story.held), "")
        for actor, where in story.stands.items():
            screen.line(f"{actor} {where}" if where == RETURNED else f"{actor} stands at {where}")
    screen.line(_verdict(done))


def _verdict(done: Replay) -> str:
    """One line: what was replayed, and whether it agrees."""
    steps = f"{len(done.story.events)} of {len(done.witness.steps)} steps"
    if done.difference:
        return f"DIFFERS after {steps}: {done.difference}"
    if not done.whole:
        return f"AGREES: {steps}; the rest was left out, so the end was not compared"
    return f"AGREES: {steps}, {done.witness.outcome}, same state at the end ({done.story.state_sha256[:12]})"


def as_json(done: Replay) -> Mapping[str, Any]:
    """What was replayed, as JSON's values."""
    story = done.story
    return {
        "schema": SCHEMA,
        "version": version(),
        "ordering": done.witness.ordering.get("name"),
        "size": done.witness.size.model_dump(),
        "outcome": done.witness.outcome,
        "agrees": not done.difference,
        "difference": done.difference,
        "whole": done.whole,
        "steps": [step.model_dump(mode="json") for step in steps_of(story)],
        "stands": story.stands,
        "words": {held.word: held.value for held in story.held},
        "end_state_sha256": story.state_sha256,
    }
