"""The verb `compare`: two result directories, B over A, and the gates that decide on the exit code."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from results.kinds.bench.compare import Rounds, compare_caveats, compare_table, compared, read_both, unlike
from results.kinds.bench.gate import Gate, gate_lines, gates_code, judged, parse_gate
from results.kinds.kind import Kind, changed, kind_in
from results.kinds.kind import unlike as unlike_verdicts
from results.table import caveat_lines
from results.verdict import Exit
from stress.errors import UsageFault
from stress.options import CompareRequest
from stress.screen import Screen
from stress.session import check_files, hand_out, json_text, opened, reading_screen

SCHEMA = "tdx-stress/comparison/1"


def compare(request: CompareRequest) -> int:
    """Hold B against A, show, judge; returns the exit code. Raises UsageFault, GateError and StoreError."""
    gates = [parse_gate(text) for text in request.fail_if]
    check_files(request.json, None)
    kinds = [opened(partial(kind_in, path)) for path in (request.first, request.second)]
    if {kind.name for kind in kinds} - {"run", "bench"}:
        return _verdicts(request, *kinds)
    first, second = opened(partial(read_both, request.first, request.second))
    if difference := unlike(first, second):
        raise UsageFault(difference)
    comparisons = compared(first, second)
    if not comparisons:
        shown = "; ".join(f"{one.path} holds {', '.join(one.orderings)}" for one in (first, second))
        Screen(sys.stderr, color=not request.no_color).line(f"tdx-stress: nothing to compare: {shown}")
        return Exit.NOTHING_RAN.value
    outcomes = [judged(gate, comparisons, first.points) for gate in gates]
    caveats = compare_caveats(first, second)
    _check_gates(gates, first, second)
    document = {
        "schema": SCHEMA,
        "a": _about(first),
        "b": _about(second),
        "caveats": caveats,
        "comparisons": [one.model_dump(mode="json", exclude={"arm"}) for one in comparisons],
        "gates": [{"gate": o.gate.text, "state": o.state, "why": o.why} for o in outcomes],
    }
    hand_out(request.json, json_text(document))
    screen = reading_screen(request)
    if not request.quiet:
        screen.show(compare_table(first, second, comparisons), "", *caveat_lines(caveats, whole=True))
    for line in gate_lines(outcomes):
        screen.show(line)
    return gates_code(outcomes)


def _verdicts(request: CompareRequest, kind: Kind, other: Kind) -> int:
    """Of results without figures: what has another verdict in B. Exit 1 where something passed in A and not in B."""
    if kind is not other:
        raise UsageFault(f"not comparable: A is {kind.what}, B is {other.what}; give two results of one kind")
    if request.fail_if:
        raise UsageFault(f"--fail-if: {kind.what} has no figures; what passed in A and does not in B is exit 1")
    first, second = (opened(partial(kind.read, path)) for path in (request.first, request.second))
    if difference := unlike_verdicts(kind, first, second):
        raise UsageFault(difference)
    table = changed(kind, first, second)
    rows = [dict(zip(("case", "a", "b"), row, strict=True)) for row in table.rows]
    hand_out(request.json, json_text({"schema": SCHEMA, "kind": kind.name, "changed": rows}))
    screen = reading_screen(request)
    if not request.quiet and rows:
        screen.show(table, "")
    screen.line(f"{len(rows)} of {len(kind.cases(first))} cases differ in B; {len(table.marked)} passed in A alone")
    return (Exit.FAILED if table.marked else Exit.MET).value


def _check_gates(gates: Sequence[Gate], first: Rounds, second: Rounds) -> None:
    for gate in gates:
        if gate.ordering is not None and not (gate.ordering in first.safe and gate.ordering in second.safe):
            both = [name for name in first.safe if name in second.safe]
            raise UsageFault(f'--fail-if: no ordering "{gate.ordering}" in both; expected one of {", ".join(both)}')


def _about(one: Rounds) -> dict[str, Any]:
    return {
        "directory": str(one.path),
        "kind": "bench" if one.is_bench else "run",
        "version": one.version,
        "commit": one.commit,
        "orderings": list(one.orderings),
    }
