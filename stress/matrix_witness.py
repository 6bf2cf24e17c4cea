"""A pair of matrix.json as a witness: its schedule runs once on its machine, so that all of a witness is there."""

from pathlib import Path
from typing import Any

from kernels.search.breadth_first import Move
from results.kinds.faults import NO_FAULT, SCHEMA
from results.kinds.orders import Tier
from scenarios.models import Ordering
from scenarios.validation import validated
from scenarios.witness import Witness, WitnessError, read_table
from stress.matrix_machines import Machine
from stress.matrix_search import run_again

PairName = tuple[str, str, str]


def pair_witness(where: Path, name: PairName) -> Witness:
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
        witness = _run(where, matrix, pairs[name])
        return witness.model_copy(update={"version": matrix["version"], "kernels": matrix["kernels"]})
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, WitnessError):
            raise
        raise WitnessError(f"{said}: expected a schedule of these kernels, found another: {error}") from None


def _run(where: Path, matrix: dict[str, Any], pair: dict[str, Any]) -> Witness:
    tables = {one["name"]: one for one in matrix["orderings"]}
    kept = {key: value for key, value in tables[pair["ordering"]].items() if key != "name" and value is not None}
    ordering = validated(Ordering, str(where), pair["ordering"], kept)
    sizes = {key: value for key, value in pair["machine"].items() if key in Tier._fields}
    machine = Machine(pair["machine"]["scenario"], Tier(**sizes, liveness=False), tuple(pair["machine"]["set"]))
    faults = [] if pair["fault"] == NO_FAULT else pair["fault"].split("+")
    moves = [Move(step["actor"], step["chosen"]) for step in pair["witness"]]
    return run_again(machine, ordering, faults, pair["outcome"], moves).witness
