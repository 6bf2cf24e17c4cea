"""A storm for maintainers: every verb killed, interrupted, stopped and starved at random instants, and fed with damaged
files of every kind, until the time is over; then a table of tries and failures.

    python -m stress.tests.storm --seed 1 --minutes 10

A failure is a traceback or an internal error, more than a line for an error, an exit code that does not belong to it,
what a terminal would obey, a process, a temporary file or a shared segment left behind, or a hang. It ends sooner
where so many `--kills` and `--inputs` were tried. With one seed and as many `--lanes` the same tries are drawn, each
lane's in the same order; what instant they meet is the machine's.

Two lanes a CPU try side by side, as who waits for an instant needs none. Commands are forked from a lane, which holds
all modules (half a second less for each, and no cache is read for what it has compiled); one kill in eight starts an
interpreter of its own. Between the start of Python and our first line an interrupt is Python's own: a signal is sent
from then on.
"""

import argparse
import collections
import contextlib
import ctypes
import gc
import importlib
import itertools
import json
import os
import pkgutil
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import stress
from stress.tests.storm_command import Place, gone, run
from stress.tests.storm_inputs import Inputs
from stress.tests.storm_kills import PAIRS, Kills

PR_SET_CHILD_SUBREAPER = 36
SHOWN, TRIES = 12, "tries"
LANES_A_CPU = 2


@dataclass(slots=True)
class Table:
    """Tries and failures by kind; of each kind of failure the first ones in words."""

    tries: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    said: list[str] = field(default_factory=list)

    def add(self, kind: str, wrong: list[str], said: str) -> None:
        """One try, with what is wrong with its end, and what was said."""
        self.tries[kind] += 1
        for what in wrong:
            if self.failures[kind, what] == 0:
                self.said.append(f"{kind}: {what}: {said}")
            self.failures[kind, what] += 1

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


def storm(seed: int, seconds: float, kills: int, inputs: int, *, lanes: int = 1, short: bool = False) -> Table:
    """Try until the time is over or all have been tried, in so many processes side by side.

    `short` is for a test: only what needs no result made before.
    """
    preload()
    before = segments()
    with tempfile.TemporaryDirectory(prefix="storm-") as name:
        folder = Path(name)
        subreaper()
        material = None if short else Material(folder / "material")
        its = None if material is None else (material.path, material.witness)
        gc.collect()
        gc.freeze()  # or each fork would look through all of it, and copy it
        until = time.monotonic() + seconds  # behind what is compiled for the material
        pids = []
        for lane in range(lanes):
            share = [number // lanes + (lane < number % lanes) for number in (kills, inputs)]
            if (pid := os.fork()) == 0:
                try:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # commands inherit it, until they heed it
                    subreaper()
                    _lane(folder / str(lane), random.Random(f"{seed} {lane}"), until, share, its)
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            pids.append(pid)
        codes = _ended(pids, folder)
        table = _table(folder)
    wrong = [f"code {code}" for code in codes if code] + [f"left a segment {one}" for one in segments() - before]
    for what in wrong:
        table.add("the storm itself", [what], "")
    return table


def _lane(
    folder: Path, chance: random.Random, until: float, left: list[int], material: tuple[Path, str] | None
) -> None:
    """Kills and inputs by turns, by the share that is left; a line of JSON for each try."""
    folder.mkdir()
    both = Kills(chance, material), Inputs(chance, material)
    with open(folder / TRIES, "w", buffering=1) as tries:
        for number in itertools.count():
            if not sum(left) or time.monotonic() >= until:
                return
            which = 0 if chance.random() * sum(left) < left[0] else 1
            left[which] -= 1
            with Place(folder / str(number)) as place:
                kind, wrong, ended = both[which].one(place)
            said = (ended.stderr.strip() or ended.stdout.strip())[-400:]
            tries.write(
                json.dumps([kind, wrong, f"{' '.join(ended.arguments)[:400]} -> {ended.code}: {said!r}"]) + "\n"
            )


def _ended(pids: list[int], folder: Path) -> list[int]:
    """The exit codes of all lanes; a line a minute until then. Ctrl-C or SIGTERM ends them; what was tried is shown."""
    ends = {os.pidfd_open(pid): pid for pid in pids}
    codes = []
    try:
        while ends:
            found, _, _ = select.select(list(ends), [], [], 60)
            codes += [os.waitstatus_to_exitcode(os.waitpid(ends.pop(end), 0)[1]) for end in found]
            if not found:
                table = _table(folder)
                print(f"{sum(table.tries.values())} tries, {sum(table.failures.values())} failures", file=sys.stderr)
    except KeyboardInterrupt:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for pid in ends.values():
            os.waitpid(pid, 0)
    return codes


def _table(folder: Path) -> Table:
    """Of what all lanes have tried so far."""
    table = Table()
    for path in sorted(folder.glob(f"*/{TRIES}")):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                table.add(*json.loads(line))
    return table


def subreaper() -> None:
    """Orphans of what this process starts become its own."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def segments() -> set[str]:
    """What is shared by name."""
    try:
        return set(os.listdir("/dev/shm"))
    except OSError:
        return set()


def preload() -> None:
    """Import every module that a verb may, so that what is forked has them."""
    for module in pkgutil.walk_packages(stress.__path__, "stress."):
        if not {"__main__", "tests", "build_hook"} & set(module.name.split(".")):
            importlib.import_module(module.name)
    for name in ("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "results.kinds.files", "duckdb"):
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
                ("first", "faults", *PAIRS, "--share", "1/2"),
                ("second", "faults", *PAIRS, "--share", "2/2"),
            ):
                ended = run(place, [*arguments, "-q", "--out", out], most_s=600)
                if ended.code not in (0, 1, 6):
                    raise RuntimeError(f"{arguments}: {ended.code}: {ended.stderr}")
                shutil.move(place.path / out, path / out)
            gone(place, ended)
        witnesses = (each.name for each in (path / "explored").glob("witness-*.json"))
        self.witness = min(name for name in witnesses if not name.endswith(".trace.json"))


def main() -> int:
    """The command line; 1 where something failed."""
    parser = argparse.ArgumentParser(
        prog="python -m stress.tests.storm", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--lanes", type=int, default=LANES_A_CPU * (os.cpu_count() or 1), help="so many side by side")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    table = storm(asked.seed, asked.minutes * 60, asked.kills, asked.inputs, lanes=asked.lanes)
    minutes = (time.monotonic() - began) / 60
    print(f"seed {asked.seed}, {minutes:.1f} minutes, {os.cpu_count()} CPUs, {asked.lanes} lanes;", end=" ")
    print(f"asked for {asked.kills:,} kills and {asked.inputs:,} inputs")
    print("\n".join(table.lines()))
    return 1 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())
