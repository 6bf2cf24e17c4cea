"""`run teardown` as a user types it: TDs come and go, and give back what they had."""

import json
import subprocess
from collections.abc import Callable

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.processes


def test_every_td_gives_its_hkid_and_its_pages_back(tdx_stress: Command) -> None:
    done = tdx_stress(
        "run",
        "teardown",
        "--ordering",
        "spec",
        "--duration",
        "300ms",
        "--warmup",
        "100ms",
        "--no-report",
        "--json",
        "-",
    )

    assert done.stdout, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    counts = {leaf: statuses["SUCCESS"] for leaf, statuses in run["seamcalls"].items()}
    lives = counts["TDH.MNG.VPFLUSHDONE"]
    added = counts["TDH.MEM.PAGE.ADD"] + counts["TDH.MEM.PAGE.AUG"] + counts["TDH.MEM.SEPT.ADD"]
    gone = counts["TDH.PHYMEM.PAGE.RECLAIM"] + counts["TDH.MEM.PAGE.REMOVE"]
    assert (run["verdict"], done.returncode) == ("passed", 0)
    assert counts["TDH.MNG.KEY.FREEID"] == lives > 0
    assert gone <= added <= gone + 9


def test_one_thread_tears_tds_down(tdx_stress: Command) -> None:
    done = tdx_stress("run", "teardown", "--zappers", "2")

    assert done.returncode == 2
    assert 'expected 1, as one thread builds and destroys the TDs of flow = "teardown", found 2' in done.stderr
