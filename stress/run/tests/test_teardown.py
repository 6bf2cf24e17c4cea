"""`run teardown` as a user types it: TDs come and go, and give back what they had."""

import subprocess
from collections.abc import Callable

import pytest

from stress.tests.lengthened import answered, run_until

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.processes


def test_every_td_gives_its_hkid_and_its_pages_back(tdx_stress: Command) -> None:
    done, result = run_until(tdx_stress, "teardown", "--ordering", "spec", holds=answered)

    (run,) = result["runs"]
    counts = {leaf: statuses["SUCCESS"] for leaf, statuses in run["seamcalls"].items()}
    lives = counts["TDH.MNG.VPFLUSHDONE"]
    added = counts["TDH.MEM.PAGE.ADD"] + counts["TDH.MEM.PAGE.AUG"] + counts["TDH.MEM.SEPT.ADD"]
    gone = counts["TDH.PHYMEM.PAGE.RECLAIM"] + counts["TDH.MEM.PAGE.REMOVE"]
    assert (run["verdict"], done.returncode) == ("passed", 0)
    assert counts["TDH.MNG.KEY.FREEID"] == lives > 0
    assert gone <= added <= gone + 18


def test_a_td_lives_until_as_many_pages_have_gone_in_its_life_as_it_has(tdx_stress: Command) -> None:
    """Chance is on neither side: only the last life may be cut short, by the end of the run."""
    _, result = run_until(tdx_stress, "teardown", "--ordering", "v18", holds=answered)

    (run,) = result["runs"]
    counts = {leaf: statuses["SUCCESS"] for leaf, statuses in run["seamcalls"].items()}
    lives = counts["TDH.MNG.VPFLUSHDONE"]
    shot = counts["TDH.MEM.TRACK"]
    assert 16 * (lives - 1) <= shot <= 16 * lives


def test_v6_16_removes_every_guest_page_and_reclaims_the_two_of_the_s_ept(tdx_stress: Command) -> None:
    done, result = run_until(tdx_stress, "teardown", "--ordering", "v6_16", holds=answered)

    (run,) = result["runs"]
    counts = {leaf: statuses["SUCCESS"] for leaf, statuses in run["seamcalls"].items()}
    lives = counts["TDH.MNG.KEY.FREEID"]
    assert (run["verdict"], done.returncode) == ("passed", 0)
    assert lives > 0
    assert 2 * (lives - 1) <= counts["TDH.PHYMEM.PAGE.RECLAIM"] <= 2 * lives


def test_one_thread_tears_tds_down(tdx_stress: Command) -> None:
    done = tdx_stress("run", "teardown", "--zappers", "2")

    assert done.returncode == 2
    assert 'expected 1, as one thread builds and destroys the TDs of flow = "teardown", found 2' in done.stderr
