"""The test cases of a bench, with what to type next where one did not pass."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.exchange.cases import Case, without_options
from results.kinds.bench.findings import at, doubt, seen, ungrounded
from results.kinds.bench.gate import Outcome
from results.kinds.bench.record import MOST_ROUNDS, Arm, Bench
from results.numbers.rounds import LEAST_ROUNDS
from results.verdict import FAILING, grade_of, least_met
from results.words import faults_of, keys_set

STATES = {"held": "passed", "failed": "failed", "undecided": "inconclusive"}


def bench_cases(bench: Bench, outcomes: Sequence[Outcome] = (), directory: Path | None = None) -> list[Case]:
    """The cases of a bench; an unsafe ordering raced on purpose has none of its own, as nothing is expected of it. What
    is inconclusive goes on in its directory, where that is known, or begins anew.
    """
    totals = seen(bench)
    longer = _more_rounds(bench, [*totals.values()], directory)
    orderings = [
        _ordering(bench, point, arm, totals[point, arm.ordering], longer)
        for point in bench.points
        for arm in bench.once
        if arm.safe and (point, arm.ordering) in totals
    ]
    gates = [Case(f"gate {one.gate.text}", STATES[one.state], one.why) for one in outcomes]
    return [*orderings, *_against_itself(bench, longer), *gates]


def _more_rounds(bench: Bench, entries: Sequence[Mapping[str, Any]], directory: Path | None) -> str:
    """The command that adds as many rounds as the ordering that met fewest vCPUs needs, twice as many at least, and as
    were planned; or has longer ones, where each has to tell something by itself.
    """
    short = [one for one in entries if one["verdict"] == "inconclusive"]
    told = bench.finished_rounds >= LEAST_ROUNDS and (bench.aa is None or (not bench.aa.differs and ungrounded(bench)))
    if told or any(one["reason"].startswith("round ") for one in short):
        if "--resume" in bench.command:
            return ""
        seconds = f"{2 * bench.design.duration_s:.3g}s"
        return shlex.join([*without_options(bench.command, ("--duration", "--out")), "--duration", seconds])
    needs = [
        1.5 * least_met(met, one["all_shootdowns"], one["own"]) / met if (met := one["met"]) else 12.0 for one in short
    ]
    rounds = max(math.ceil(max([2.0, *needs]) * bench.finished_rounds), bench.design.rounds, 2 * LEAST_ROUNDS)
    rounds = min(rounds, MOST_ROUNDS)
    if directory is not None:
        return shlex.join(["tdx-stress", "bench", "--resume", str(directory), "--rounds", str(rounds)])
    return shlex.join([*without_options(bench.command, ("--rounds", "--budget")), "--rounds", str(rounds)])


def _race_again(bench: Bench, point: str, arm: Arm) -> str:
    """The command that races this arm as it was raced at this point, and keeps its last steps."""
    if bench.is_real:
        return "tdx-stress run real -v"
    scenario = at(bench, point)
    name = [word for word in bench.command[2:3] if not word.startswith("-")]
    sizes = [word for key in ("vcpus", "zappers", "pages") for word in (f"--{key}", str(scenario[key]))]
    swept = {bench.sweep.key: dict(zip(bench.points, bench.sweep.values, strict=True))[point]} if bench.sweep else {}
    keys = {**scenario.get("changed", {}), **arm.changed, **swept}
    told = keys_set({"changed": {key: keys[key] for key in keys if f"--{key}" not in sizes}})
    settings = [word for one in told for word in ("--set", one)]
    faults = [word for fault in faults_of(arm.its) for word in ("--fault", fault)]
    words = ["tdx-stress", "run", *name, "--ordering", arm.ordering, *sizes, *settings, *faults]
    return shlex.join([*words, "--trace"])


def _ordering(bench: Bench, point: str, arm: Arm, entry: dict[str, Any], longer: str) -> Case:
    bad = [f"{name}: {count}" for name, count in entry["outcomes"].items() if grade_of(name) in FAILING]
    name = f"{arm.ordering} {point}" if point else arm.ordering
    shootdowns = f"shootdowns: {entry['all_shootdowns']}, met a vCPU: {entry['met']}"
    more = longer if entry["verdict"] == "inconclusive" else _race_again(bench, point, arm)
    return Case(name, entry["verdict"], entry["reason"], entry["seconds"], (*bad, shootdowns), more=more)


def _against_itself(bench: Bench, longer: str) -> list[Case]:
    """The first ordering against its copy; and a ranking, where all is well with that and nothing is comparable."""
    if bench.aa is None or bench.aa.differs:
        return [Case("A/A", "inconclusive", doubt(bench), more=longer)]
    alike = Case("A/A", "passed", bench.aa.sentence)
    return [alike, Case("ranking", "inconclusive", why, more=longer)] if (why := ungrounded(bench)) else [alike]
