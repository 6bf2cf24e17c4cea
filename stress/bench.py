"""The verb `bench`: rounds of races in fresh processes, stored round by round, compared at the end."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.kinds.bench.directory import (
    PARQUET_HINT,
    BenchDirectory,
    can_write_parquet,
    open_bench_directory,
    pooled,
    read_bench,
    reopen_bench_directory,
)
from results.kinds.bench.findings import bench_caveats, exit_code, found
from results.kinds.bench.gate import Gate, Outcome, judged, parse_gate
from results.kinds.bench.record import BENCH, Bench, Design, Sweep
from results.kinds.files import write_bench_report
from results.machine.comparable import differences
from results.machine.host import host_facts
from results.store import StoreError
from results.verdict import Exit
from scenarios.models import Ordering
from stress.bench_output import hand_out, show
from stress.bench_progress import BenchProgress
from stress.bench_request import LEAST_ROUNDS, BenchRequest, Layout, Point, race_seconds
from stress.bench_resume import layout_of, resumed
from stress.bench_round import RoundBroken, Turn, arms, run_round, turns
from stress.errors import HarnessFault, UsageFault
from stress.interrupts import Interrupts
from stress.leaving import origin
from stress.limits import make_room
from stress.machine import machine
from stress.perturbation import declared_sites
from stress.placement import Cpus, chosen_cpus, shown
from stress.probing import host_record, round_trip_after
from stress.race import Machine
from stress.request import check_files, check_writable
from stress.screen import Screen


@dataclass(slots=True)
class Begun:
    """A bench that is about to run, or to go on: all that was checked, and the record as it grows."""

    request: BenchRequest
    layout: Layout
    gates: Sequence[Gate]
    cpus: Cpus
    directory: BenchDirectory
    bench: Bench
    progress: Screen | None
    broken: str = ""

    @property
    def by_arm(self) -> dict[str, Ordering]:
        """The orderings to race, A first and again as A2."""
        return {arm.arm: next(o for o in self.layout.orderings if o.name == arm.ordering) for arm in self.bench.arms}


def bench(request: BenchRequest, layout: Layout | None, command: Sequence[str]) -> int:
    """Race, store, compare, show; returns the exit code. A bench that goes on has its layout in its record.

    Raises the errors of `stress.errors`, GateError and StoreError.
    """
    gates = [parse_gate(text) for text in request.fail_if]
    _check_outputs(request)
    begun = _resumed(request, gates) if layout is None else _new(request, layout, gates, command)
    try:
        return _carry_out(begun)
    finally:
        begun.directory.close()


def _check_outputs(request: BenchRequest) -> None:
    check_files(request.run.json, request.run.junit, request.run.ktap)
    for option, path in (("--csv", request.csv), ("--parquet", request.parquet)):
        if path is not None:
            check_writable(option, path)
    if request.parquet is not None and not can_write_parquet():
        raise UsageFault(f"--parquet: {PARQUET_HINT}")


def _new(request: BenchRequest, layout: Layout, gates: Sequence[Gate], command: Sequence[str]) -> Begun:
    cpus = chosen_cpus(request.run.cpus)
    _make_room(layout.points)
    declared_sites(layout.scenario)
    record = _record(layout, cpus, command)
    directory = _opened(lambda: open_bench_directory(request.run.out, layout.scenario.name))
    return Begun(request, layout, gates, cpus, directory, record, _progress(request))


def _resumed(request: BenchRequest, gates: Sequence[Gate]) -> Begun:
    assert request.resume is not None
    path = request.resume
    record = _opened(lambda: read_bench(path))
    layout = layout_of(path / BENCH, record)
    _opened(lambda: pooled(record, path))  # every round's arrays, before others are added to them
    cpus = chosen_cpus(str(record.host.get("cpus_used")))
    record = resumed(record, request, _host(cpus))
    _make_room(layout.points)
    directory = _opened(lambda: reopen_bench_directory(path))
    return Begun(request, layout, gates, cpus, directory, record, _progress(request))


def _opened(what: Any) -> Any:
    try:
        return what()
    except StoreError as error:
        raise UsageFault(str(error)) from None


def _progress(request: BenchRequest) -> Screen | None:
    return None if request.run.quiet else Screen(sys.stderr, color=request.run.color)


def _make_room(points: Sequence[Point]) -> None:
    for point in points:
        make_room(point.scenario.vcpus + point.scenario.zappers, threads=point.scenario.workers == "thread")


def _host(cpus: Cpus) -> dict[str, Any]:
    return {**host_facts(), "cpus_allowed": len(cpus), "cpus_used": shown(cpus)}


def _record(layout: Layout, cpus: Cpus, command: Sequence[str]) -> Bench:
    """The record before the first round."""
    scenario, points = layout.scenario, layout.points
    sweep = None
    if layout.sweep_key is not None:
        sweep = Sweep(key=layout.sweep_key, values=tuple(p.value for p in points), points=tuple(p.name for p in points))
    return Bench(
        **origin(command, _host(cpus)),
        seed=scenario.seed,
        scenario={**scenario.model_dump(mode="json"), "orderings": [o.name for o in layout.orderings]},
        design=Design(
            rounds=layout.rounds,
            budget_s=layout.budget_s,
            duration_s=scenario.duration_s,
            warmup_s=scenario.warmup_s,
            seed=scenario.seed,
        ),
        sweep=sweep,
        arms=arms(layout.orderings, perturbed=scenario.perturbed),
    )


def _carry_out(begun: Begun) -> int:
    run = begun.request.run
    prepared = None
    if _rounds_left(begun):  # before interrupts are only counted: who waits for the compiler can end it at once
        sites = declared_sites(begun.layout.scenario)
        flow = begun.layout.scenario.flow
        prepared = machine(begun.cpus, sites, begun.progress, flow=flow, verbose=run.verbose)
    with Interrupts() as interrupts:
        if prepared is not None:
            _meet(begun, prepared)
            _race_all(begun, prepared, interrupts)
            if begun.bench.rounds and not interrupts:
                _add_facts(begun, round_trip_after(prepared))
        if not begun.bench.rounds:
            if begun.broken:
                raise HarnessFault(begun.broken)
            return Exit.INTERRUPTED.value if interrupts else Exit.NOTHING_RAN.value
        begun.bench = found(begun.bench)
        begun.bench = begun.bench.model_copy(update={"caveats": bench_caveats(begun.bench)})
        outcomes = [judged(gate, begun.bench.comparisons, begun.bench.points) for gate in begun.gates]
        begun.directory.write(begun.bench)
        if interrupts.received < 2:
            write_bench_report(begun.directory.path, begun.bench)
        hand_out(begun.request, begun.bench, outcomes)
        show(begun.request, begun.bench, outcomes, begun.directory.path)
        if begun.progress is not None and _rounds_left(begun):
            begun.progress.line(_how_to_go_on(begun))
    if begun.broken:
        raise HarnessFault(f"{begun.broken}; {_how_to_go_on(begun)}")
    return Exit.INTERRUPTED.value if interrupts else _exit_code(begun.bench, outcomes)


def _meet(begun: Begun, prepared: Machine) -> None:
    """Measure the machine: for the record of a new bench, or to say what has changed since its first rounds."""
    now = host_record(prepared)
    if not begun.bench.rounds:
        _add_facts(begun, now)
    elif begun.progress is not None:
        for difference in differences(begun.bench.host, now):
            begun.progress.line(f"since the first rounds: {difference}")


def _add_facts(begun: Begun, facts: Mapping[str, Any]) -> None:
    begun.bench = begun.bench.model_copy(update={"host": {**begun.bench.host, **facts}})


def _race_all(begun: Begun, prepared: Machine, interrupts: Interrupts) -> None:
    """Round after round until there are enough, or the user has; each is stored when it is whole."""
    layout, by_arm = begun.layout, begun.by_arm
    with BenchProgress(begun.progress) as progress:
        while _rounds_left(begun) and not interrupts:
            number = begun.bench.finished_rounds + 1
            due = turns(number, begun.bench.seed, layout.points, by_arm)
            started = time.monotonic()

            def view(turn: Turn, number: int = number, started: float = started) -> BenchProgress:
                left_s = _left_s(begun) - (time.monotonic() - started)
                progress.at(turn, rounds=_rounds(begun), races=layout.races, left_s=left_s)
                return progress

            try:
                done = run_round(prepared, due, interrupts, view)
            except RoundBroken as error:
                begun.broken = str(error)
                return
            if done is None:
                return
            seconds = begun.bench.seconds + time.monotonic() - started
            update = {"rounds": (*begun.bench.rounds, *done.races), "seconds": round(seconds, 3)}
            begun.bench = begun.bench.model_copy(update=update)
            begun.directory.write_round(begun.bench, done.arrays)


def _round_s(begun: Begun) -> float:
    """How long a round takes: as the rounds so far did on average, or about."""
    finished = begun.bench.finished_rounds
    if finished:
        return begun.bench.seconds / finished
    return (len(begun.layout.orderings) + 1) * sum(race_seconds(point.scenario) for point in begun.layout.points)


def _rounds(begun: Begun) -> int:
    """How many rounds there will be, as far as is known now."""
    design, finished = begun.bench.design, begun.bench.finished_rounds
    if design.budget_s is None:
        return design.rounds
    more = int((design.budget_s - begun.bench.seconds) / _round_s(begun))
    return max(finished + max(more, 0), LEAST_ROUNDS)


def _rounds_left(begun: Begun) -> int:
    return max(_rounds(begun) - begun.bench.finished_rounds, 0)


def _left_s(begun: Begun) -> float:
    return _rounds_left(begun) * _round_s(begun)


def _how_to_go_on(begun: Begun) -> str:
    kept = begun.bench.finished_rounds
    return f"{kept} rounds kept; to go on: tdx-stress bench --resume {begun.directory.path}"


def _exit_code(bench: Bench, outcomes: Sequence[Outcome]) -> int:
    """Doubt in the bench comes before its gates: they would judge noise."""
    code = exit_code(bench)
    if code == 0 and any(outcome.state == "failed" for outcome in outcomes):
        return Exit.GATE_FAILED.value
    if code == 0 and any(outcome.state == "undecided" for outcome in outcomes):
        return Exit.INCONCLUSIVE.value
    return code
