"""Pieces on workers of Dask: one whose worker is killed is run again, one that kills all of them is left out."""

from collections.abc import Callable

from stress.pieces.cluster import AGAIN

JOB = """
import os, signal
from stress.interrupts import Interrupts
from stress.pieces import cluster
from stress.pieces.record import Job
from stress.pieces.tests.test_cluster import killing

kills = {"once": 1, "ever": 99, "never": 0}
pieces = {name: {"mark": os.path.abspath(name), "kills": times} for name, times in kills.items()}
job = Job("faults", {}, pieces, killing, lambda *given: {})
got = cluster.over("local:2", job, list(pieces), Interrupts(), lambda more: None)
print(sorted(key for key, one, host in got), os.path.getsize("once") > 1)
"""


def killing(described: dict[str, object], *_: object) -> tuple[dict[str, int], bool]:
    """A piece that ends its worker so many times; it says how often it was begun."""
    import os
    import signal

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
    assert script(JOB) == "['never', 'once'] True\n"
