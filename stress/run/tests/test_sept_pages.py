"""`run sept_pages` as a user types it: zappers take page-table pages away, vCPUs put others in their place."""

import json
import subprocess
from collections.abc import Callable

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.processes


def test_page_table_pages_go_beneath_vcpus_and_come_back_and_nothing_forbidden_is_seen(tdx_stress: Command) -> None:
    """Chance is on neither side of the balance. A page-table page goes every 20 us: that none does in 0.4 s takes
    zappers that get no CPU in all that time.
    """
    done = tdx_stress(
        "run", "sept_pages", "--ordering", "spec", "--duration", "300ms", "--warmup", "100ms", "--no-report",
        "--json", "-",
    )  # fmt: skip

    assert done.stdout, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    counts = {leaf: statuses["SUCCESS"] for leaf, statuses in run["seamcalls"].items()}
    tables, pages = counts["TDH.MEM.SEPT.REMOVE"], counts["TDH.MEM.PAGE.REMOVE"]
    assert (run["verdict"], done.returncode) == ("passed", 0)
    assert run["all_shootdowns"] == pages + tables > tables > 0
    assert tables <= counts["TDH.MEM.SEPT.ADD"] <= tables + 8
    assert pages <= counts["TDH.MEM.PAGE.AUG"] <= pages + 64
