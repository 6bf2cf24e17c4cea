"""Pieces on workers of Dask: one whose worker is killed is run again, one that kills all of them is left out."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stress.explore.pairs import run_pair
from stress.interrupts import Interrupts
from stress.pieces.cluster import AGAIN, STARTED, over
from stress.pieces.record import Job

JOB = """
import os, signal
os.environ["TMPDIR"] = os.path.abspath("temporary")
os.mkdir("temporary")
from stress.interrupts import Interrupts
from stress.pieces import cluster
from stress.pieces.record import Job
from stress.pieces.tests.test_cluster import killing
from stress.provenance import utc

class Here(cluster.Here):
    def __init__(self, *asked):
        super().__init__(*asked)
        self._workers["0"].kill()  # before it has joined

cluster.Here = Here
# Wrong from their start: a clock that is set back later has tornado wait so long for its next heartbeat.
cluster.STARTED = "import time; right = time.time; time.time = lambda: right() - 365 * 86_400; " + cluster.STARTED
kills = {"once": 1, "ever": 99, "never": 0}
pieces = {name: {"mark": os.path.abspath(name), "kills": times} for name, times in kills.items()}
job = Job("faults", "faults", {}, pieces, killing)
got = cluster.over("local:1", job, list(pieces), Interrupts(), lambda more: None)
begun, ended = utc(), list(got)
print(sorted(key for key, one, host in ended), os.path.getsize("once") > 1, 3 <= os.path.getsize("ever") <= 4)
print(all(begun <= one["started"] <= utc() for key, one, host in ended), os.listdir("temporary"))
"""


def killing(described: dict[str, object], *_: object) -> tuple[dict[str, int], bool]:
    """A piece that ends its worker so many times; it says how often it was begun."""
    with open(str(described["mark"]), "a+") as mark:
        mark.write("x")
        mark.flush()
        times = mark.tell()
    if times <= int(str(described["kills"])):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"begun": times}, True


def test_workers_that_are_killed_are_begun_again_and_a_piece_that_kills_every_one_is_left_out(
    script: Callable[[str], str],
) -> None:
    assert AGAIN == 3
    assert script(JOB) == "['never', 'once'] True True\nTrue []\n"


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


FAULTS = """
import sys
from stress.explore import matrix
from stress.pieces import cluster
from stress.pieces.tests.test_cluster import ending

cluster.AGAIN, cluster.HUNG_S, matrix.run_pair = 0, 6, ending
named = [word for fault in ("reclaim_early", "sept_remove_without_tracking") for word in ("--fault", fault)]
sys.argv[1:] = ["faults", "--ordering", "no_kick", *named, "--cluster", "local:2", "--out", "out", "-q"]
from stress.__main__ import main
try:
    main()
except SystemExit as end:
    print("exit", end.code, flush=True)
"""


def ending(described: dict[str, list[str]], interrupts: Interrupts, _: None) -> tuple[dict[str, object], bool]:
    """A pair that ends its worker with one fault, and has it hang with another."""
    if described["faults"]:
        os.kill(os.getpid(), signal.SIGKILL if described["faults"] == ["reclaim_early"] else signal.SIGSTOP)
    return run_pair(described, interrupts, None)


def test_pieces_that_kill_their_workers_or_have_them_hang_are_named_and_all_else_is_kept(
    script: Callable[[str], str], tmp_path: Path
) -> None:
    said = script(FAULTS)

    kept = {path.name[:5] for path in (tmp_path / "out/pieces").glob("0*.json")}
    assert "exit 6\n" in said
    assert "2 of 4 pieces missing: " in said
    assert {name for name in ("reclaim_early", "sept_remove_without_tracking") if f"no_kick.{name}" in said} == {
        "reclaim_early", "sept_remove_without_tracking",
    }  # fmt: skip
    assert len(kept) == 2


GONE = """
import os, time
from stress.errors import HarnessFault
from stress.interrupts import Interrupts
from stress.pieces import cluster
from stress.pieces.record import Job
from stress.pieces.tests.test_cluster import killing

started = []
def here(*asked, made=cluster.Here):
    started.append(its := made(*asked))
    while {moment!r} == "file" and not os.path.exists(its.file):
        time.sleep(0.01)
    if {moment!r} != "work":
        its._scheduler.kill()
    return its
cluster.Here = here
pieces = {{"one": {{"mark": os.devnull, "kills": 0}}}}
try:
    job = Job("faults", "faults", {{}}, pieces, killing)
    list(cluster.over("local:1", job, list(pieces), Interrupts(), lambda more: started[0]._scheduler.kill()))
except HarnessFault as told:
    print(told)
"""


@pytest.mark.parametrize("moment", ["start", "file", "work"])
def test_a_scheduler_that_ends_is_told_at_once(script: Callable[[str], str], moment: str) -> None:
    """Without the question for its end a command waited 120 s, or for ever; a test's time is less."""
    assert script(GONE.format(moment=moment)) == "--cluster: the scheduler at local:1 is gone\n"


def test_who_wants_the_end_before_a_cluster_answers_has_it_at_once() -> None:
    job = Job("faults", "faults", {}, {"one": {}}, killing)

    assert list(over("tcp://127.0.0.1:9", job, ["one"], Interrupts(lambda: False), lambda more: None)) == []


OTHERS = """
import json
from contextlib import ExitStack
from stress.interrupts import Interrupts
from stress.pieces import cluster
from stress.pieces.record import Job
from stress.pieces.tests.test_cluster import killing

cluster.PATIENCE = dict(cluster.PATIENCE, PYTHONWARNINGS="ignore")
started = cluster.STARTED
spoilt = [
    "sys.modules['stress'] = None",
    "import stress.provenance as its; its.version = lambda: '0.0.0'",
    "os.fork = lambda: os.mkdir('/')",
]
job = Job("faults", "faults", {}, {"one": {"mark": "mark", "kills": 0}}, killing, races=True)

def tell(name):
    try:
        print(name, [key for key, _, _ in cluster.over(address, job, ["one"], Interrupts(), lambda more: None)])
    except Exception as told:
        print(name, told.exit_code, str(told).replace(worker, "WORKER").replace(cluster.version(), "OURS"))

for line in spoilt:
    cluster.STARTED = started.replace("from {module}", f"exec({line!r}); from {{module}}")
    with ExitStack() as stack:
        its = cluster.Here(1, stack.enter_context(cluster.scratch()))
        stack.callback(its.end)
        while not cluster.os.path.exists(its.file):
            cluster.time.sleep(0.05)
        address = json.load(open(its.file))["address"]
        with cluster._connected(address, Interrupts()) as (client, _):
            (worker,) = cluster._told(client)
        tell("before")
        asked, cluster._refuse_unlike = cluster._refuse_unlike, lambda *given, **more: None
        tell("later")
        cluster._refuse_unlike = asked
print(cluster.os.path.exists("mark"))
"""
ANOTHER = "2 --cluster: the worker WORKER is of another version: expected OURS, found 0.0.0"
NO_FORK = "4 --cluster: the worker WORKER: it may start no process, and every actor of a race is one"


def test_workers_of_another_version_or_that_may_not_fork_are_refused_before_anything_runs_and_when_they_come_later(
    script: Callable[[str], str],
) -> None:
    none, *said = [line for line in script(OTHERS).splitlines() if line.startswith(("before", "later", "False"))]

    assert none.startswith("before 2 --cluster: the worker WORKER has no tdx-stress of this version: ")
    assert said[0].startswith("later 3 piece one: RuntimeError: Error during deserialization")
    assert said[1:] == [f"{when} {line}" for line in (ANOTHER, NO_FORK) for when in ("before", "later")] + ["False"]
