"""Where several machines ran the rounds of a bench: what is told of each apart, as no times of two are put together."""

from results.kinds.bench.findings import at, found
from results.kinds.bench.record import MACHINE, Bench, Sweep


def parts(bench: Bench) -> list[Bench]:
    """What each machine ran, as no times of two are put together; the bench itself where it is one."""
    return [found(bench.on(one)) for one in bench.machines] if len(bench.machines) > 1 else [bench]


def apart(bench: Bench) -> list[Bench]:
    """The same where there is a sweep, or real arms; else the machines side by side."""
    return parts(bench) if bench.sweep or bench.is_real or len(bench.machines) == 1 else [along_machines(bench)]


def along_machines(bench: Bench) -> Bench:
    """The machines side by side, at the last point: as along a sweep."""
    point, names = bench.points[-1], {one: f"{MACHINE}={one}" for one in bench.machines}
    races = [
        race.model_copy(update={"point": names[race.machine], "machine": ""})
        for race in bench.rounds
        if race.point == point
    ]
    axis = Sweep(key=MACHINE, values=tuple(names), points=tuple(names.values()))
    return found(bench.model_copy(update={"rounds": tuple(races), "sweep": axis, "scenario": at(bench, point)}))
