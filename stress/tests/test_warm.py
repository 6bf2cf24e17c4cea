"""The process that commands under test are forked from."""

import os
import subprocess
from pathlib import Path

import pytest

from stress.tests.warm import Warm


@pytest.mark.processes
def test_a_command_that_does_not_end_is_killed_and_the_next_one_runs(warm: Warm, tmp_path: Path) -> None:
    """That no process is left is seen by the guard of every test."""
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(tmp_path, ["run", "--duration", "60s"], 0.2)
    listed = warm.run(tmp_path, ["list", "--json"], 60.0)

    assert (listed.returncode, listed.stdout[0], listed.stderr) == (0, "{", "")


def test_a_script_is_our_child_and_the_first_of_its_session(warm: Warm, tmp_path: Path) -> None:
    code = "import os, sys; print(os.getppid(), os.getsid(0) == os.getpid(), os.getcwd()); sys.exit(3)"

    done = warm.run(tmp_path, [], 60.0, code)

    assert (done.returncode, done.stdout) == (3, f"{os.getpid()} True {tmp_path}\n")
