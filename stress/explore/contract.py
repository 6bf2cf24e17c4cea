"""The verb `explore --contract`: which try of a lock can fail against whom, on the machines of every part, and whether
the second try succeeds; contract.json says it, and a witness beside it shows each.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kernels.search.schedule import Move
from kernels.tdx.counters import HOST_PRIORITY, ModuleLock
from kernels.tdx.lock_contract import LEFT_OUT, Conflict, Contract, Try, contract
from kernels.tdx.outcomes import Outcome, Second
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.statuses import LEAF_NAMES, Leaf
from results.kinds.contract import SCHEMA, entry
from results.store import json_bytes
from results.words import plural
from scenarios.loader import load_scenario
from scenarios.models import Ordering
from scenarios.witness import witness_text
from stress.explore.grid import memory_of_each
from stress.explore.machines import OWN_TRACK, Machine
from stress.explore.ordering import Whole, get_ready
from stress.explore.pairs import rules_on, run_again
from stress.interrupts import Interrupts
from stress.options import ExploreRequest
from stress.pieces.run import at_once
from stress.processes.placement import inherited_cpus
from stress.progress import display
from stress.session import origin, session

CONTRACT = "contract"
MEMORY_BYTES = 4 << 30  # of one graph
LOCKS = {ModuleLock.EPOCH: "epoch", ModuleLock.TREE: "tree", ModuleLock.ENTRY: "entry", ModuleLock.TDR: "TDR"}
HOLDERS = {**{int(leaf): name for leaf, name in LEAF_NAMES.items()}, HOST_PRIORITY: "host priority"}
SAID = ("title", "source", "expect", "faults")  # of an ordering
Key = tuple[Try, int]


@dataclass(slots=True)
class Found:
    """What is known of one ordering so far: by try and holder each conflict with its machine, by try its parts."""

    ordering: Ordering
    conflicts: dict[Key, list[tuple[Machine, Conflict]]] = field(default_factory=dict)
    tried: dict[Try, list[str]] = field(default_factory=dict)
    states: int = 0
    seconds: float = 0.0
    open: list[str] = field(default_factory=list)

    def add(self, part: str, machine: Machine, seen: Contract | None) -> None:
        """What was seen on one more machine; None where its graph takes more memory than there is."""
        if seen is None:
            self.open.append(f"{part} with {machine.tier.words}")
            return
        self.states += seen.states
        for tried in seen.tried:
            self.tried.setdefault(tried, []).append(part)
        for one in seen.conflicts:
            self.conflicts.setdefault((one.tried, one.holder), []).append((machine, one))

    def entry(self, *, complete: bool) -> dict[str, Any]:
        """As it stands in the JSON."""
        its, rows = self.ordering, [self._row(key, met) for key, met in self.conflicts.items()]
        taken = {tried for tried, _ in self.conflicts}
        rows += [_named(tried, None, Second.never, parts) for tried, parts in self.tried.items() if tried not in taken]
        table = its.model_dump(mode="json")
        subject = {"ordering": its.name, "parameters": table} | {key: table[key] for key in SAID}
        how = {
            "complete": complete and not self.open,
            "open": self.open,
            "states": self.states,
            "seconds": round(self.seconds, 3),
        }
        return entry(subject, how, rows)

    def _row(self, key: Key, met: Sequence[tuple[Machine, Conflict]]) -> dict[str, Any]:
        second = max((one.second for _, one in met), key=list(Second).index)
        parts = [load_scenario(machine.scenario).flow for machine, _ in met]
        machine, shortest = _shortest(met, "moves")
        row = _named(key[0], key[1], second, parts)
        row |= {"states": sum(one.states for _, one in met), "steps": len(shortest.moves), "machine": machine.json()}
        last = [one for one in met if one[1].given_up]
        row["given_up_steps"] = len(_shortest(last, "given_up")[1].given_up) if last else None
        return row

    def witnesses(self) -> dict[str, Callable[[], bytes]]:
        """By file name, a schedule to each conflict, and where a BUSY is given up one to that."""
        made = dict[str, Callable[[], bytes]]()
        for (tried, holder), met in self.conflicts.items():
            name = "-".join((self.ordering.name, LEAF_NAMES[Leaf(tried.leaf)], LOCKS[ModuleLock(tried.lock)]))
            name = f"witness-{name}-{HOLDERS[holder].replace(' ', '_')}"
            for kind, outcome in (("moves", Outcome.operand_busy), ("given_up", Outcome.busy_given_up)):
                if having := [one for one in met if getattr(one[1], kind)]:
                    machine, one = _shortest(having, kind)
                    file = f"{name}{'-given_up' * (kind == 'given_up')}.json"
                    made[file] = partial(self._witness, machine, getattr(one, kind), outcome.name)
        return made

    def _witness(self, machine: Machine, moves: Sequence[Move], outcome: str) -> bytes:
        again = run_again(machine, self.ordering, self.ordering.faults, outcome, moves)
        return witness_text(again.witness).encode()


def _shortest(met: Sequence[tuple[Machine, Conflict]], kind: str) -> tuple[Machine, Conflict]:
    return min(met, key=lambda one: len(getattr(one[1], kind)))


def _named(tried: Try, holder: int | None, second: Second, parts: Sequence[str]) -> dict[str, Any]:
    return {
        "leaf": LEAF_NAMES[Leaf(tried.leaf)],
        "lock": LOCKS[ModuleLock(tried.lock)],
        "holder": None if holder is None else HOLDERS[holder],
        "second": second.value,
        "parts": list(dict.fromkeys(parts)),
        "states": 0,
        "steps": None,
        "given_up_steps": None,
    }


def run_contract(
    request: ExploreRequest, orderings: Sequence[Ordering], machines: Mapping[str, Sequence[Machine]]
) -> int:
    """Look, store, show; returns the exit code. Raises the errors of `stress.errors` and StoreError."""
    threads = request.threads or len(inherited_cpus())
    memory_bytes = memory_of_each(request, threads, MEMORY_BYTES)
    with session(request, CONTRACT, CONTRACT) as (its, directory):
        get_ready(orderings[0], load_scenario("small"), Whole(1 << 30, 1), its.progress, verbose=request.verbose)
        head, found = origin(), [Found(ordering) for ordering in orderings]

        def document(*, complete: bool) -> dict[str, Any]:
            told = {part: [machine.json() for machine in of_part] for part, of_part in machines.items()}
            subject = {"explored": {"threads": threads}, "machines": told, "left_out": left_out(found)}
            entries = [one.entry(complete=complete) for one in found]
            return {"schema": SCHEMA, **head, **subject, "orderings": entries}

        with its.interrupts:
            with display(its.progress) as drawn:
                for part, of_part in machines.items():
                    look_at_part(part, of_part, found, its.interrupts, drawn.tell, threads, memory_bytes)
                    with its.noted():
                        directory.put({its.kind.file: json_bytes(document(complete=False))})
                    if its.interrupts:
                        break
            whole = document(complete=not its.interrupts)
            with its.noted():
                directory.put({its.kind.file: json_bytes(whole)})
                for one in found if not its.interrupts else ():
                    for name, content in one.witnesses().items():
                        if not its.interrupts:
                            directory.put({name: content()})
            its.leave(whole)
            return its.end(its.kind.exit_code(whole))


def left_out(found: Sequence[Found]) -> list[str]:
    """The locks that no machine has, and those that only some parts have."""
    tried = {lock: {part for one in found for its, parts in one.tried.items() if its.lock == lock for part in parts}
             for lock in LOCKS}  # fmt: skip
    looked = set().union(*tried.values())
    some = {lock: sorted(parts) for lock, parts in tried.items() if parts != looked}
    return [*LEFT_OUT, *(f"{LOCKS[lock]}{' but in ' * bool(its)}{' and '.join(its)}" for lock, its in some.items())]


def look_at_part(
    part: str,
    machines: Sequence[Machine],
    found: Sequence[Found],
    interrupts: Interrupts,
    tell: Callable[[str], None],
    threads: int,
    memory_bytes: int,
) -> None:
    """All orderings on each machine of a part; what an interrupt leaves out is not complete."""
    for number, machine in enumerate(machines, start=1):
        if interrupts:
            break
        begun = time.monotonic()
        tier = machine.tier
        size = Size(tier.vcpus, tier.zappers, tier.pages, tier.tlb_entries)
        calls = {
            place: partial(contract, *of_flow(rules), size, memory_bytes, lambda: not interrupts)
            for place, one in enumerate(found)
            if part != OWN_TRACK or one.ordering.gate != "none"
            for rules in [rules_on(machine, one.ordering, one.ordering.faults)]
        }
        where = f"part {part}, machine {number} of {len(machines)} ({tier.words})"
        telling = partial(tell, f"{where}: {plural(len(calls), 'ordering')}")
        seen = dict(at_once(calls, threads, interrupts, telling))
        for place in calls if not interrupts else ():
            found[place].add(part, machine, seen.get(place))
            found[place].seconds += (time.monotonic() - begun) / len(calls)
