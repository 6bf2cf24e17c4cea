"""Kills: a verb that works is interrupted, killed, stopped or starved at a random instant."""

import contextlib
import os
import random
import resource
import signal
import time
from pathlib import Path

import psutil

from stress.tests.storm_command import Act, Ended, Place, run

VERDICTS = {1, 6, 7}
FINISHED = {0, 5} | VERDICTS
RACE = ("--duration", "200ms", "--warmup", "50ms", "-q", "--out", "out")
SMALL = ("--vcpus", "1", "-q", "--memory", "64MiB", "--out", "out")
PAIRS = ("--ordering", "spec", "--fault", "no_flush_at_entry", "--fault", "torn_epoch_read")
# Each with about how long it takes.
VERBS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("run", "--ordering", "spec", *RACE, "--no-report"), 1.5),
    (("run", "--ordering", "kick_then_track", *RACE), 4.0),
    (("run", "--ordering", "v18", *RACE, "--no-report", "--trace"), 2.0),
    (("run", "--ordering", "v18", *RACE, "--no-report", "--workers", "thread"), 1.5),
    (("explore", "--ordering", "v18", *SMALL), 1.5),
    (("explore", "--ordering", "no_block", *SMALL), 3.0),
    (("explore", "--ordering", "spec", "--random", "200", "-q", "--out", "out"), 1.5),
    (("bench", "--orderings", "spec,v18", "--rounds", "10", *RACE), 5.0),
    (("selftest", "--ordering", "no_block", "--duration", "500ms", "-q", "--out", "out"), 3.0),
    (("doctor",), 2.0),
    (("list",), 0.3),
    (("replay", "{witness}", "--out", "out"), 1.5),
    (("report", "{run}", "-q"), 4.0),
    (("compare", "{bench}", "{bench}"), 1.0),
    (("history", "{run}", "{bench}", "--plot", "p50", "--out", "p.svg", "--export", "e.parquet"), 1.0),
    (("orders", "--ordering", "no_block", "--share", "1/40", "-q", "--out", "out"), 2.0),
    (("faults", *PAIRS, "-q", "--out", "out"), 3.0),
    (("faults", *PAIRS, "--cluster", "local:1", "-q", "--out", "out"), 6.0),
    (("explore", "--ordering", "spec", *SMALL, "--sweep", "pages=1,2"), 1.5),
    (("merge", "{first}", "{second}", "-q", "--out", "out"), 1.0),
    (("amplify", "--ordering", "kick_then_track", "--budget", "1s", "-q", "--out", "out"), 4.0),
    (("run", "memfd", "--duration", "200ms", "-q", "--out", "out"), 2.0),
)
STOPPING = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}
KINDS = ("SIGINT", "SIGINT", "SIGTERM", "SIGHUP", "SIGINT twice", "SIGKILL", "child killed", "stopped", "starved")
MIB = 1 << 20


class Kills:
    """Draws one after the other."""

    def __init__(self, chance: random.Random, material: tuple[Path, str] | None) -> None:
        """`material` is a directory of results and the name of a witness in it; without it only searches are killed."""
        self._chance = chance
        self._verbs, self._names = [verb for verb in VERBS if verb[0][0] in ("explore", "list")], {}
        if material is not None:
            path, witness = material
            self._verbs = list(VERBS)
            self._names = {name: path / name for name in ("run", "bench", "first", "second")}
            self._names["witness"] = path / "explored" / witness

    def one(self, place: Place) -> tuple[str, list[str], Ended]:
        """A try: its kind, what was wrong, how it ended."""
        chance = self._chance
        words, takes_s = chance.choice(self._verbs)
        arguments = [word.format(**self._names) for word in words]
        kind, anew = chance.choice(KINDS), chance.random() < 1 / 8
        after_s = chance.random() * takes_s * (1.5 if anew else 1.0)
        limits = self._limits() if kind == "starved" else {}
        anew |= resource.RLIMIT_AS in limits  # what is forked has taken more already
        act = None if kind == "starved" else _acts(kind, after_s, chance)
        ended = run(place, arguments, act, limits=limits, anew=anew)
        return f"kill: {kind}", wrong(kind, ended), ended

    def _limits(self) -> dict[int, int]:
        which = self._chance.choice((resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE))
        least, most = {
            resource.RLIMIT_AS: (150 * MIB, 8192 * MIB),
            resource.RLIMIT_NOFILE: (12, 200),
            resource.RLIMIT_FSIZE: (0, 6 * MIB),
        }[which]
        return {
            which: round(least * (most / least) ** self._chance.random()) if least else self._chance.randrange(most)
        }


def _acts(kind: str, after_s: float, chance: random.Random) -> Act:
    pause_s, draw = chance.random() * 0.3, chance.random()

    def act(pid: int) -> None:
        time.sleep(after_s)
        with contextlib.suppress(OSError, psutil.Error):
            if kind in STOPPING:
                os.kill(pid, STOPPING[kind])
            elif kind == "SIGKILL":
                os.kill(pid, signal.SIGKILL)
            elif kind == "SIGINT twice":
                os.kill(pid, signal.SIGINT)
                time.sleep(pause_s)
                os.kill(pid, signal.SIGINT)
            else:
                children = psutil.Process(pid).children()
                victim = children[int(draw * len(children))].pid if children else pid
                if kind == "child killed" and victim != pid:
                    os.kill(victim, signal.SIGKILL)
                elif kind == "stopped":
                    os.kill(victim, signal.SIGSTOP)
                    time.sleep(pause_s)
                    os.kill(victim, signal.SIGCONT)

    return act


def wrong(kind: str, ended: Ended) -> list[str]:
    """What is wrong with such an end, in words."""
    found = said_wrong(ended)
    allowed = set(FINISHED)
    if kind in STOPPING or kind == "SIGINT twice":
        allowed |= {130}
    if kind == "SIGINT twice":
        allowed |= {-signal.SIGINT}
    if kind == "SIGKILL":
        allowed |= {-signal.SIGKILL}
    if kind == "child killed":
        allowed |= {3}
    if kind == "starved":
        allowed |= {2, 3, 4}
    if ended.code is None:
        return [*found, "hang"]
    told = ended.stderr + ended.stdout * (ended.code in VERDICTS)  # a verdict is told where the rest of a report is
    if ended.code > 0 and not told.strip():
        found.append(f"silent {ended.code}")
    if ended.code not in allowed:
        found.append(f"exit code {ended.code}")
    return found


def said_wrong(ended: Ended) -> list[str]:
    """What no command says or leaves, whatever befell it."""
    lines = ended.stderr.splitlines()
    found = []
    if "Traceback" in ended.stderr or "Exception ignored" in ended.stderr:
        found.append("traceback")
    elif "internal error" in ended.stderr:
        found.append("internal error")
    elif len([line for line in lines if line.startswith("tdx-stress:")]) > 1 and "history" not in ended.arguments:
        found.append("more than a line")
    if any(not c.isprintable() and c not in "\n" for c in ended.stdout + ended.stderr):
        found.append("not text")
    return found + sorted({f"left a {left.split()[0]}" for left in ended.left})
