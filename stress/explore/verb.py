"""The verb `explore`: each ordering is searched in turn; the record is stored after each and shown at the end. And
`explore --dump`: the text of what is searched, which is what a proof rests on.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels.search.schedule import machines
from kernels.tdx.protocol import protocol_of
from kernels.tdx.rules import flow_named
from results.exchange.columns import Columns, every_step, folded
from results.kinds.exploration import document, exploration_exit_code, is_sampled
from results.store import RunDirectory, json_bytes
from results.verdict import Verdict
from results.words import plural
from scenarios.models import MACHINE_KEYS, Ordering, Scenario
from scenarios.witness import witness_text
from stress.commands import typed
from stress.errors import UsageFault
from stress.explore.ordering import FORBIDDEN, Sample, Searched, Whole, get_ready, search
from stress.explore.witness import Recorded, write_pictures
from stress.options import ExploreRequest
from stress.processes.limits import threads_to_start
from stress.processes.memory import chosen_memory
from stress.processes.placement import inherited_cpus
from stress.progress import search_display
from stress.resolve import changes_of, told_of
from stress.screen import write
from stress.session import Session, origin, session

EXPLORATION = "exploration.json"
STOPS_THERE = "; the search goes on to its end, --fail-fast stops at the first"


@dataclass(slots=True)
class Record:
    """What an exploration leaves, as it grows."""

    header: dict[str, Any]
    single: bool
    directory: RunDirectory
    searched: list[Searched] = field(default_factory=list)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The orderings that were explored."""
        return [one.entry for one in self.searched]

    def witnesses(self, one: Searched) -> dict[Path, Recorded]:
        """The schedules to what fails, by the file that each is kept in."""
        stem = "witness" if self.single else f"witness-{one.entry['ordering']}"
        return {self.directory.path / f"{stem}-{name}.json": found for name, found in one.witnesses.items()}

    @property
    def document(self) -> dict[str, Any]:
        """As it goes into a file."""
        return document(self.header, self.entries, single=self.single)

    def store(self) -> None:
        """The record, and a witness for each thing that fails. Raises StoreError."""
        contents = {EXPLORATION: json_bytes(self.document)}
        for one in self.searched:
            for path, found in self.witnesses(one).items():
                contents[path.name] = witness_text(found.witness).encode()
        self.directory.put(contents)

    def store_pictures(self) -> None:
        """Beside each witness its trace and its timeline. Raises StoreError."""
        for one in self.searched:
            for path, found in self.witnesses(one).items():
                write_pictures(path.parent, found.witness, found.story, f"{path.stem}.")


def run_explore(request: ExploreRequest, scenario: Scenario, orderings: Sequence[Ordering]) -> int:
    """Search, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    method = _method(request, scenario)
    with session(request, f"explore-{scenario.name}", "exploration") as (its, directory):
        asked = {"asked": [ordering.name for ordering in orderings]}
        record = Record({**origin(), **asked}, single=len(orderings) == 1, directory=directory)
        # Before interrupts are only counted: so that who waits for the compiler can end it at once.
        get_ready(orderings[0], scenario, method, its.progress, verbose=request.verbose)
        with its.interrupts:
            with its.noted():
                _search_all(its, request, scenario, orderings, method, record)
            if not record.searched:
                return its.nothing()
            with its.noted():
                record.store()
            its.leave(record.document, told=_witnesses(record, every=request.verbose))
            with its.noted():
                if its.interrupts.received < 2:  # nobody who asks for the end twice waits for pictures
                    with its.drawing():
                        record.store_pictures()
            return its.end(exploration_exit_code(record.entries))


def _method(request: ExploreRequest, scenario: Scenario) -> Whole | Sample:
    if request.random is not None:
        return Sample(schedules=request.random, seed=scenario.seed, depth=request.pct)
    return Whole(
        memory_bytes=chosen_memory(request.memory),
        threads=threads_to_start(request.threads or len(inherited_cpus())),
        symmetry=not request.no_symmetry,
        reduction=not request.no_reduction,
        liveness=not request.no_liveness,
        until=FORBIDDEN if request.fail_fast else (),
    )


def _search_all(
    its: Session,
    request: ExploreRequest,
    scenario: Scenario,
    orderings: Sequence[Ordering],
    method: Whole | Sample,
    record: Record,
) -> None:
    """Every ordering in turn, until the user has enough, or `--fail-fast` says so."""
    count, sampled = len(orderings), isinstance(method, Sample)
    changed = changes_of(request, scenario, orderings, MACHINE_KEYS)
    for number, ordering in enumerate(orderings, start=1):
        if its.interrupts:
            return
        place = f"{scenario.name}, ordering {number} of {count}"
        with search_display(
            its.progress,
            its.interrupts,
            ordering.name,
            safe=ordering.safe,
            place=place,
            sampled=sampled,
            advice=STOPS_THERE,
        ) as watch:
            found = search(ordering, scenario, method, watch)
        found.entry.update(told_of(ordering.name, changed))
        record.searched.append(found)
        its.note(f"{ordering.name}: {found.entry['verdict']}: {found.entry['reason']}")
        if number < count:
            record.store()
        if request.fail_fast and found.entry["verdict"] == Verdict.failed:
            return


def _witnesses(record: Record, *, every: bool) -> Iterator[Any]:
    """A shortest schedule to each thing that fails, one column an actor, and how to run it again; `every` step in a row
    of its own, not folded into calls.
    """
    from rich.text import Text

    for one in record.searched:
        which = "the shortest drawn" if is_sampled(one.entry) else "a shortest way"
        for path, found in record.witnesses(one).items():
            name, steps = found.witness.ordering["name"], plural(len(found.witness.steps), "step")
            yield from (f"{name}: {which} to {found.witness.outcome}, {steps}", "")
            yield from (Columns(found.story.actors, (every_step if every else folded)(found.story)), "")
            if found.witness.waits:
                yield from (*map(Text, found.witness.waits), "")
            yield from (f"Again, step by step: tdx-stress replay {path}", "")


# What a step machine depends on, and how loudly is said what goes wrong.
SAID = {"scenario", "settings", "dump", "quiet", "verbose", "no_color"}


def dump(request: ExploreRequest, scenario: Scenario) -> int:
    """Print the step machine of each kind of actor of this scenario, with its labels, and by which name its object code
    is kept: a digest of this text as compiled. Orderings and sizes are no part of it; it reads them. Returns 0. Raises
    UsageFault.
    """
    if given := typed(request, [name for name in ExploreRequest._fields if name not in SAID]):
        raise UsageFault(f"{given[0]}: means nothing beside --dump: a step machine is the same for all of these")
    protocol = protocol_of(flow_named(scenario.flow))
    for kind, made in zip(protocol.actors, machines(protocol), strict=True):
        machine = made.machine
        labels = (f"#   {label}  {site or 'starts'}" for label, site in enumerate(machine.sites))
        sizes = f"{len(machine.sites)} labels, {machine.registers} registers"
        said = f"# {kind.name}: {sizes}, compiled as {made.step.kept_as}"
        write(sys.stdout, "\n".join([said, *labels, "", machine.source, ""]))
    return 0
