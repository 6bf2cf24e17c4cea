"""Witnesses: from a schedule to its file and its pictures, and from a file back to what it runs on."""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kernels.language.cache import sources_digest
from kernels.layout import Layout
from kernels.race.ticks import NS_SHIFT, Clock
from kernels.story.events import Story
from kernels.story.narrate import Narrator
from kernels.story.waits import waits
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import Size, explored, of_flow
from kernels.tdx.rules import MAX_PAGES, MAX_TLB_ENTRIES, Fault, Flow, Rules, has_part
from results.exchange.trace_events import story_trace
from results.exchange.trace_events import text as trace_text
from results.store import write_files
from results.words import plural
from scenarios.busy import LOCK_MODES, SEAMCALLS
from scenarios.machines import MAX_SHARED_PAGES
from scenarios.models import Ordering, Scenario
from scenarios.rules import compile_rules
from scenarios.validation import validated
from scenarios.witness import Size as WitnessSize
from scenarios.witness import Step, Witness
from stress.provenance import version

TRACE, TIMELINE = "trace.json", "timeline"
OURS = functools.cache(sources_digest)  # what was searched is what was loaded
OF_ACCESS = ("word", "old", "new", "before", "after")  # if there is one
# Only a race reads the others: where its clock stands, how long it pauses, in which pattern its guests read.
DECIDING = (
    "flow", "module", "batch", "resched", "shared_pages", "shared_flush", "memslot_zap",
    "shootdown", "table", "undo", "request", "wait", "gate", "entry_requests", "entry_gate", "entry_wait_for_sept_zap",
    "fault_lock", "entry_lock", "spin_locks", "irq_locks", "fault_for_write", "no_entry_lock", "serialized",
    "mmu_lock_steps",
    *(f"{seamcall}_busy_{mode}" for seamcall in SEAMCALLS for mode in LOCK_MODES),
    "zap_for_write", "sept_free", "hkid_free", "guard", "on_error", "faults", "shootdowns", "sept_ve_disable", "lps",
    "ioctls", "fault_retry", "epf_threshold", "hp_lock_timeout", "flush_at", "elide_flush", "aging",
)  # fmt: skip


class Recorded(NamedTuple):
    """A schedule as a file has it, and as it is told."""

    witness: Witness
    story: Story


def rules_of(
    ordering: Ordering, shootdowns: int, faults: Iterable[str], machine: Mapping[str, Any] | None = None
) -> Rules:
    """What a search makes of an ordering with so many shootdowns a zapper, these faults of the module and a scenario's
    `machine`.
    """
    broken = sum(int(Fault[fault.upper()]) for fault in faults)
    return as_searched(ordering, scenario_of(ordering, machine or {}))._replace(shootdowns=shootdowns, faults=broken)


def as_searched(ordering: Ordering, scenario: Scenario) -> Rules:
    """The rules as a search takes them: no clock is read, so any will do."""
    ns = {"clock": int(Clock.MONOTONIC), "ticks_per_s": 1e9, "ticks_to_ns": 1 << NS_SHIFT}
    return explored(compile_rules(ordering, scenario, **ns, shared_cpus=False))  # type: ignore[arg-type]


def scenario_of(ordering: Ordering, machine: Mapping[str, Any]) -> Scenario:
    """A scenario's `machine` with room for whatever may stand beside it. Raises ScenarioError."""
    most_pages = MAX_SHARED_PAGES if has_part(machine.get("flow", "shootdown"), Flow.MMIO) else MAX_PAGES
    room = {"vcpus": 1, "zappers": 1, "pages": most_pages, "tlb_entries": MAX_TLB_ENTRIES}
    keys = {"orderings": (ordering.name,), **room, "gap": 0, "tick_us": 0, **machine}
    return validated(Scenario, "machine", "search", keys)


def rules_digest(rules: Rules) -> str:
    """Names all of the rules that a step can depend on."""
    return _digest([(name, int(getattr(rules, name))) for name in DECIDING])


def layout_digest(lay: Layout) -> str:
    """Names where every word of the state stands."""
    return _digest(list(zip(lay._fields, lay, strict=True)))


def is_noted(outcome: str) -> bool:
    """Whether a step shows the outcome; that nobody gets on, or that counts do not add up, only the state does."""
    return outcome in Outcome.__members__ and outcome != Outcome.no_progress.name


def head_digest(witness: Witness) -> str:
    """Names all that a file says of itself in words, which no step shows: names, titles, faults, who waits for whom."""
    told = {"ordering", "machine", "size", "shootdowns", "faults", "waits"}
    told |= set() if is_noted(witness.outcome) else {"outcome"}
    return _digest(json.dumps(witness.model_dump(mode="json", include=told), sort_keys=True))


def recorded(
    ordering: Ordering,
    rules: Rules,
    size: Any,
    outcome: str,
    moves: Iterable[Any],
    setting: Mapping[str, Any] | None = None,
) -> Recorded:
    """Run the moves once more and keep all that a file needs.

    `setting` is the scenario's `machine`; `size` has vcpus, zappers, pages and tlb_entries, a move an actor and a
    choice, as `kernels.search.explore` gives them;
    `outcome` is what the last move shows. Raises KeyError, ValueError for a move that cannot be taken, ValueError for
    rules that are not the ordering's.
    """
    machine = WitnessSize(vcpus=size.vcpus, zappers=size.zappers, pages=size.pages, tlb_entries=size.tlb_entries)
    faults = tuple(str(fault.name).lower() for fault in Fault if rules.faults & fault)
    if rules_digest(rules) != rules_digest(rules_of(ordering, rules.shootdowns, faults, setting)):
        raise ValueError(f"expected the rules that a search makes of {ordering.name}, found others")
    narrator = Narrator(*of_flow(rules), Size(**machine.model_dump()))
    for move in moves:
        narrator.step(move.actor, move.chosen)
    story = narrator.story()
    stuck = outcome == Outcome.no_progress.name
    witness = Witness(
        version=version(),
        kernels=OURS(),
        layout=layout_digest(narrator.run.lay),
        rules=rules_digest(rules),
        ordering=ordering.model_dump(mode="json", exclude_none=True),
        machine=dict(setting or {}),
        size=machine,
        shootdowns=rules.shootdowns,
        faults=faults,
        outcome=outcome,
        steps=steps_of(story),
        waits=waits(narrator) if stuck else (),
        end_state_sha256=story.state_sha256,
    )
    return Recorded(witness.model_copy(update={"head": head_digest(witness)}), story)


def steps_of(story: Story) -> tuple[Step, ...]:
    """A story's events as a file has them."""
    return tuple(
        Step(
            actor=event.actor,
            chosen=event.chosen,
            label=event.label,
            at=f"{event.file}:{event.line}",
            **{key: getattr(event.access, key) for key in OF_ACCESS if event.access},
            says=event.says,
            status=f"{event.leaf}: {event.status}" if event.leaf else "",
            outcomes=event.outcomes,
        )
        for event in story.events
    )


def ordering_of(witness: Witness, where: str) -> Ordering:
    """The ordering that a file holds. Raises ScenarioError `where: ordering: key: expected, found`."""
    table = {key: value for key, value in witness.ordering.items() if key != "name"}
    return validated(Ordering, f"{where}: ordering", str(witness.ordering.get("name", "")), table)


def title_of(witness: Witness) -> str:
    """What a witness is of: `kick_then_track shows tracking_not_done: 1 vCPU, 1 zapper, 1 page`."""
    size = witness.size
    counts = ((size.vcpus, "vCPU"), (size.zappers, "zapper"), (size.pages, "page"))
    machine = ", ".join(plural(count, word) for count, word in counts)
    faults = f"; {', '.join(witness.faults)}" if witness.faults else ""
    return f"{witness.ordering.get('name')} shows {witness.outcome}: {machine}{faults}"


def write_pictures(directory: Path, witness: Witness, story: Story, prefix: str = "") -> list[Path]:
    """Leave the trace and the timeline, as PNG and as SVG, in a directory that is there. Raises StoreError."""
    from results.draw.sheet import drawn
    from results.draw.timeline import timeline

    title = title_of(witness)
    made = {f"{prefix}{TRACE}": trace_text(story_trace(story, title)).encode()}
    made |= drawn({f"{prefix}{TIMELINE}": lambda: timeline(story, witness.outcome, title)})
    write_files(directory, made)
    return [directory / name for name in made]


def _digest(values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:24]
