"""The verb `bench`: rounds of races in fresh processes, stored round by round, compared at the end."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from results.kinds.bench.directory import (
    PARQUET_HINT,
    BenchDirectory,
    can_write_parquet,
    csv_text,
    open_bench_directory,
    pooled,
    read_bench,
    reopen_bench_directory,
    write_parquet,
)
from results.kinds.bench.findings import bench_caveats, exit_code, found
from results.kinds.bench.gate import Gate, Outcome, judged, parse_gate
from results.kinds.bench.record import AGAIN, BENCH, Bench, Design, Sweep
from results.kinds.bench.tables import bench_cases, bench_screen
from results.kinds.files import write_bench_report
from results.kinds.kind import BY_NAME
from results.machine.comparable import differences
from results.machine.host import host_facts
from results.store import write_text
from results.verdict import Exit
from scenarios.models import Ordering
from scenarios.real.model import ARMS
from stress.bench.beside import race_beside
from stress.bench.design import MIN_ROUNDS, Experiment, Point, race_seconds
from stress.bench.resume import experiment_of, resumed
from stress.bench.round import RoundBroken, Turn, arms, run_round, turns
from stress.errors import HarnessFault, UsageFault
from stress.host.quick import host_record, round_trip_after
from stress.options import BenchRequest
from stress.processes.kicks import refuse_missing
from stress.processes.limits import make_room
from stress.processes.perturbation import declared_sites
from stress.processes.placement import Cpus, chosen_cpus, shown
from stress.processes.prepared import Prepared, prepare_races
from stress.processes.race import Tally, race
from stress.processes.supervisor import Watch
from stress.progress import Display, display
from stress.real.arms import warmed
from stress.session import Session, check_files, check_writable, opened, origin


@dataclass(slots=True)
class Begun:
    """A bench that is about to run, or to go on: all that was checked, and the record as it grows."""

    request: BenchRequest
    experiment: Experiment
    cpus: Cpus
    directory: BenchDirectory
    bench: Bench
    broken: str = ""

    @property
    def by_arm(self) -> dict[str, Ordering]:
        """The orderings to race, A first and again as A2."""
        named = {ordering.name: ordering for ordering in self.experiment.orderings}
        return {arm.arm: named[arm.ordering] for arm in self.bench.arms}

    @property
    def round_s(self) -> float:
        """How long a round takes: as the rounds so far did on average, or about."""
        if finished := self.bench.finished_rounds:
            return self.bench.seconds / finished
        points = self.experiment.points
        return (len(self.experiment.orderings) + 1) * sum(race_seconds(point.scenario) for point in points)

    @property
    def rounds(self) -> int:
        """How many rounds there will be, as far as is known now."""
        design, finished = self.bench.design, self.bench.finished_rounds
        if design.budget_s is None:
            return design.rounds
        more = int((design.budget_s - self.bench.seconds) / self.round_s)
        return max(finished + max(more, 0), MIN_ROUNDS)

    @property
    def rounds_left(self) -> int:
        """How many of them are still to come."""
        return max(self.rounds - self.bench.finished_rounds, 0)

    @property
    def how_to_go_on(self) -> str:
        """For people."""
        kept = self.bench.finished_rounds
        return f"{kept} rounds kept; to go on: tdx-stress bench --resume {self.directory.path}"

    def update(self, **changes: Any) -> None:
        """The record with something changed."""
        self.bench = self.bench.model_copy(update=changes)

    def add_facts(self, facts: Mapping[str, Any]) -> None:
        """What was found out about the machine meanwhile."""
        self.update(host={**self.bench.host, **facts})


def bench(request: BenchRequest, experiment: Experiment | None) -> int:
    """Race, store, compare, show; returns the exit code. A bench that goes on has its experiment in its record.

    Raises the errors of `stress.errors`, GateError and StoreError.
    """
    gates = [parse_gate(text) for text in request.fail_if]
    check_files(request.json, request.junit, request.ktap)
    for option, path in (("--csv", request.csv), ("--parquet", request.parquet)):
        if path is not None:
            check_writable(option, path)
    if request.parquet is not None and not can_write_parquet():
        raise UsageFault(f"--parquet: {PARQUET_HINT}")
    begun = _resumed(request) if experiment is None else _new(request, experiment)
    try:
        return _carry_out(begun, gates)
    finally:
        begun.directory.close()


def _new(request: BenchRequest, experiment: Experiment) -> Begun:
    cpus = chosen_cpus(request.cpus)
    make_room_for(experiment.points)
    declared_sites(experiment.scenario)
    record = first_record(experiment, _host(cpus))
    directory = opened(lambda: open_bench_directory(request.out, experiment.scenario.name))
    return Begun(request, experiment, cpus, directory, record)


def _resumed(request: BenchRequest) -> Begun:
    assert request.resume is not None
    path = request.resume
    record = opened(lambda: read_bench(path))
    experiment = experiment_of(path / BENCH, record)
    opened(lambda: pooled(record, path))  # every round's arrays, before others are added to them
    cpus = chosen_cpus(str(record.host.get("cpus_used")))
    record = resumed(record, request, _host(cpus))
    make_room_for(experiment.points)
    return Begun(request, experiment, cpus, opened(lambda: reopen_bench_directory(path)), record)


def make_room_for(points: Sequence[Point]) -> None:
    for point in points:
        refuse_missing(point.scenario.kick_by)
        make_room(point.scenario.vcpus + point.scenario.zappers, threads=point.scenario.workers == "thread")


def _host(cpus: Cpus) -> dict[str, Any]:
    return {**host_facts(), "cpus_allowed": len(cpus), "cpus_used": shown(cpus)}


def first_record(experiment: Experiment, host: Mapping[str, Any]) -> Bench:
    """The record before the first round, on a machine of these facts."""
    scenario, points = experiment.scenario, experiment.points
    sweep = None
    if experiment.sweep_key is not None:
        values, names = tuple(point.value for point in points), tuple(point.name for point in points)
        sweep = Sweep(key=experiment.sweep_key, values=values, points=names)
    return Bench(
        **origin(host),
        seed=scenario.seed,
        scenario={
            **scenario.model_dump(mode="json"),
            "orderings": [o.name for o in experiment.orderings],
            **({"real": True} if experiment.real else {}),
        },
        design=Design(
            rounds=experiment.rounds,
            budget_s=experiment.budget_s,
            duration_s=scenario.duration_s,
            warmup_s=scenario.warmup_s,
            seed=scenario.seed,
        ),
        sweep=sweep,
        arms=arms(experiment.orderings, perturbed=scenario.perturbed, real=experiment.real),
    )


def _carry_out(begun: Begun, gates: Sequence[Gate]) -> int:
    request, scenario = begun.request, begun.experiment.scenario
    its, directory = Session(request, begun.directory.path, BY_NAME["bench"]), begun.directory
    prepared = None
    if begun.rounds_left:  # before interrupts are only counted: who waits for the compiler can end it at once
        sites = declared_sites(scenario)
        costs = any(point.scenario.costs for point in begun.experiment.points)
        prepared = prepare_races(
            begun.cpus, sites, its.progress, flow=scenario.flow, costs=costs, verbose=request.verbose
        )
        if begun.experiment.real:
            warmed([o.name for o in begun.experiment.orderings if o.name in ARMS], prepared.clock)
    with its.interrupts:
        if prepared is not None:
            _meet(begun, prepared, its)
            _race_all(begun, prepared, its)
            if begun.bench.rounds and not its.interrupts:
                begun.add_facts(round_trip_after(prepared))
        if not begun.bench.rounds:
            if begun.broken:
                raise HarnessFault(begun.broken)
            return its.nothing()
        code = finish(its, directory, begun.bench, gates)
        if begun.rounds_left:
            its.note(begun.how_to_go_on)
    if begun.broken:
        raise HarnessFault(f"{begun.broken}; {begun.how_to_go_on}")
    return code


def finish(its: Session, directory: BenchDirectory, bench: Bench, gates: Sequence[Gate]) -> int:
    """Compare, judge, store, show; returns the exit code."""
    made = found(bench)
    made = made.model_copy(update={"caveats": bench_caveats(made)})
    outcomes = [judged(gate, made.comparisons, made.points) for gate in gates]
    csv, parquet = (getattr(its.request, name, None) for name in ("csv", "parquet"))
    with its.noted():
        directory.write(made)
        if its.interrupts.received < 2:
            write_bench_report(directory.path, made)
    with its.noted():
        if csv is not None:
            write_text(csv, csv_text(made))
        if parquet is not None:
            write_parquet(made, parquet)
    its.leave(made, bench_cases(made, outcomes), shown=bench_screen(made, outcomes))
    return its.end(_exit_code(made, outcomes))


def _meet(begun: Begun, prepared: Prepared, its: Session) -> None:
    """Measure the machine: for the record of a new bench, or to say what has changed since its first rounds."""
    now = host_record(prepared)
    if not begun.bench.rounds:
        begun.add_facts(now)
    elif its.progress is not None:
        for difference in differences(begun.bench.host, now):
            its.note(f"since the first rounds: {difference}")


def _race_all(begun: Begun, prepared: Prepared, its: Session) -> None:
    """Round after round until there are enough, or the user has; each is stored when it is whole."""
    experiment, by_arm = begun.experiment, begun.by_arm
    with display(its.progress) as drawn:
        progress = BenchProgress(drawn)
        while begun.rounds_left and not its.interrupts:
            number = begun.bench.finished_rounds + 1
            due = turns(number, begun.bench.seed, experiment.points, by_arm)
            started = time.monotonic()

            def view(turn: Turn, started: float = started) -> BenchProgress:
                left_s = begun.rounds_left * begun.round_s - (time.monotonic() - started)
                progress.at(turn, rounds=begun.rounds, races=experiment.races, left_s=left_s)
                return progress

            try:
                done = run_round(prepared, due, its.interrupts, view, race_beside if experiment.real else race)
            except RoundBroken as error:
                begun.broken = str(error)
                return
            if done is None:
                return
            seconds = begun.bench.seconds + time.monotonic() - started
            begun.update(rounds=(*begun.bench.rounds, *done.races), seconds=round(seconds, 3))
            begun.directory.write_round(begun.bench, done.arrays)


def _exit_code(bench: Bench, outcomes: Sequence[Outcome]) -> int:
    """Doubt in the bench comes before its gates: they would judge noise."""
    code = exit_code(bench)
    if code == 0 and any(outcome.state == "failed" for outcome in outcomes):
        return Exit.GATE_FAILED.value
    if code == 0 and any(outcome.state == "undecided" for outcome in outcomes):
        return Exit.INCONCLUSIVE.value
    return code


class BenchProgress:
    """Which race of which round is on, as a line of a display."""

    def __init__(self, drawn: Display) -> None:
        self._drawn = drawn
        self._where = ""
        self._ends_at: float | None = time.monotonic()

    def at(self, turn: Turn, *, rounds: int, races: int, left_s: float | None) -> None:
        """A race is about to start; `left_s` is how long the bench still takes, with it; None: nobody knows."""
        again = " again" if turn.arm == AGAIN else ""
        point = f" at {turn.point.name}" if turn.point.name else ""
        self._where = (
            f"round {turn.round} of {rounds}, race {turn.place + 1} of {races}: {turn.ordering.name}{again}{point}"
        )
        self._ends_at = None if left_s is None else time.monotonic() + left_s
        self._draw()

    def __call__(self, tally: Tally) -> Watch:
        """What the race calls at every look."""

        def watch(phase: str, left_s: float | None) -> None:
            self._draw()

        return watch

    def _draw(self) -> None:
        if self._drawn.is_due():
            left = "" if self._ends_at is None else f"; {time_left(self._ends_at - time.monotonic())} left"
            line = f"{self._where}{left}"
            self._drawn.draw(Text(line, no_wrap=True, overflow="ellipsis"), line)


def time_left(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `1 h 05 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
