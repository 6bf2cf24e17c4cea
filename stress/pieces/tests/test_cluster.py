"""Pieces on workers of Dask: one whose worker is killed is run again, one that kills all of them is left out."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stress.pieces.cluster import AGAIN, STARTED

JOB = """
import os, signal
os.environ["TMPDIR"] = os.path.abspath("temporary")
os.mkdir("temporary")
from stress.interrupts import Interrupts
from stress.pieces import cluster
from stress.pieces.record import Job
from stress.pieces.tests.test_cluster import killing
from stress.pieces.record import utc

kills = {"once": 1, "ever": 99, "never": 0}
pieces = {name: {"mark": os.path.abspath(name), "kills": times} for name, times in kills.items()}
job = Job("faults", "faults", {}, pieces, killing, lambda *given: {})
got = cluster.over("local:2", job, list(pieces), Interrupts(), lambda more: None)
begun, ended = utc(), list(got)
print(sorted(key for key, one, host in ended), os.path.getsize("once") > 1)
print(all(begun <= one["started"] <= utc() for key, one, host in ended), os.listdir("temporary"))
"""


def killing(described: dict[str, object], *_: object) -> tuple[dict[str, int], bool]:
    """A piece that ends its worker so many times; it says how often it was begun. The worker's clock is wrong."""
    import os
    import signal

    right = time.time
    time.time = lambda: right() - 365 * 86_400

    with open(str(described["mark"]), "a+") as mark:
        mark.write("x")
        mark.flush()
        times = mark.tell()
    if times <= int(str(described["kills"])):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"begun": times}, True


def test_a_piece_whose_worker_is_killed_is_run_again_and_one_that_kills_every_worker_is_left_out(
    script: Callable[[str], str],
) -> None:
    assert AGAIN == 3
    assert script(JOB) == "['never', 'once'] True\nTrue []\n"


KILLED = """
import os, signal, tempfile
tempfile.tempdir = "."
from stress.pieces.cluster import scratch
with scratch() as folder:
    open(f"{folder}/file", "w").close()
    print(len(os.listdir(".")), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_command_that_is_killed_leaves_no_folder_of_its_workers(script: Callable[[str], str], tmp_path: Path) -> None:
    assert script(KILLED) == "1\n"
    until = time.monotonic() + 60
    while list(tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)

    assert list(tmp_path.iterdir()) == []


def test_a_worker_whose_command_was_killed_before_it_could_ask_for_its_own_end_ends() -> None:
    code = STARTED.format(parent=os.getppid(), path=list(sys.path), module="no_such_module")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
