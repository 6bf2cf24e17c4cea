"""A storm for maintainers: every verb killed, interrupted, stopped and starved at random instants, and fed with damaged
files of every kind, until the time is over; then a table of tries and failures.

    python -m stress.tests.storm --seed 1 --minutes 10

A failure is a traceback or an internal error, more than a line for an error, an exit code that does not belong to it,
what a terminal would obey, a process, a temporary file or a shared segment left behind, or a hang. `--kills` and
`--inputs` end it sooner. With one seed the same tries are drawn in the same order; what instant they meet is the
machine's.

Commands are forked from this process, which holds all modules (half a second less for each, and no cache is read for
what it has compiled); one kill in eight starts an interpreter of its own. Between the start of Python and our first
line an interrupt is Python's own: a signal is sent from then on.
"""

import argparse
import collections
import ctypes
import importlib
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import stress
from stress.tests.storm_command import Ended, Place, gone, run
from stress.tests.storm_inputs import Inputs
from stress.tests.storm_kills import Kills

PR_SET_CHILD_SUBREAPER = 36
SHOWN = 12


@dataclass(slots=True)
class Table:
    """Tries and failures by kind; of each kind of failure the first ones in words."""

    tries: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    said: list[str] = field(default_factory=list)

    def add(self, kind: str, wrong: list[str], ended: Ended) -> None:
        """One try, with what is wrong with its end."""
        self.tries[kind] += 1
        for what in wrong:
            first = self.failures[kind, what] == 0
            self.failures[kind, what] += 1
            if first:
                said = (ended.stderr.strip() or ended.stdout.strip())[-400:]
                self.said.append(f"{kind}: {what}: {' '.join(ended.arguments)} -> {ended.code}: {said!r}")

    def lines(self) -> list[str]:
        """The table, then the first of each kind of failure."""
        kinds = sorted(self.tries)
        width = max(map(len, kinds), default=4)
        rows = [f"{'KIND':<{width}}  {'TRIES':>6}  FAILED"]
        for kind in kinds:
            failed = ", ".join(f"{n} {what}" for (its, what), n in sorted(self.failures.items()) if its == kind)
            rows.append(f"{kind:<{width}}  {self.tries[kind]:>6}  {failed or '-'}")
        total = sum(self.failures.values())
        rows.append(f"{'all':<{width}}  {sum(self.tries.values()):>6}  {total or '-'}")
        return [*rows, *self.said[:SHOWN]]


def storm(seed: int, seconds: float, kills: int, inputs: int, *, short: bool = False) -> Table:
    """Try until the time is over or all have been tried. Kills and inputs take turns by the share that is left.

    `short` is for a test: only what needs no result made before.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    preload()
    chance, table = random.Random(seed), Table()
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        material = None if short else Material(Path(folder) / "material")
        its = None if material is None else (material.path, material.witness)
        both = Kills(chance, its), Inputs(chance, its)
        left, number, told = [kills, inputs], 0, time.monotonic()
        until = told + seconds  # behind what is compiled for the material
        while sum(left) and time.monotonic() < until:
            which = 0 if chance.random() * sum(left) < left[0] else 1
            left[which] -= 1
            number += 1
            with Place(Path(folder) / str(number)) as place:
                table.add(*both[which].one(place))
            if time.monotonic() > told + 60:
                told = time.monotonic()
                print(f"{sum(table.tries.values())} tries, {sum(table.failures.values())} failures", file=sys.stderr)
    return table


def preload() -> None:
    """Import every module that a verb may, so that what is forked has them."""
    for module in pkgutil.walk_packages(stress.__path__, "stress."):
        if not {"__main__", "tests", "build_hook"} & set(module.name.split(".")):
            importlib.import_module(module.name)
    for name in (
        "matplotlib.backends.backend_agg",
        "matplotlib.backends.backend_svg",
        "results.kinds.files",
        "duckdb",
    ):
        importlib.import_module(name)


class Material:
    """One of each thing that a verb reads, made by the verbs themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        with Place(path / "at") as place:
            race = ("--duration", "100ms", "--warmup", "20ms")
            for out, *arguments in (
                ("run", "run", "--ordering", "spec", *race, "--trace", "--no-report"),
                ("bench", "bench", "--orderings", "spec,v18", "--rounds", "10", *race),
                ("explored", "explore", "--ordering", "no_block", "--vcpus", "1"),
            ):
                ended = run(place, [*arguments, "-q", "--out", out], most_s=600)
                if ended.code not in (0, 1, 6):
                    raise RuntimeError(f"{arguments}: {ended.code}: {ended.stderr}")
                shutil.move(place.path / out, path / out)
            gone(place, ended)
        self.witness = next((path / "explored").glob("witness-*.json")).name


def main() -> int:
    """The command line; 1 where something failed."""
    parser = argparse.ArgumentParser(
        prog="python -m stress.tests.storm", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--inputs", type=int, default=10_000)
    asked = parser.parse_args()
    began = time.monotonic()
    table = storm(asked.seed, asked.minutes * 60, asked.kills, asked.inputs)
    print(f"seed {asked.seed}, {(time.monotonic() - began) / 60:.1f} minutes, {os.cpu_count()} CPUs")
    print("\n".join(table.lines()))
    return 1 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())
