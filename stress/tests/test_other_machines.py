"""Machines beside the review's, as a user types them."""

import json
import subprocess
from collections.abc import Callable

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.processes
def test_without_the_module_the_refused_order_is_a_stale_read(tdx_stress: Command) -> None:
    # Some 2 % of shootdowns show it, and a second has tens of thousands.
    done = tdx_stress(
        "run", "--ordering", "kick_then_track", "--set", "module=none", "--duration", "1s", "-q", "--json", "-"
    )

    (run,) = json.loads(done.stdout)["runs"]
    counts = {outcome["id"]: outcome["count"] for outcome in run["outcomes"]}
    assert (done.returncode, run["expect"]) == (0, ["use_after_remove"])
    assert counts["use_after_remove"] > 0
    assert counts["tracking_not_done"] == 0
