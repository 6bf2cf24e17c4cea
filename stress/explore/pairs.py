"""Every ordering with every fault on the machines of its flow: unlike an order of the atlas, a pair is looked at on all
of them, as a fault may add a stale read to an order that is refused anyway. Only the stale read ends a pair.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernels.search.schedule import Move
from kernels.tdx.rules import Fault, Rules
from results.kinds.exploration import FIRST
from results.kinds.faults import NO_FAULT, OTHERS, SCHEMA, Pair, judged
from results.kinds.orders import Tier
from scenarios.models import Ordering
from scenarios.validation import validated
from scenarios.witness import Witness, WitnessError, read_table
from stress.explore.grid import alone, forbidden
from stress.explore.machines import Machine, machines
from stress.explore.ordering import schedule_json
from stress.explore.witness import Recorded, as_searched, recorded
from stress.interrupts import Interrupts
from stress.resolve import looks_for, what_is_read
from stress.screen import Screen

# free_despite_error goes on after errors, for ever in effect: what has shown nothing stale by then is open.
MEMORY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class PairResult:
    """One pair on one machine: a shortest schedule to each thing that is forbidden, and whether it was the whole."""

    found: dict[str, tuple[Move, ...]]
    states: int
    transitions: int
    complete: bool

    @property
    def stale(self) -> bool:
        """Whether there is nothing left to ask."""
        return any(name in self.found for name in OTHERS)


@dataclass(slots=True)
class Cell:
    """What is known of one pair so far; `ordering` as it is everywhere, `seen` by machine. `unread`: on no machine of
    the flow all its faults are looked for.
    """

    flow: str
    ordering: Ordering
    faults: tuple[str, ...]
    seen: list[tuple[Machine, PairResult]] = field(default_factory=list)
    unread: bool = False

    @property
    def shortest(self) -> dict[str, tuple[Machine, tuple[Move, ...]]]:
        """To each forbidden outcome the shortest schedule, with its machine."""
        best: dict[str, tuple[Machine, tuple[Move, ...]]] = {}
        for machine, seen in self.seen:
            for name, moves in seen.found.items():
                if name not in best or len(moves) < len(best[name][1]):
                    best[name] = machine, moves
        return best

    def pair(self) -> Pair:
        """The result; complete where every machine was searched to its end, or until the stale read."""
        whole = all(seen.complete for _, seen in self.seen)
        done = bool(self.seen) and (self.seen[-1][1].stale or (len(self.seen) == len(machines(self.flow)) and whole))
        best = self.shortest
        found = {name: len(moves) for name, (_, moves) in best.items()}
        decides = judged(found)[1]
        return Pair(
            self.flow,
            self.ordering.name,
            "+".join(self.faults) or NO_FAULT,
            found,
            done or self.unread,
            sum(seen.states for _, seen in self.seen),
            best[decides][0].json() if decides else None,
            self.unread,
        )

    def witness(self, *, steps: bool = True) -> list[dict[str, Any]]:
        """The shortest schedule to what decides, empty where nothing is forbidden: who moves, and which way; with
        `steps` what each move is too, for which it is run once more, some 10 ms.
        """
        outcome = self.pair().outcome
        if outcome is None:
            return []
        machine, moves = self.shortest[outcome]
        if not steps:
            return [{"actor": move.actor, "chosen": move.chosen} for move in moves]
        return list(schedule_json(run_again(machine, self.ordering, self.faults, outcome, moves)))


def run_pair(described: dict[str, Any], interrupts: Interrupts, progress: Screen | None) -> tuple[dict[str, Any], bool]:
    """One pair on the machines of its flow, each in turn until it is stale; and whether it was looked at to its end."""
    ordering = Ordering.model_validate(described["ordering"])
    cell = Cell(described["flow"], ordering, tuple(described["faults"]))
    cell.unread = not is_read(cell)
    for machine in () if cell.unread else machines(cell.flow):
        if interrupts:
            break
        rules = rules_on(machine, cell.ordering, cell.faults)
        seen = look_at(rules, machine.tier, lambda: not interrupts, memory_bytes=described["memory_bytes"])
        cell.seen.append((machine, seen))
        if seen.stale:
            break
    pair = cell.pair()
    transitions = sum(seen.transitions for _, seen in cell.seen)
    found = {"pair": asdict(pair), "transitions": transitions, "witness": cell.witness(steps=not interrupts)}
    return found, pair.complete or not interrupts


def is_read(cell: Cell) -> bool:
    """Whether on a machine of the flow each of the faults is looked for under the ordering."""
    faults = {"faults": cell.faults if len(cell.faults) > 1 else ()}  # one alone is looked for whether it is there
    for machine in machines(cell.flow) if cell.faults else ():
        scenario, (its,) = machine.under([cell.ordering.model_copy(update=faults)])
        if looks_for(cell.faults, what_is_read(scenario, its)):
            return True
    return not cell.faults


def rules_on(machine: Machine, ordering: Ordering, faults: Iterable[str]) -> Rules:
    """The ordering's on this machine, with the faults."""
    scenario, (its,) = machine.under([ordering])
    return as_searched(its, scenario)._replace(faults=sum(int(Fault[name.upper()]) for name in faults))


def run_again(
    machine: Machine, ordering: Ordering, faults: Iterable[str], outcome: str, moves: Iterable[Move]
) -> Recorded:
    """A pair's schedule with all that a witness needs. Raises KeyError, ValueError for a move that cannot be taken."""
    scenario, (its,) = machine.under([ordering])
    return recorded(its, rules_on(machine, ordering, faults), machine.tier, outcome, moves, scenario.machine)


def look_at(
    rules: Rules, tier: Tier, go_on: Callable[[], bool] = lambda: True, *, memory_bytes: int = MEMORY_BYTES
) -> PairResult:
    """One pair on one machine, up to its first read of what is someone else's."""
    done = alone(rules, tier, go_on, liveness=tier.liveness, until=OTHERS, memory_bytes=memory_bytes)
    return PairResult(forbidden(done), done.states, done.transitions, done.complete or done.stopped_by == FIRST)


def pair_witness(where: Path, name: tuple[str, str, str]) -> Witness:
    """The schedule to what decides the pair of this flow, ordering and fault; version and kernels are those that the
    file is from. Raises WitnessError.
    """
    matrix = read_table(where, SCHEMA)
    said = f"{where}: {' '.join(name)}"
    try:
        pairs = {(one["flow"], one["ordering"], one["fault"]): one for one in matrix["pairs"]}
        if name not in pairs:
            raise WitnessError(f"{said}: expected one of its {len(pairs)} pairs, flow, ordering and fault; found none")
        if not pairs[name]["witness"]:
            raise WitnessError(f"{said}: expected a schedule, found none: the pair is {pairs[name]['verdict']}")
        told, ours = pairs[name]["witness"], schedule_json(recorded := _recorded(where, matrix, pairs[name]))
        if number := next((at for at, (a, b) in enumerate(zip(told, ours, strict=True), start=1) if a != b), None):
            raise WitnessError(f"{said}: expected a schedule of this pair, found one of another from step {number} on")
        witness = recorded.witness
        return witness.model_copy(update={"version": matrix["version"], "kernels": matrix["kernels"]})
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, WitnessError):
            raise
        raise WitnessError(f"{said}: expected a schedule of these kernels, found another: {error}") from None


def _recorded(where: Path, matrix: dict[str, Any], pair: dict[str, Any]) -> Recorded:
    tables = {one["name"]: one for one in matrix["orderings"]}
    kept = {key: value for key, value in tables[pair["ordering"]].items() if key != "name" and value is not None}
    ordering = validated(Ordering, str(where), pair["ordering"], kept)
    sizes = {key: value for key, value in pair["machine"].items() if key in Tier._fields}
    machine = Machine(pair["machine"]["scenario"], Tier(**sizes, liveness=False), tuple(pair["machine"]["set"]))
    faults = [] if pair["fault"] == NO_FAULT else pair["fault"].split("+")
    moves = [Move(step["actor"], step["chosen"]) for step in pair["witness"]]
    return run_again(machine, ordering, faults, pair["outcome"], moves)
