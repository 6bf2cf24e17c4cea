"""`run sept_pages` as a user types it: zappers take page-table pages away, vCPUs put others in their place."""

import subprocess
from collections.abc import Callable

import pytest

from stress.tests.lengthened import answered, run_until

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.processes


def test_page_table_pages_go_beneath_vcpus_and_come_back_and_nothing_forbidden_is_seen(tdx_stress: Command) -> None:
    """Chance is on neither side of the balance. A page-table page goes every 20 us: that none does while 299 shootdowns
    meet a vCPU does not happen.
    """
    done, result = run_until(tdx_stress, "sept_pages", "--ordering", "spec", holds=answered)

    (run,) = result["runs"]
    counts = {leaf: statuses["SUCCESS"] for leaf, statuses in run["seamcalls"].items()}
    tables, pages = counts["TDH.MEM.SEPT.REMOVE"], counts["TDH.MEM.PAGE.REMOVE"]
    assert (run["verdict"], done.returncode) == ("passed", 0)
    assert run["all_shootdowns"] == pages + tables > tables > 0
    assert tables <= counts["TDH.MEM.SEPT.ADD"] <= tables + 8
    assert pages <= counts["TDH.MEM.PAGE.AUG"] <= pages + 64
