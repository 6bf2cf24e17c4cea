from pathlib import Path

import pytest

from stress.host.cpu_pairs import all_pairs, private_bytes
from stress.tests.command import Script

# A process of its own, since a test's process has threads.
PROLOGUE = """
import os, sys, time
from dataclasses import replace
import psutil
from kernels.race.clock import calibrate
from kernels.race.probes import load_probes
from stress.host import cpu_pairs as pairs
from stress.interrupts import Interrupts
from stress.host.cpu_pairs import Errand, measure

clock, probes = calibrate(), load_probes()
cpus = tuple(sorted(os.sched_getaffinity(0)))
forever = Errand((cpus[:2],) * 20_000, pair_s=60.0, within_s=600.0)

def left():
    return len(psutil.Process().children())
"""

two_cpus = pytest.mark.skipif("len(__import__('os').sched_getaffinity(0)) < 2", reason="it takes two CPUs")


def test_every_pair_of_cpus_stands_once() -> None:
    assert all_pairs((0, 2, 5)) == ((0, 2), (0, 5), (2, 5))
    assert all_pairs((3,)) == ()


def test_private_memory_is_the_sum_of_what_nobody_shares(tmp_path: Path) -> None:
    rollup = tmp_path / "smaps_rollup"
    rollup.write_text("Rss: 900 kB\nPrivate_Clean:   4 kB\nPrivate_Dirty:  12 kB\nPrivate_Hugetlb:  8 kB\n")

    assert private_bytes(rollup) == 16 * 1024
    assert private_bytes(tmp_path / "none") is None


# By what is shown: what a script does, and what it says. That no process is left is seen by the guard of every test.
MEASURED = {
    "a pair has the times of its batches": (
        """
found = measure(Errand((cpus[:2],), pair_s=20.0, within_s=60.0), clock, probes)
[samples] = found.round_trips_ns.values()
print(len(samples), all(sample > 1 for sample in samples), found.buffering, found.realtime, repr(found.trouble), left())
""",
        "64 True None None '' 0\n",
    ),
    "each way to kick that the kernel has takes some time": (
        """
from stress.host.cpu_pairs import KICKS, why_none
pairs.KICKS_S = 25.0
found = measure(Errand((), kicks=cpus[:2], within_s=60.0), clock, probes)
print(set(found.kicks_ns) == {one for one in KICKS if not why_none(one)}, min(found.kicks_ns.values()) > 20, left())
""",
        "True True 0\n",
    ),
    "stores are buffered but never past a fence": (
        """
seen = measure(Errand((), cpus[:2], worker=True, within_s=60.0), clock, probes)
found = seen.buffering
print(found.trials, found.trials_fenced, found.missed_fenced, 0 <= found.missed < found.trials)
print(seen.realtime in (True, False), seen.worker_bytes > 2**16, left())
""",
        "51200 51200 0 True\nTrue True 0\n",
    ),
    "a CPU that has gone costs its pairs alone": (
        """
gone = 4000
wanted = ((cpus[0], gone), (gone, cpus[0]), cpus[:2])
found = measure(Errand(wanted, pair_s=20.0, within_s=60.0), clock, probes)
print([pair == cpus[:2] for pair in found.round_trips_ns], found.trouble, left())
""",
        "[True] 2 of 3 pairs of CPUs had no time together 0\n",
    ),
    "what takes too long is ended and what was measured is kept": (
        """
found = measure(replace(forever, within_s=1.0), clock, probes)
print(found.trouble, found.crashed, left())
""",
        "not done after 1 s: something else holds the CPUs False 0\n",
    ),
    "Ctrl-C ends the probes and leaves nobody": (
        """
import signal
with Interrupts() as interrupts:
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(0, signal.SIGINT))
    found = measure(forever, clock, probes, lambda: bool(interrupts))
print(found.trouble, found.crashed, interrupts.received, left())
""",
        "interrupted False 1 0\n",
    ),
    "nobody outlives a killed parent": (
        """
import signal
def end(*_):
    if left() == 2:
        print("both", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGALRM, end)
signal.setitimer(signal.ITIMER_REAL, 0.3, 0.1)
measure(forever, clock, probes)
""",
        "both\n",
    ),
}


@two_cpus
@pytest.mark.processes
@pytest.mark.parametrize(("code", "said"), MEASURED.values(), ids=MEASURED)
def test_two_cpus_are_measured_by_processes_that_end(script: Script, code: str, said: str) -> None:
    assert script(PROLOGUE + code) == said


@pytest.mark.processes
def test_one_process_is_enough_to_ask_what_is_granted(script: Script) -> None:
    code = """
os.sched_setscheduler = lambda *_: (_ for _ in ()).throw(PermissionError(1, "no"))
found = measure(Errand((), worker=True, within_s=60.0), clock, probes)
print(found.realtime, found.round_trips_ns, repr(found.trouble), found.crashed)
"""

    assert script(PROLOGUE + code) == "False {} '' False\n"


@two_cpus
@pytest.mark.processes
def test_a_worker_that_fails_is_told_and_the_other_is_ended(script: Script) -> None:
    code = """
probes.ping = lambda *_: 1 / 0
found = measure(forever, clock, probes)
print(found.crashed, found.trouble.partition(" (")[0], found.trouble.endswith("exit code 70"), left())
"""

    said = script(PROLOGUE + code)
    assert said.splitlines() == ["True probe 0 True 0", "probe 0: ZeroDivisionError: division by zero"]
