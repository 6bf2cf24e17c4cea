"""`run populate` as a user types it: vCPUs that fault populate, a zapper zaps, and what the module saw of both."""

import subprocess
from collections.abc import Callable

import pytest

from stress.tests.lengthened import answered, run_until

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.processes


def test_vcpus_populate_what_zappers_zap_and_nothing_forbidden_is_seen(tdx_stress: Command) -> None:
    done, result = run_until(tdx_stress, "populate", "--ordering", "spec", holds=answered)

    (run,) = result["runs"]
    added = run["seamcalls"]["TDH.MEM.PAGE.AUG"]["SUCCESS"]
    assert (run["verdict"], done.returncode) == ("passed", 0)
    assert run["seamcalls"]["TDH.MEM.SEPT.ADD"]["SUCCESS"] == 8
    assert run["all_shootdowns"] <= added <= run["all_shootdowns"] + 64


def test_a_flow_that_needs_the_module_is_refused_without_it(tdx_stress: Command) -> None:
    done = tdx_stress("run", "populate", "--set", "module=none")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert 'expected "tdx", as the flow "populate" adds pages through the module, found "none"' in done.stderr
