"""`run zero_step` as a user types it: a guest stuck at one instruction, and what the module does about it."""

import json
import subprocess
from collections.abc import Callable

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.processes
def test_the_module_guards_a_guest_that_is_stepped_and_nothing_forbidden_is_seen(tdx_stress: Command) -> None:
    done = tdx_stress(
        "run", "zero_step", "--ordering", "v18", "--set", "yields={}", "--set", "epf_threshold=0",
        "--duration", "300ms", "--warmup", "100ms", "--no-report", "--json", "-",
    )  # fmt: skip

    assert done.stdout, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    seen = {outcome["id"]: outcome["count"] for outcome in run["outcomes"]}
    assert (run["verdict"], done.returncode) == ("passed", 0)
    entries = run["seamcalls"]["TDH.VP.ENTER"]
    assert entries["SUCCESS"] > 0
    assert entries.get("OPERAND_BUSY|SEPT_TREE", 0) == seen["zero_step_busy"]
    assert entries.get("EPT_VIOLATION_EXIT", 0) == seen["zero_step_fault"]
    assert entries.get("HOST_PRIORITY_BUSY_TIMEOUT", 0) == seen["host_priority_timeout"]


def test_a_limit_of_this_flow_is_refused_elsewhere(tdx_stress: Command) -> None:
    done = tdx_stress("run", "review", "--set", "epf_threshold=1")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert 'expected 6, or flow = "zero_step", as flow = "shootdown" has no such limit, found 1' in done.stderr
